"""Published times in tests/data, judged to the values that its README has, and the guide's page on them."""

from __future__ import annotations

import io
import re
import shlex
from typing import Any

import pytest
from documents import PAGES, ROOT

from grokbench import cli
from grokbench.verdicts.reading import read
from grokbench.verdicts.table import judge
from grokbench.verdicts.verdict import Status

DATA = ROOT / "tests" / "data"
PAGE = PAGES["other-peoples-data"]
SHOWN = re.findall(r"```sh\n(.*?)\n```\n\n```text\n(.*?)```", PAGE, re.S)


def test_a_ceiling_on_muons_norm() -> None:
    verdicts = judge(DATA / "norm_ceiling.csv", "kinf").verdicts
    by = {(v.arms[1], v.cell): v for v in verdicts}
    medians = {arm: by[arm, "S5"].median[arm] for arm in ("k1", "k1p5", "k2", "k3")}
    assert medians == {"k1": 325, "k1p5": 325, "k2": 425, "k3": 575}
    assert by["k1", "S5"].median["kinf"] == 3525
    assert all(by[arm, "add"].median == {arm: 100, "kinf": 100} for arm in medians)
    assert by["k1", "S5"].p == 1 / 256
    assert by["k1", "S5"].p_adjusted == 8 / 256
    assert by["k1", None].blocks == 8


def test_muon_against_adamw_after_grokking() -> None:
    rows = [row for row in read(DATA / "post_grokking_collapse.csv") if row.arm in ("adamw_stable", "muon")]
    (v,) = judge(rows, "adamw_stable").verdicts
    assert v.p == 0.09375
    assert v.status is Status.INCONCLUSIVE
    assert [row.time for row in rows if row.arm == "muon"] == [5400, 5300, 5400, 5400, 5400]
    lines = (DATA / "post_grokking_collapse.csv").read_text().splitlines()
    text = "\n".join(line for line in lines if "unstable" not in line and "stable_muon" not in line)
    (below,) = judge(io.StringIO(text), "adamw_stable", value="evaluations_below", better="higher").verdicts
    assert below.p == 1 / 32
    assert below.difference == pytest.approx((216 + 137 + 321 + 167 + 279 - 1 - 2 - 2 - 1) / 5)


@pytest.mark.parametrize(("command", "expected"), SHOWN, ids=range(len(SHOWN)))
def test_the_page_shows_what_its_commands_print(command: str, expected: str, capsys: Any, monkeypatch: Any) -> None:
    monkeypatch.chdir(ROOT)
    first, _, judged = command.rpartition(" | ")
    if first:
        _, without, path = shlex.split(first.removeprefix("grep "))
        text = "".join(line for line in (ROOT / path).read_text().splitlines(True) if without not in line)
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    cli.main(shlex.split(judged)[1:])
    assert capsys.readouterr().out == expected


def test_the_page_has_all_its_commands() -> None:
    assert len(SHOWN) == PAGE.count("```sh") == 3
