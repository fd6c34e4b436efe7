"""The optimizers of a stack, replica by replica, against torch's own and against obvious loops."""

import math
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import plugins
import pytest
import pytorch_optimizer
import torch
from torch import Tensor, nn

from grokbench.models.transformer import Slice, Stack
from grokbench.optim.stack import Optimizer
from grokbench.spec import GrokCriterion, ModelSpec, RunSpec, UsageError, task
from grokbench.spec.registry import BUILT_IN, parse

Weights = dict[str, Tensor]

SHAPES = {"square": (16, 16), "tall": (32, 16), "other": (16, 16), "wide": (16, 32), "table": (5, 16), "gain": (16,)}
HIDDEN = ("square", "tall", "other", "wide")
REST = ("table", "gain")
STEPS = 20
MODULAR = task("add", 7)

# What stands for every kind of optimizer that a stack can hold.
KINDS = [
    "adamw(lr=0.01)",
    "sgd(lr=0.01)",
    "muon(lr=0.01)",
    "torch.optim:AdamW(lr=0.01)",
    "torch.optim:Muon(lr=0.01, weight_decay=0.1, parameters='matrices')",
    "plugins:Noisy(lr=0.01)",
]
kinds = pytest.mark.parametrize("text", KINDS)


def slices() -> tuple[Slice, ...]:
    made, offset = [], 0
    for name, shape in SHAPES.items():
        made.append(Slice(name, shape, offset, name in HIDDEN))
        offset += math.prod(shape)
    return tuple(made)


def stack(replicas: int, dtype: torch.dtype, seed: int) -> Stack:
    size = sum(map(math.prod, SHAPES.values()))
    numbers = torch.randn(replicas, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return Stack(slices(), numbers.to(dtype))


def gradients(replicas: int, dtype: torch.dtype, steps: int = STEPS) -> Iterator[Stack]:
    """The same sequence on every call, of all magnitudes."""
    for i in range(steps):
        made = stack(replicas, dtype, 1000 + i)
        made.flat.mul_(10.0 ** (i % 4 - 3))
        yield made


def run_spec(text: str, replica: int = 0) -> RunSpec:
    return RunSpec(MODULAR, "softmax", ModelSpec(), parse(text), GrokCriterion(1), 8, replica)


def optimizer(weights: Stack, *texts: str) -> Optimizer:
    """Loaded with one run a slot."""
    made = Optimizer(parse(texts[0]), weights)
    for slot, text in enumerate(texts):
        made.load(slot, run_spec(text, slot))
    return made


def step(made: Optimizer, gradient: Stack) -> None:
    before = gradient.flat.clone()
    made.step(gradient)
    assert torch.equal(gradient.flat, before), "the gradient was written to"


def train(*texts: str, dtype: torch.dtype = torch.float64, steps: int = STEPS) -> Stack:
    weights = stack(len(texts), dtype, 0)
    made = optimizer(weights, *texts)
    for gradient in gradients(len(texts), dtype, steps):
        step(made, gradient)
    return weights


def reference(
    make: Callable[[list[nn.Parameter]], torch.optim.Optimizer],
    slot: int = 0,
    replicas: int = 1,
    dtype: torch.dtype = torch.float64,
    names: tuple[str, ...] = tuple(SHAPES),
) -> Weights:
    """An ordinary optimizer on ordinary parameters that start and descend as one replica of `train` does."""
    start = stack(replicas, dtype, 0)
    parameters = {name: nn.Parameter(start.views[name][slot].clone()) for name in names}
    made = make(list(parameters.values()))
    for gradient in gradients(replicas, dtype):
        for name, p in parameters.items():
            p.grad = gradient.views[name][slot].clone()
        made.step()
    return {name: p.detach() for name, p in parameters.items()}


def compare(weights: Stack, slot: int, wanted: Weights, tolerance: float) -> None:
    for name, value in wanted.items():
        torch.testing.assert_close(weights.views[name][slot], value, rtol=tolerance, atol=tolerance, msg=name)


RATES = [(1e-3, 1.0), (0.03, 0.0), (0.01, 0.3)]  # lr and weight decay of three replicas
PRECISIONS = [(torch.float64, 1e-13), (torch.float32, 3e-6)]


@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
@pytest.mark.parametrize(("betas", "eps"), [((0.9, 0.98), 1e-8), ((0.8, 0.999), 1e-3)])
def test_adamw_equals_torch(betas: tuple[float, float], eps: float, dtype: torch.dtype, tolerance: float) -> None:
    weights = train(*(f"adamw(lr={lr}, weight_decay={wd}, {betas=}, {eps=})" for lr, wd in RATES), dtype=dtype)
    for slot, (lr, wd) in enumerate(RATES):
        wanted = reference(
            lambda p, lr=lr, wd=wd: torch.optim.AdamW(p, lr=lr, weight_decay=wd, betas=betas, eps=eps), slot, 3, dtype
        )
        compare(weights, slot, wanted, tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
@pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (0.9, False), (0.9, True)])
def test_sgd_equals_torch(momentum: float, nesterov: bool, dtype: torch.dtype, tolerance: float) -> None:
    weights = train(*(f"sgd(lr={lr}, weight_decay={wd}, {momentum=}, {nesterov=})" for lr, wd in RATES), dtype=dtype)
    for slot, (lr, wd) in enumerate(RATES):
        wanted = reference(
            lambda p, lr=lr, wd=wd: torch.optim.SGD(p, lr, momentum, weight_decay=wd, nesterov=nesterov), slot, 3, dtype
        )
        compare(weights, slot, wanted, tolerance)


