"""The optimizers of a stack, replica by replica, against torch's own and against obvious loops."""

import math
from collections.abc import Callable, Iterator

import pytest
import torch
from ensembles import CPU, seldom_pretended
from torch import Tensor, nn

from grokbench.models.transformer import Slice, Stack
from grokbench.optim.stack import Optimizer
from grokbench.spec import GrokCriterion, ModelSpec, RunSpec, task
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


def stack(replicas: int, dtype: torch.dtype, seed: int, device: torch.device = CPU) -> Stack:
    size = sum(map(math.prod, SHAPES.values()))
    numbers = torch.randn(replicas, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return Stack(slices(), numbers.to(device, dtype))


def gradients(replicas: int, dtype: torch.dtype, steps: int = STEPS, device: torch.device = CPU) -> Iterator[Stack]:
    """The same sequence on every call, of all magnitudes."""
    for i in range(steps):
        made = stack(replicas, dtype, 1000 + i, device)
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


def train(*texts: str, dtype: torch.dtype = torch.float64, steps: int = STEPS, device: torch.device = CPU) -> Stack:
    """The weights after so many steps on a device, on the processor."""
    weights = stack(len(texts), dtype, 0, device)
    made = optimizer(weights, *texts)
    for gradient in gradients(len(texts), dtype, steps, device):
        step(made, gradient)
    return Stack(slices(), weights.flat.cpu())


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
def test_adamw_equals_torch(
    betas: tuple[float, float], eps: float, dtype: torch.dtype, tolerance: float, device: torch.device
) -> None:
    weights = train(
        *(f"adamw(lr={lr}, weight_decay={wd}, {betas=}, {eps=})" for lr, wd in RATES), dtype=dtype, device=device
    )
    for slot, (lr, wd) in enumerate(RATES):
        wanted = reference(
            lambda p, lr=lr, wd=wd: torch.optim.AdamW(p, lr=lr, weight_decay=wd, betas=betas, eps=eps), slot, 3, dtype
        )
        compare(weights, slot, wanted, tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
@pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (0.9, False), (0.9, True)])
def test_sgd_equals_torch(
    momentum: float, nesterov: bool, dtype: torch.dtype, tolerance: float, device: torch.device
) -> None:
    weights = train(
        *(f"sgd(lr={lr}, weight_decay={wd}, {momentum=}, {nesterov=})" for lr, wd in RATES), dtype=dtype, device=device
    )
    for slot, (lr, wd) in enumerate(RATES):
        wanted = reference(
            lambda p, lr=lr, wd=wd: torch.optim.SGD(p, lr, momentum, weight_decay=wd, nesterov=nesterov), slot, 3, dtype
        )
        compare(weights, slot, wanted, tolerance)


@pytest.mark.parametrize("nesterov", [True, False])
@pytest.mark.parametrize("scale", ["original", "match_rms_adamw"])
@seldom_pretended
def test_muon_equals_torch(scale: str, nesterov: bool, device: torch.device) -> None:
    """Torch iterates in bfloat16, so the distance travelled may differ by 5 % of its length."""
    texts = [f"muon(lr={lr}, weight_decay={wd}, {scale=}, {nesterov=})" for lr, wd in RATES]
    weights = train(*texts, dtype=torch.float32, device=device)
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
@seldom_pretended
def test_muon_equals_an_obvious_loop(
    scale: str, orthogonalize: bool, m: float, nesterov: bool, device: torch.device
) -> None:
    given = f"{scale=}, {orthogonalize=}, momentum={m}, {nesterov=}"
    texts = [f"muon(lr={lr}, weight_decay={wd}, {given})" for lr, wd in RATES]
    weights, start = train(*texts, device=device), stack(3, torch.float64, 0)
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


def test_muon_leaves_the_rest_to_adamw(device: torch.device) -> None:
    weights = train(*(f"muon(lr=0.5, adamw_lr={lr}, weight_decay={wd})" for lr, wd in RATES), device=device)
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
def test_warmup_scales_every_step_linearly(text: str, device: torch.device) -> None:
    """Without decay, and with gradients that are given, only the length of a step depends on the rate."""
    warm, cold = (stack(1, torch.float64, 0, device) for _ in range(2))
    slow, fast = optimizer(warm, text[:-1] + ", warmup=8)"), optimizer(cold, text)
    for count, gradient in enumerate(gradients(1, torch.float64, 10, device), start=1):
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
@seldom_pretended
def test_what_is_not_finite_stays_in_its_replica(text: str, bad: float, device: torch.device) -> None:
    weights = {spoilt: stack(3, torch.float32, 0, device) for spoilt in (False, True)}
    for spoilt, own in weights.items():
        made = optimizer(own, text, text, text)
        for gradient in gradients(3, torch.float32, 4, device):
            gradient.flat[1].fill_(bad if spoilt else 0)
            made.step(gradient)
    assert weights[False].flat.isfinite().all()
    if "Noisy" not in text:  # which looks at no gradient
        assert not weights[True].flat[1].isfinite().all()
    assert torch.equal(weights[True].flat[::2], weights[False].flat[::2])


@kinds
def test_a_zero_gradient_keeps_the_weights_finite(text: str, device: torch.device) -> None:
    weights = stack(2, torch.float32, 0, device)
    made = optimizer(weights, text, text)
    for _ in range(3):
        made.step(Stack(slices(), torch.zeros_like(weights.flat)))
    assert weights.flat.isfinite().all()


@kinds
@seldom_pretended
def test_load_begins_anew_in_one_slot_alone(text: str, device: torch.device) -> None:
    weights, undisturbed = (stack(2, torch.float64, 0, device) for _ in range(2))
    start, text = weights.flat.clone(), text[:-1] + ", warmup=4)"
    made, other = optimizer(weights, text, text), optimizer(undisturbed, text, text)
    for gradient in gradients(2, torch.float64, 6, device):
        step(made, gradient)
        step(other, gradient)
    made.load(1, run_spec(text, 1))
    weights.flat[1] = start[1]
    for gradient in gradients(2, torch.float64, 6, device):
        step(made, gradient)
        step(other, gradient)
    assert torch.equal(weights.flat[0], undisturbed.flat[0])
    assert torch.equal(weights.flat[1].cpu(), train(text, text, steps=6, device=device).flat[1])


@kinds
def test_select_keeps_the_state_of_the_chosen(text: str, device: torch.device) -> None:
    texts = [text.replace("lr=0.01", f"lr={lr}, warmup=9") for lr in (0.01, 0.02, 0.03)]
    weights, chosen = stack(3, torch.float32, 0, device), [2, 0]
    made = optimizer(weights, *texts)
    sequence = list(gradients(3, torch.float32, 8, device))
    for gradient in sequence[:5]:
        step(made, gradient)
    few = Stack(slices(), weights.flat[chosen])
    made.select(chosen, few)
    for gradient in sequence[5:]:
        step(made, Stack(slices(), gradient.flat[chosen]))
    found = train(*texts, dtype=torch.float32, steps=8, device=device).flat[chosen]
    torch.testing.assert_close(few.flat.cpu(), found, rtol=0 if device == CPU else 1e-4, atol=0)


@pytest.mark.parametrize("text", ["adamw", "torch.optim:AdamW"])
def test_an_empty_slot_stays_as_it_is(text: str, device: torch.device) -> None:
    weights = Stack(slices(), torch.zeros_like(stack(2, torch.float32, 0, device).flat))
    made = Optimizer(parse(text), weights)
    made.load(0, run_spec(text))
    made.step(Stack(slices(), torch.zeros_like(weights.flat)))
    assert torch.equal(weights.flat, torch.zeros_like(weights.flat))
