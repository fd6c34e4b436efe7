"""Softmaxes that are plugged in by name: how they train, and what is checked of them."""

from __future__ import annotations

import dataclasses
import re
from types import SimpleNamespace

import pytest
import torch
from ensembles import CPU, TINY, a_run, ensemble_of, seldom_pretended, state
from torch import Tensor

from grokbench.conformance import CheckOutcome, kinds
from grokbench.softmaxes import named, softmax, softmax_loss
from grokbench.softmaxes.plugged import stacked
from grokbench.spec import SOFTMAXES, RunSpec, UsageError
from grokbench.spec.softmax import softmax as written

ME = __name__
OURS = SimpleNamespace(probabilities=softmax, loss=softmax_loss)


class Tempered:
    """Softmax at another temperature."""

    grokbench_invariant = True

    def __init__(self, temperature: float = 1.0) -> None:
        self.temperature = temperature

    def probabilities(self, z: Tensor) -> Tensor:
        return (z / self.temperature).softmax(-1)

    def loss(self, z: Tensor, labels: Tensor) -> Tensor:
        return -(z / self.temperature).log_softmax(-1).gather(-1, labels[..., None])[..., 0]


class RowsOnly(Tempered):
    """Takes (N, C) alone."""

    def loss(self, z: Tensor, labels: Tensor) -> Tensor:
        rows, _ = z.shape
        return super().loss(z.view(rows, -1), labels)


class Mixes(Tempered):
    """Centres its scores over everything it is given."""

    def loss(self, z: Tensor, labels: Tensor) -> Tensor:
        return super().loss(z / (1 + z.detach().abs().mean()), labels)


class Draws(Tempered):
    def loss(self, z: Tensor, labels: Tensor) -> Tensor:
        return super().loss(z + torch.rand(z.shape).to(z), labels)


class Overflows(Tempered):
    def loss(self, z: Tensor, labels: Tensor) -> Tensor:
        return -self.probabilities(z).gather(-1, labels[..., None])[..., 0].log()


class Slanted(Tempered):
    def probabilities(self, z: Tensor) -> Tensor:
        return z.sigmoid()


class Moves(Tempered):
    grokbench_invariant = True

    def probabilities(self, z: Tensor) -> Tensor:
        return (z.sign() * (1 + z.abs()).log()).softmax(-1)


class Detached(Tempered):
    def loss(self, z: Tensor, labels: Tensor) -> Tensor:
        return super().loss(z, labels) + z.detach().sum(-1) - (z - z.detach()).sum(-1)


class Rises(Tempered):
    def loss(self, z: Tensor, labels: Tensor) -> Tensor:
        return -super().loss(z, labels)


class Reversed(Tempered):
    def probabilities(self, z: Tensor) -> Tensor:
        return (-z).softmax(-1)


class Raises(Tempered):
    def loss(self, z: Tensor, labels: Tensor) -> Tensor:
        raise KeyError("z")


class Sums(Tempered):
    def loss(self, z: Tensor, labels: Tensor) -> Tensor:
        return super().loss(z, labels).sum()


class Sets(Tempered):
    def loss(self, z: Tensor, labels: Tensor) -> Tensor:
        torch.set_default_dtype(torch.float64)
        return super().loss(z, labels)


class Half:
    def probabilities(self, z: Tensor) -> Tensor:
        return z


def plugged(name: str, **changes: object) -> RunSpec:
    return dataclasses.replace(a_run(), softmax=f"{ME}:{name}", **changes)  # type: ignore[arg-type]


def trained(*runs: RunSpec, epochs: int = 2, device: torch.device = CPU, slots: int | None = None) -> list[Tensor]:
    ensemble = ensemble_of(runs, device, slots)
    for _ in range(epochs):
        ensemble.epoch()
    return [state(ensemble, slot) for slot in range(len(runs))]


