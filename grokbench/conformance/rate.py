"""Whether a rate that is set in `param_groups` between steps, as schedulers do, is the one that acts."""

from __future__ import annotations

import copy
import warnings

import torch
from torch import Tensor

from grokbench.conformance.knobs import numeric
from grokbench.conformance.outcome import CheckOutcome, ConformanceError, NotApplicableError, Seen, in_a_line
from grokbench.conformance.rig import PATIENT, Replica, noise, same
from grokbench.spec import OptimizerSpec, UsageError, registry

BEFORE, AFTER = PATIENT, 3  # steps at the rate as it is, and at 0
ALIKE = 1e-3  # of a movement, between a rate as a number and as a tensor


def live(spec: OptimizerSpec) -> Seen:
    """With lr and weight_decay set to 0 no parameter should move, also after a load of the state.

    The rate is also set as a tensor, and by a scheduler of torch's.
    """
    if spec.name in registry.BUILT_IN:
        raise NotApplicableError("built in: it has no param_groups")
    one = Replica(spec)
    if any("lr" not in group for group in one.optimizer.param_groups):
        raise NotApplicableError("its param_groups have no lr")
    rows = noise(BEFORE + AFTER)[:, 0]
    for t in range(BEFORE):
        one.give(rows[t])
        one.step()
    state = copy.deepcopy(one.optimizer.state_dict())
    ordinary, loaded = one.again(copy.deepcopy(state)), one.again(state)
    stop(one)
    stop(loaded)
    stop(ordinary, "weight_decay")
    start = [p.detach().clone() for p in one.parameters]
    for t in range(BEFORE, BEFORE + AFTER):
        for replica in (one, ordinary, loaded):
            replica.give(rows[t])
            replica.step()
    if all(same(p, old) for p, old in zip(ordinary.parameters, start, strict=True)):
        return Seen(f"nothing moves in {AFTER} steps after {BEFORE}, so nothing can be seen", CheckOutcome.SAID)
    for replica, when in ((one, ""), (loaded, " after load_state_dict")):
        if not replica.difference(ordinary):
            if own := own_step_sizes(spec, rows):
                text = f"a rate of 0 in param_groups changes nothing: the step sizes are its own, in {own}"
                return Seen(text, CheckOutcome.SAID)
            if any(group["lr"] for group in replica.optimizer.param_groups):
                return Seen(f"it sets the rate in param_groups itself{when}, so no scheduler can", CheckOutcome.SAID)
            raise ConformanceError(
                f"a rate of 0 in param_groups{when} changes nothing: does it keep a rate of its own?"
            )
    if not all(same(p, old) for replica in (one, loaded) for p, old in zip(replica.parameters, start, strict=True)):
        return Seen("a rate of 0 in param_groups acts, but weights still move", CheckOutcome.SAID)
    notes = [*_as_tensor(spec, rows), *_scheduled(spec, rows)]
    text = "at a rate of 0 in param_groups nothing moves, also after load_state_dict and by a scheduler"
    return Seen("; ".join([text, *notes]), CheckOutcome.SAID if notes else CheckOutcome.HOLDS)


def own_step_sizes(spec: OptimizerSpec, rows: Tensor) -> str:
    """The name of a tensor in its state that has a step size for every element, as Rprop does; "" if there is none.

    Such a tensor is filled with the rate in the first step, and differs from element to element later.
    """
    one = Replica(spec, tiny=True)
    rate, begun = one.optimizer.param_groups[0]["lr"], set[str]()
    for t, row in enumerate(rows):
        one.give(row)
        one.step()
        own = one.optimizer.state[one.parameters[0]]
        per_element = {str(name): v for name, v in own.items() if isinstance(v, Tensor) and v.numel() > 1}
        if t == 0:
            begun = {name for name, v in per_element.items() if bool(torch.isclose(v, torch.full_like(v, rate)).all())}
    return next((name for name in begun if float(per_element[name].max()) > float(per_element[name].min()) > 0), "")


