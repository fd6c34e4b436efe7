"""Plug-ins in a stack train as they would on ordinary parameters, and what they do wrong is the user's error."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import plugins
import pytest
import pytorch_optimizer
import torch
from ensembles import seldom_pretended
from test_optim import HIDDEN, PRECISIONS, RATES, REST, compare, reference, stack, train

from grokbench.spec import UsageError


@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
@seldom_pretended
def test_a_plugged_in_adamw_equals_the_built_in_one(dtype: torch.dtype, tolerance: float, device: torch.device) -> None:
    given = [f"(lr={lr}, weight_decay={wd}, betas=(0.9, 0.98), warmup=5)" for lr, wd in RATES]
    built_in, plugged = (
        train(*(name + g for g in given), dtype=dtype, device=device) for name in ("adamw", "torch.optim:AdamW")
    )
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
@seldom_pretended
def test_a_plugin_runs_as_it_would_on_ordinary_parameters(
    text: str, make: Callable[..., Any], device: torch.device
) -> None:
    weights = train(text, text, device=device)
    for slot in range(2):
        compare(weights, slot, reference(make, slot, 2), 1e-14)


@seldom_pretended
def test_a_plugin_for_matrices_leaves_the_rest_to_adamw(device: torch.device) -> None:
    text = "torch.optim:Muon(lr=0.02, weight_decay=0.4, parameters='matrices', adamw_lr=0.003)"
    weights = train(text, text, dtype=torch.float32, device=device)
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


@seldom_pretended
def test_what_a_plugin_draws_is_the_run_s_own(device: torch.device) -> None:
    state, text = torch.get_rng_state(), "plugins:Noisy"
    first = train(text, text, dtype=torch.float32, device=device)
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(7)
    assert torch.equal(train(text, text, dtype=torch.float32, device=device).flat, first.flat)
    torch.set_rng_state(state)
    places = [train(text, dtype=torch.float32, steps=n, device=device).flat[0] for n in range(4)]
    alone = train(text, dtype=torch.float32, device=device)
    assert torch.equal(alone.flat[0], first.flat[0])  # company changes nothing
    steps = [after - before for before, after in pairwise(places)]
    both = first.flat - stack(2, torch.float32, 0).flat
    for one, other in ((steps[0], steps[1]), (steps[1], steps[2]), (both[0], both[1])):
        assert abs(torch.cosine_similarity(one, other, dim=0)) < 0.2  # unrelated: 0 ± 0.025
