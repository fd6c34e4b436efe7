"""Specs refuse what cannot be trained, in a sentence that says why, and have one digest each."""

from __future__ import annotations

import copy
import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grokbench import spec
from grokbench.spec import GrokCriterion, ModelSpec, OptimizerSpec, RunSpec, TaskSpec, UsageError, task

RUN = RunSpec(
    task=task("add", 31),
    softmax="softmax",
    model=ModelSpec(width=64, depth=1, heads=4, feed_forward=256),
    optimizer=OptimizerSpec("adamw", (("betas", (0.9, 0.98)), ("lr", 0.001))),
    criterion=GrokCriterion(budget=100),
    batch=256,
    replica=3,
)


def changed(run: Any, path: tuple[str, ...], value: Any) -> Any:
    """A copy with the field at `path` replaced, past all validation."""
    head, *rest = path
    new = copy.copy(run)
    object.__setattr__(new, head, changed(getattr(run, head), tuple(rest), value) if rest else value)
    return new


def leaves(run: Any) -> list[tuple[str, ...]]:
    """Paths of all fields that are not specs themselves."""
    paths: list[tuple[str, ...]] = []
    for field in dataclasses.fields(run):
        value = getattr(run, field.name)
        inner = leaves(value) if dataclasses.is_dataclass(value) else [()]
        paths += [(field.name, *path) for path in inner]
    return paths