def stop(one: Replica, *names: str) -> None:
    """Set the rate and the decay to 0, or these alone."""
    for group in one.optimizer.param_groups:
        for name in names or ("lr", "weight_decay"):
            if isinstance(group.get(name), Tensor):
                group[name] = torch.zeros_like(group[name])
            elif name in group:
                group[name] = 0.0


def _as_tensor(spec: OptimizerSpec, rows: Tensor) -> list[str]:
    """What there is to say of a rate that is a tensor, as `torch.compile` needs it. Raises `ConformanceError`."""
    number, tensor = Replica(spec, tiny=True), Replica(spec, tiny=True)
    if any(not isinstance(group["lr"], float) for group in number.optimizer.param_groups):
        return []
    for group in tensor.optimizer.param_groups:
        group["lr"] = torch.tensor(group["lr"])
    begin = [p.detach().clone() for p in number.parameters]
    given = [group["lr"] for group in number.optimizer.param_groups]
    try:
        for row in rows:
            for replica in (number, tensor):
                replica.give(row)
                replica.step()
    except UsageError as error:
        return [f"a rate that is a tensor is not taken: {in_a_line(error)}"]
    after = [float(group["lr"]) for group in tensor.optimizer.param_groups]
    moved = max(float((p - old).detach().abs().max()) for p, old in zip(number.parameters, begin, strict=True))
    apart = max(float((p - q).detach().abs().max()) for p, q in zip(number.parameters, tensor.parameters, strict=True))
    if apart > ALIKE * moved:
        raise ConformanceError(f"a rate that is a tensor gives other weights, by {apart / moved:.2g} of their movement")
    unchanged = [group["lr"] for group in number.optimizer.param_groups] == given
    if unchanged and any(abs(a - b) > 1e-6 * abs(b) for a, b in zip(after, given, strict=True)):
        raise ConformanceError("it writes into a rate that is a tensor")
    _filled(tensor, rows, "a tensor that is set as the rate in param_groups")
    if not numeric(dict(spec.hyperparameters).get("lr")):
        return []
    try:
        made = Replica(spec, tiny=True, lr=torch.tensor(float(spec["lr"])))
        for row in rows[:BEFORE]:
            made.give(row)
            made.step()
    except UsageError as error:
        return [f"it is not made with a rate that is a tensor: {str(error).splitlines()[0]}"]
    _filled(made, rows, "a tensor that it is given as the rate")
    return []


def _filled(one: Replica, rows: Tensor, what: str) -> None:
    """Raises `ConformanceError` where weights still move once a rate that is a tensor is filled with 0.

    So schedulers of torch's set such a rate, and a step that is compiled or recorded knows no other one.
    """
    stop(one, "weight_decay")
    rates = [group["lr"] for group in one.optimizer.param_groups if isinstance(group["lr"], Tensor)]
    if len(rates) < len(one.optimizer.param_groups):
        return  # it keeps numbers
    for lr in rates:
        lr.fill_(0.0)
    begin = [p.detach().clone() for p in one.parameters]
    for row in rows[:AFTER]:
        one.give(row)
        one.step()
    if not all(same(p, old) for p, old in zip(one.parameters, begin, strict=True)):
        raise ConformanceError(f"{what} is filled with 0, and weights still move: is it read once?")


def _scheduled(spec: OptimizerSpec, rows: Tensor) -> list[str]:
    """What there is to say of a scheduler of torch's that sets the rate to 0. Raises `ConformanceError`."""
    one = Replica(spec, tiny=True)
    stop(one, "weight_decay")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.optim.lr_scheduler.LambdaLR(one.optimizer, lambda step: 0.0)
    except Exception as error:  # what it lacks, foreign code can say in any way
        return [f"no scheduler of torch's takes it: {type(error).__name__}: {error}"]
    begin = [p.detach().clone() for p in one.parameters]
    for row in rows:
        one.give(row)
        one.step()
    if not all(same(p, old) for p, old in zip(one.parameters, begin, strict=True)):
        return ["under a scheduler that sets the rate to 0 from the first step on, weights still move"]
    return []
