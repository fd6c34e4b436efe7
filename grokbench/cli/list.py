"""What there is to choose from, as names and descriptions. Imports the rest only when asked."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from grokbench.cli.common import HELD, print_rows
from grokbench.spec import SOFTMAXES, TRAIN_SHARE

if TYPE_CHECKING:
    from grokbench.claims import Arm, Audit, Claim


FORMULAS = {
    "add": "a + b mod p",
    "sub": "a − b mod p",
    "mul": "a · b mod p",
    "div": "a / b mod p for b from 1 to p − 1",
    "exp": "a to the power of b, mod p",
    "gcd": "the greatest common divisor of a and b",
    "parity": "whether the number of ones among the bits is odd",
}


def _list_tasks() -> list[tuple[str, str]]:
    from grokbench import tasks
    from grokbench.claims.presets import PRESETS
    from grokbench.spec.plugins import TASK

    def describe(name: str) -> str:
        sizes: dict[str, list[str]] = {}
        for preset in PRESETS.values():
            for spec in preset.tasks:
                if spec.name == name:
                    size = f"p = {spec.modulus}" if spec.modulus else f"{spec.bits} bits"
                    sizes.setdefault(f"{size}, {spec.rows} rows", []).append(preset.name)
        where = "; ".join(f"{size} in {' and '.join(names)}" for size, names in sizes.items())
        return f"{FORMULAS[name]}; {TRAIN_SHARE[name]:.0%} of the rows for training\n{where}"

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
    from grokbench.claims.presets import PRESETS
    from grokbench.spec import registry

    def describe(name: str) -> str:
        if name not in registry.BUILT_IN:
            return "registered by a package"
        stands: dict[str, list[str]] = {}
        for preset in PRESETS.values():
            if name in preset.optimizers:
                stands.setdefault(preset.optimizers[name], []).append(preset.name)
        lines = [f"in {' and '.join(names)}: {text}" for text, names in stands.items()]
        return "\n".join([registry.BUILT_IN[name].summary, *lines, f"else: {registry.parse(name)}"])

    rows = [(name, describe(name)) for name in registry.names()]
    return [*rows, ("package.module:Attribute(lr=…)", "any torch.optim.Optimizer, or a function that makes one")]


def _list_models() -> list[tuple[str, str]]:
    from grokbench.claims.presets import PRESETS
    from grokbench.spec.model import MODULES, TRANSFORMER
    from grokbench.spec.plugins import MODEL, written

    sizes = "\n".join(f"{p.name}: {p.transformer}" for p in PRESETS.values())
    rows = [(TRANSFORMER, f"all replicas at once; its settings begin with the preset's\n{sizes}")]
    rows += [(name, f"one replica at a time\n{written(name, settings)}") for name, settings in MODULES.items()]
    rows += [(name, "registered by a package") for name in MODEL.names()]
    return [*rows, ("package.module:Attribute(key=value, …)", "a function of vocabulary, classes and positions")]


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
            *([_whom(c)] if isinstance(c, Claim) else []),
            f"tested: {ENDPOINTS[c.test].meaning}{margin}" + f", {where}" * bool(where),
        ]
        return "\n".join([*lines, *([c.scope] if c.scope else [])])

    return [(c.name, describe(c)) for c in dict.fromkeys(case.claim for case in cases(Options(claims=ALL_PAPERS)))]


def _whom(claim: Claim) -> str:
    """Who is claimed to be earlier than whom, or what is compared otherwise."""
    from grokbench.verdicts.endpoints import ENDPOINTS

    if not ENDPOINTS[claim.test].timed:
        return f"that is, {_arm(claim.candidate)} against {_arm(claim.baseline)}"
    how = "before" if claim.margin == 1 else f"in less than {claim.margin:g} times the time of"
    return f"that is, {_arm(claim.candidate)} {how} {_arm(claim.baseline)}"


def _arm(arm: Arm) -> str:
    return f"{arm.label} under {arm.softmax}" if arm.softmax else arm.label


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
    "models": _list_models,
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