@pytest.mark.parametrize("nesterov", [True, False])
@pytest.mark.parametrize("scale", ["original", "match_rms_adamw"])
def test_muon_equals_torch(scale: str, nesterov: bool) -> None:
    """Torch iterates in bfloat16, so the distance travelled may differ by 5 % of its length."""
    texts = [f"muon(lr={lr}, weight_decay={wd}, {scale=}, {nesterov=})" for lr, wd in RATES]
    weights = train(*texts, dtype=torch.float32)
    start = stack(3, torch.float32, 0)
    for slot, (lr, wd) in enumerate(RATES):

        def make(p: list[nn.Parameter], lr: float = lr, wd: float = wd) -> torch.optim.Optimizer:
            return torch.optim.Muon(p, lr, wd, nesterov=nesterov, adjust_lr_fn=scale)

        wanted = reference(make, slot, 3, torch.float32, HIDDEN)
        still = (1 - lr * wd) ** STEPS  # what decay alone leaves of the start
        for name, value in wanted.items():
            begun = start.views[name][slot] * still
            travelled = value - begun
            assert (weights.views[name][slot] - value).norm() < 0.05 * travelled.norm()


def orthogonal(g: Tensor) -> Tensor:
    """Five steps of the quintic, applied to the singular values."""
    u, s, vh = torch.linalg.svd(g, full_matrices=False)
    s = s / s.norm()
    for _ in range(5):
        s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
    return (u * s) @ vh


FACTORS: dict[str, Callable[[int, int], float]] = {
    "original": lambda out, into: max(1, out / into) ** 0.5,
    "match_rms_adamw": lambda out, into: 0.2 * max(out, into) ** 0.5,
    "spectral": lambda out, into: (out / into) ** 0.5,
    "none": lambda out, into: 1,
}


