"""Optimizers by name: what is read, what is refused and in which words, and which source a plug-in had."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grokbench.claims.presets import PRESETS
from grokbench.spec import OptimizerSpec, UsageError, plugins
from grokbench.spec.registry import BUILT_IN, SCALES, load, names, parse

PLUGIN = """
class Plain:
    pass

def factory(named, lr=0.1):
    raise NotImplementedError

def hidden(named, lr=0.1):
    raise NotImplementedError

hidden.grokbench_parameters = "matrices"

class Outer:
    class Inner:
        pass

number = 3
"""


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Name of a module that can be imported during one test."""
    name = f"plugin_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, name, None)  # restores its absence afterwards
    del sys.modules[name]
    return name


def values(text: str, presets: dict[str, str] | None = None) -> dict[str, Any]:
    return dict(parse(text, presets).hyperparameters)


def test_the_built_in_optimizers_come_first() -> None:
    assert names()[:3] == ("adamw", "muon", "sgd")


@pytest.mark.parametrize("name", BUILT_IN)
def test_defaults_are_filled_in(name: str) -> None:
    spec = parse(name)
    assert dict(spec.hyperparameters) == BUILT_IN[name].defaults
    assert spec == OptimizerSpec(name, tuple(sorted(BUILT_IN[name].defaults.items())))
    assert spec == parse(f" {name} ( ) ") == parse(str(spec))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("adamw(lr=0.004)", {"lr": 0.004}),
        ("adamw(lr=4e-3, eps=0)", {"lr": 0.004, "eps": 0}),
        ("  adamw  (betas=[0.9, 0.999],)", {"betas": (0.9, 0.999)}),
        ("adamw(betas=(0, 0.5))", {"betas": (0, 0.5)}),
        ("muon(scale='spectral', nesterov=False)", {"scale": "spectral", "nesterov": False}),
        ("muon(coefficients=(2, -1.5, 0.5), ns_steps=0)", {"coefficients": (2, -1.5, 0.5), "ns_steps": 0}),
        ("sgd(momentum=0)", {"momentum": 0}),
    ],
)
def test_values_are_read(text: str, expected: dict[str, Any]) -> None:
    name = text.strip().partition("(")[0].strip()
    assert values(text) == {**BUILT_IN[name].defaults, **expected}


def test_the_order_of_the_values_does_not_matter() -> None:
    assert parse("sgd(lr=0.5, momentum=0.1)") == parse("sgd(momentum=0.1, lr=0.5)")


def test_given_values_come_before_preset_values_come_before_defaults() -> None:
    presets = {"adamw": "adamw(lr=0.5, eps=0.25, warmup=7)", "sgd": "sgd(lr=9)"}
    spec = parse("adamw(lr=0.125)", presets)
    assert (spec["lr"], spec["eps"], spec["weight_decay"], spec.warmup) == (0.125, 0.25, 1.0, 7)
    assert parse("adamw(warmup=2)", presets).warmup == 2
    assert parse("adamw").warmup == 0
    assert "warmup" not in values("adamw", presets)


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
def test_every_preset_can_be_read(preset: Any) -> None:
    for name, text in preset.optimizers.items():
        assert parse(name, preset.optimizers) == parse(text)
        assert parse(text).name == name


