"""Tasks beside the published ones: by name, and as plug-ins of one's own."""

from __future__ import annotations

import dataclasses
import itertools
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny import PRESET, a_run

from grokbench import tasks
from grokbench.claims import cells_of, presets
from grokbench.engine.data import generate
from grokbench.spec import MOST_ROWS, TASKS, RunSpec, UsageError, task
from grokbench.tasks import Table, names


def by_search(name: str) -> dict[tuple[int, ...], int]:
    """Questions and answers of a small task, counted and searched instead of calculated."""
    if name == "permutations(n=3)":
        every = list(itertools.permutations(range(3)))
        return {
            (a, 6, b, 7): every.index(tuple(s[i] for i in t)) for a, s in enumerate(every) for b, t in enumerate(every)
        }
    if name == "sparse_parity(k=2, n=4)":
        return {(*bits, 2): int(bits[0] != bits[1]) for bits in itertools.product((0, 1), repeat=4)}
    value = {"quadratic": lambda x, y: x**2 + x * y + y**2, "cubic": lambda x, y: x**3 + x * y**2}[
        name.partition("(")[0]
    ]
    return {(x, 5, y, 6): value(x, y) % 5 for x in range(5) for y in range(5)}


@pytest.mark.parametrize(
    "name", ["permutations(n=3)", "sparse_parity(k=2, n=4)", "quadratic(modulus=5)", "cubic(modulus=5)"]
)
def test_a_table_holds_every_question_with_its_answer(name: str) -> None:
    spec = tasks.parse(name)
    tokens, labels = generate(spec)
    assert dict(zip(map(tuple, tokens.tolist()), labels.tolist(), strict=True)) == by_search(name)
    assert (spec.rows, spec.positions) == tuple(tokens.shape)
    assert spec.vocabulary == int(tokens.max()) + 1


def test_the_sizes_as_they_are_known() -> None:
    spec = tasks.parse("permutations")
    assert (spec.rows, spec.classes, spec.name) == (14_400, 120, "permutations(n=5)")
    assert set(names.families()) == {"permutations", "quadratic", "cubic", "sparse_parity"}


