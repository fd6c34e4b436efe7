"""A planted fault in each part is found, and the sound twin holds."""

from __future__ import annotations

import dataclasses
import importlib
import json
import os

import pytest
import tiny
import torch
from pretend_cuda import Graph, PretendedCuda

from grokbench import cli
from grokbench.claims import presets
from grokbench.engine.pack import Pack
from grokbench.models import blocks, transformer
from grokbench.numerics import frame, rng
from grokbench.optim import adamw, newton_schulz, stack
from grokbench.spec import MachineError
from grokbench.verify import CHECKS, Finding, bits, checks, numbers, runs, verify, whole
from grokbench.verify.finding import FaultError, UnseenError

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    """One case of each kind, on tiny models."""
    small = dataclasses.replace(runs.PLAIN, width=16, heads=2, feed_forward=16)
    deep = dataclasses.replace(runs.DEEP, width=16, feed_forward=16)
    cases = [
        runs.a_run(small, "adamw(lr=0.003)", "softmax", p=5),
        runs.a_run(deep, runs.OPTIMIZERS[1], "stablemax", p=5),
    ]
    monkeypatch.setattr(bits, "cases", lambda: cases)
    for name, value in (("SLOTS", 6), ("BUDGET", 3), ("THREADS", (1, 2)), ("DEEP", deep), ("WIDE", small)):
        monkeypatch.setattr(bits, name, value)
    monkeypatch.setattr(numbers, "DEEP", deep)
    monkeypatch.setattr(numbers, "OPTIMIZERS", runs.OPTIMIZERS[:1])
    monkeypatch.setattr(bits, "a_run", lambda *run, **sizes: runs.a_run(*run, p=5))
    monkeypatch.setattr(numbers, "SHAPES", ((16, 16), (33, 20)))


def wrapped(function, change):
    """The function, with its result changed by `change(result, *arguments)`."""
    return lambda *arguments, **settings: change(function(*arguments, **settings), *arguments)


def company_matters(monkeypatch):
    monkeypatch.setattr(transformer, "linear", wrapped(blocks.linear, lambda out, x, w: out * (1 + 1e-6 * len(x))))


def memory_stays(monkeypatch):
    def load(self, slot, run, fresh=stack.Rule.load):
        kept = {key: tensor.clone() for key, tensor in self._state.items()}
        fresh(self, slot, run)
        self._state = kept

    monkeypatch.setattr(stack.Rule, "load", load)


def threads_matter(monkeypatch):
    monkeypatch.setitem(frame.SETTINGS, "threads", (torch.get_num_threads, lambda count: None))
    monkeypatch.setattr(
        transformer, "linear", wrapped(blocks.linear, lambda out, *_: out * (1 + 1e-6 * torch.get_num_threads()))
    )


def chance(monkeypatch):
    monkeypatch.setattr(
        transformer, "linear", wrapped(blocks.linear, lambda out, *_: out * (1 + 1e-6 * torch.rand(())))
    )


def few_digits(monkeypatch):
    monkeypatch.setattr(torch, "bmm", wrapped(torch.bmm, lambda out, *_: out.bfloat16().to(out.dtype)))


def nine_rounds(monkeypatch):
    monkeypatch.setattr(rng, "_ROUNDS", 9)


def order_of_its_own(monkeypatch):
    monkeypatch.setattr(rng, "permutation", wrapped(rng.permutation, lambda out, *_: out.flip(1) + torch.rand(())))


def wrong_slope(monkeypatch):
    module = importlib.import_module("grokbench.softmaxes.stablemax")  # the package has a function of that name
    monkeypatch.setattr(module._LogS, "backward", staticmethod(lambda ctx, grad: grad / ctx.saved_tensors[0].square()))


def wrong_factor(monkeypatch):
    monkeypatch.setattr(newton_schulz, "_factor", wrapped(newton_schulz._factor, lambda out, *_: out * 1.01))


def no_decay(monkeypatch):
    def update(w, g, state, hyper, step, lr, decay, right=adamw.update):
        right(w, g, state, hyper, step, lr, 0 * decay)

    monkeypatch.setattr(adamw, "update", update)


def adds_in_any_order(monkeypatch):
    def put(out, *_):
        out.detach().view(-1).put_(torch.zeros(2, dtype=torch.int64), torch.zeros(2, dtype=out.dtype))
        return out

    monkeypatch.setattr(transformer, "linear", wrapped(blocks.linear, put))


