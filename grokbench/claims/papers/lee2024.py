"""Lee et al. 2024, "Grokfast" (arXiv 2405.20233).

Adding an amplified moving average of past gradients (α 0.98, λ 2) makes grokking many times earlier.
"""

from __future__ import annotations

from grokbench.claims import Arm, Claim, Setup
from grokbench.spec.registry import parse

SOURCE = "Lee et al. 2024, arXiv 2405.20233"
ADAMW = "adamw(lr=0.001, weight_decay=1.0{})"  # torch_grokking's, as for the preset `paper`
MARGIN = 0.5  # "many times earlier" is at least twice


def claims(setup: Setup) -> list[Claim]:
    return [
        setup.claim(
            "lee2024-grokfast",
            "Grokfast groks in less than half the time",
            SOURCE,
            Arm("adamw", parse(ADAMW.format(""))),
            Arm("grokfast", parse(ADAMW.format(", filter='grokfast'"))),
            cells=(setup.cell("add", "softmax"),),
            pooled=False,
            margin=MARGIN,
            scope="at the preset's modulus, model and batch, in equal settings",
        )
    ]