@settings(deadline=None, max_examples=50)
@given(lr=st.floats(0, 1e300), beta=st.floats(0, 1, exclude_max=True), warmup=st.integers(0, 10**6))
def test_what_is_written_is_read_back(lr: float, beta: float, warmup: int) -> None:
    spec = parse(f"muon(lr={lr!r}, betas=({beta!r}, 0.5), warmup={warmup})")
    assert (spec["lr"], spec["betas"], spec.warmup) == (lr, (beta, 0.5), warmup)
    hyperparameters = ", ".join(f"{name}={value!r}" for name, value in spec.hyperparameters)
    assert parse(f"muon({hyperparameters}, warmup={warmup})") == spec


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("adam", "unknown optimizer 'adam': choose from adamw, muon, sgd, "),
        ("", "cannot read the optimizer ''"),
        ("adam(lr=1)", "package.module:Attribute"),
        ("adamw(rate=1)", "unknown hyperparameter of adamw 'rate': choose from lr, weight_decay, betas, eps, warmup"),
        (
            "sgd(betas=(0, 0))",
            "unknown hyperparameter of sgd 'betas': choose from lr, weight_decay, momentum, nesterov",
        ),
        ("muon(parameters='matrices')", "unknown hyperparameter of muon 'parameters': choose from lr"),
        ("adamw(lr='high')", "adamw: lr must be a number, not 'high'"),
        ("adamw(lr=True)", "adamw: lr must be a number, not True"),
        ("adamw(lr=None)", "adamw: lr must be a number, not None"),
        ("adamw(lr=-1)", "adamw: lr must be finite and not negative, not -1"),
        ("adamw(lr=1e999)", "adamw: lr must be finite and not negative, not inf"),
        ("adamw(weight_decay=-0.1)", "adamw: weight_decay must be finite and not negative, not -0.1"),
        ("adamw(eps=(1,))", "adamw: eps must be a number that is not negative, not (1,)"),
        ("muon(adamw_lr='x')", "muon: adamw_lr must be a number, not 'x'"),
        ("muon(momentum=1)", "muon: momentum must be a number in [0, 1), not 1"),
        ("muon(momentum=-0.5)", "muon: momentum must be a number in [0, 1), not -0.5"),
        ("adamw(betas=0.9)", "adamw: betas must be a pair of numbers in [0, 1), not 0.9"),
        ("adamw(betas=(0.9,))", "adamw: betas must be a pair of numbers in [0, 1), not (0.9,)"),
        ("adamw(betas=(0.9, 1))", "adamw: betas must be a pair of numbers in [0, 1), not (0.9, 1)"),
        ("muon(coefficients=(1, 2))", "muon: coefficients must be three numbers, not (1, 2)"),
        ("muon(coefficients='abc')", "muon: coefficients must be three numbers, not 'abc'"),
        ("muon(ns_steps=2.5)", "muon: ns_steps must be a whole number, not 2.5"),
        ("muon(ns_steps=-1)", "muon: ns_steps must be a whole number, not -1"),
        ("muon(ns_steps=True)", "muon: ns_steps must be a whole number, not True"),
        ("muon(nesterov=1)", "muon: nesterov must be True or False, not 1"),
        ("muon(orthogonalize='no')", "muon: orthogonalize must be True or False, not 'no'"),
        ("muon(scale='big')", f"muon: scale must be one of {', '.join(SCALES)}, not 'big'"),
        ("sgd(warmup=-1)", "warmup must be a whole number of at least 0, not -1"),
        ("sgd(warmup=0.5)", "warmup must be a whole number of at least 0, not 0.5"),
    ],
)
def test_an_error_echoes_the_value_and_the_choices(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        parse(text)


def test_every_hyperparameter_refuses_something() -> None:
    for name, built_in in BUILT_IN.items():
        for key in built_in.defaults:
            with pytest.raises(UsageError, match=f"^{name}: {key} must be .*, not 'nonsense'$"):
                parse(f"{name}({key}='nonsense')")


@pytest.mark.parametrize(
    "text",
    [
        "adamw(", "adamw(lr=", "adamw(lr)", "adamw(0.1)", "adamw(0.1, eps=1)", "adamw(lr=0.1", "adamw(lr=0.1))",
        "adamw(lr=0.1, lr=0.2)", "adamw(lr=rate)", "adamw(lr=1/2)", "adamw(lr=float('inf'))", "adamw(lr={})",
        "adamw(lr={'a': 1})", "adamw(lr=b'1')", "adamw(lr=1j)", "adamw(**{'lr': 1})", "adamw(*[1])", "(lr=1)", " ",
        "adamw(lr=0.1) + f(eps=1)", "adamw(lr=__import__('os').getcwd())", "adamw(lr=\0)",
    ],
)  # fmt: skip
def test_what_is_no_call_with_literal_values_cannot_be_read(text: str) -> None:
    expected = f"cannot read the optimizer {text!r}: write it as name or name(key=value, …), with literal values"
    with pytest.raises(UsageError, match=f"^{re.escape(expected)}$"):
        parse(text)


@pytest.mark.parametrize("text", ["adamw(lr=0.5)(eps=1)", "adamw(lr=0.5).x(eps=1)"])
def test_a_chain_of_calls_cannot_be_read(text: str) -> None:
    with pytest.raises(UsageError, match="cannot read the optimizer"):
        parse(text)


def test_coefficients_are_finite() -> None:
    with pytest.raises(UsageError, match="muon: coefficients must be finite"):
        parse("muon(coefficients=(1e999, 1, 1))")


def test_a_plug_in_takes_any_hyperparameter(plugin: str) -> None:
    spec = parse(f"{plugin}:Plain(lr=0.1, mode='fast', sizes=[1, [2, 3]], clip=None, warmup=4)")
    assert spec.name == f"{plugin}:Plain"
    assert dict(spec.hyperparameters) == {"lr": 0.1, "mode": "fast", "sizes": (1, (2, 3)), "clip": None}
    assert (spec.warmup, spec.matrices_only) == (4, False)
    assert re.fullmatch("[0-9a-f]{32}", spec.fingerprint or "")
    assert load(spec.name).__name__ == "Plain"
    assert load(f"{plugin}:Outer.Inner").__name__ == "Inner"


def test_a_plug_in_may_take_the_matrices_alone(plugin: str) -> None:
    spec = parse(f"{plugin}:factory(lr=1, parameters='matrices')")
    assert spec.matrices_only
    assert dict(spec.hyperparameters) == {"lr": 1, "adamw_lr": 0.001, "adamw_weight_decay": 0.0}
    assert values(f"{plugin}:factory(parameters='matrices', adamw_lr=0.5)") == {
        "lr": 0.1,
        "adamw_lr": 0.5,
        "adamw_weight_decay": 0.0,
    }
    assert not parse(f"{plugin}:factory(parameters='all')").matrices_only
    # Or say so itself, and be overruled.
    assert parse(f"{plugin}:hidden").matrices_only
    assert not parse(f"{plugin}:hidden(parameters='all')").matrices_only


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}:Plain(parameters='most')", "unknown kind of parameters 'most': choose from all, matrices"),
        ("{}:Plain(adamw_lr=1)", "{}:Plain: adamw_lr is for plug-ins with parameters='matrices'"),
        ("{}:Plain(lr=-1)", "{}:Plain: lr must be finite and not negative, not -1"),
        ("{}:Absent", "cannot import the optimizer '{}:Absent': AttributeError: module '{}' has no attribute"),
        ("{}:Outer.Absent", "cannot import the optimizer '{}:Outer.Absent': AttributeError: "),
        ("{}_gone:Plain", "cannot import the optimizer '{}_gone:Plain': ModuleNotFoundError: No module named"),
        ("{}:", "cannot import the optimizer '{}:': AttributeError"),
        (":Plain", "cannot import the optimizer ':Plain': ValueError"),
        ("{}:number", "the optimizer '{}:number' is neither a class nor a function: 3"),
    ],
)
def test_a_plug_in_that_cannot_be_used(plugin: str, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message.replace("{}", plugin))):
        parse(text.replace("{}", plugin))


