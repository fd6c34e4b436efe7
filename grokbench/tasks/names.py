"""Tasks by name: the published ones, the other families of this room, and plug-ins; and the table of each.

A plug-in is a function of its settings that returns questions (N, T) and answers (N,) as integers, and, if there are
more than occur, how many tokens and answers there are: a `Table`, or a tuple like it.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import pkgutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grokbench.spec import MODULAR_TASKS, MOST_ROWS, TASKS, TaskSpec, UsageError, Value, choose, plugins, task
from grokbench.spec.errors import require, whole
from grokbench.spec.plugins import TASK
from grokbench.tasks import modular, parity
from grokbench.tasks.table import Family, Table

TRAIN_SHARE = 0.5  # of a plug-in, unless `train_share` says otherwise

PUBLISHED = {**dict.fromkeys(MODULAR_TASKS, modular.table), "parity": parity.table}
"""By a published task's name, the function from its `TaskSpec` to its `Table`."""


@functools.cache
def families() -> dict[str, Family]:
    """The built-in tasks beside the published ones: whatever the files of this room call their `FAMILIES`."""
    names = [module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)])]
    modules = [importlib.import_module(f"grokbench.tasks.{name}") for name in names]
    return {name: family for module in modules for name, family in getattr(module, "FAMILIES", {}).items()}


def parse(text: str) -> TaskSpec:
    """`name`, `name(key=value, …)` or `package.module:Attribute(key=value, …)`, with `train_share` among the settings.

    Raises `UsageError` for anything that does not parse, an unknown name or setting, and what is no table.
    """
    name, given = plugins.split(TASK, text)
    share: Any = given.pop("train_share", None)
    if name in TASKS:
        return _published(name, given, share)
    family = families().get(plugins.known(TASK, name, (*TASKS, *families())))
    if family:
        for key in given:
            choose(f"setting of {name}", key, (*family.defaults, "train_share"))
        given = {**family.defaults, **given}
    usual = family.train_share if family else TRAIN_SHARE
    named = given if share in (None, usual) else {**given, "train_share": share}  # so that two shares have two names
    table = _made(name, tuple(given.items()))
    assert table.vocabulary is not None
    assert table.classes is not None
    sizes = (*table.questions.shape, table.vocabulary, table.classes)
    return TaskSpec(plugins.written(name, named), usual if share is None else share, sizes=sizes, table=_hash(table))


def _published(name: str, given: dict[str, Value], share: float | None) -> TaskSpec:
    keys = ("bits", "bits_per_token") if name == "parity" else ("modulus",)
    for key, value in given.items():
        choose(f"setting of {name}", key, (*keys, "train_share"))
        whole(key, value, 1)
    return task(name, **given, train_share=share)  # type: ignore[arg-type]


@functools.lru_cache(maxsize=8)
def table(spec: TaskSpec) -> Table:
    """The table of a task. Raises `UsageError` if a plug-in now gives another one than when its spec was made."""
    if spec.sizes is None:
        return PUBLISHED[spec.name](spec)
    name, given = plugins.split(TASK, spec.name)
    given.pop("train_share", None)
    made = _made(name, tuple(given.items()))
    if _hash(made) != spec.table:
        raise UsageError(
            f"the task {spec.name} does not give the table that its runs were asked for with: "
            "has it changed, or does it depend on the process?"
        )
    return made


@functools.lru_cache(maxsize=8)
def _made(name: str, given: tuple[tuple[str, Value], ...]) -> Table:
    settings = dict(given)
    if name in families():
        return _checked(name, families()[name].table(**settings))
    function = plugins.function(TASK, name)
    full = plugins.written(name, settings)
    tables = []
    for _ in range(2):
        with plugins.blamed(TASK, full, "failed"):
            tables.append(_checked(full, function(**settings)))
    if _hash(tables[0]) != _hash(tables[1]):
        raise UsageError(f"the task {full} gives another table the second time: let it draw from a seed of its own")
    return tables[0]


def _hash(table: Table) -> str:
    digest = hashlib.blake2b(f"{table.questions.shape} {table.vocabulary} {table.classes} ".encode(), digest_size=16)
    for part in table[:2]:
        digest.update(np.ascontiguousarray(part, dtype="<i8").tobytes())
    return digest.hexdigest()


def _checked(name: str, made: Any) -> Table:
    """What a task's function has returned as a table with both of its counts. Raises `UsageError` if it is none."""
    if not isinstance(made, tuple) or not 2 <= len(made) <= 4:
        what = f"{len(made)} values" if isinstance(made, tuple) else f"a {type(made).__name__}"
        raise UsageError(f"the task {name} returned {what}, not questions (N, T) and answers (N,)")
    questions, answers = _integers(name, "questions", made[0]), _integers(name, "answers", made[1])
    shapes = f"questions {questions.shape} and answers {answers.shape}"
    fits = questions.ndim == 2 and answers.shape == questions.shape[:1] and questions.size > 0
    require(fits, f"the task {name} returned {shapes}, not questions (N, T) and answers (N,)")
    require(len(answers) <= MOST_ROWS, f"the task {name} has {len(answers)} rows: at most {MOST_ROWS}")
    vocabulary, classes = (*made[2:], None, None)[:2]
    vocabulary = _count(name, "token", questions, "vocabulary", vocabulary)
    classes = _count(name, "answer", answers, "classes", classes)
    require(classes > 1, f"the task {name} has one answer to every question, so there is nothing to learn")
    return Table(questions, answers, vocabulary, classes)


def _count(name: str, what: str, part: NDArray[np.int64], kind: str, declared: Any) -> int:
    """How many tokens or answers there are: as many as declared, or up to the largest that occurs."""
    least, needed = int(part.min()), int(part.max()) + 1
    require(least >= 0, f"the task {name} has the {what} {least}: they count from 0")
    count = needed if declared is None else declared
    whole(f"{kind} of the task {name}", count, 1)
    require(count >= needed, f"the task {name} has the {what} {needed - 1}, but declares {kind} = {count}")
    require(count <= MOST_ROWS, f"the task {name} has {kind} = {count}, at most {MOST_ROWS}: number them densely")
    return int(count)


def _integers(name: str, kind: str, part: Any) -> NDArray[np.int64]:
    try:
        found = np.asarray(part)
    except (ValueError, TypeError) as error:  # rows of different lengths, a tensor on a device
        raise UsageError(f"the task {name} returned {kind} that are no array: {error}") from None
    if found.dtype.kind not in "iu":
        raise UsageError(f"the task {name} returned {kind} of {found.dtype}, not integers")
    if found.size and found.max() > np.iinfo(np.int64).max:
        raise UsageError(f"the task {name} returned {kind} beyond 64 bits")
    return np.array(found, dtype=np.int64, order="C")  # a copy: what the function keeps, it may change
