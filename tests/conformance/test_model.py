"""What is checked of a model: sound ones, and a planted fault for each check."""

from __future__ import annotations

import pytest
import torch
from modules import Plain
from torch import Tensor, nn

from grokbench import cli
from grokbench.conformance import CheckOutcome, kinds

ME = __name__


class Idle(Plain):
    """Has a parameter that nothing uses."""

    def __init__(self, *sizes: int) -> None:
        super().__init__(*sizes)
        self.idle = nn.Parameter(torch.ones(3))


class Counts(Plain):
    """Remembers, across all modules, how often it was called."""

    calls = 0

    def forward(self, tokens: Tensor) -> Tensor:
        type(self).calls += 1
        return super().forward(tokens) * (1 + type(self).calls / 100)


class Shares(Plain):
    """Every module adds to one buffer."""

    seen = torch.zeros(())

    def __init__(self, *sizes: int) -> None:
        super().__init__(*sizes)
        Shares.seen = torch.zeros(())

    def forward(self, tokens: Tensor) -> Tensor:
        if self.training:
            Shares.seen += 1
        return super().forward(tokens) * (1 + Shares.seen / 100)


class Traces(Plain):
    """Its evaluation changes its buffers."""

    def forward(self, tokens: Tensor) -> Tensor:
        self.norm.running_mean += 0.1  # type: ignore[operator]
        return super().forward(tokens) + self.norm.running_mean.sum()  # type: ignore[union-attr, operator]


@pytest.mark.parametrize(
    ("text", "breaks"),
    [
        ("transformer", None),
        ("mlp(width=16)", None),
        ("modules:Plain", None),
        (f"{ME}:Idle", "trains"),
        (f"{ME}:Counts", "deterministic"),
        (f"{ME}:Shares", "independent"),
        (f"{ME}:Traces", "evaluation"),
        ("modules:PerToken", "model"),
    ],
)
def test_a_model_is_what_its_checks_say(text: str, breaks: str | None) -> None:
    found = [f.check for f in kinds.conformance("model", text) if f.outcome is CheckOutcome.BREAKS]
    assert (breaks in found) if breaks else not found


def test_the_command_checks_every_kind(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", "--task", "sparse_parity(n=4)", "--softmax", "softmax", "--model", "mlp(width=16)"]) == 0
    out = capsys.readouterr().out
    assert "3 of 3 conform" in out
    assert cli.main(["check", "--model", "modules:PerToken"]) == 1
    assert cli.main(["check"]) == 2
    assert "check needs an optimizer, or one of --task, --softmax, --model" in capsys.readouterr().err