@pytest.mark.parametrize(("m", "nesterov"), [(0.95, True), (0.8, True), (0.9, False)])
@pytest.mark.parametrize("orthogonalize", [True, False])
@pytest.mark.parametrize("scale", FACTORS)
def test_muon_equals_an_obvious_loop(scale: str, orthogonalize: bool, m: float, nesterov: bool) -> None:
    given = f"{scale=}, {orthogonalize=}, momentum={m}, {nesterov=}"
    texts = [f"muon(lr={lr}, weight_decay={wd}, {given})" for lr, wd in RATES]
    weights, start = train(*texts), stack(3, torch.float64, 0)
    for slot, (lr, wd) in enumerate(RATES):
        for name in HIDDEN:
            w = start.views[name][slot].clone()
            average = torch.zeros_like(w)
            for gradient in gradients(3, torch.float64):
                g = gradient.views[name][slot]
                average = m * average + (1 - m) * g
                update = (1 - m) * g + m * average if nesterov else average
                update = orthogonal(update) if orthogonalize else update
                w = w - lr * wd * w - lr * FACTORS[scale](*w.shape) * update
            compare(weights, slot, {name: w}, 1e-10)


def test_muon_leaves_the_rest_to_adamw() -> None:
    weights = train(*(f"muon(lr=0.5, adamw_lr={lr}, weight_decay={wd})" for lr, wd in RATES))
    for slot, (lr, wd) in enumerate(RATES):
        wanted = reference(
            lambda p, lr=lr, wd=wd: torch.optim.AdamW(p, lr, (0.9, 0.98), weight_decay=wd), slot, 3, names=REST
        )
        compare(weights, slot, wanted, 1e-13)


@pytest.mark.parametrize(
    "text",
    [
        "adamw(lr=0.01, weight_decay=0.0)",
        "sgd(lr=0.01)",
        "muon(lr=0.01, weight_decay=0.0)",
        "torch.optim:AdamW(lr=0.01, weight_decay=0.0)",
        "torch.optim:Muon(lr=0.01, weight_decay=0.0, parameters='matrices')",
        "plugins:tensor_rate(lr=0.01)",
        "plugins:grouped(lr=0.01, weight_decay=0.0)",
    ],
)
def test_warmup_scales_every_step_linearly(text: str) -> None:
    """Without decay, and with gradients that are given, only the length of a step depends on the rate."""
    warm, cold = stack(1, torch.float64, 0), stack(1, torch.float64, 0)
    slow, fast = optimizer(warm, text[:-1] + ", warmup=8)"), optimizer(cold, text)
    for count, gradient in enumerate(gradients(1, torch.float64), start=1):
        before = warm.flat.clone(), cold.flat.clone()
        step(slow, gradient)
        step(fast, gradient)
        share = min(1, count / 8)
        wanted = (cold.flat - before[1]) * share
        torch.testing.assert_close(warm.flat - before[0], wanted, rtol=1e-6, atol=1e-13)


# For every hyperparameter another value, and the parameters that it acts on.
ALL = tuple(SHAPES)
KNOBS: dict[str, dict[str, tuple[object, tuple[str, ...]]]] = {
    "adamw": {"lr": (2e-3, ALL), "weight_decay": (0.5, ALL), "betas": ((0.9, 0.9), ALL), "eps": (1e-3, ALL),
              "warmup": (5, ALL)},
    "sgd": {"lr": (0.01, ALL), "weight_decay": (0.5, ALL), "momentum": (0.8, ALL), "nesterov": (True, ALL),
            "warmup": (5, ALL)},
    "muon": {"lr": (0.03, HIDDEN), "weight_decay": (0.5, ALL), "momentum": (0.9, HIDDEN), "nesterov": (False, HIDDEN),
             "ns_steps": (3, HIDDEN), "coefficients": ((3.0, -4.0, 2.0), HIDDEN), "orthogonalize": (False, HIDDEN),
             "scale": ("match_rms_adamw", HIDDEN), "adamw_lr": (2e-3, REST), "adamw_weight_decay": (0.5, REST),
             "betas": ((0.8, 0.98), REST),
             "eps": (1e-3, REST), "warmup": (5, ALL)},
}  # fmt: skip


def test_every_hyperparameter_is_tried() -> None:
    assert {name: {*knobs} for name, knobs in KNOBS.items()} == {
        name: {*built_in.defaults, "warmup"} for name, built_in in BUILT_IN.items()
    }