LEAVES = leaves(RUN)
every_leaf = pytest.mark.parametrize("path", LEAVES, ids=".".join)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: task("ad"), r"^unknown task 'ad': choose from add, sub, mul, div, exp, gcd, parity; is 'add' meant"),
        (lambda: TaskSpec("ad", 0.5, 7), r"unknown task 'ad': choose from add, sub"),
        (
            lambda: dataclasses.replace(RUN, softmax="soft"),
            r"^unknown softmax 'soft': choose from softmax, stablemax, sparsemax, package.module:Attribute; is ",
        ),
        (lambda: ModelSpec(dtype="float16"), r"^unknown dtype 'float16': choose from float32, float64"),
    ],
)
def test_an_unknown_name_lists_the_choices(make: Callable[[], object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "div", "modulus": 9}, "div needs a prime modulus, not 9"),
        ({"name": "div", "modulus": 91}, "div needs a prime modulus, not 91"),
        ({"name": "add", "modulus": 1}, "modulus must be a whole number of at least 2, not 1"),
        ({"name": "add", "modulus": 31.0}, "modulus must be a whole number of at least 2, not 31.0"),
        ({"name": "add", "modulus": True}, "modulus must be a whole number of at least 2, not True"),
        ({"name": "add", "modulus": None}, "modulus must be a whole number of at least 2, not None"),
        ({"name": "add", "modulus": 31, "bits": 10}, "add takes no bits"),
        ({"name": "add", "modulus": 31, "bits_per_token": 1}, "add takes no bits"),
        ({"name": "parity", "modulus": 31, "bits": 10}, "parity takes bits, not a modulus"),
        ({"name": "parity"}, "bits must be a whole number of at least 2, not None"),
        ({"name": "parity", "bits": 1, "bits_per_token": 1}, "bits must be a whole number of at least 2, not 1"),
        ({"name": "parity", "bits": 26, "bits_per_token": 13}, "parity of 26 bits has too many rows: at most 24"),
        ({"name": "parity", "bits": 10, "bits_per_token": 2}, "parity of 10 bits takes 1 or 5 bits a token, not 2"),
        ({"name": "parity", "bits": 9, "bits_per_token": 3}, "parity of 9 bits takes 1 bits a token, not 3"),
        ({"name": "parity", "bits": 10}, "parity of 10 bits takes 1 or 5 bits a token, not None"),
    ],
)
def test_a_task_has_a_size_that_it_is_defined_for(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        TaskSpec(**{"train_share": 0.5, **arguments})


@pytest.mark.parametrize("share", [0, 1, -0.1, 1.5, 0.0, 1.0, float("nan"), float("inf"), "half", None, True])
def test_a_share_lies_between_0_and_1(share: Any) -> None:
    with pytest.raises(UsageError, match=f"the training share must lie between 0 and 1, not {share!r}"):
        TaskSpec("add", share, 31)


def test_a_share_leaves_rows_on_both_sides() -> None:
    with pytest.raises(UsageError, match=r"a training share of 0\.1 leaves no training row of 4"):
        TaskSpec("add", 0.1, 2)
    with pytest.raises(UsageError, match=r"a training share of 0\.9 leaves no validation row of 4"):
        TaskSpec("add", 0.9, 2)
    assert TaskSpec("add", 0.25, 2).train_rows == 1
    assert TaskSpec("add", 0.75, 2).train_rows == 3


@settings(deadline=None, max_examples=50)
@given(
    name=st.sampled_from(spec.MODULAR_TASKS),
    modulus=st.integers(2, 113).filter(spec.is_prime),
    share=st.floats(0, 1, exclude_min=True, exclude_max=True),
)
def test_a_task_that_is_accepted_can_be_trained_and_validated(name: str, modulus: int, share: float) -> None:
    try:
        accepted = TaskSpec(name, share, modulus)
    except UsageError:
        least = 1 / (modulus * (modulus - 1))
        assert share <= least or share >= 1 - least
        return
    answers = modulus - 1 if name == "div" else modulus
    assert accepted.rows == modulus * answers
    assert 1 <= accepted.train_rows < accepted.rows
    assert (accepted.positions, accepted.vocabulary, accepted.classes) == (4, modulus + 2, modulus)


def test_primes_by_definition() -> None:
    primes = [n for n in range(2, 500) if not [d for d in range(2, n) if n % d == 0]]
    assert [n for n in range(-3, 500) if spec.is_prime(n)] == primes


@pytest.mark.parametrize(("bits_per_token", "positions", "vocabulary"), [(None, 4, 34), (5, 4, 34), (1, 11, 4)])
def test_parity_in_halves_and_bit_by_bit(bits_per_token: int | None, positions: int, vocabulary: int) -> None:
    parity = task("parity", bits=10, bits_per_token=bits_per_token)
    shape = (parity.rows, parity.positions, parity.vocabulary, parity.classes)
    assert shape == (1024, positions, vocabulary, 2)


@pytest.mark.parametrize("name", spec.TASKS)
def test_published_shares(name: str) -> None:
    assert task(name).train_share == spec.TRAIN_SHARE[name]
    assert task(name, train_share=0.3).train_share == 0.3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"heads": 3}, "3 heads do not divide width 128"),
        ({"width": 100}, "width must be a multiple of 16, not 100"),
        ({"feed_forward": 500}, "feed_forward must be a multiple of 16, not 500"),
        ({"width": 48, "heads": 16}, "rotary positions need an even width of a head, not 3 = 48/16"),
        ({"width": 0}, "width must be a whole number of at least 1, not 0"),
        ({"width": 128.0}, "width must be a whole number of at least 1, not 128.0"),
        ({"depth": 0}, "depth must be a whole number of at least 1, not 0"),
        ({"heads": -4}, "heads must be a whole number of at least 1, not -4"),
        ({"dropout": 1}, r"dropout must lie in \[0, 1\), not 1"),
        ({"dropout": -0.1}, r"dropout must lie in \[0, 1\), not -0\.1"),
        ({"dropout": float("nan")}, r"dropout must lie in \[0, 1\), not nan"),
    ],
)
def test_a_model_can_be_built(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ModelSpec(**arguments)


@pytest.mark.parametrize("value", [-0.001, float("nan"), float("inf"), float("-inf"), -1])
def test_a_rate_is_finite_and_not_negative(value: float) -> None:
    with pytest.raises(UsageError, match=f"adamw: lr must be finite and not negative, not {value}"):
        OptimizerSpec("adamw", (("lr", value),))


@pytest.mark.parametrize("warmup", [-1, 1.5, True, "ten"])
def test_warmup_is_a_number_of_steps(warmup: Any) -> None:
    with pytest.raises(UsageError, match=f"warmup must be a whole number of at least 0, not {warmup!r}"):
        OptimizerSpec("adamw", (), warmup)


def test_an_optimizer_reads_as_it_is_written() -> None:
    optimizer = OptimizerSpec("m:A", (("betas", (0.9, 0.98)), ("lr", 0.1)), warmup=5, matrices_only=True)
    assert str(optimizer) == "m:A(betas=(0.9, 0.98), lr=0.1, warmup=5, parameters='matrices')"
    assert optimizer["lr"] == 0.1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"budget": 0}, "budget must be a whole number of at least 1, not 0"),
        ({"budget": 1.5}, "budget must be a whole number of at least 1, not 1.5"),
        ({"settle": 0}, "settle must be a whole number of at least 1, not 0"),
        ({"hold": -1}, "hold must be a whole number of at least 0, not -1"),
        ({"threshold": 0}, r"threshold must lie in \(0, 1\], not 0"),
        ({"threshold": 95}, r"threshold must lie in \(0, 1\], not 95"),
        ({"threshold": float("nan")}, r"threshold must lie in \(0, 1\], not nan"),
        ({"train_threshold": 1.01}, r"train_threshold must lie in \(0, 1\], not 1\.01"),
    ],
)
def test_a_criterion_can_be_met(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        GrokCriterion(**{"budget": 10, **arguments})


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("batch", 0, "batch must be a whole number of at least 1, not 0"),
        ("replica", -1, "replica must be a whole number of at least 0, not -1"),
        ("replica", False, "replica must be a whole number of at least 0, not False"),
    ],
)
def test_a_run_has_a_batch_and_a_replica(field: str, value: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        dataclasses.replace(RUN, **{field: value})


def test_equal_specs_have_equal_digests() -> None:
    twin = copy.deepcopy(RUN)
    assert twin is not RUN
    assert twin == RUN
    assert (twin.digest, twin.key) == (RUN.digest, RUN.key)
    assert len(RUN.digest) == 32
    assert int(RUN.digest, 16) >= 0


def test_equal_specs_have_equal_digests_however_a_number_is_written() -> None:
    one, other = (dataclasses.replace(RUN, optimizer=OptimizerSpec("sgd", (("lr", rate),))) for rate in (1, 1.0))
    assert one == other
    assert one.digest == other.digest


def test_every_field_is_reached() -> None:
    assert ("task", "modulus") in LEAVES
    assert ("optimizer", "fingerprint") in LEAVES
    assert len(LEAVES) == len(set(LEAVES)) >= 24


@every_leaf
def test_every_field_is_in_the_digest(path: tuple[str, ...]) -> None:
    digests = {changed(RUN, path, value).digest for value in ("one", "two")} | {RUN.digest}
    assert len(digests) == 3


@every_leaf
def test_the_stream_follows_from_task_and_replica_alone(path: tuple[str, ...]) -> None:
    """The same for every softmax, model, optimizer, criterion and batch: this pairs the arms."""
    shared = path[0] not in ("task", "replica")
    assert (changed(RUN, path, "other").key == RUN.key) == shared


def test_a_changed_engine_makes_new_digests_of_the_same_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    digest, key = RUN.digest, RUN.key
    monkeypatch.setattr("grokbench.spec.run.ENGINE", spec.ENGINE + 1)
    assert RUN.digest != digest
    assert RUN.key == key


def test_keys_are_64_bit_and_distinct() -> None:
    keys = {dataclasses.replace(RUN, replica=r, task=task(t, 31)).key for r in range(50) for t in spec.TASKS}
    assert len(keys) == 350
    assert all(0 <= key < 2**64 for key in keys)


def test_json_has_the_whole_spec() -> None:
    read = json.loads(RUN.to_json())
    assert read["task"]["modulus"] == 31
    assert read["optimizer"]["hyperparameters"] == [["betas", [0.9, 0.98]], ["lr", 0.001]]
    assert set(read) == {field.name for field in dataclasses.fields(RunSpec)}


def python(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **environment}, check=True
    )
    return done.stdout.strip()


