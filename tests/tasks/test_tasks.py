"""Every task against an oracle that counts and searches instead of calculating."""

import pytest
import torch

from grokbench.engine.data import generate, split
from grokbench.numerics.rng import key_tensor
from grokbench.spec import MODULAR_TASKS, TASKS, TaskSpec, UsageError, task

KEYS = torch.stack([key_tensor(k) for k in (1, 2, 1, 2**63 + 5)])


def power(a: int, b: int, p: int) -> int:
    product = 1
    for _ in range(b):
        product = product * a % p
    return product


def divisor(a: int, b: int) -> int:
    common = [d for d in range(1, max(a, b) + 1) if a % d == 0 and b % d == 0]
    return max(common, default=0)


def solves(name: str, a: int, b: int, p: int, x: int) -> bool:
    """Whether x is the answer to "a op b"."""
    return {
        "add": (x - a - b) % p == 0,
        "sub": (x + b - a) % p == 0,
        "mul": (x - sum(a for _ in range(b))) % p == 0,
        "div": b != 0 and (x * b - a) % p == 0,
        "exp": x == power(a, b, p),
        "gcd": x == divisor(a, b),
    }[name]


SIZES = [(name, p) for name in MODULAR_TASKS for p in (2, 3, 4, 6, 7, 12, 13) if name != "div" or p in (2, 3, 7, 13)]


@pytest.mark.parametrize(("name", "p"), SIZES)
def test_modular_tables_hold_every_question_once_with_its_answer(name: str, p: int) -> None:
    spec = task(name, p, train_share=0.5)
    tokens, labels = generate(spec)
    assert tokens.dtype == labels.dtype == torch.int64
    assert tokens.shape == (spec.rows, spec.positions) == (spec.rows, 4)
    questions = [(a, b) for a, op, b, equals in tokens.tolist() if (op, equals) == (p, p + 1)]
    assert len(questions) == len(tokens)
    assert set(questions) == {(a, b) for a in range(p) for b in range(p) if name != "div" or b}
    assert len(set(questions)) == len(questions)
    for (a, b), label in zip(questions, labels.tolist(), strict=True):
        assert [x for x in range(p) if solves(name, a, b, p, x)] == [label]
    assert spec.vocabulary == p + 2
    assert spec.classes == p


def answer(name: str, p: int, a: int, b: int) -> int:
    tokens, labels = generate(task(name, p, train_share=0.5))
    return int(labels[(tokens == torch.tensor([a, p, b, p + 1])).all(1)])


@pytest.mark.parametrize("p", [2, 5, 6])
def test_conventions_at_zero(p: int) -> None:
    assert answer("exp", p, 0, 0) == 1
    assert answer("exp", p, 0, 1) == 0
    assert answer("gcd", p, 0, 0) == 0
    assert answer("gcd", p, 0, 1) == 1
    assert answer("gcd", p, p - 1, 0) == p - 1


@pytest.mark.parametrize("p", [4, 6, 9, 91])
def test_division_needs_a_prime(p: int) -> None:
    with pytest.raises(UsageError, match=f"div needs a prime modulus, not {p}"):
        task("div", p)


@pytest.mark.parametrize("bits", [2, 3, 5, 6])
def test_parity_bit_by_bit(bits: int) -> None:
    spec = TaskSpec("parity", 0.5, bits=bits, bits_per_token=1)
    tokens, labels = generate(spec)
    assert tokens.shape == (2**bits, bits + 1) == (spec.rows, spec.positions)
    for number, (row, label) in enumerate(zip(tokens.tolist(), labels.tolist(), strict=True)):
        assert row == [*map(int, f"{number:0{bits}b}"), 3]  # highest bit first; 2 would be the operator
        assert label == row[:-1].count(1) % 2
    assert (spec.vocabulary, spec.classes) == (4, 2)


@pytest.mark.parametrize("bits", [4, 6, 10])
def test_parity_in_two_halves(bits: int) -> None:
    spec = task("parity", bits=bits)
    half = 2 ** (bits // 2)
    tokens, labels = generate(spec)
    assert tokens.shape == (2**bits, 4) == (spec.rows, spec.positions)
    for number, (row, label) in enumerate(zip(tokens.tolist(), labels.tolist(), strict=True)):
        assert row == [number // half, half, number % half, half + 1]
        assert label == f"{number:b}".count("1") % 2
    assert (spec.vocabulary, spec.classes) == (half + 2, 2)


@pytest.mark.parametrize("name", TASKS)
def test_every_token_is_in_the_vocabulary_and_every_label_a_class(name: str) -> None:
    spec = task(name, 11, bits=8)
    tokens, labels = generate(spec)
    assert tokens.min() >= 0
    assert tokens.max() == spec.vocabulary - 1
    assert labels.min() >= 0
    assert labels.max() < spec.classes
    again = generate(spec)
    assert torch.equal(again.tokens, tokens)
    assert torch.equal(again.labels, labels)


@pytest.mark.parametrize("name", TASKS)
def test_the_published_tables_have_the_published_sizes(name: str) -> None:
    rows = {"div": 9312, "parity": 1024}.get(name, 9409)
    assert len(generate(task(name)).labels) == task(name).rows == rows


@pytest.mark.parametrize("share", [0.05, 0.3, 0.5, 0.8, 0.99])
@pytest.mark.parametrize("name", TASKS)
def test_every_row_is_either_trained_on_or_held_out(name: str, share: float) -> None:
    spec = task(name, 13, bits=8, train_share=share)
    train, validation = split(spec, KEYS)
    assert train.shape == (4, spec.train_rows) == (4, round(share * spec.rows))
    for chosen, rest in zip(train.tolist(), validation.tolist(), strict=True):
        assert len(set(chosen)) == spec.train_rows
        assert sorted(chosen + rest) == list(range(spec.rows))


def test_the_split_belongs_to_the_key() -> None:
    rows = split(task("add", 13), KEYS)[0]
    assert torch.equal(rows[0], rows[2])
    splits = {frozenset(replica) for replica in rows.tolist()}
    assert len(splits) == 3
    assert torch.equal(split(task("add", 13), KEYS[1:2])[0][0], rows[1])


def test_every_row_has_its_chance_to_be_trained_on() -> None:
    spec = task("add", 5, train_share=0.4)
    rows = split(spec, torch.arange(2000))[0]
    share = rows.flatten().bincount(minlength=spec.rows) / 2000
    assert (share - 0.4).abs().max() < 5 * (0.4 * 0.6 / 2000) ** 0.5