def test_a_plug_in_that_fails_while_it_is_imported(plugin: str, tmp_path: Path) -> None:
    (tmp_path / f"{plugin}.py").write_text("raise ZeroDivisionError('at home')")
    with pytest.raises(UsageError, match=f"cannot import the optimizer '{plugin}:X': ZeroDivisionError: at home"):
        parse(f"{plugin}:X")


def fingerprint(name: str, folder: Path) -> str:
    """As a process of its own sees it."""
    code = f"from grokbench.spec.registry import parse; print(parse({name!r}).fingerprint)"
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    return run.stdout.strip()


def test_a_fingerprint_follows_the_source_of_a_module(tmp_path: Path) -> None:
    source, name = tmp_path / "mine.py", "mine:Plain"
    source.write_text(PLUGIN)
    before = fingerprint(name, tmp_path)
    assert fingerprint(name, tmp_path) == before
    (tmp_path / "unrelated.py").write_text("x = 1")
    assert fingerprint(name, tmp_path) == before
    source.write_text(PLUGIN + "# changed\n")
    assert fingerprint(name, tmp_path) != before


def test_a_fingerprint_follows_what_a_module_imports_from_its_folder(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("import helper\n" + PLUGIN)
    (tmp_path / "helper.py").write_text("from inner import deep\n")
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "__init__.py").write_text("")
    deep = tmp_path / "inner" / "deep.py"
    deep.write_text("x = 1")
    before = fingerprint("mine:Plain", tmp_path)
    deep.write_text("x = 2")
    assert fingerprint("mine:Plain", tmp_path) != before


def test_a_fingerprint_follows_relative_imports_of_a_folder_without_init(tmp_path: Path) -> None:
    (tmp_path / "space").mkdir()
    (tmp_path / "space" / "mine.py").write_text("from . import helper\nfrom space.other import x\n" + PLUGIN)
    seen = []
    for helper, other in (("1", "1"), ("2", "1"), ("2", "2")):
        (tmp_path / "space" / "helper.py").write_text(f"y = {helper}")
        (tmp_path / "space" / "other.py").write_text(f"x = {other}")
        seen.append(fingerprint("space.mine:Plain", tmp_path))
    assert len(set(seen)) == 3


