"""No file of whatever kind ends `judge` in a traceback: a verdict, or one line that says what is wrong."""

from __future__ import annotations

import io
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from grokbench.report import judged as report
from grokbench.spec import UsageError
from grokbench.verdicts.table import judge

EXAMPLES = 60  # 5 000 were tried once
CELLS = st.sampled_from(["add", "gcd", "", "é", '"', "a;b"])
ARMS = st.sampled_from(["adamw", "muon", "Muon", "3.28", "x(lr=1)", "x(lr=2)"])
SEEDS = st.sampled_from(["0", "1", "2", "3", "9" * 25, "s", ""])
TIMES = st.sampled_from(
    ["1", "2", "5", "100", "100.5", "1e15", "1e16", "0", "-1", "never", "nan", "", "soon", "1,5", "1e-300"]
)
EVENTS = st.sampled_from(["1", "0", "True", "", "maybe"])
BEFORES = st.sampled_from(["", "0", "1", "99", "100", "x"])
ROWS = st.lists(st.tuples(CELLS, ARMS, SEEDS, TIMES, EVENTS, BEFORES), max_size=14)
GOOD = st.lists(
    st.tuples(
        st.sampled_from(["add", "gcd"]), st.sampled_from(["adamw", "muon", "sgd"]), st.sampled_from("01234"),
        st.sampled_from(["50", "75", "100", "200"]), st.sampled_from(["1", "1", "1", "0"]), st.sampled_from(["", "25"]),
    ),
    max_size=30, unique_by=lambda row: row[:3],
)  # fmt: skip
OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "baseline": st.sampled_from(["adamw", "muno"]),
        "budget": st.sampled_from([100.0, 60.0, "least", "most", 0.0, float("nan")]),
        "every": st.sampled_from([25.0, 30.0, 0.0, float("inf")]),
        "value": st.sampled_from(["time", "event", "loss"]),
        "better": st.sampled_from(["lower", "higher"]),
        "target": st.sampled_from([3.28, 100.0, -1.0]),
        "paired": st.booleans(),
        "sequential": st.booleans(),
        "family": st.sampled_from(["file", "selected"]),
        "blocks": st.sampled_from(["replica", "cell"]),
    },
)


@given(st.one_of(ROWS, GOOD, GOOD), OPTIONS, st.sampled_from(",;\t"), st.integers(40, 120))
@settings(deadline=None, max_examples=EXAMPLES)
def test_no_file_ends_in_a_traceback(rows: list[Any], options: dict[str, Any], separator: str, width: int) -> None:
    names = ("cell", "arm", "replica", "time", "event", "before")
    text = "\n".join(separator.join(fields) for fields in (names, *rows))
    try:
        judged = judge(io.StringIO(text), **options)
    except UsageError:
        return
    assert report.text(judged, width, color=True)
    assert report.document(judged)["verdicts"]
    for v in judged.verdicts:
        assert 0 <= v.p_adjusted <= 1
        assert v.reason


def test_a_tab_in_a_name_is_no_trouble() -> None:
    rows = [f"{arm},{i},{time + i}" for arm, time in (("ad\tamw", 100), ("mu\x0bon", 50)) for i in range(6)]
    judged = judge(io.StringIO("\n".join(["arm,replica,time", *rows])))
    assert "pairs" in report.text(judged, 60)