FAULTS = [
    ("products", few_digits, "a float32 product is off"),
    ("random bits", nine_rounds, "Philox gives"),
    ("random bits", order_of_its_own, "orders of batches"),
    ("losses", wrong_slope, "stablemax: loss or slope is off"),
    ("Newton–Schulz", wrong_factor, "a matrix of 16×16 is off"),
    ("exact", no_decay, "adamw under softmax: off by"),
    ("in company", company_matters, "adamw under softmax: after epoch 1, slot 3 of 6 differs"),
    ("refilled", memory_stays, "adamw under softmax: a run in a slot that another has left"),
    ("threads", threads_matter, "with 2 threads"),
    ("deterministic", adds_in_any_order, "adamw under softmax: put_"),
    ("twice", chance, "replica 0 has another record"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "plant", "said"), FAULTS)
def test_a_planted_fault_is_found(name, plant, said, monkeypatch):
    assert CHECKS[name](CPU)
    plant(monkeypatch)
    with pytest.raises(FaultError, match=said):
        CHECKS[name](CPU)


def test_another_process_is_asked(monkeypatch):
    """By a process that computes otherwise than this one."""
    asked = []

    class There:
        def __init__(self, folder):
            asked.append(folder)

        def call(self, function, *arguments):
            found = function(*arguments)
            return found if sound else (("0", *found[0][1:]), *found[1:])

        def close(self):
            asked.append("closed")

    monkeypatch.setattr(bits, "Checkout", There)
    sound = True
    assert "in another process" in bits.process(CPU)
    sound = False
    with pytest.raises(FaultError, match="differ from epoch 1 on"):
        bits.process(CPU)
    assert asked == [None, "closed"] * 2


@pytest.mark.parametrize("sound", [True, False])
def test_a_verdict_that_is_not_the_known_one_is_found(sound, monkeypatch):
    preset = dataclasses.replace(tiny.PRESET, tasks=tiny.PRESET.tasks[:1], softmaxes=("softmax",))
    if not sound:  # neither learns
        rule = dataclasses.replace(preset.criterion, budget=3)
        preset = dataclasses.replace(preset, criterion=rule, optimizers={**preset.optimizers, "muon": "muon(lr=0.0)"})
    monkeypatch.setitem(presets.PRESETS, "tiny", preset)
    if sound:
        assert "muon groks earlier than sgd" in whole.verdict(CPU, "tiny")
    else:
        with pytest.raises(FaultError, match="that muon groks earlier than sgd in add-softmax is inconclusive"):
            whole.verdict(CPU, "tiny")


def test_an_ensemble_that_is_no_faster_is_found(monkeypatch):
    times = iter([1.0, 0.5] * 4 + [1.0, 0.05] * 4)  # of sixteen replicas, and of a plain one
    monkeypatch.setattr(whole.clock, "seconds", lambda action, device: next(times))
    assert "8.0 times a plain loop" in whole.throughput(CPU)
    with pytest.raises(FaultError, match="times a plain loop, less than"):
        whole.throughput(CPU)


def test_a_plain_loop_learns(monkeypatch):
    run = runs.a_run(runs.PLAIN, "adamw(lr=0.01)", "softmax", p=5, batch=8)
    seen = []
    right = whole.plain.loss
    monkeypatch.setattr(whole.plain, "loss", lambda *arguments: seen.append(right(*arguments)) or seen[-1])
    epoch = whole.plain_loop(run, CPU)
    for _ in range(20):
        epoch()
    assert len(seen) == 20 * 2  # full batches of 16 rows
    assert seen[-1] < 0.5 * seen[0]


@pytest.mark.parametrize("check", [whole.compiled, whole.graphs, whole.kernels, bits.packs])
def test_compiled_steps_and_graphs_are_compared_on_cuda_alone(check):
    with pytest.raises(UnseenError):
        check(CPU)


def test_a_graph_that_does_something_else_is_found(monkeypatch):
    small = dataclasses.replace(runs.PLAIN, width=16, heads=2, feed_forward=16)
    monkeypatch.setattr(whole, "cases_of_runs", lambda: [runs.a_run(small, "sgd(lr=0.05)", "softmax", p=3)])
    with PretendedCuda() as gpu:
        assert "1 runs have the same bits" in whole.graphs(torch.device("cuda"))
        assert len(gpu.graphs) == 1
        monkeypatch.setattr(Graph, "replay", lambda graph: None)
        with pytest.raises(FaultError, match="sgd under softmax: recorded as a graph"):
            whole.graphs(torch.device("cuda"))