def test_a_fingerprint_follows_every_source_of_a_package(tmp_path: Path) -> None:
    inner = tmp_path / "pack" / "inner"
    inner.mkdir(parents=True)
    (tmp_path / "pack" / "__init__.py").write_text("")
    (inner / "__init__.py").write_text("from pack.helper import Plain")
    (tmp_path / "pack" / "helper.py").write_text(PLUGIN)
    before = fingerprint("pack.inner:Plain", tmp_path)
    (tmp_path / "pack" / "helper.py").write_text(PLUGIN + "# changed\n")
    assert fingerprint("pack.inner:Plain", tmp_path) != before


def test_a_fingerprint_needs_no_syntax(plugin: str, tmp_path: Path) -> None:
    """What a module imports, or the module itself, may be compiled."""
    (tmp_path / f"{plugin}.py").write_text(
        f"try:\n    import {plugin}_fast\nexcept (SyntaxError, ValueError):\n    X = print\n"
    )
    fast = tmp_path / f"{plugin}_fast.py"
    found = []
    for content in (b"\0\x7fELF", b"def"):
        fast.write_bytes(content)
        plugins.fingerprint_of.cache_clear()
        found.append(parse(f"{plugin}:X").fingerprint)
    assert None not in found
    assert found[0] != found[1]
    assert parse("math:sin").fingerprint


def test_the_fingerprint_of_an_installed_plug_in_is_its_version() -> None:
    name, _, files = str(parse("torch.optim:SGD(lr=0.1)").fingerprint).partition(" ")
    assert name == f"torch=={metadata.version('torch')}"
    assert len(files) == 16
    assert parse("adamw").fingerprint is None


def test_an_optimizer_that_a_package_has_registered(plugin: str, tmp_path: Path) -> None:
    assert "nimble" not in names()
    info = tmp_path / "nimble_dist-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: nimble-dist\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[grokbench.optimizers]\nnimble = {plugin}:hidden\nlost = {plugin}:Gone\n")
    assert {"adamw", "nimble", "lost"} <= set(names())
    spec = parse("nimble(lr=0.5)")
    assert (spec.name, spec.matrices_only, spec["lr"]) == ("nimble", True, 0.5)
    assert spec.fingerprint == parse(f"{plugin}:hidden").fingerprint
    assert load("nimble") is sys.modules[plugin].hidden
    with pytest.raises(UsageError, match="cannot import the optimizer 'lost': AttributeError"):
        parse("lost")
    with pytest.raises(UsageError, match=r"unknown optimizer 'nimbl': choose from adamw, muon, sgd, .*nimble"):
        parse("nimbl")


def test_a_default_that_is_written_out_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "with_defaults.py").write_text(
        "import torch\n"
        "class Mine(torch.optim.SGD):\n"
        "    grokbench_parameters = 'matrices'\n"
        "    def __init__(self, params, lr=0.1, weight_decay=0.3):\n"
        "        super().__init__(params, lr=lr, weight_decay=weight_decay)\n"
        "class Passes(torch.optim.AdamW):\n"
        "    def __init__(self, params, **kwargs):\n"
        "        super().__init__(params, **{'lr': 0.5, **kwargs})\n"
        "def factory(named, lr=0.1, betas=(0.9, 0.99), **more):\n"
        "    return torch.optim.Adam([p for _, p in named], lr=lr, betas=betas)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    mine = parse("with_defaults:Mine")
    assert mine == parse("with_defaults:Mine(weight_decay=0.3)") == parse(str(mine))
    shown = {"lr": 0.1, "weight_decay": 0.3, "adamw_lr": 0.001, "adamw_weight_decay": 0.3}
    assert dict(mine.hyperparameters) == shown
    assert parse("with_defaults:Mine(weight_decay=0.1)")["adamw_weight_decay"] == 0.1
    passes = parse("with_defaults:Passes")  # read from the groups that it makes
    assert (passes["lr"], passes["betas"], passes["weight_decay"]) == (0.5, (0.9, 0.999), 0.01)
    assert passes == parse("with_defaults:Passes(lr=0.5, amsgrad=False)")
    assert dict(parse("with_defaults:factory").hyperparameters) == {"lr": 0.1, "betas": (0.9, 0.99)}
