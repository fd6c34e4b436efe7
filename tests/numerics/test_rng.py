"""Philox against the vectors that Random123 publishes, and what is built on it against its distributions."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from grokbench.numerics import rng
from grokbench.numerics.rng import Stream

ONES = 0xFFFFFFFF
quick = settings(deadline=None, max_examples=30)
word = st.integers(0, ONES)
any_key = st.integers(0, 2**64 - 1)

# Random123, tests/kat_vectors, "philox4x32 10": counter, key, result
VECTORS = [
    ((0, 0, 0, 0), (0, 0), "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ((ONES,) * 4, (ONES,) * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        "d16cfe09 94fdcceb 5001e420 24126ea1",
    ),
]


def scalar_philox(counter: tuple[int, ...], key: tuple[int, ...]) -> list[int]:
    """Salmon et al. 2011, section 3.3, in Python's own integers."""
    c, k = list(counter), list(key)
    for _ in range(10):
        high0, low0 = divmod(c[0] * 0xD2511F53, 2**32)
        high1, low1 = divmod(c[2] * 0xCD9E8D57, 2**32)
        c = [high1 ^ c[1] ^ k[0], low1, high0 ^ c[3] ^ k[1], low0]
        k = [(k[0] + 0x9E3779B9) % 2**32, (k[1] + 0xBB67AE85) % 2**32]
    return c


def tensor_philox(counter: tuple[int, ...], key: tuple[int, ...]) -> list[int]:
    def tensors(numbers: tuple[int, ...]) -> tuple[Tensor, ...]:
        return tuple(torch.tensor(n) for n in numbers)

    return [int(w) for w in rng.philox(tensors(counter), tensors(key))]  # type: ignore[arg-type]


def keys(*values: int) -> Tensor:
    return torch.stack([rng.key_tensor(v) for v in values])


def many(count: int) -> tuple[Tensor, Tensor]:
    """Keys (E,) of `count` replicas, all at 0."""
    return torch.arange(count) * 7919 + 12345, torch.zeros(count, dtype=torch.int64)


@pytest.mark.parametrize(("counter", "key", "result"), VECTORS)
def test_known_answers(counter: tuple[int, ...], key: tuple[int, ...], result: str) -> None:
    wanted = [int(w, 16) for w in result.split()]
    assert scalar_philox(counter, key) == wanted
    assert tensor_philox(counter, key) == wanted


@given(counter=st.tuples(word, word, word, word), key=st.tuples(word, word))
@quick
def test_equals_arithmetic_on_whole_numbers(counter: tuple[int, ...], key: tuple[int, ...]) -> None:
    assert tensor_philox(counter, key) == scalar_philox(counter, key)


