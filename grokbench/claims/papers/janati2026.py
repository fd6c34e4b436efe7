"""Janati et al. 2026, "Post-Grokking Collapse" (arXiv 2608.07436).

Published for addition modulo 113: after grokking, all 9 Muon settings fall below the threshold again, in 137 to 321
evaluations a run, and 4 of 7 AdamW settings do, in 1 or 2.
"""

from __future__ import annotations

from dataclasses import replace

from grokbench.claims import Claim, Setup

SOURCE = "Janati et al. 2026, arXiv 2608.07436"
AFTER = 200  # epochs, evaluated after each


def claims(setup: Setup) -> list[Claim]:
    preset = setup.preset
    baseline, candidate = setup.arms("adamw", "muon")
    return [
        setup.claim(
            "janati2026-muon-collapses",
            "after grokking, Muon falls below the threshold more often than AdamW",
            SOURCE,
            baseline,
            candidate,
            cells=(setup.cell("add", "softmax"),),
            pooled=False,
            criterion=replace(preset.criterion, after=AFTER),
            test="below",
            scope=f"at the preset's modulus, for {AFTER} epochs after the crossing",
        )
    ]
