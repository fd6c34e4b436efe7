"""How large the updates of an optimizer are, step by step."""

from __future__ import annotations

from grokbench.conformance.knobs import knobs
from grokbench.conformance.outcome import CheckOutcome, ConformanceError, Seen
from grokbench.conformance.rig import SLICES, noise, trajectory, weights
from grokbench.spec import OptimizerSpec

AT = (1, 10, 100)


def over_steps(spec: OptimizerSpec) -> Seen:
    """The root mean square of the updates at steps 1, 10 and 100, where every gradient is the same.

    A bias correction that is missing shows in the first, a sum where an average is meant in the later ones. Without
    decay. For an optimizer of matrices, these alone.
    """
    if "weight_decay" in knobs(spec):
        spec = spec.having(weight_decay=0.0)
    gradient = noise(1, 1).expand(max(AT), -1, -1)
    states = trajectory(spec, gradient, max(AT), 1e-9 * weights(1)).double()[:, 0]
    chosen = [s for s in SLICES if s.hidden or not spec.matrices_only]
    sizes = []
    for t in AT:
        update = states[t] - states[t - 1]
        of = [update[s.offset : s.offset + s.size].square() for s in chosen]
        sizes.append((sum(float(u.sum()) for u in of) / sum(s.size for s in chosen)) ** 0.5)
    if not all(size < float("inf") for size in sizes):
        raise ConformanceError(f"not finite within {max(AT)} steps of one gradient")
    said = ", ".join(f"{size:.3g}" for size in sizes)
    return Seen(f"root mean square of the updates at steps {', '.join(map(str, AT))}: {said}", CheckOutcome.SAID)
