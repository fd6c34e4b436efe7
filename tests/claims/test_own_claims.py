"""Claims and presets of one's own module."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from tiny import PRESET

from grokbench.claims import Arm, Claim, Setup, cells_of, presets
from grokbench.options import Options
from grokbench.session import cases
from grokbench.spec import ModuleSpec, UsageError
from grokbench.spec.registry import parse

ME = __name__
MINE = replace(PRESET, name="something")
SETUP = Setup(MINE, cells_of(MINE), None, sequential=True)


def small(replicas: int = 2) -> presets.Preset:
    return replace(PRESET, replicas=replicas, tasks=PRESET.tasks[:1])


def slower(setup: Setup, rate: float = 0.001) -> Claim:
    arms = (Arm("fast", parse("sgd(lr=0.1)")), Arm("slow", parse(f"sgd(lr={rate})")))
    return setup.claim("slower", "a lower rate is later", "chosen here", arms[1], arms[0], asserted=True)


def both(setup: Setup) -> list[Claim]:
    return [slower(setup), slower(setup, 0.01)]


ONE = slower(SETUP)
TWO = both(SETUP)


def wrong(setup: Setup) -> str:
    return "never"


def fails(setup: Setup) -> Claim:
    raise KeyError("cell")


@pytest.mark.parametrize(
    ("text", "count"), [("slower", 1), ("slower(rate=0.01)", 1), ("both", 2), ("ONE", 1), ("TWO", 2)]
)
def test_claims_of_ones_own_are_asked_like_a_papers(text: str, count: int) -> None:
    found = cases(Options(preset=f"{ME}:MINE", claims=(f"{ME}:{text}",)))
    assert len({case.claim for case in found}) == count
    assert len(found) == count * 5  # in each of four cells, and pooled
    assert all(case.claim.asserted for case in found)


def test_claims_of_ones_own_are_narrowed_by_the_cells_that_are_chosen() -> None:
    found = cases(Options(preset=f"{ME}:MINE", claims=(f"{ME}:slower",), tasks=("gcd",), softmaxes=("softmax",)))
    assert [case.id for case in found] == ["slower-gcd-softmax", "slower-pooled"]


def test_a_preset_is_an_object_or_made_from_its_settings() -> None:
    assert presets.get(f"{ME}:MINE") == replace(PRESET, name=f"{ME}:MINE")
    found = presets.get(f"{ME}:small( replicas=3 )")
    assert (found.name, found.replicas, len(found.tasks)) == (f"{ME}:small(replicas=3)", 3, 1)
    assert presets.get(found.name) == found
    assert isinstance(presets.get(found.name, "mlp").model, ModuleSpec)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"preset": "huge"}, "unknown preset 'huge': choose from smoke, ci, paper, "),
        ({"preset": f"{ME}:SETUP"}, f"the preset {ME}:SETUP is Setup("),
        (
            {"preset": f"{ME}:small(size=1)"},
            f"the preset {ME}:small(size=1) failed: TypeError: small() got an unexpected",
        ),
        ({"preset": f"{ME}:GONE"}, f"cannot import the preset '{ME}:GONE': AttributeError"),
        ({"claims": ("mine2020",)}, "unknown paper 'mine2020': choose from tveit2025, "),
        ({"claims": (f"{ME}:wrong",)}, f"the claim {ME}:wrong is 'never', not a Claim or a list of them"),
        ({"claims": (f"{ME}:fails",)}, f"the claim {ME}:fails failed: KeyError: 'cell' (test_own_claims.py, line "),
        ({"claims": (f"{ME}:ME",)}, f"the claim {ME}:ME is '{ME}', not a Claim or a list of them"),
    ],
)
def test_what_is_none_is_one_line(options: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        cases(Options(**options))  # type: ignore[arg-type]