@given(key=any_key, stream=st.sampled_from(Stream), at=word, ordinal=st.integers(0, 1000), count=st.integers(1, 13))
@quick
def test_words_are_the_counter_s(key: int, stream: Stream, at: int, ordinal: int, count: int) -> None:
    """Which counter a word comes from is part of what a run is: to change it, raise `spec.ENGINE`."""
    wanted: list[int] = []
    for block in range(-(-count // 4)):
        wanted += scalar_philox((block, at, int(stream), ordinal), (key % 2**32, key >> 32))
    drawn = rng.words(keys(key), stream, torch.tensor([at]), count, ordinal)
    assert drawn.shape == (1, count)
    assert drawn[0].tolist() == wanted[:count]


@given(key=any_key)
@quick
def test_keys_of_64_bits_survive(key: int) -> None:
    assert int(rng.key_tensor(key)) % 2**64 == key


def test_high_keys_draw_like_any_other() -> None:
    high = [2**63, 2**63 + 1, 2**64 - 1, 2**63 - 1, 0]
    at = torch.zeros(len(high), dtype=torch.int64)
    drawn = rng.words(keys(*high), Stream.INIT, at, 64)
    assert len(drawn.unique(dim=0)) == len(high)
    assert drawn.min() >= 0
    assert drawn.max() <= ONES
    for order in rng.permutation(keys(*high), Stream.ORDER, at, 50):
        assert sorted(order.tolist()) == list(range(50))
    assert rng.normal(2**64 - 1, 0, 1000).isfinite().all()


def test_every_coordinate_changes_the_words() -> None:
    def draw(key: int = 5, stream: Stream = Stream.INIT, at: int = 3, ordinal: int = 2) -> tuple[int, ...]:
        return tuple(rng.words(keys(key), stream, torch.tensor([at]), 8, ordinal)[0].tolist())

    drawn = [draw(stream=s) for s in Stream]
    drawn += [draw(key=5 + 2**32), draw(key=6), draw(key=5 + 2**63), draw(at=4), draw(at=2), draw(ordinal=3)]
    assert len(set(drawn)) == len(drawn)
    assert draw() == draw()


def test_fewer_words_are_a_prefix_of_more() -> None:
    k, at = keys(1, 2), torch.tensor([0, 9])
    assert torch.equal(rng.words(k, Stream.ORDER, at, 7), rng.words(k, Stream.ORDER, at, 100)[:, :7])


@given(mine=any_key, others=st.lists(any_key, max_size=4), slot=st.integers(0, 4), at=st.integers(0, 10**6))
@quick
def test_a_replica_draws_the_same_in_any_company(mine: int, others: list[int], slot: int, at: int) -> None:
    slot = min(slot, len(others))
    company = keys(*others[:slot], mine, *others[slot:])
    when = torch.arange(len(company)) + 100
    when[slot] = at
    alone, now = keys(mine), torch.tensor([at])
    for draw in (
        lambda k, t: rng.words(k, Stream.INIT, t, 9, 3),
        lambda k, t: rng.permutation(k, Stream.ORDER, t, 17),
        lambda k, t: rng.keep_mask(k, t, 1, 15, 0.4),
    ):
        assert torch.equal(draw(company, when)[slot], draw(alone, now)[0])


@pytest.mark.parametrize("count", [1, 2, 3, 97, 1000])
def test_a_permutation_holds_every_row_once(count: int) -> None:
    orders = rng.permutation(*many(5)[:1], Stream.SPLIT, torch.arange(5), count)
    assert torch.equal(orders.sort(dim=1).values, torch.arange(count).expand(5, -1))


def test_permutations_differ_between_keys_streams_and_epochs() -> None:
    k, at = many(3)
    first = rng.permutation(k, Stream.ORDER, at, 40)
    assert len(first.unique(dim=0)) == 3
    assert not torch.equal(first, rng.permutation(k, Stream.ORDER, at + 1, 40))
    assert not torch.equal(first, rng.permutation(k, Stream.SPLIT, at, 40))
    assert torch.equal(first, rng.permutation(k, Stream.ORDER, at, 40))


def test_the_permutations_of_four_are_equally_frequent() -> None:
    k, at = many(12_000)
    orders = rng.permutation(k, Stream.ORDER, at, 4)
    _, counts = (orders * torch.tensor([64, 16, 4, 1])).sum(1).unique(return_counts=True)
    assert len(counts) == math.factorial(4)
    assert stats.chisquare(counts.numpy()).pvalue > 1e-3


def test_every_row_is_equally_often_in_every_place() -> None:
    k, at = many(4000)
    orders = rng.permutation(k, Stream.SPLIT, at, 10)
    for place in range(10):
        assert stats.chisquare(orders[:, place].bincount(minlength=10).numpy()).pvalue > 1e-4


def test_words_are_uniform() -> None:
    drawn = rng.words(*many(50)[:1], Stream.DROPOUT, torch.arange(50), 1000)
    assert stats.kstest(drawn.flatten().numpy() / 2**32, "uniform").pvalue > 1e-3
    share = torch.stack([(drawn >> bit & 1).double().mean() for bit in range(32)])
    assert (share - 0.5).abs().max() < 5 * 0.5 / math.sqrt(50_000)


def test_normal_numbers_are_normal() -> None:
    x = rng.normal(3, 0, 400_000)
    assert x.dtype == torch.float64
    assert x.shape == (400_000,)
    assert stats.kstest(x.numpy(), "norm").pvalue > 1e-3
    error = 1 / math.sqrt(400_000)
    for power, moment, spread in ((1, 0, 1), (2, 1, math.sqrt(2)), (3, 0, math.sqrt(15)), (4, 3, math.sqrt(96))):
        assert abs(x.pow(power).mean().item() - moment) < 5 * spread * error
    assert abs((x[1:] * x[:-1]).mean().item()) < 5 * error


def test_normal_numbers_of_two_parameters_are_unrelated() -> None:
    x, y, z = rng.normal(3, 0, 10_000), rng.normal(3, 1, 10_000), rng.normal(4, 0, 10_000)
    for other in (y, z):
        assert abs((x * other).mean().item()) < 5 / math.sqrt(10_000)
    assert torch.equal(x, rng.normal(3, 0, 10_000))
    assert torch.equal(x[:7], rng.normal(3, 0, 7))


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.2, 0.5, 0.9])
def test_units_are_dropped_at_the_rate(rate: float) -> None:
    k, at = many(4)
    keep = rng.keep_mask(k, at, 0, 50_001, rate)
    assert keep.shape == (4, 50_001)
    assert keep.dtype == torch.bool
    error = math.sqrt(rate * (1 - rate) / 50_000)
    for half in (keep[:, ::2], keep[:, 1::2]):  # the two halves of every word
        assert ((half.double().mean(1) - (1 - rate)).abs() <= 5 * math.sqrt(2) * error + 2**-17).all()
    both = (keep[:, :-1:2] & keep[:, 1::2]).double().mean(1)
    assert ((both - (1 - rate) ** 2).abs() <= 8 * error + 2**-15).all()


def test_masks_change_with_step_and_site() -> None:
    k, at = many(2)
    mask = rng.keep_mask(k, at, 0, 100, 0.5)
    assert not torch.equal(mask[0], mask[1])
    assert not torch.equal(mask, rng.keep_mask(k, at + 1, 0, 100, 0.5))
    assert not torch.equal(mask, rng.keep_mask(k, at, 1, 100, 0.5))
    assert torch.equal(mask, rng.keep_mask(k, at, 0, 100, 0.5))


def test_a_word_of_zero_is_no_infinite_number(monkeypatch):
    """The logarithm is taken of a number in (0, 1]."""
    monkeypatch.setattr(rng, "words", lambda *_: torch.tensor([[0, 0, ONES, 0]]))
    least, most = rng.normal(1, 0, 2).sort().values
    assert least == 0
    assert most == pytest.approx(math.sqrt(2 * 32 * math.log(2)))