@seldom_pretended
def test_our_own_functions_plugged_in_train_alike(device: torch.device) -> None:
    run = a_run(TINY, p=5)
    ours, theirs = (trained(r, device=device)[0] for r in (run, dataclasses.replace(run, softmax=f"{ME}:OURS")))
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize(
    ("name", "at_once"), [("Tempered", True), ("RowsOnly", False), ("Mixes", False), ("Draws", False)]
)
@seldom_pretended
def test_bits_do_not_depend_on_the_company(name: str, at_once: bool, device: torch.device) -> None:
    assert stacked(f"{ME}:{name}", 11) == at_once
    runs = [plugged(name, replica=r, model=TINY) for r in range(3)]
    slots = 3 if device.type == "cuda" else None
    together = trained(*runs, device=device)
    assert torch.equal(trained(runs[1], device=device, slots=slots)[0], together[1])
    assert torch.equal(trained(runs[2], runs[1], device=device, slots=slots)[1], together[1])


def test_settings_reach_it_and_are_part_of_the_run() -> None:
    cold, warm = (plugged(f"Tempered( temperature={t})") for t in (0.5, 2))
    assert cold.softmax == f"{ME}:Tempered(temperature=0.5)"
    assert cold.softmax_source == warm.softmax_source
    assert cold.digest != warm.digest
    assert cold.key == warm.key == a_run().key  # paired
    assert not torch.equal(*trained(cold), *trained(warm))
    assert RunSpec.from_json(cold.to_json()) == cold


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("softmax(t=1)", "softmax takes no settings, and not t"),
        ("hardmax", "unknown softmax 'hardmax': choose from softmax, stablemax, sparsemax, package.module:Attribute"),
        (f"{ME}:Absent", f"cannot import the softmax '{ME}:Absent': AttributeError"),
        (f"{ME}:Half", f"the softmax {ME}:Half is a Half without `probabilities` and `loss`"),
        (f"{ME}:Tempered(t=1)", f"the softmax {ME}:Tempered(t=1) could not be made: TypeError: "),
        (f"{ME}:OURS(t=1)", f"the softmax {ME}:OURS takes no settings, and not t"),
        (f"{ME}:ME", f"the softmax '{ME}:ME' is neither a class nor a function, nor has it `probabilities` and `loss`"),
        (f"{ME}:Raises", f"the softmax {ME}:Raises failed: KeyError: 'z' (test_plugged.py, line "),
        (f"{ME}:Sums", f"the softmax {ME}:Sums gave a result of shape (), not of shape (32,)"),
        (f"{ME}:Sets", f"the softmax {ME}:Sets changed torch's global settings: dtype from torch.float32 to"),
    ],
)
def test_what_is_wrong_with_it_is_one_line(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        trained(dataclasses.replace(a_run(), softmax=text))
    assert torch.get_default_dtype() is torch.float32


def outcomes(text: str) -> dict[str, CheckOutcome]:
    return {found.check: found.outcome for found in kinds.conformance("softmax", text)}


@pytest.mark.parametrize("text", [*SOFTMAXES, f"{ME}:Tempered(temperature=0.5)", f"{ME}:RowsOnly"])
def test_sound_ones_conform(text: str) -> None:
    assert CheckOutcome.BREAKS not in outcomes(written(text)).values()


@pytest.mark.parametrize(
    ("name", "breaks"),
    [
        ("Slanted", {"simplex"}),
        ("Overflows", {"finite"}),
        ("Moves", {"shifts"}),
        ("Detached", {"gradient"}),
        ("Rises", {"falls"}),
        ("Reversed", {"order"}),
        ("Raises", {"gradient", "falls", "finite", "deterministic", "batched"}),
    ],
)
def test_each_fault_is_found(name: str, breaks: set[str]) -> None:
    found = outcomes(f"{ME}:{name}")
    assert breaks <= {check for check, outcome in found.items() if outcome is CheckOutcome.BREAKS}


def test_a_softmax_that_is_built_in_is_left_as_it_is() -> None:
    assert named("softmax").loss is softmax_loss
    assert a_run().softmax_source is None
