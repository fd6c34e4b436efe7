"""What a session can be asked for: declared once, for the command line, for pytest and for Python.

It imports the standard library alone, since pytest reads it in every session.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

DEFAULT_PRESET, DEFAULT_STORE, DEFAULT_PROTOCOL = "ci", "grokbench.sqlite", "published"
FAMILIES = ("preset", "selected")


@dataclass(frozen=True)
class Options:
    """What the user chose; empty tuples and None mean all that the preset has. since: see `Executor`.

    claims: papers; empty means that the arms are compared, and no more. early_stop: replicas are the most that a cell
    gets, and no more are trained once it is decided. family: the cells over which tests are corrected, all of the
    preset or those that were selected.
    """

    preset: str = DEFAULT_PRESET
    tasks: tuple[str, ...] = ()
    softmaxes: tuple[str, ...] = ()
    model: str | None = None
    optimizers: tuple[str, ...] = ()
    claims: tuple[str, ...] = ()
    protocols: tuple[str, ...] = (DEFAULT_PROTOCOL,)
    early_stop: bool = True
    family: str = FAMILIES[0]
    replicas: int | None = None
    budget: int | None = None
    store: Path = Path(DEFAULT_STORE)
    device: str = "auto"
    threads: int | None = None
    since: float = 0.0


class Option(NamedTuple):
    """One option: `--NAME` of the command line, `--grok-NAME` of pytest.

    field: of `Options`, None for what only concerns how answers are given. kind: 'text', 'number', 'flag', 'names'
    (some at a time, or repeated) or 'specs' (repeated, as one may hold spaces).
    """

    name: str
    field: str | None
    kind: str
    metavar: str | None
    help: str


OPTIONS = (
    Option("preset", "preset", "text", "NAME", f"smoke, ci, paper or 'module:Attribute' (default: {DEFAULT_PRESET})"),
    Option(
        "task", "tasks", "names", "SPEC", "only these tasks: the preset's by name, or others as 'module:Attribute(…)'"
    ),
    Option("softmax", "softmaxes", "names", "SPEC", "only these softmaxes: by name, or as 'module:Attribute(…)'"),
    Option("model", "model", "text", "SPEC", "another than the preset's: 'mlp(…)', 'module:Attribute(…)'"),
    Option(
        "optimizer",
        "optimizers",
        "specs",
        "SPEC",
        "name or 'package.module:Attribute(key=value, …)'; repeatable, the first is the baseline",
    ),
    Option(
        "claims",
        "claims",
        "names",
        "PAPER",
        "all claims of these, or 'module:Attribute' (default: only who is earlier)",
    ),
    Option(
        "protocol",
        "protocols",
        "names",
        "NAME",
        "published (default), matched or tuned: how the arms get their rates and decays",
    ),
    Option("no-early-stop", None, "flag", None, "train all replicas, and test them once"),
    Option(
        "family",
        "family",
        "text",
        "NAME",
        "correct over all cells of the preset (preset, the default), or over those that were chosen (selected), for a "
        "choice made before any data were seen",
    ),
    Option("replicas", "replicas", "number", "N", "replicas of each arm in each cell, at the most"),
    Option("budget", "budget", "number", "N", "epochs of a run (default: the preset's)"),
    Option("store", "store", "text", "PATH", f"file of finished runs (default: {DEFAULT_STORE})"),
    Option("device", "device", "text", "DEVICE", "auto, cpu or cuda (default: auto)"),
    Option(
        "threads", "threads", "number", "N", "processes of one thread each, on a processor (default: one for each core)"
    ),
    Option("fresh", None, "flag", None, "train anew what the store has"),
    Option("strict", None, "flag", None, "an undecided claim is a failure: exit code 3, a failed test of pytest"),
    Option("json", None, "text", "PATH", "write verdicts, runs and provenance as JSON; - for standard output"),
)
BY_NAME = {option.name: option for option in OPTIONS}


def settings(option: Option, *, repeated: bool) -> dict[str, Any]:
    """The arguments of `add_argument`, here and in pytest. repeated: names come one at a time."""
    kinds: dict[str, dict[str, Any]] = {
        "text": {"metavar": option.metavar},
        "number": {"metavar": option.metavar, "type": int},
        "flag": {"action": "store_true"},
        "names": {"metavar": option.metavar, "action": "extend", "nargs": "+"},
        "specs": {"metavar": option.metavar, "action": "append"},
    }
    kind = "specs" if repeated and option.kind == "names" else option.kind
    text = f"{option.help} (repeatable)" if kind != option.kind else option.help
    return {"default": None, "help": text, **kinds[kind]}


def chosen(value: Callable[[str], Any], **more: Any) -> Options:
    """The options whose values, by name, a function gives; None means the default. more: fields as they are."""
    given: dict[str, Any] = {"early_stop": not value("no-early-stop")}
    for option in OPTIONS:
        if option.field and (found := value(option.name)) is not None:
            given[option.field] = tuple(found) if option.kind in ("names", "specs") else found
    return Options(**{**given, **more})
