"""`grokbench check`: what an optimizer, task, softmax or model has to keep to, checked."""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any

from grokbench.cli import prints
from grokbench.cli.common import HELD, REFUTED, import_from_here, json_option, output
from grokbench.spec import OptimizerSpec, UsageError, registry
from grokbench.spec.foreign import imported

if TYPE_CHECKING:
    from grokbench.conformance import Finding


OTHERS = ("task", "softmax", "model")  # kinds of plug-ins beside optimizers


def add(commands: Any) -> None:
    """The command's parser."""
    parser = commands.add_parser("check", help="what an optimizer, task, softmax or model has to keep to, checked")
    parser.set_defaults(action=run)
    parser.add_argument(
        "optimizers", nargs="*", metavar="SPEC", help="as for run; package.module:* for all of a module"
    )
    parser.add_argument("--optimizer", action="append", default=[], metavar="SPEC", help="an optimizer, as without it")
    for kind in OTHERS:
        parser.add_argument(f"--{kind}", action="append", default=[], metavar="SPEC", help=f"a {kind}, as for run")
    parser.add_argument("--like", metavar="SPEC", help="compare step by step with this optimizer, as torch.optim:AdamW")
    parser.add_argument(
        "--expect",
        action="append",
        default=[],
        metavar="CHECK=REASON",
        help="this check is known to break; that it does not is an error",
    )
    json_option(parser, "the findings")


def run(options: argparse.Namespace) -> int:
    """Check what was named and print what was found."""
    from rich.console import Console

    from grokbench.conformance import conformance, expectations, kinds
    from grokbench.conformance.elsewhere import Elsewhere
    from grokbench.records import files
    from grokbench.report import conformance as report
    from grokbench.report import github, layout

    import_from_here()
    others = [(kind, text) for kind in OTHERS for text in getattr(options, kind)]
    optimizers = [*options.optimizers, *options.optimizer]
    if not others and not optimizers:
        raise UsageError(f"check needs an optimizer, or one of --{', --'.join(OTHERS)}")
    names = [name for text in optimizers for name in expand(text)]
    with prints.kept() as lines:
        specs = {name: registry.parse(name) for name in names}
        given = dict(map(_expectation, options.expect))
        expected = {name: expectations(spec, given) for name, spec in specs.items()}
        like = _like(options.like) if options.like else None
    if any(spec.name not in registry.BUILT_IN for spec in specs.values()):
        Elsewhere.started()  # imports torch while the first checks are made
    found: dict[str, dict[str, list[Finding]]] = {kind: {} for kind in report.PLURAL}
    checked = found["optimizer"]
    progress = Console(stderr=True, emoji=False)
    for i, (name, spec) in enumerate(specs.items()):
        if len(specs) > 1:
            progress.print(f"{i + 1} of {len(specs)}: {name}", highlight=False, markup=False)
        with prints.kept() as more:
            checked[name] = list(conformance(spec, expected[name]))
            if like:
                checked[name].append(like(spec))
        prints.tell(lines + more, name)
        lines = []
    for kind, text in others:
        with prints.kept() as more:
            found[kind][text] = list(kinds.conformance(kind, text))
        prints.tell(more, text)
    out = output(options.json)
    out.write(report.text(found, layout.width_of(out), color=out.isatty()))
    if options.json:
        files.write_line(options.json, report.document(found))
    github.annotate(report.publish(found), out)
    return REFUTED if any(report.broken(f) for named in found.values() for f in named.values()) else HELD


def _expectation(text: str) -> tuple[str, str]:
    check, sign, reason = text.partition("=")
    if not sign or not check.strip() or not reason.strip():
        raise UsageError(f"--expect takes CHECK=REASON, as in 'state_dict=it keeps a cache', not {text!r}")
    return check.strip(), reason.strip()


def _like(text: str) -> Callable[[OptimizerSpec], Finding]:
    from grokbench.conformance import like

    reference, given = registry.parse(text), frozenset(registry.split(text)[1])
    return lambda spec: like(spec, reference, given)


def expand(text: str) -> list[str]:
    """`package.module:*` as every optimizer class of the module; anything else as it is."""
    module_name, _, attribute = text.partition(":")
    if attribute != "*":
        return [text]
    module = imported(module_name, repr(module_name))
    names: dict[type, list[str]] = {}  # an alias is another name of a class that is listed already
    for name, value in vars(module).items():
        if not name.startswith("_") and _defines(module, value):
            names.setdefault(value, []).append(name)
    found = sorted(own.__name__ if own.__name__ in known else min(known) for own, known in names.items())
    if not found:
        raise UsageError(f"{module_name} has no optimizer class")
    return [f"{module_name}:{name}" for name in found]


def _defines(module: ModuleType, value: object) -> bool:
    """Whether this is an optimizer class of the module's, or its package's, own: not one that it only imports."""
    import torch

    base = torch.optim.Optimizer
    if not inspect.isclass(value) or not issubclass(value, base) or value is base:
        return False
    return f"{value.__module__}.".startswith(f"{module.__name__}.")