def test_packs_that_disturb_each_other_are_found(monkeypatch):
    small = dataclasses.replace(runs.PLAIN, width=16, heads=2, feed_forward=16)
    monkeypatch.setattr(bits, "SLOTS", 2)
    monkeypatch.setattr(bits, "cases", lambda: [runs.a_run(small, "sgd(lr=0.05)", "softmax", p=3, batch=4)])
    launch = Pack.launch
    with PretendedCuda():
        assert "1 runs have the same bits while 2 other packs train" in bits.packs(torch.device("cuda"))
        launched = []

        def disturbed(pack):
            """Writes where the one that was launched before it computes."""
            launch(pack)
            for other in launched[-1:]:
                if other is not pack:
                    other._ensemble._weights.flat.mul_(1.001)
            launched.append(pack)

        monkeypatch.setattr(Pack, "launch", disturbed)
        with pytest.raises(FaultError, match="sgd under softmax: a run in one of 3 packs at once differs"):
            bits.packs(torch.device("cuda"))


def test_the_environment_and_the_torch_of_a_verification_are_deterministic(monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")  # so that it is put back
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
    monkeypatch.setattr(bits, "cases", lambda: [runs.a_run(bits.WIDE, "sgd(lr=0.05)", "softmax", p=3)])
    linear, seen = blocks.linear, []
    monkeypatch.setattr(
        transformer, "linear", lambda *x: seen.append(torch.are_deterministic_algorithms_enabled()) or linear(*x)
    )
    with PretendedCuda():
        (finding,) = verify("cuda", {"deterministic": bits.operations})
    assert (finding.status, set(seen)) == ("holds", {True})
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    assert not torch.are_deterministic_algorithms_enabled()
    assert not frame.OURS["deterministic"]


def test_steps_on_a_gpu_that_are_not_a_processors_are_found(monkeypatch):
    case = runs.a_run(bits.WIDE, runs.OPTIMIZERS[0], "softmax", p=3)
    monkeypatch.setattr(whole, "cases_of_runs", lambda: [case])
    with PretendedCuda():
        assert "1 runs have a processor's weights" in whole.kernels(torch.device("cuda"))
        right = adamw.update
        monkeypatch.setattr(
            adamw, "update", lambda w, g, *rest: right(w, g, *rest) or (w.flat.is_cuda and w.flat.mul_(1.01))
        )
        with pytest.raises(FaultError, match="adamw under softmax: after an epoch the weights differ by 1"):
            whole.kernels(torch.device("cuda"))


def test_findings_say_what_was_seen():
    def fault(device):
        raise FaultError("it is off")

    def unseen(device):
        raise UnseenError("there is none")

    def broken(device):
        return 1 / 0

    def machine(device):
        raise MachineError("the disk is gone")

    told: list[Finding] = []
    verify("cpu", {"a": lambda device: str(device), "b": fault, "c": unseen, "d": broken}, told.append)
    assert [(f.name, f.status, f.detail, f.failed) for f in told] == [
        ("a", "holds", "cpu", False),
        ("b", "FAILED", "it is off", True),
        ("c", "not looked at", "there is none", False),
        ("d", "FAILED", "ZeroDivisionError: division by zero", True),
    ]
    with pytest.raises(MachineError):
        verify("cpu", {"a": machine})


@pytest.mark.parametrize("sound", [True, False])
def test_doctor_prints_a_line_a_check_and_exits_by_them(sound, monkeypatch, capsys, tmp_path):
    def one(device):
        if not sound:
            raise FaultError("a planted fault")
        return "all is well"

    monkeypatch.setattr(checks, "CHECKS", {"one": one})
    path = tmp_path / "doctor.json"
    assert cli.main(["doctor", "--verify", "--device", "cpu", "--json", str(path)]) == (0 if sound else 1)
    out = capsys.readouterr().out
    line = next(line for line in out.splitlines() if line.startswith("one"))
    assert ("holds: all is well" if sound else "FAILED: a planted fault") in line
    assert "CUDA was not looked at" in out
    document = json.loads(path.read_text())
    assert document["failed"] == ([] if sound else ["one"])
    assert document["checks"][0]["name"] == "one"
    assert document["machine"]["torch"] == torch.__version__
    assert cli.main(["doctor", "--device", "cpu"]) == 2


@pytest.mark.gpu
def test_this_gpu_proves_itself():
    assert [f for f in verify("cuda") if f.failed] == []
