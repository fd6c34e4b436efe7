"""Prieto et al. 2025, "Grokking at the Edge of Numerical Stability" (arXiv 2501.04697).

Without weight decay, float32 softmax cross-entropy stops grokking, as the loss of a fitted example rounds to zero;
stablemax, or a gradient orthogonal to the weights (⊥Grad), restores it.
"""

from __future__ import annotations

from dataclasses import replace

from grokbench.claims import Arm, Claim, Setup
from grokbench.spec.registry import parse

SOURCE = "Prieto et al. 2025, arXiv 2501.04697"
ADAMW = "adamw(lr=0.001, weight_decay=0.0{})"  # torch's rate
BUDGETS = 2  # without decay it takes longer


def claims(setup: Setup) -> list[Claim]:
    plain = Arm("softmax", parse(ADAMW.format("")))
    stable = plain._replace(label="stablemax", softmax="stablemax")
    orthogonal = Arm("orthograd", parse(ADAMW.format(", filter='orthograd'")))

    budget = BUDGETS * setup.preset.criterion.budget
    # No run holds that long, so all go on to the end of the budget and are compared in the same state.
    criterion = replace(setup.preset.criterion, budget=budget, hold=budget)

    def claim(name: str, statement: str, baseline: Arm, candidate: Arm, test: str) -> Claim:
        return setup.claim(
            f"prieto2025-{name}",
            statement,
            SOURCE,
            baseline,
            candidate,
            cells=(setup.cell("add", "softmax"),),
            criterion=criterion,
            pooled=False,
            test=test,
            scope="at the preset's modulus, model, batch and training share, for twice its budget",
        )

    return [
        claim("stablemax-groks", "without decay, stablemax groks where softmax does not", plain, stable, "reached"),
        claim("orthograd-groks", "without decay, ⊥Grad groks where plain AdamW does not", plain, orthogonal, "reached"),
        claim(
            "softmax-collapses",
            "without decay, softmax loses more gradients",
            stable,
            plain,
            "collapsed",
        ),
    ]
