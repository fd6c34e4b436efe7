"""Pairs that came in one by one are taken in the order of the file, whatever their replicas are called."""

from __future__ import annotations

import io

import numpy as np
import pytest

from grokbench.spec import UsageError
from grokbench.verdicts.table import judge


def table(gaps, names, order=None):
    """Pairs appended one by one."""
    lines = ["arm,replica,time" + ",order" * (order is not None)]
    for i, (gap, name) in enumerate(zip(gaps, names, strict=True)):
        for arm, time in (("base", 500.0), ("cand", float(500 * np.exp(gap)))):
            lines.append(f"{arm},{name},{time!r}" + (f",{order[i]}" if order else ""))
    return io.StringIO("\n".join(lines))


GAPS = [-0.3] * 7 + [0.4] * 7


@pytest.mark.parametrize("names", [range(14), range(14, 0, -1), [f"{i * 7919 % 97:x}" for i in range(14)]])
def test_a_later_pair_never_slips_in_among_earlier_ones(names):
    judged = judge(table(GAPS, list(names)), "base", sequential=True)
    assert judged.verdicts[0].p <= 0.05, "the first seven pairs have decided, and nothing takes that back"
    assert "pairs are taken in the order in which their replicas first appear in the file" in judged.remarks[0]
    assert judge(table(GAPS[::-1], list(names)), "base", sequential=True).verdicts[0].p > 0.05


def test_a_column_tells_another_order():
    came = [13 - i for i in range(14)]
    judged = judge(table(GAPS[::-1], range(14), came), "base", sequential=True)
    assert judged.verdicts[0].p <= 0.05
    assert "the order of the column 'order'" in judged.remarks[0]
    with pytest.raises(UsageError, match="order must be a number, not 'x'"):
        judge(table(GAPS, range(14), ["x"] * 14), "base", sequential=True)


def test_names_move_nothing_at_one_look():
    one, other = (judge(table(GAPS, names), "base").verdicts[0] for names in (range(14), range(14, 0, -1)))
    assert (one.p, one.p_reverse) == (other.p, other.p_reverse)