def test_a_new_task_is_in_no_preset() -> None:
    published = [(name, [t.name for t in p.tasks]) for name, p in presets.PRESETS.items() if name in ("ci", "paper")]
    assert published == [(name, list(TASKS)) for name in ("ci", "paper")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cubic(p=5)", "unknown setting of cubic 'p': choose from modulus, train_share"),
        ("cubic(modulus=1)", "modulus must be a whole number of at least 2, not 1"),
        ("permutations(n=7)", "n must be at most 6, not 7: 5040 permutations make too many rows"),
        ("sparse_parity(n=20)", "n must be at most 19, not 20: 2^20 rows are too many"),
        ("sparse_parity(n=4, k=5)", "k must be at most n = 4, not 5"),
        ("add(bits=4)", "unknown setting of add 'bits': choose from modulus, train_share"),
        ("parity(bits='x')", "bits must be a whole number of at least 1, not 'x'"),
        (
            "cubed",
            "unknown task 'cubed': choose from add, sub, mul, div, exp, gcd, parity, permutations, ",
        ),
        ("cubic(", "cannot read the task 'cubic(': write it as name or name(key=value, …), with literal values"),
    ],
)
def test_an_error_echoes_the_value_and_the_choices(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        tasks.parse(text)


def test_a_published_task_is_the_same_by_its_text() -> None:
    assert tasks.parse("add(modulus=31)") == task("add", 31)
    assert tasks.parse("parity(bits=6, bits_per_token=1, train_share=0.3)") == task(
        "parity", bits=6, bits_per_token=1, train_share=0.3
    )


SOURCE = """
import itertools
import numpy as np
from grokbench.tasks import Table

questions = np.arange(12).reshape(6, 2) % 5
answers = np.arange(6) % 3
turn = itertools.count()

def good(rows=6):
    return questions[:rows], answers[:rows]

def listed():
    return [[0, 1], [1, 0], [1, 1]], [0, 1, 1]

def declared(classes=7):
    return Table(questions, answers, vocabulary=9, classes=classes)

def random():
    return questions, np.random.default_rng().integers(0, 9, 6)

def raises():
    return 1 / 0

def leaves():
    raise SystemExit(0)

def changes():
    return questions, (answers + next(turn) // 2) % 3

def large():
    return np.zeros((1_000_001, 1), dtype=int), np.arange(1_000_001) % 2

cases = {
    "three": np.zeros((3, 2, 2), dtype=int), "floats": np.ones((6, 2)), "truths": answers > 1, "ragged": [[1], [1, 2]],
    "few": answers[:4], "below": answers - 1, "tokens": questions - 1, "empty": questions[:0], "same": answers * 0,
    "far": questions * 10**6, "wide": answers.astype("uint64") + 2**63,
}

def case(q=None, a=None):
    return cases.get(q, questions), cases.get(a, answers)

def one():
    return questions

def five():
    return questions, answers, 9, 9, 9

number = 3
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Name of a module of tasks that can be imported during one test."""
    name = f"tasks_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, name, None)  # restores its absence afterwards
    del sys.modules[name]
    return name


def test_a_plug_in_is_a_function_of_its_settings(mine: str) -> None:
    spec = tasks.parse(f"{mine}:good( rows = 5, train_share=0.4 )")
    assert (spec.name, spec.train_rows, spec.sizes) == (f"{mine}:good(rows=5, train_share=0.4)", 2, (5, 2, 5, 3))
    tokens, labels = generate(spec)
    assert tokens.tolist() == [[0, 1], [2, 3], [4, 0], [1, 2], [3, 4]]
    assert labels.tolist() == [0, 1, 2, 0, 1]
    assert tasks.parse(spec.name) == spec
    assert tasks.parse(f"{mine}:good(rows=5, train_share=0.5)").name == f"{mine}:good(rows=5)"
    assert tasks.parse(f"{mine}:listed").sizes == (3, 2, 2, 2)


def test_vocabulary_and_classes_may_be_declared(mine: str) -> None:
    spec = tasks.parse(f"{mine}:declared")
    assert (spec.vocabulary, spec.classes) == (9, 7)


def test_a_changed_table_is_another_task(mine: str) -> None:
    one, other = tasks.parse(f"{mine}:good"), tasks.parse(f"{mine}:declared(classes=3)")
    assert one.table != other.table
    run = dataclasses.replace(a_run(), task=one)
    changed = dataclasses.replace(run, task=dataclasses.replace(one, table="0"))
    assert changed.digest != run.digest
    assert RunSpec.from_json(run.to_json()) == run


def test_the_digests_of_published_tasks_are_those_of_before() -> None:
    """As grokbench 0.1 gave them for this run, which had no fields for tables."""
    assert a_run().digest == "d6ff82f7cd58d7c6fbc9e5d0fbc11dcd"
    assert a_run().key == 1121010442132023574


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("good(rows=0)", "returned questions (0, 2) and answers (0,), not questions (N, T) and answers (N,)"),
        ("good(lines=5)", "failed: TypeError: good() got an unexpected keyword argument 'lines'"),
        ("good(train_share=0.01)", "a training share of 0.01 leaves no training row of 6"),
        ("good(train_share=0.99)", "a training share of 0.99 leaves no validation row of 6"),
        ("good(train_share='all')", "the training share must lie between 0 and 1, not 'all'"),
        ("random", "gives another table the second time: let it draw from a seed of its own"),
        ("raises", "failed: ZeroDivisionError: division by zero (tasks_{}.py, line 23)"),
        ("leaves", "failed: SystemExit: 0 (tasks_{}.py, line 26)"),
        ("large", "has 1000001 rows: at most 1000000"),
        ("case(q='three')", "returned questions (3, 2, 2) and answers (6,), not"),
        ("case(q='floats')", "returned questions of float64, not integers"),
        ("case(a='truths')", "returned answers of bool, not integers"),
        ("case(q='ragged')", "returned questions that are no array: "),
        ("case(a='few')", "returned questions (6, 2) and answers (4,), not"),
        ("case(a='below')", "has the answer -1: they count from 0"),
        ("case(q='tokens')", "has the token -1: they count from 0"),
        ("case(a='same')", "has one answer to every question, so there is nothing to learn"),
        ("case(q='far')", "has vocabulary = 4000001, at most 1000000: number them densely"),
        ("case(a='wide')", "returned answers beyond 64 bits"),
        ("declared(classes=2)", "has the answer 2, but declares classes = 2"),
        ("declared(classes='x')", "must be a whole number of at least 1, not 'x'"),
        ("one", "returned a ndarray, not questions (N, T) and answers (N,)"),
        ("five", "returned 5 values, not questions (N, T) and answers (N,)"),
        ("number", "is neither a class nor a function: 3"),
        ("gone", "AttributeError: module"),
    ],
)
def test_a_function_that_gives_no_table_is_one_clear_line(mine: str, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message.replace("tasks_{}", mine))) as caught:
        tasks.parse(f"{mine}:{text}")
    assert "\n" not in str(caught.value)


def test_a_table_that_has_changed_since_is_not_trained_on(mine: str) -> None:
    spec = tasks.parse(f"{mine}:changes")
    names._made.cache_clear()
    with pytest.raises(UsageError, match="does not give the table that its runs were asked for with"):
        generate(spec)


def test_a_million_rows_are_a_task() -> None:
    rows = np.arange(MOST_ROWS)
    made = names._checked("big", (rows[:, None] % 1000, rows % 2))
    assert (made.vocabulary, made.classes, len(made.answers)) == (1000, 2, MOST_ROWS)
    assert isinstance(made, Table)


def test_a_preset_takes_tasks_beside_its_own(mine: str) -> None:
    cells = cells_of(PRESET, ["gcd", f"{mine}:good"])
    assert [str(cell) for cell in cells] == [
        "gcd-softmax", "gcd-sparsemax", f"{mine}:good-softmax", f"{mine}:good-sparsemax",
    ]  # fmt: skip
    assert cells_of(PRESET, ["add(modulus=7)"]) == cells_of(PRESET, ["add"])
    with pytest.raises(UsageError, match="two tasks are called add: ask for one at a time"):
        cells_of(PRESET, ["add", "add(modulus=11)"])
