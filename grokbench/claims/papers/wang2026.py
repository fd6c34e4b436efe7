"""Wang 2026, "The Active Ingredient in Muon's Grokking" (arXiv 2607.20512).

Published at p = 97 with 40 % for training and a rate of 1e-3; tested here on the preset's model, training share and
settings, where the same runs serve the main table.
"""

from __future__ import annotations

from grokbench.claims import Arm, Claim, Setup
from grokbench.spec.registry import parse

SOURCE = "Wang 2026, arXiv 2607.20512"
SCOPE = "at the preset's modulus, training share and rates, not p = 97, 40 % and 1e-3"
MARGIN = 1.1  # "no worse" is a grok time at most 10 % later
FEW_STEPS = 1


def claims(setup: Setup) -> list[Claim]:
    settings = setup.preset.optimizers

    def arm(label: str, change: str = "") -> Arm:
        return Arm(label, parse(f"{'adamw' if label == 'adamw' else 'muon'}({change})", settings))

    muon, adamw = arm("muon"), arm("adamw")
    unscaled, scaled = arm("unscaled", "scale='none'"), arm("scaled", "orthogonalize=False")
    few = arm(f"steps-{FEW_STEPS}", f"ns_steps={FEW_STEPS}")
    addition, subtraction = (setup.cell(name, "softmax") for name in ("add", "sub"))

    def claim(name: str, statement: str, baseline: Arm, candidate: Arm, **details: object) -> Claim:
        fixed = {"cells": (addition,), "pooled": False, "scope": SCOPE}
        return setup.claim(f"wang2026-{name}", statement, SOURCE, baseline, candidate, **{**fixed, **details})

    return [
        claim(
            "orthogonalising-suffices",
            "orthogonalising without Muon's scale factor is no worse than Muon",
            muon,
            unscaled,
            margin=MARGIN,
        ),
        claim(
            "scaling-is-not-enough",
            "scaling without orthogonalising is no better than AdamW (AdamW is no later)",
            scaled,
            adamw,
            margin=MARGIN,
        ),
        claim("fewer-steps-cross-earlier", f"{FEW_STEPS} Newton–Schulz step crosses earlier than 5", muon, few),
        claim(
            "fewer-steps-hold-later",
            f"{FEW_STEPS} Newton–Schulz step holds later than 5",
            few,
            muon,
            test="sustained",
        ),
        claim("subtraction-inverts", "on subtraction AdamW groks before Muon", muon, adamw, cells=(subtraction,)),
    ]
