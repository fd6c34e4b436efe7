"""Plug-ins that step all replicas in one call: where no bit changes by it, and only there."""

from __future__ import annotations

import pytest
import torch
from ensembles import CPU, a_run, ensemble_of, state
from plugins import Base
from pretend_cuda import PretendedCuda

from grokbench.models.transformer import layout
from grokbench.optim import together
from grokbench.optim.adapter import PerReplica
from grokbench.optim.together import Together
from grokbench.spec.registry import parse


class Joined(Base):
    """Takes `foreach`, as torch's own do."""

    def __init__(self, params, lr=0.1, foreach=True):
        super().__init__(params, lr)
        for group in self.param_groups:
            group["foreach"] = foreach

    def change(self, p, lr):
        p.sub_(p.grad, alpha=lr)


class Counts(Joined):
    """One count of steps for the object, so replicas that come later have another."""

    count = 0

    def step(self, closure=None):
        self.count += 1
        for group in self.param_groups:
            group["lr"] = 0.1 / self.count
        return super().step(closure)


class Couples(Joined):
    """The steps of a parameter depend on all others."""

    @torch.no_grad()
    def step(self, closure=None):
        every = [p for group in self.param_groups for p in group["params"] if p.grad is not None]
        total = sum(p.grad.square().sum() for p in every)
        for p in every:
            p.sub_(p.grad / total, alpha=0.1)


class Draws(Joined):
    def change(self, p, lr):
        p.sub_(p.grad * torch.rand_like(p), alpha=lr)


def alike(text: str, device: torch.device = CPU) -> bool:
    run = a_run(optimizer=text)
    slices = tuple(layout(run.transformer, run.task.vocabulary, run.task.classes))
    return together._alike.__wrapped__(parse(text), slices, torch.float32, device)


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("torch.optim:AdamW(foreach=True)", True),
        ("torch.optim:SGD(lr=0.1, momentum=0.9, nesterov=True, foreach=True)", True),
        ("torch.optim:RMSprop(foreach=True)", True),
        ("test_together:Joined", False),  # nobody knows what it keeps
        ("torch.optim:Adafactor", True),
        ("plugins:Base", False),  # it has no foreach, so nothing is saved
    ],
)
def test_only_what_keeps_its_bits_is_stepped_together(text: str, same: bool) -> None:
    assert alike(text) is same


@pytest.mark.parametrize(("name", "same"), [("Joined", True), ("Counts", False), ("Couples", False), ("Draws", False)])
def test_the_trial_finds_what_changes_bits(name: str, same: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(together, "TORCHS", "")
    assert alike(f"test_together:{name}") is same


def test_a_processor_and_a_warmup_step_each_by_itself() -> None:
    stack = ensemble_of([a_run(optimizer="torch.optim:AdamW(foreach=True)")])
    assert type(stack._optimizer._parts[0]) is PerReplica
    assert not alike("torch.optim:AdamW(foreach=True, warmup=3)")


@pytest.mark.parametrize("device", ["pretended", pytest.param("cuda", marks=pytest.mark.gpu)], indirect=True)
def test_runs_on_a_gpu_keep_their_bits(device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"torch.optim:AdamW(lr={lr}, weight_decay=0.1, foreach=True)" for lr in (0.003, 0.003, 0.01)]
    texts += ["test_together:Couples", "torch.optim:SGD(lr=0.1, foreach=True)", "test_together:Joined"]
    runs = [a_run(optimizer=text, replica=i) for i, text in enumerate(texts)]
    made = {}
    for kind in (Together, PerReplica):
        monkeypatch.setattr("grokbench.optim.stack.adapter", lambda weights, kind=kind: kind(weights))
        stack = ensemble_of([*runs[:2], *runs[3:]], device, slots=6)
        assert type(stack._optimizer._parts[0]) is kind
        stack.epoch()
        stack.load(5, runs[2])
        stack.epoch()
        stack.clear(0)
        stack.load(0, runs[2])
        stack.epoch()
        made[kind] = [state(stack, slot) for slot in range(6)]
    assert all(torch.equal(*pair) for pair in zip(*made.values(), strict=True))
    monkeypatch.undo()
    part = ensemble_of(runs, device, slots=6)._optimizer._parts[0]
    assert isinstance(part, Together)
    assert part._joins == [True, True, True, False, True, False]


def test_launches_do_not_grow_with_the_replicas() -> None:
    launched = {}
    for count in (2, 5):
        runs = [a_run(optimizer="torch.optim:AdamW(foreach=True)", replica=i) for i in range(count)]
        with PretendedCuda() as gpu:
            stack = ensemble_of(runs, torch.device("cuda"))
            stack.train()
            before = gpu.launches
            stack.train()
            launched[count] = gpu.launches - before
    assert launched[2] == launched[5]
