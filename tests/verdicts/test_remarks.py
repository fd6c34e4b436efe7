"""What stands above the tables of anyone's times: unlike evaluations, what p is corrected over, what can decide."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pytest

from grokbench import cli
from grokbench.report import judged as report
from grokbench.verdicts.reading import Row
from grokbench.verdicts.remarks import grids
from grokbench.verdicts.table import Judged, judge
from grokbench.verdicts.verdict import Status


def runs(arm: str, times: Sequence[float], cell: str = "add", start: int = 0) -> list[Row]:
    return [Row(i + 2, cell, arm, str(i + start), time, True) for i, time in enumerate(times)]


def test_arms_that_seem_to_be_evaluated_unlike_often_are_said_with_the_remedy() -> None:
    """A public pair of a speed-run: every 25 steps against every 125."""
    rows = runs("fine", [3200, 3225, 3225, 3250, 3200]) + runs("coarse", [3250, 3250, 3250, 3375, 3250])
    (line,) = grids(rows, "fine")
    assert "times of fine are multiples of 25; times of coarse are multiples of 125" in line
    assert "--every STEP" in line
    assert "'before'" in line
    assert judge(rows).remarks[0] == line
    assert judge(rows).verdicts[0].p_reverse < 0.2
    assert not any("unlike" in remark for remark in judge(rows, every=125).remarks)
    assert judge(rows, every=125).verdicts[0].p_reverse == 0.5, "one pair alone is no tie"
    told = [row._replace(before=row.time - (125 if row.arm == "coarse" else 25)) for row in rows]
    assert grids(told, "fine") == []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([300, 310, 290], [100, 110, 120]),
        ([2225, 3425, 9300], [75, 75, 75]),  # a few times are on a coarser grid by luck
        ([0.25, 0.5, 1.25], [1.5, 0.75, 2.0]),
        ([6157.4762, 5314.8639], [5000.2468, 4000.1234]),  # seconds
    ],
)
def test_alike_grids_and_luck_are_not_said(one: list[float], other: list[float]) -> None:
    assert grids(runs("a", one) + runs("b", other), "a") == []


def null_file(rng: np.random.Generator, arms: int = 11, replicas: int = 8) -> Judged:
    return judge([row for arm in range(arms) for row in runs(f"arm{arm}", rng.integers(100, 900, replicas).tolist())])


def test_many_arms_are_one_family() -> None:
    """Ten arms that are no different: each at its own level, most files decide something."""
    rng = np.random.default_rng(0)
    decided = alone = 0
    for _ in range(24):
        judged = null_file(rng)
        decided += any(v.status is not Status.INCONCLUSIVE for v in judged.verdicts)
        alone += any(min(v.p, v.p_reverse) <= v.level for v in judged.verdicts)
    assert alone > 8
    assert decided <= 7, "two sides of 5 % each, and chance"


def test_the_family_is_said_and_can_be_chosen(tmp_path, capsys) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "times.csv"
    six = (200, 220, 240, 260, 280, 300)
    lines = [f"{arm},{i},{t // k}" for k, arm in enumerate(("adamw", "muon", "sgd"), 1) for i, t in enumerate(six)]
    path.write_text("arm,seed,time\n" + "\n".join(lines))
    assert cli.main(["judge", str(path), "--json", str(tmp_path / "out.json")]) == 0
    assert (
        "p is corrected over the 2 comparisons of this file (2 arms; Holm); --family selected"
        in capsys.readouterr().out
    )
    document = json.loads((tmp_path / "out.json").read_text())
    assert document["family"] == "file"
    assert [(v["corrected_over"], v["p_adjusted"]) for v in document["verdicts"]] == [(2, 2 / 64), (2, 2 / 64)]
    assert cli.main(["judge", str(path), "--family", "selected", "--json", str(tmp_path / "out.json")]) == 0
    assert "corrected over the cells of each arm alone (--family selected)" in capsys.readouterr().out
    document = json.loads((tmp_path / "out.json").read_text())
    assert [(v["corrected_over"], v["p_adjusted"]) for v in document["verdicts"]] == [(1, 1 / 64), (1, 1 / 64)]
    assert cli.main(["judge", str(path), "--family", "all"]) == 2
    assert "unknown family 'all': choose from file, selected" in capsys.readouterr().err


def test_blocks_are_counted_and_it_is_said_what_they_can_decide() -> None:
    """Five seeds in six groups: 30 of 30 wins are five blocks, or thirty."""
    rows = [
        row
        for g in range(6)
        for row in runs("adamw", range(200, 250, 10), f"g{g}") + runs("muon", range(100, 125, 5), f"g{g}")
    ]
    judged = judge(rows)
    assert judged.verdicts[-1].p == 1 / 32
    assert judged.verdicts[-1].blocks == 5
    assert judged.remarks[-1] == (
        "muon against adamw: 30 pairs in 6 cells, 5 independent blocks (replicas of one number count once; "
        "--blocks cell if they share nothing across cells). Over all cells they can decide: the smallest possible p is "
        "1/32; no cell alone can ever decide: the smallest possible p is 0.19 after correction over 6"
    )
    apart = judge(rows, blocks="cell")
    assert (apart.verdicts[-1].p, apart.verdicts[-1].blocks) == (2.0**-30, 30)
    assert "30 pairs in 6 cells, 30 independent blocks (--blocks cell)" in apart.remarks[-1]


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ((1, 5), "5 runs against 1 can never decide: the smallest possible p is 1/6"),
        ((5, 1), "1 run against 5 can never decide: the smallest possible p is 1/6"),
        ((3, 3), "3 runs against 3 can decide: the smallest possible p is 1/20"),
    ],
)
def test_unpaired_runs_that_can_never_decide_are_told_so(sizes: tuple[int, int], said: str) -> None:
    rows = runs("adamw", range(300, 300 + sizes[0])) + runs("muon", range(100, 100 + sizes[1]))
    judged = judge(rows, paired=False)
    assert judged.remarks == [f"muon against adamw: {said}"]
    assert judged.verdicts[0].least == pytest.approx(judged.verdicts[0].p)
    if 1 in sizes:
        assert "cannot decide: the smallest possible adjusted p is 0.17" in judged.verdicts[0].reason


def test_unpaired_runs_are_told_how_many_more() -> None:
    rows = runs("adamw", [300, 400, 200, 350, 250]) + runs("muon", [290, 200, 180, 250, 310])
    (v,) = judge(rows, paired=False).verdicts
    assert v.status is Status.INCONCLUSIVE
    assert v.more
    assert f"about {v.more} more in each arm would decide" in v.reason


LONG = [f"muon(lr={lr}, momentum=0.95, weight_decay={wd})" for lr in (0.02, 0.04) for wd in (0.1, 0.3)]


def test_long_names_show_what_differs_and_nothing_is_folded_or_cut() -> None:
    six = (200, 220, 240, 260, 280, 300)
    rows = [row for k, arm in enumerate(LONG, 1) for row in runs(arm, [t // k for t in six])]
    text = report.text(judge(rows), 80)
    assert "all arms: muon momentum=0.95" in text
    for own in ("lr=0.02 weight_decay=0.3", "lr=0.04 weight_decay=0.1", "lr=0.04 weight_decay=0.3"):
        assert any(line.strip().startswith(own) and line.endswith("supported: earlier") for line in text.splitlines())
    assert "softmax" not in text
    assert "sustained" not in text


def test_a_narrow_terminal_has_fewer_columns_and_no_broken_words() -> None:
    rows = runs("the_first_optimizer", [200] * 6) + runs("the_second_optimizer", range(100, 106))
    wide, narrow = (report.text(judge(rows), width, color=True) for width in (120, 60))
    assert "median" in wide
    assert "(too narrow for: " in narrow
    assert "median" not in narrow.partition("(too narrow for: ")[0]
    assert "supported: earlier" in narrow
