"""What a question is corrected over does not depend on how it is typed."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations
from typing import Any

import numpy as np
import pytest

from grokbench.claims import Cell, Claim, cells_of, pools_of, presets
from grokbench.options import Options
from grokbench.session import cases
from grokbench.spec import UsageError
from grokbench.spec.registry import parse
from grokbench.stats import sequential


def asked(preset: str, **more: Any) -> Claim:
    claim = cases(Options(preset, **more))[0].claim
    assert isinstance(claim, Claim)
    return claim


def test_a_cell_of_a_larger_preset_has_its_family_by_any_name() -> None:
    by_ci = asked("ci", tasks=("mul",), softmaxes=("softmax",))
    by_smoke = asked("smoke", tasks=("mul(modulus=31)",), softmaxes=("softmax",))
    arm = by_ci.baseline._replace(optimizer=parse("sgd(lr=0.1)"))
    assert by_ci.runs(by_ci.cells[0], arm, 1) == by_smoke.runs(by_smoke.cells[0], arm, 1)
    assert by_ci.family_of(1) == by_smoke.family_of(1) == 21
    assert asked("smoke", softmaxes=("stablemax",)).family_of(1) == 21
    assert asked("smoke", softmaxes=("stablemax",), budget=70).family_of(1) == 21


def test_a_budget_is_that_of_the_runs() -> None:
    claim = asked("smoke", budget=70)
    assert {run.criterion.budget for run in claim.runs(claim.cells[0], claim.baseline, 2)} == {70}
    with pytest.raises(UsageError, match="budget must be at least 1 epoch, not 0"):
        asked("smoke", budget=0)


@pytest.mark.parametrize(
    ("preset", "more", "family", "pools"),
    [
        ("smoke", {}, 1, 1),
        ("ci", {}, 21, 1),
        ("ci", {"family": "selected", "tasks": ("mul", "gcd")}, 6, 1),
        ("ci", {"tasks": ("mul",), "softmaxes": ("softmax",)}, 21, 21),
        ("ci", {"tasks": ("mul", "gcd")}, 21, 127 * 7),
        ("ci", {"tasks": ("add(modulus=13)",), "softmaxes": ("softmax",)}, 1, 1),
        ("ci", {"tasks": ("mul", "add(modulus=13)")}, 24, 255 * 7),
    ],
)
def test_what_cells_and_pools_are_corrected_over(preset: str, more: dict[str, Any], family: int, pools: int) -> None:
    claim = asked(preset, **more)
    assert (claim.family_of(len(claim.cells)), claim.pools) == (family, pools)


def test_the_best_looking_part_of_a_null_is_not_supported_more_often_than_the_level() -> None:
    """All pools that could be typed are looked at, in tables of 4 tasks under 3 softmaxes without any effect."""
    cells = cells_of(presets.PRESETS["ci"], ("add", "sub", "mul", "gcd"))
    tasks, softmaxes = ({getattr(cell, kind) for cell in cells} for kind in Cell._fields)
    parts = [
        [i for i, cell in enumerate(cells) if cell.task in ts and cell.softmax in ss]
        for ts in subsets(tasks)
        for ss in subsets(softmaxes)
    ]
    factors = [pools_of([cells[i] for i in part], cells) for part in parts]
    assert max(factors) == len(parts) == 15 * 7
    rng, found = np.random.default_rng(0), 0
    for _ in range(60):
        gaps = rng.normal(0, 0.3, (len(cells), 12))
        found += any(
            sequential.p_value(gaps[part].mean(0)) * factor <= 0.05 for part, factor in zip(parts, factors, strict=True)
        )
    assert found <= 6  # 7 or more happen with a probability of 3 % at a rate of 0.05


def subsets(things: Iterable[Any]) -> list[tuple[Any, ...]]:
    """All that are not empty."""
    found = tuple(things)
    return [some for n in range(1, len(found) + 1) for some in combinations(found, n)]
