"""Tables and sentences fit their terminal: columns go by importance, words stay whole, and HTML has everything."""

from __future__ import annotations

import dataclasses
import io

import pytest
from judged import ADD, EARLIER, FOUR, LATER, MIXED, claim, judge, pool, runs_of
from rich.text import Text

from grokbench.claims import Claim
from grokbench.report import layout, terminal
from grokbench.report.layout import Column, Grid, html, text, width_of
from grokbench.verdicts.verdict import Verdict

GRID = Grid(
    [
        Column("name", right=False),
        Column("much\nless", drop=2),
        Column("less", drop=1),
        Column("said", False, wrap=True),
    ],
    [("alpha", "1", "22", "two words"), ("beta", "3", "44", Text("<one>", "red"))],
    "A table",
    frozenset({1}),
)


def found(asked: Claim, times: dict, *, alone: bool = False) -> tuple[list[Verdict], list]:
    """Verdicts and runs of made-up times. alone: each cell is judged as if it were the only one."""
    runs = runs_of(asked, times)
    records = {run.digest: record for run, _, record in runs}
    claims = [dataclasses.replace(asked, cells=(cell,)) for cell in times] if alone else [asked]
    whole = pool(asked, list(times), records)
    return [v for own in claims for v in judge(own, own.cells, records)] + ([whole] if whole else []), runs


@pytest.mark.parametrize(
    ("width", "shown"),
    [(None, "name less less said"), (40, "name less less said"), (22, "name less said"), (17, "name said")],
)
def test_columns_go_by_importance(width: int | None, shown: str) -> None:
    lines = text([GRID], width).splitlines()
    (heads,) = [line for line in lines if line.startswith(" name")]
    assert heads.split() == shown.split()
    assert all(len(line) <= (width or layout.WIDTH) for line in lines)
    assert any("alpha" in line and "two" in line for line in lines)
    assert ("(too narrow for:" in " ".join(lines)) == (len(shown.split()) < 4)


@pytest.mark.parametrize("width", [50, 64, 80, 100, 112, 140])
def test_a_report_is_whole_at_any_width(width: int) -> None:
    verdicts, runs = found(claim(FOUR), dict(zip(FOUR, (EARLIER, LATER, MIXED, EARLIER), strict=True)), alone=True)
    out = terminal.text(verdicts, runs, width)
    assert max(map(len, out.splitlines())) <= width
    assert out.count("supported: earlier") == 2
    assert ("sustained" in out.partition("pooled")[0]) == (width >= 112)
    words = set(" ".join(terminal.text(verdicts, runs, None).split()).split())
    assert not {word for word in out.partition("\n\n")[0].split() if word not in words}  # none is broken


def test_long_names_of_arms_take_no_column(monkeypatch: pytest.MonkeyPatch) -> None:
    verdicts, _ = found(claim(), {ADD: EARLIER})
    monkeypatch.setattr(terminal, "LABEL", 4)
    assert "baseline  candidate" in terminal.tables(verdicts, None)


@pytest.mark.parametrize(
    ("times", "said"),
    [
        (
            EARLIER,
            "Yes: muon groks earlier than adamw, at 0.50 times the epochs, by 6 pairs of",
        ),
        (
            LATER,
            "No, the reverse: muon is later than adamw, at 2.00 times the epochs, by 6",
        ),
        (MIXED, "Not decided: 6 pairs of runs do not show whether muon groks earlier than adamw."),
        (([100], [50]), "Not decided: 1 pair of runs does not show whether muon groks earlier than adamw."),
    ],
)
def test_the_answer_stands_first(times: tuple, said: str) -> None:
    verdicts, runs = found(claim(replicas=len(times[0])), {ADD: times})
    assert terminal.text(verdicts, runs, None).startswith(said)


def test_cells_are_counted() -> None:
    verdicts, _ = found(claim(FOUR), dict(zip(FOUR, (EARLIER, LATER, MIXED, EARLIER), strict=True)), alone=True)
    assert str(terminal.answers(verdicts)[0]).endswith(
        "Of 4 cells, 2 are supported, 1 is refuted and 1 is inconclusive."
    )


def test_colour_is_for_terminals_alone() -> None:
    verdicts, runs = found(claim(), {ADD: EARLIER})
    assert "\x1b" not in terminal.text(verdicts, runs, 80)
    assert "\x1b" in terminal.text(verdicts, runs, 80, color=True)


def test_columns_of_the_user_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    class Screen(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("COLUMNS", "73")
    assert width_of(io.StringIO()) == width_of(Screen()) == 73
    monkeypatch.setenv("COLUMNS", "many")
    assert width_of(io.StringIO()) is None
    monkeypatch.delenv("COLUMNS")
    assert width_of(Screen()) == 80


def test_html_has_all_columns_and_is_escaped() -> None:
    found = html(["a < b", "", GRID])
    assert found.startswith("<p>a &lt; b</p>\n<table")
    assert found.count("<th ") == 4
    assert found.count("<td ") == 8
    assert "much<br>less" in found
    assert '<span style="color: #d9363e; ">&lt;one&gt;</span>' in found
    assert found.count("border-top") == 1
