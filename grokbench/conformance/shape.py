"""The singular values and vectors of the updates of an optimizer of matrices."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from grokbench.conformance.outcome import CheckOutcome, ConformanceError, NotApplicableError, Seen
from grokbench.conformance.rig import SIZE, SLICES, STEPS, trajectory, weights, with_spectrum
from grokbench.spec import OptimizerSpec, registry

# Singular values of Muon's updates lie in [0.68, 1.21] times their scale where those of the gradient are at least
# 0.003 of its Frobenius norm (Jordan et al. 2024, five steps), so the largest is at most 1.78 times the smallest. A
# twentieth is allowed for products in bfloat16. A plug-in promises a ratio by its attribute `grokbench_condition`.
CONDITION = 1.05 * 1.21 / 0.68
GRADIENT_CONDITION = 20.0
ORTHOGONAL = 3.0  # a ratio below which an update is taken to be orthogonalised on purpose
NORMS = (1e-6, 1e-8, 1e-10, 1e-12)  # of gradients, Frobenius; an ε of 1e-7 beside them makes the last ones degenerate
WORSE = 2.0  # a factor by which the ratio may grow over these
ALIGNED = 0.9  # mean cosine to the gradient's polar factor; in bfloat16, Newton–Schulz reaches 0.99, a reshape about 0


def spectrum(spec: OptimizerSpec) -> Seen:
    """Where a ratio of singular values is promised, whether it is kept, along the gradient's singular vectors.

    Every gradient is the same, so that the momentum is a multiple of it.
    """
    built_in = registry.BUILT_IN.get(spec.name)
    if built_in and not (built_in.matrices and spec["orthogonalize"]):
        raise NotApplicableError("it promises no spectrum")
    if not built_in and not spec.matrices_only:
        raise NotApplicableError("it is not declared for matrices")
    promised = CONDITION if built_in else getattr(registry.load(spec.name), "grokbench_condition", None)
    gradients = {
        s.name: with_spectrum(s.shape, np.geomspace(1, 1 / GRADIENT_CONDITION, min(s.shape)), seed=i)
        for i, s in enumerate(SLICES)
        if s.hidden
    }
    updates = _updates(spec, gradients)
    ratio, steepest = max((_ratio(update), name) for name, update in updates.items())
    aligned, crooked = min((_alignment(update, gradients[name]), name) for name, update in updates.items())
    ratio_seen = f"largest over smallest singular value of an update of {steepest} is {ratio:.3g}"
    aligned_seen = f"alignment of U Vᵀ with the gradient's is {aligned:.3g} in {crooked}"
    wrong = [small] if ratio < ORTHOGONAL and (small := _degenerate(spec, gradients, ratio)) else []
    if promised is None:
        if wrong:
            raise ConformanceError(small)
        return Seen(f"{ratio_seen}; {aligned_seen}; no ratio is promised", CheckOutcome.SAID)
    if not ratio <= float(promised):
        wrong.append(f"{ratio_seen}, not {float(promised):.3g} at the most")
    if not aligned >= ALIGNED:
        wrong.append(f"{aligned_seen}, not {ALIGNED} at the least: its singular vectors are others")
    if wrong:
        raise ConformanceError("; ".join(wrong))
    return Seen(f"{ratio_seen}, {float(promised):.3g} at the most; {aligned_seen}")


def _degenerate(spec: OptimizerSpec, gradients: dict[str, Tensor], ratio: float) -> str:
    """What is wrong with updates of small gradients, if anything is."""
    for norm in NORMS:
        scaled = {name: norm * g / g.norm() for name, g in gradients.items()}
        found, name = max((_ratio(update), name) for name, update in _updates(spec, scaled, norm).items())
        if found > WORSE * ratio:
            return (
                f"for gradients of norm {norm:g} the ratio of singular values is {found:.3g} in {name}, not "
                f"{ratio:.3g} as for larger ones: is the ε of its normalisation too large?"
            )
    return ""


def _updates(spec: OptimizerSpec, gradients: dict[str, Tensor], norm: float = 1.0) -> dict[str, Tensor]:
    """By hidden matrix, (out, into) float64 what is taken from it in the first step in which it moves.

    norm: of the gradients, in proportion to which updates may be.
    """
    row = torch.zeros(1, 1, SIZE, dtype=torch.float64)
    places = [s for s in SLICES if s.hidden]
    for s in places:
        row[0, 0, s.offset : s.offset + s.size] = gradients[s.name].flatten()
    # Weights so small that no decay of theirs is seen, and no rounding of them.
    states = trajectory(spec, row.expand(STEPS, -1, -1), STEPS, 1e-9 * norm * weights(1)).double()
    found = {}
    for s in places:
        matrices = -states[:, 0, s.offset : s.offset + s.size].reshape(-1, *s.shape).diff(dim=0)
        moved = [m for m in matrices if m.any()]
        if not moved:
            raise ConformanceError(f"{s.name} never moves")
        if not moved[0].isfinite().all():
            raise ConformanceError(f"{s.name} is not finite")
        found[s.name] = moved[0]
    return found


def _ratio(update: Tensor) -> float:
    values = torch.linalg.svdvals(update)
    return float(values[0] / values[-1].clamp(min=1e-300))


def _alignment(update: Tensor, gradient: Tensor) -> float:
    """Mean cosine between their singular vectors: ⟨U Vᵀ, U' V'ᵀ⟩ / min(out, into), from -1 to 1."""
    (u, _, vt), (u2, _, vt2) = (torch.linalg.svd(m, full_matrices=False) for m in (update, gradient))
    return float(((u @ vt) * (u2 @ vt2)).sum() / min(update.shape))