@pytest.mark.parametrize(("name", "knob"), [(name, knob) for name, knobs in KNOBS.items() for knob in knobs])
def test_no_knob_is_dead(name: str, knob: str) -> None:
    value, acts_on = KNOBS[name][knob]
    usual, turned = train(name), train(f"{name}({knob}={value!r})")
    for parameter in SHAPES:
        differ = not torch.equal(usual.views[parameter], turned.views[parameter])
        assert differ == (parameter in acts_on), parameter


@kinds
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_not_finite_stays_in_its_replica(text: str, bad: float) -> None:
    weights = {spoilt: stack(3, torch.float32, 0) for spoilt in (False, True)}
    for spoilt, own in weights.items():
        made = optimizer(own, text, text, text)
        for gradient in gradients(3, torch.float32, 4):
            gradient.flat[1].fill_(bad if spoilt else 0)
            made.step(gradient)
    assert weights[False].flat.isfinite().all()
    if "Noisy" not in text:  # which looks at no gradient
        assert not weights[True].flat[1].isfinite().all()
    assert torch.equal(weights[True].flat[::2], weights[False].flat[::2])


@kinds
def test_a_zero_gradient_keeps_the_weights_finite(text: str) -> None:
    weights = stack(2, torch.float32, 0)
    made = optimizer(weights, text, text)
    for _ in range(3):
        made.step(Stack(slices(), torch.zeros_like(weights.flat)))
    assert weights.flat.isfinite().all()


@kinds
def test_load_begins_anew_in_one_slot_alone(text: str) -> None:
    weights, undisturbed = stack(2, torch.float64, 0), stack(2, torch.float64, 0)
    start, text = weights.flat.clone(), text[:-1] + ", warmup=4)"
    made, other = optimizer(weights, text, text), optimizer(undisturbed, text, text)
    for gradient in gradients(2, torch.float64, 6):
        step(made, gradient)
        step(other, gradient)
    made.load(1, run_spec(text, 1))
    weights.flat[1] = start[1]
    for gradient in gradients(2, torch.float64, 6):
        step(made, gradient)
        step(other, gradient)
    assert torch.equal(weights.flat[0], undisturbed.flat[0])
    assert torch.equal(weights.flat[1], train(text, text, steps=6).flat[1])


@kinds
def test_select_keeps_the_state_of_the_chosen(text: str) -> None:
    texts = [text.replace("lr=0.01", f"lr={lr}, warmup=9") for lr in (0.01, 0.02, 0.03)]
    weights, chosen = stack(3, torch.float32, 0), [2, 0]
    made = optimizer(weights, *texts)
    sequence = list(gradients(3, torch.float32))
    for gradient in sequence[:5]:
        step(made, gradient)
    few = Stack(slices(), weights.flat[chosen])
    made.select(chosen, few)
    for gradient in sequence[5:]:
        step(made, Stack(slices(), gradient.flat[chosen]))
    assert torch.equal(few.flat, train(*texts, dtype=torch.float32).flat[chosen])


@pytest.mark.parametrize("text", ["adamw", "torch.optim:AdamW"])
def test_an_empty_slot_stays_as_it_is(text: str) -> None:
    weights = Stack(slices(), torch.zeros(2, stack(1, torch.float32, 0).flat.shape[1]))
    made = Optimizer(parse(text), weights)
    made.load(0, run_spec(text))
    made.step(Stack(slices(), torch.zeros_like(weights.flat)))
    assert torch.equal(weights.flat, torch.zeros_like(weights.flat))