@pytest.mark.parametrize("seed", ["0", "12345"])
def test_digest_and_key_are_the_same_in_every_process(seed: str) -> None:
    code = f"from grokbench.spec import *\nrun = {RUN!r}\nprint(run.digest, run.key)"
    assert python(code, PYTHONHASHSEED=seed) == f"{RUN.digest} {RUN.key}"


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("grokbench", {"torch", "scipy", "rich", "pytest"}),
        ("grokbench.plugin.hooks", {"torch", "scipy"}),
        ("grokbench.cli", {"torch", "scipy"}),
        ("grokbench.session", {"torch"}),
        ("grokbench.verdicts.verdict", {"torch"}),
        ("grokbench.report.terminal, grokbench.report.export", {"torch"}),
    ],
)
def test_importing_is_light(module: str, heavy: set[str]) -> None:
    loaded = python(f"import sys, {module}; print(*sys.modules)").split()
    assert heavy.isdisjoint(loaded)


@given(st.permutations([("lr", 0.5), ("betas", (0.9, 0.98)), ("eps", 1e-8)]))
def test_equal_settings_are_equal_in_whatever_order_they_are_given(given_: list[tuple[str, Any]]) -> None:
    ordered = OptimizerSpec("adamw", (("betas", (0.9, 0.98)), ("eps", 1e-8), ("lr", 0.5)))
    spec = OptimizerSpec("adamw", tuple(given_))
    assert (spec, str(spec), hash(spec)) == (ordered, str(ordered), hash(ordered))
    assert dataclasses.replace(RUN, optimizer=spec).digest == dataclasses.replace(RUN, optimizer=ordered).digest
    assert spec.having(eps=1.0, lr=0.5) == ordered.having(eps=1.0)


