"""Whether an optimizer's bits are its own: the same every time, and whatever its neighbours do."""

from __future__ import annotations

from grokbench.conformance.outcome import ConformanceError, Seen
from grokbench.conformance.rig import noise, same, trajectory, weights
from grokbench.spec import OptimizerSpec


def deterministic(spec: OptimizerSpec) -> Seen:
    first = trajectory(spec, noise())
    trajectory(spec, noise(seed=3))
    if not same(first, trajectory(spec, noise())):
        raise ConformanceError(
            "the same gradients give other weights the second time: something outlives the optimizer"
        )
    return Seen("the same weights again, after another run in between")


def independent(spec: OptimizerSpec) -> Seen:
    gradients = noise()
    together = trajectory(spec, gradients)
    changed = gradients.clone()
    changed[:, 1] = noise(seed=2)[:, 1]
    other = trajectory(spec, changed)
    for slot in (0, 2):
        if not same(together[:, slot], other[:, slot]):
            raise ConformanceError("another gradient of one replica changes the weights of its neighbours")
    if same(together[:, 1], other[:, 1]):
        raise ConformanceError("another gradient changes nothing")
    lone = trajectory(spec, gradients[:, :1], start=weights()[:1])
    if not same(together[:, 0], lone[:, 0]):
        raise ConformanceError("a replica's bits alone are not those in company")
    return Seen("bits depend on neither the gradients nor the number of other replicas")