@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
def test_a_plugged_in_adamw_equals_the_built_in_one(dtype: torch.dtype, tolerance: float) -> None:
    given = [f"(lr={lr}, weight_decay={wd}, betas=(0.9, 0.98), warmup=5)" for lr, wd in RATES]
    built_in, plugged = (train(*(name + g for g in given), dtype=dtype) for name in ("adamw", "torch.optim:AdamW"))
    torch.testing.assert_close(plugged.flat, built_in.flat, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    ("text", "make"),
    [
        ("pytorch_optimizer:Lion(lr=0.01, weight_decay=0.3)",
         lambda p: pytorch_optimizer.Lion(p, lr=0.01, weight_decay=0.3)),
        ("torch.optim:RMSprop(lr=0.01, momentum=0.5)", lambda p: torch.optim.RMSprop(p, 0.01, momentum=0.5)),
        ("plugins:grouped(lr=0.01, weight_decay=0.5)",
         lambda p: plugins.grouped([(str(i), q) for i, q in enumerate(p)], 0.01, 0.5)),
        ("plugins:tensor_rate(lr=0.01)", lambda p: torch.optim.SGD(p, 0.01)),
        ("plugins:Replaces(lr=0.01)", lambda p: torch.optim.SGD(p, 0.01)),
        ("plugins:WritesGradient(lr=0.01)", lambda p: torch.optim.SGD(p, 0.01)),
    ],
)  # fmt: skip
def test_a_plugin_runs_as_it_would_on_ordinary_parameters(text: str, make: Callable[..., Any]) -> None:
    weights = train(text, text)
    for slot in range(2):
        compare(weights, slot, reference(make, slot, 2), 1e-14)


def test_a_plugin_for_matrices_leaves_the_rest_to_adamw() -> None:
    text = "torch.optim:Muon(lr=0.02, weight_decay=0.4, parameters='matrices', adamw_lr=0.003)"
    weights = train(text, text, dtype=torch.float32)
    for slot in range(2):
        hidden = reference(lambda p: torch.optim.Muon(p, 0.02, 0.4), slot, 2, torch.float32, HIDDEN)
        compare(weights, slot, hidden, 0)
        rest = reference(
            lambda p: torch.optim.AdamW(p, 0.003, (0.9, 0.98), weight_decay=0.4), slot, 2, torch.float32, REST
        )
        compare(weights, slot, rest, 3e-6)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Raises", "the optimizer plugins:Raises failed at step 1: RuntimeError: no luck today"),
        ("RaisesAtOnce", "the optimizer plugins:RaisesAtOnce could not be made: KeyError: 'sigma'"),
        ("Exits", "the optimizer plugins:Exits failed at step 1: SystemExit: 0"),
        ("WithoutGradients", "WithoutGradients changed .* settings at step 1: gradients from True to False"),
        ("Elsewhere", "plugins:Elsewhere changed torch's global settings at step 1: device from cpu to meta"),
        ("Base(rate=3)", "the optimizer plugins:Base could not be made: TypeError: .*unexpected keyword"),
        ("Reshapes", r"plugins:Reshapes changed the shape of square from \(16, 16\) to \(256,\)"),
        ("Impostor", "plugins:Impostor made a Impostor, not a torch.optim.Optimizer"),
        ("RateLess(warmup=3)", "plugins:RateLess has no rate 'lr' in its parameter groups"),
    ],
)
def test_a_misbehaving_plugin_is_a_usage_error(name: str, message: str) -> None:
    state = torch.get_rng_state()
    with pytest.raises(UsageError, match=message):
        train(f"plugins:{name}")
    assert torch.equal(torch.get_rng_state(), state)


def test_what_a_plugin_draws_is_the_run_s_own() -> None:
    state, text = torch.get_rng_state(), "plugins:Noisy"
    first = train(text, text, dtype=torch.float32)
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(7)
    assert torch.equal(train(text, text, dtype=torch.float32).flat, first.flat)
    torch.set_rng_state(state)
    places = [train(text, dtype=torch.float32, steps=n).flat[0] for n in range(4)]
    assert torch.equal(train(text, dtype=torch.float32).flat[0], first.flat[0])  # company changes nothing
    steps = [after - before for before, after in pairwise(places)]
    both = first.flat - stack(2, torch.float32, 0).flat
    for one, other in ((steps[0], steps[1]), (steps[1], steps[2]), (both[0], both[1])):
        assert abs(torch.cosine_similarity(one, other, dim=0)) < 0.2  # unrelated: 0 ± 0.025