def test_a_setting_that_is_given_twice_or_cannot_be_kept_is_refused() -> None:
    with pytest.raises(UsageError, match=r"^sgd: a hyperparameter is given twice$"):
        OptimizerSpec("sgd", (("lr", 0.1), ("lr", 0.2)))
    with pytest.raises(UsageError, match=r"^sgd: hyperparameters are numbers, .*, not \{'a': 1\}$"):
        OptimizerSpec("sgd", (("lr", {"a": 1}),))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["add", "parity"])
def test_a_run_is_read_back_from_its_json(name: str) -> None:
    optimizer = OptimizerSpec("m:A", (("betas", (0.9, 0.98)), ("flag", True), ("lr", 1), ("none", None)), 5, "f(x=1)")
    run = dataclasses.replace(RUN, task=task(name), optimizer=dataclasses.replace(optimizer, fingerprint="abc"))
    again = RunSpec.from_json(run.to_json())
    assert (again, again.digest, again.to_json()) == (run, run.digest, run.to_json())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c | {"colour": 1}, "RunSpec has no colour"),
        (lambda c: c | {"task": c["task"] | {"base": 2}}, "TaskSpec has no base"),
        (lambda c: c | {"batch": "many"}, "RunSpec.batch cannot be 'many'"),
        (lambda c: c | {"batch": 0}, "batch must be a whole number of at least 1"),
        (lambda c: {k: v for k, v in c.items() if k != "model"}, "RunSpec.model is missing"),
        (lambda c: [c], "RunSpec has fields by name"),
    ],
)
def test_what_is_no_run_is_not_read_as_one(change: Callable[[Any], Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        RunSpec.from_json(json.dumps(change(json.loads(RUN.to_json()))))
