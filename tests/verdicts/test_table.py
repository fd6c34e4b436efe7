"""Verdicts on times from a file: the same as on records, and clear about what cannot be judged."""

from __future__ import annotations

import contextlib
import io
import json
import math
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grokbench import cli
from grokbench.spec import UsageError
from grokbench.stats import permutation
from grokbench.verdicts.reading import Row, read
from grokbench.verdicts.table import judge
from grokbench.verdicts.verdict import Status

HEADER = "cell,arm,replica,time,event\n"
SIX = (200, 220, 240, 260, 280, 300)


def verdicts_of(made, baseline, **asked):
    return judge(made, baseline, **asked).verdicts


def rows(cell="add", baseline=SIX, candidate=tuple(t // 2 for t in SIX), budget=1000):
    made = []
    for arm, times in (("adamw", baseline), ("mine", candidate)):
        for replica, time in enumerate(times):
            made.append(Row(len(made) + 2, cell, arm, str(replica), time or budget, time is not None))
    return made


def write(path, made):
    lines = [f"{r.cell},{r.arm},{r.replica},{r.time},{int(r.event)}\n" for r in made]
    path.write_text(HEADER + "".join(lines))
    return str(path)


def test_one_cell_is_judged_by_sign_flips():
    (v,) = verdicts_of(rows(), None)
    assert (v.status, v.p, v.pairs, v.cell) == (Status.SUPPORTED, 1 / 64, 6, "add")
    assert v.ratio == pytest.approx(0.5)
    assert v.median == {"adamw": 250, "mine": 125}
    assert v.sustained is None
    (w,) = verdicts_of(rows(), "mine")
    assert (w.status, w.arms) == (Status.REFUTED, ("mine", "adamw"))


def test_the_order_of_rows_does_not_matter():
    made = rows(candidate=(90, 400, 100, 110, 120, 130))
    assert verdicts_of(made, "adamw") == verdicts_of(made[::-1], "adamw")


def test_censored_runs_lose_to_others_and_tie_with_each_other():
    (v,) = verdicts_of(rows(candidate=(None, 110, 120, 130, 140, None)), None)
    expected = permutation.sign_flip(
        np.log(np.array([1000, 110, 120, 130, 140, 1000.0])) - np.log(np.array(SIX, float)), np.random.default_rng(0)
    )
    assert (v.p, v.p_reverse) == expected
    assert v.grokked == {"adamw": 6, "mine": 4}
    (tied,) = verdicts_of(rows(baseline=[None] * 6, candidate=[None] * 6), None)
    assert (tied.p, tied.p_reverse, tied.ratio, tied.interval) == (1.0, 1.0, None, None)
    assert tied.reason == "no run reached it: raise the budget, unless they diverged"
    (last,) = verdicts_of(rows(baseline=[None] * 6, candidate=[1000] * 6), None)
    assert last.status is Status.SUPPORTED, "reached in the last epoch is earlier than never"


def test_several_cells_are_corrected_and_pooled_by_replica():
    made = rows("a") + rows("b") + rows("c", SIX, SIX)
    *cells, pooled = verdicts_of(made, None)
    assert [v.p_adjusted for v in cells] == [3 / 64, 3 / 64, 1.0]
    assert (pooled.cell, pooled.pairs, pooled.p) == (None, 18, 1 / 64), "one block a replica, not eighteen"


def test_sequential_verdicts_on_pairs_in_their_order():
    (v,) = verdicts_of(rows(), None, sequential=True)
    assert v.question.sequential
    assert v.status is Status.SUPPORTED
    assert v.p > 1 / 64


def test_unpaired_arms_may_differ_in_size():
    made = rows(baseline=(*SIX, 310, 320), candidate=(100, 110, 120, 130, 140))
    (v,) = verdicts_of(made, None, paired=False)
    assert v.status is Status.SUPPORTED
    assert v.p == pytest.approx(1 / 1287, abs=5e-4), "one permutation of 13 over 5 is as extreme"
    assert v.interval == pytest.approx((0.374, 0.544), abs=1e-3), "Welch's"
    assert v.rate is None
    assert v.runs == {"adamw": 8, "mine": 5}


def test_no_name_of_an_arm_moves_a_number():
    three = [
        Row(i, "add", arm, str(i), time, True)
        for i, (arm, time) in enumerate(
            [("adamw", 300), ("adamw", 310), ("adamw", 290), ("mine", 100), ("mine", 110), ("mine", 120)]
        )
    ]
    (v,) = verdicts_of(three, "adamw", paired=False)
    assert (v.p, v.status) == (1 / 20, Status.SUPPORTED)
    made = rows(baseline=SIX * 7, candidate=(90, 400, 100, 410, 420, 130, 270) * 6)  # too many to enumerate
    renamed = [row._replace(arm=row.arm.upper(), cell="Other") for row in made]
    for paired in (True, False):
        (one,), (other,) = (verdicts_of(each, None, paired=paired) for each in (made, renamed))
        assert (one.p, one.p_reverse, one.interval) == (other.p, other.p_reverse, other.interval)


def test_replicas_are_matched_by_their_number_in_every_cell():
    """The first cell has replicas 0 to 5, the second 1 to 6: seven streams, of which five are in both."""
    shifted = [r._replace(replica=str(int(r.replica) + 1)) for r in rows("b")]
    *_, pooled = verdicts_of(rows("a") + shifted, None)
    assert (pooled.pairs, pooled.p) == (12, 1 / 128)
    aligned = [r._replace(replica="9" * 30 + r.replica) for r in rows("b")]
    assert verdicts_of(rows("a") + aligned, None)[-1].p == 2.0**-12


def test_three_arms_of_which_one_has_a_cell_alone():
    third = [r._replace(arm="third") for r in rows("b") if r.arm == "mine"]
    with pytest.raises(UsageError, match="the arms adamw and third have no cell in common"):
        verdicts_of(rows("a") + third, None)
    both = rows("a") + [r._replace(arm="third") for r in rows("a") if r.arm == "mine"]
    assert [v.arms[1] for v in verdicts_of(both, None)] == ["mine", "third"]


def test_names_are_shown_as_they_are(tmp_path, capsys):
    named = [
        r._replace(arm="muon [/b] [red]", cell="[i]") if r.arm == "mine" else r._replace(cell="[i]") for r in rows()
    ]
    assert cli.main(["judge", write(tmp_path / "t.csv", named)]) == 0
    assert "Does muon [/b] [red] grok earlier" in capsys.readouterr().out


def test_early_stopping_does_not_turn_losses_into_support():
    late = rows(baseline=(100,) * 20, candidate=tuple(200 + i for i in range(20)))
    (v,) = verdicts_of(late, None, sequential=True)
    assert v.status is Status.REFUTED
    turned = rows(baseline=(100,) * 36, candidate=(50,) * 6 + (200,) * 30)
    (w,) = verdicts_of(turned, None, sequential=True)
    assert w.status is Status.REFUTED
    assert w.p <= 0.05


def test_the_command_prints_tables_and_json(tmp_path, capsys):
    path = write(tmp_path / "times.csv", rows("a") + rows("b"))
    assert cli.main(["judge", path]) == 0
    out, _ = capsys.readouterr()
    assert "Does mine grok earlier than adamw?" in out
    assert out.count("supported: earlier") == 3
    assert cli.main(["judge", path, "--baseline", "mine", "--json", "-"]) == 1
    document = json.loads(capsys.readouterr()[0])
    assert [v["cell"] for v in document["verdicts"]] == ["a", "b", None]
    assert document["runs"] == []
    few = write(tmp_path / "few.csv", rows(baseline=SIX[:2], candidate=SIX[1:3]))
    assert cli.main(["judge", few]) == 0
    assert cli.main(["judge", few, "--strict"]) == 3


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("a,x,0,5,1\na,x,0,6,1\na,y,0,5,1", "line 3: replica 0 of x in a is there already, in line 2"),
        ("a,x,0,5,1\na,x,1,5,1\na,y,0,5,1", "line 3: replica 1 of x in a has no partner of y; --unpaired"),
        ("a,x,0,5,1\na,y,1,5,1", "line 2: replica 0 of x in a has no partner of y"),
        ("a,x,0,-5,1\na,y,0,5,1", "line 2: time must be above 0 and at most 1e.15, not '-5'"),
        ("a,x,0,1e300,1\na,y,0,5,1", "line 2: time must be above 0 and at most 1e.15, not '1e300'"),
        ("a,x,0,1_0,1\na,y,0,5,1", "line 2: time must be a number, not '1_0'"),
        ("a,x,0,5,1\nb,y,0,5,1", "the arms x and y have no cell in common"),
        ("a,x,0,soon,1\na,y,0,5,1", "line 2: time must be a number, not 'soon'"),
        ("a,x,0,nan,1\na,y,0,5,1", "line 2: event says that it was reached, but time is 'nan'"),
        ("a,x,0,5,1\na,y,0,inf,0", "line 3: it was not reached, but until when. --budget T says it"),
        ("a,x,0,5,maybe\na,y,0,5,1", "line 2: event must be 1 .reached. or 0 .censored., not 'maybe'"),
        ("a,x,0,9,0\na,y,0,8,0", "line 3: a is censored at 8 here and at 9 in line 2"),
        ("a,x,0,9,0\na,y,0,10,1", "line 3: time 10 is later than the censoring time 9 of a in line 2"),
        ("a,x,0,9,1", "a comparison needs two arms, not only 'x'"),
        ("a,x,,9,1\na,y,0,9,1", "line 2: replica is empty"),
        ("a,x,0,9\na,y,0,9,1", "line 2: 4 fields under 5 names"),
        ("a,x,0,300,0,1\na,y,0,9,1", "line 2: 6 fields under 5 names; is a comma used as the decimal sign"),
        ("", "has no rows"),
    ],
)
def test_bad_rows_are_named_by_their_line(tmp_path, capsys, lines, message):
    path = tmp_path / "times.csv"
    path.write_text(HEADER + lines)
    with pytest.raises(UsageError, match=message):
        verdicts_of(read(str(path)), None)
    assert cli.main(["judge", str(path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"cell,arm,time\na,x,5\n", "has no column 'replica' .replica or seed or pair.; commas separate its columns"),
        (b"cell;arm;time\na;x;5\n", "no column 'replica' .*; semicolons separate its columns: 'cell', 'arm', 'time'"),
        (b"arm,replica,time,Step\nx,0,5,5\n", "has 2 columns for time: 'time', 'Step'; leave one"),
        (b"\xff\xfe\x00", "is UTF-16 text: save it as UTF-8"),
        (b"arm,replica,time\nx,\xe9,5\n", "line 2: byte 0xe9 is not UTF-8 text"),
        (b'arm,replica,time\n"x,0,5\n', "line 2: it cannot be read as a table"),
        (b"# nothing\n", "has no rows"),
        (None, "cannot read .*: No such file or directory"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path, content, message):
    path = tmp_path / "times.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=message):
        read(str(path))


def values(text: str, tmp_path, budget: float | None = None) -> list[tuple[str, str, float, bool]]:
    path = tmp_path / "times.csv"
    path.write_text(text)
    return [(row.arm, row.replica, row.time, row.event) for row in read(str(path), budget)]


PLAIN = "cell,arm,replica,time,event\nadd,x,0,300,1\nadd,y,0,1000,0\n"


@pytest.mark.parametrize(
    "text",
    [
        PLAIN.replace(",", ";"),
        PLAIN.replace(",", "\t"),
        "# exported\n\n" + PLAIN.replace("\n", "\n# a comment\n"),
        PLAIN.replace(",1\n", ",True\n").replace(",0\n", ",false\n"),
        PLAIN.replace(",1\n", ",1.0\n").replace(",0\n", ",0.0\n"),
        "Optimizer,Seed,Grok_Step,reached\nx,0,300,1\ny,0,1000,0\n",
        "\ufeff" + PLAIN.replace("\n", "\r\n"),
    ],
)
def test_what_people_have_is_read_alike(text, tmp_path):
    assert values(text, tmp_path) == [("x", "0", 300.0, True), ("y", "0", 1000.0, False)]


@pytest.mark.parametrize("never", ["inf", "NaN", "None", "never", "", "1200"])
def test_a_budget_cuts_all_runs_at_one_time(never, tmp_path):
    text = f"arm,seed,step\nx,0,300\ny,0,{never}\n"
    assert values(text, tmp_path, 1000.0) == [("x", "0", 300.0, True), ("y", "0", 1000.0, False)]


def test_a_run_that_was_stopped_before_the_budget_is_refused(tmp_path):
    with pytest.raises(UsageError, match="line 3: the run was stopped at 900, before the budget of 1000"):
        values("arm,seed,step,event\nx,0,300,1\ny,0,900,0\n", tmp_path, 1000.0)


def test_times_between_the_same_evaluations_are_ties(tmp_path):
    """One arm is evaluated every 25 steps, the other every 125: who was earlier is not known."""
    lines = ["arm,replica,time,before"]
    for replica in range(8):
        lines += [f"fine,{replica},{500 - 25 * (replica % 3)},{475 - 25 * (replica % 3)}", f"coarse,{replica},500,375"]
    path = tmp_path / "times.csv"
    path.write_text("\n".join(lines))
    (v,) = verdicts_of(read(str(path)), None)
    assert v.p == v.p_reverse == 1.0
    path.write_text("\n".join(line.rpartition(",")[0] for line in lines))
    (v,) = verdicts_of(read(str(path)), None)
    assert v.p_reverse < 0.05


def test_times_of_unpaired_runs_between_the_same_evaluations_are_ties():
    fine = [Row(i, "all", "fine", str(i), 400 + 25 * i, True, 375 + 25 * i) for i in range(5)]  # 400 to 500
    coarse = [Row(i, "all", "coarse", str(i), 500, True, 375) for i in range(5, 10)]
    (v,) = verdicts_of(fine + coarse, None, paired=False)
    assert v.p == v.p_reverse == 1.0
    (v,) = verdicts_of([row._replace(before=None) for row in fine + coarse], None, paired=False)
    assert v.p_reverse == pytest.approx(6 / math.comb(10, 5))


def test_a_cell_that_one_arm_lacks_is_left_out_and_said(tmp_path, capsys):
    path = write(tmp_path / "times.csv", [*rows("a"), *[r for r in rows("b") if r.arm == "adamw"]])
    assert cli.main(["judge", str(path)]) == 0
    out = capsys.readouterr().out
    assert "\nmine against adamw leaves out 'b': only one of them has runs there\n" in out
    assert "supported: earlier" in out


def test_a_long_value_is_not_echoed_whole(tmp_path):
    with pytest.raises(UsageError) as refused:
        values(f"arm,seed,step\nx,0,{'9' * 10_000}a\n", tmp_path)
    assert len(str(refused.value)) < 400


def test_a_table_may_come_from_standard_input(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(PLAIN.encode())))
    assert [row.time for row in read("-")] == [300, 1000]


@given(st.text(alphabet=st.sampled_from([*"arm,replica,time\n;#\"'\t 0189.einf-", "\x00", "é"]), max_size=200))
@settings(deadline=None, max_examples=120)
def test_no_text_ends_in_a_traceback(text):
    path = Path(tempfile.gettempdir()) / "grokbench-fuzzed.csv"
    path.write_text(f"arm,replica,time\n{text}", encoding="utf-8")
    with contextlib.suppress(UsageError):
        verdicts_of(read(str(path)), None)


def test_choices_that_contradict_each_other_are_refused():
    with pytest.raises(UsageError, match="unknown arm 'z': choose from 'adamw', 'mine'"):
        verdicts_of(rows(), "z")
    with pytest.raises(UsageError, match="leave out --unpaired or --early-stop"):
        verdicts_of(rows(), None, paired=False, sequential=True)
