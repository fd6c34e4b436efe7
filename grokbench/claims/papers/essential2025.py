"""Essential AI 2025, "Muon doesn't clearly grok faster" (blog).

Division, 50 % for training: over a wider range of hyperparameters Muon's advantage disappears. No grid is given, so
both arms are tuned on the preset's.
"""

from __future__ import annotations

from dataclasses import replace

from grokbench.claims import Cell, Claim, Setup

SOURCE = "Essential AI 2025"
MARGIN = 1.1  # what is at most 10 % later has no disadvantage
TRAIN_SHARE = 0.5
BUDGETS = 2  # half the data take longer


def claims(setup: Setup) -> list[Claim]:
    preset = setup.preset
    division = setup.cell("div", "softmax")
    adamw, muon = setup.arms("adamw", "muon")
    return [
        setup.claim(
            "essential2025-no-advantage",
            "with both tuned, Muon's advantage disappears (AdamW is no later)",
            SOURCE,
            muon,
            adamw,
            cells=(Cell(replace(division.task, train_share=TRAIN_SHARE), division.softmax),),
            pooled=False,
            criterion=replace(preset.criterion, budget=BUDGETS * preset.criterion.budget),
            margin=MARGIN,
            protocol="tuned",
            grid=preset.grid,
            scope="at the preset's modulus and model, tuned on its grid; no grid was published",
        )
    ]
