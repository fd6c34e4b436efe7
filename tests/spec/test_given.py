"""Optimizers that are given as objects: how they are named, written down, told apart and made anew."""

from __future__ import annotations

import linecache
import math
import types
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from plugins import Base, grouped

from grokbench.spec import UsageError, given
from grokbench.spec.registry import load, parse

RATE = 0.25
TABLE = torch.ones(2)
infinite = math.inf


def scaled(gradient: torch.Tensor) -> torch.Tensor:
    return gradient * RATE


class Mine(Base):
    """Uses a function and a constant of this file, and a name that is imported for annotations alone."""

    @torch.no_grad()
    def change(self, p: Iterator[Any], lr: float = math.sqrt(0.25)) -> None:  # type: ignore[override]
        p.sub_(scaled(p.grad) * lr)  # type: ignore[attr-defined]


@pytest.fixture(autouse=True)
def _forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(given, "_objects", {})


def cell(source: str, number: int = 1) -> types.ModuleType:
    """A module without a file, whose source only `linecache` knows, as it is of a notebook's cell."""
    file = f"<cell {number}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    module = types.ModuleType("__main__")
    exec(compile(source, file, "exec"), vars(module))
    return module


def text_of(value: Any) -> str:
    found = given.find(given.name_of(value))
    assert found
    return found.text


def local(scale: float) -> type:
    class Inner(Base):
        def change(self, p: torch.nn.Parameter, lr: float) -> None:
            p.sub_(p.grad * lr * scale)

    return Inner


def test_what_can_be_imported_goes_by_its_name() -> None:
    assert given.name_of(Mine) == f"{__name__}:Mine"
    assert given.name_of(grouped) == "plugins:grouped"
    assert given.name_of(torch.optim.SGD) == "torch.optim.sgd:SGD"
    assert not given.texts()


def test_an_object_that_cannot_be_imported_is_written_down_with_all_that_it_uses() -> None:
    module = cell(
        "import torch\nfrom math import sqrt\nHALF, KIND = 0.5, torch.float32\n"
        "def helper(x):\n    return x * sqrt(HALF)\n"
        "p = torch.ones(3)\n"
        "class Own(torch.optim.SGD):\n    @torch.no_grad()\n    def step(self, closure=None):\n"
        "        for p in self.param_groups[0]['params']:\n            p.sub_(helper(p.grad.to(KIND)))\n"
    )
    name = given.name_of(module.Own)
    assert name == "__main__:Own"
    text = text_of(module.Own)
    for line in ("import torch as torch", "from math import sqrt as sqrt", "HALF = 0.5", "from torch import float32"):
        assert line in text
    assert "ones" not in text  # `p` is another one there
    assert load(name) is module.Own
    assert parse(f"{name}(lr=0.1)").fingerprint == given.Given(None, text).fingerprint


def test_another_process_makes_the_same_from_the_text() -> None:
    name = given.name_of(local(0.5))
    assert name == f"{__name__}:Inner"
    before, texts = parse(name), given.texts()
    given._objects.clear()
    given.receive(texts)
    assert parse(name) == before
    weight = torch.nn.Parameter(torch.ones(2, 2))
    weight.grad = torch.ones(2, 2)
    load(name)([weight], lr=0.1).step()
    assert torch.allclose(weight, torch.full((2, 2), 0.95))


SOURCE = (
    "import torch\nRATE = 1.0\ndef f(x):\n    return x\n"
    "class Own(torch.optim.SGD):\n    def step(self):\n        f(RATE)\n"
)


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("return x", "return -x", False),
        ("RATE = 1.0", "RATE = 2.0", False),
        ("import torch\n", "import torch\nX = 3\n", True),
    ],
)
def test_a_fingerprint_follows_what_an_object_uses_and_nothing_else(old: str, new: str, same: bool) -> None:
    one = parse(given.name_of(cell(SOURCE).Own))
    other = parse(given.name_of(cell(SOURCE.replace(old, new), 2).Own))
    assert (one == other) is same


def test_a_spec_of_an_object_that_has_been_defined_anew_is_refused() -> None:
    spec = parse(given.name_of(cell(SOURCE).Own))
    given.check(spec)
    given.name_of(cell(SOURCE.replace("1.0", "2.0"), 2).Own)
    with pytest.raises(UsageError, match=r"__main__:Own has been defined anew since"):
        given.check(spec)


def holds(value: Any) -> Callable[..., Any]:
    def make(named: Any) -> Any:
        return value

    return make


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (3, "an optimizer is a text, a class or a function, not 3"),
        (holds(TABLE), "make uses 'value', a Tensor, which cannot be written down"),
        (holds(infinite), "make uses 'value', a float, which cannot be written down"),
        (type("Bare", (Base,), {}), "the source of Bare cannot be found"),
        (
            cell("class Own:\n    def step(self):\n        nowhere()\n", 3).Own,
            "Own uses 'nowhere', which is defined nowhere",
        ),
    ],
)
def test_what_cannot_be_written_down_is_refused_in_one_line(value: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        given.name_of(value)


def test_one_name_for_two_things_is_refused() -> None:
    one, other = cell("def f():\n    return 1\n", 4), cell("def f():\n    return 2\ndef g():\n    return f()\n", 5)
    module = cell("class Own:\n    def step(self):\n        return f() + g()\n", 6)
    module.f, module.g = one.f, other.g  # type: ignore[attr-defined]
    with pytest.raises(UsageError, match="mean different things by 'f'"):
        given.name_of(module.Own)
