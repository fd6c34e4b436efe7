"""What there is to choose from, as names and descriptions. Imports the rest only when asked."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from grokbench.cli.common import HELD, print_rows
from grokbench.spec import SOFTMAXES, TRAIN_SHARE

if TYPE_CHECKING:
    from grokbench.claims import Audit, Claim


def _list_tasks() -> list[tuple[str, str]]:
    from grokbench import tasks
    from grokbench.spec import task
    from grokbench.spec.plugins import TASK

    def describe(name: str) -> str:
        spec = task(name)
        size = f"parity of {spec.bits} bits" if name == "parity" else f"mod p; {spec.rows} rows at p = {spec.modulus}"
        return f"{size}; {TRAIN_SHARE[name]:.0%} for training"

    rows = [(name, describe(name)) for name in TRAIN_SHARE]
    for name, family in tasks.families().items():
        spec = tasks.parse(name)
        rows.append((name, f"{family.summary}; {spec.rows} rows as {spec.name}; {family.train_share:.0%} for training"))
    rows += [(name, "registered by a package") for name in TASK.names()]
    return [*rows, ("package.module:Attribute(key=value, …)", "a function that returns questions and answers")]


def _list_softmaxes() -> list[tuple[str, str]]:
    formula = {
        "softmax": "exp(z) over its sum; cross-entropy",
        "stablemax": "s(z) over its sum, s = z + 1 or 1/(1 − z) below zero; cross-entropy",
        "sparsemax": "projection of z on the simplex; Fenchel–Young loss",
    }
    from grokbench.spec.plugins import SOFTMAX

    rows = [(name, formula[name]) for name in SOFTMAXES]
    rows += [(name, "registered by a package") for name in SOFTMAX.names()]
    return [
        *rows,
        ("package.module:Attribute(key=value, …)", "what has probabilities and a loss, or makes it"),
    ]


def _list_optimizers() -> list[tuple[str, str]]:
    from grokbench.spec import registry

    rows = []
    for name in registry.names():
        built_in = registry.BUILT_IN.get(name)
        rows.append((name, f"{built_in.summary}\n{registry.parse(name)}" if built_in else "registered by a package"))
    return [*rows, ("package.module:Attribute(lr=…)", "any torch.optim.Optimizer, or a factory of one")]


def _list_presets() -> list[tuple[str, str]]:
    from grokbench.claims.presets import PRESETS

    return [
        (p.name, f"{p.summary}; cells: {len(p.tasks) * len(p.softmaxes)}, replicas: {p.replicas}, "
         f"budget: {p.criterion.budget} epochs\n" + "\n".join(p.optimizers.values()))
        for p in PRESETS.values()
    ]  # fmt: skip


def _list_claims() -> list[tuple[str, str]]:
    from grokbench.claims import Claim
    from grokbench.options import Options
    from grokbench.session import ALL_PAPERS, cases
    from grokbench.verdicts.endpoints import ENDPOINTS

    def describe(c: Claim | Audit) -> str:
        per_cell = isinstance(c, Claim) and c.per_cell and len(c.cells) > 1
        where = f"in each of {len(c.cells)} cells" if per_cell else ""
        where += " and pooled" if where and c.pooled else "pooled" if c.pooled and c.cells else ""
        margin = f", with a margin of {c.margin:g}" if c.margin != 1 else ""
        lines = [
            f"{c.statement} ({c.source})",
            f"tested: {ENDPOINTS[c.test].meaning}{margin}" + f", {where}" * bool(where),
        ]
        return "\n".join([*lines, *([c.scope] if c.scope else [])])

    return [(c.name, describe(c)) for c in dict.fromkeys(case.claim for case in cases(Options(claims=ALL_PAPERS)))]


def _list_protocols() -> list[tuple[str, str]]:
    return [
        ("published", "the preset's settings, with equal weight decay"),
        ("matched", "the candidate's weight decay changed so that lr × weight decay is the baseline's"),
        ("tuned", "each arm at the best of one grid of rates and decays, cell by cell, chosen on other replicas"),
    ]


LISTS = {
    "tasks": _list_tasks,
    "softmaxes": _list_softmaxes,
    "optimizers": _list_optimizers,
    "presets": _list_presets,
    "claims": _list_claims,
    "protocols": _list_protocols,
}


def add(commands: Any) -> None:
    """The command's parser."""
    parser = commands.add_parser("list", help="what there is to choose from")
    parser.set_defaults(action=run)
    parser.add_argument("what", choices=sorted(LISTS))


def run(options: argparse.Namespace) -> int:
    """Print the list."""
    print_rows(LISTS[options.what]())
    return HELD
