"""Three ways to give the arms of a comparison their rates and weight decays, since the published one is confounded.

`published`: the settings as they are, with equal weight decay. Decoupled decay acts at the rate lr × weight decay, so
arms of different rates decay differently. `matched`: the candidate's weight decay is changed so that lr × weight decay
equals the baseline's. `tuned`: each arm takes, cell by cell, the best of the same grid of rates and weight decays,
chosen on replicas that no verdict uses.
"""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

from grokbench.spec import OptimizerSpec, UsageError, Value

PROTOCOLS = ("published", "matched", "tuned")


class Grid(NamedTuple):
    """Every rate with every weight decay, each trained with the replicas that are numbered here."""

    lr: tuple[float, ...]
    weight_decay: tuple[float, ...]
    replicas: tuple[int, ...]

    def settings(self, spec: OptimizerSpec) -> list[OptimizerSpec]:
        """The optimizer at every point of the grid; what else it takes stays as it is."""
        _require(spec, "tuned")
        return [spec.having(lr=lr, weight_decay=decay) for lr, decay in product(self.lr, self.weight_decay)]


def match(baseline: OptimizerSpec, candidate: OptimizerSpec) -> OptimizerSpec:
    """The candidate with the baseline's lr × weight decay; its AdamW, if it has one, with the baseline's own decay.

    Raises `UsageError` where one of them does not say its rate and weight decay.
    """
    for spec in (baseline, candidate):
        _require(spec, "matched")
    if not candidate["lr"]:
        raise UsageError(f"the protocol matched needs a rate above 0, not {candidate}")

    def decay(lr: float) -> float:
        return float(f"{baseline['lr'] * baseline['weight_decay'] / lr:.6g}")  # without the noise of the last bits

    rest: dict[str, Value] = {}
    if (rate := dict(candidate.hyperparameters).get("adamw_lr")) is not None:
        if not rate:
            raise UsageError(f"the protocol matched needs an adamw_lr above 0, not {candidate}")
        rest = {"adamw_weight_decay": decay(float(rate))}  # type: ignore[arg-type]
    return candidate.having(weight_decay=decay(candidate["lr"]), **rest)


def _require(spec: OptimizerSpec, protocol: str) -> None:
    if missing := [name for name in ("lr", "weight_decay") if name not in dict(spec.hyperparameters)]:
        raise UsageError(f"the protocol {protocol} needs {' and '.join(missing)} in the parentheses of {spec}")
