"""Tveit, Remseth, Skogvold 2025, "Muon Optimizer Accelerates Grokking" (arXiv 2504.16041)."""

from __future__ import annotations

from grokbench.claims import Arm, Audit, Claim, Setup
from grokbench.claims.protocols import match
from grokbench.spec import OptimizerSpec

SOURCE = "Tveit et al. 2025, arXiv 2504.16041"
PAIRS = 10
REPORTED = 5.0175, 6.33e-8  # two-sample t-test of the grokking epochs of both arms
SCOPE = "at the preset's model and settings; layers, rates, decay, seeds and budget are not published"


def earlier(setup: Setup, baseline: Arm, candidate: Arm, protocol: str, *, asserted: bool = False) -> Claim:
    """The candidate groks earlier than the baseline.

    Published for Muon against AdamW as mean epochs 102.89 against 153.09 over all tasks and softmaxes, without
    figures by task or by softmax. asserted: whatever the preset says.
    """
    if protocol == "matched":
        candidate = candidate._replace(optimizer=match(baseline.optimizer, candidate.optimizer))
    grid = setup.preset.grid if protocol == "tuned" else None
    if grid:
        for arm in (baseline, candidate):
            grid.settings(arm.optimizer)  # refuses what cannot be tuned
    published = (baseline.optimizer.name, candidate.optimizer.name) == ("adamw", "muon")
    name = _name(f"{candidate.label}-before-{baseline.label}", protocol)
    return setup.claim(
        name,
        f"{candidate.label} groks earlier than {baseline.label}",
        SOURCE if published else "asked of grokbench, not published",
        baseline,
        candidate,
        protocol=protocol,
        grid=grid,
        scope=SCOPE if published else "at the preset's model and settings",
        asserted=asserted or name in setup.preset.asserted,
        comparisons=setup.comparisons if asserted else 1,
    )


def _name(name: str, protocol: str) -> str:
    return name if protocol == "published" else f"{name}-{protocol}"


def claims(setup: Setup, baseline: Arm, candidate: Arm, protocol: str) -> list[Claim | Audit]:
    """What the paper says beside that, from the first `PAIRS` pairs in every cell.

    tighter: its box plot has the middle half of Muon's grok times at 45–105 and AdamW's at 60–150. Those are absolute:
    what is earlier with the same relative spread is tighter, too. secondary: "the softmax plays a secondary role" is
    taken to say that the optimizer's effect on log times is larger than any difference of that effect between two
    softmaxes.
    """
    first = earlier(setup, baseline, candidate, protocol)
    count = min(PAIRS, first.replicas)  # whatever the data; so tests stay exact
    common = {
        "replicas": count,
        "sequential": False,
        "per_cell": False,
        "protocol": protocol,
        "grid": first.grid,
        "scope": SCOPE,
    }
    made: list[Claim | Audit] = []
    if protocol == "matched":
        made.append(equal_decay(setup, candidate, first.candidate.optimizer))
    made.append(
        setup.claim(
            _name(f"{candidate.label}-tighter", protocol),
            f"the grok times of {candidate.label} are tighter, in epochs",
            SOURCE,
            first.baseline,
            first.candidate,
            test="spread",
            **common,
        )
    )
    if len({cell.softmax for cell in first.cells}) > 1:
        made.append(
            setup.claim(
                _name("softmax-secondary", protocol),
                "the softmax plays a secondary role",
                SOURCE,
                first.baseline,
                first.candidate,
                test="interaction",
                **common,
            )
        )
    if protocol == "published":
        made.append(
            Audit(
                "tveit2025-audit",
                f"t = {REPORTED[0]} gives p = {REPORTED[1]}",
                SOURCE,
                reported=REPORTED,
                asserted="tveit2025-audit" in setup.preset.asserted,
            )
        )
    return made


def equal_decay(setup: Setup, candidate: Arm, matched: OptimizerSpec) -> Claim:
    """What the published settings owe to decay: the candidate against itself with the baseline's lr × weight decay.

    Not published by anyone. It was seen in the records of the other two comparisons, so it is a claim for replicas that
    are not among them.
    """
    return setup.claim(
        f"{candidate.label}-owes-to-decay",
        f"{candidate.label} groks earlier at equal weight decay than at matched lr × weight decay",
        "grokbench, its own records",
        Arm(f"{candidate.label} matched", matched),
        candidate,
        per_cell=False,
        protocol="matched",
        scope="first seen in the records of replicas 0 to 15, which therefore are no test of it",
    )
