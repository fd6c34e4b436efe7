"""The statistics against enumeration, against other libraries, and under their own null hypothesis."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from grokbench.stats import paired, permutation

# Whole numbers, so that sums are exact and ties are ties.
DIFFERENCES = st.lists(st.integers(-4, 4), min_size=2, max_size=10)


def enumerated(differences: list[int]) -> tuple[float, float]:
    """Both p-values by trying every pattern of signs, in whole numbers."""
    observed = sum(differences)
    sums = [
        sum(sign * d for sign, d in zip(signs, differences, strict=True))
        for signs in itertools.product((1, -1), repeat=len(differences))
    ]
    less, greater = sum(s <= observed for s in sums), sum(s >= observed for s in sums)
    return float(Fraction(less, len(sums))), float(Fraction(greater, len(sums)))


def p_values(differences: list[int] | list[float], seed: int = 0) -> tuple[float, float]:
    return permutation.sign_flip(np.array(differences, float), np.random.default_rng(seed))


@settings(deadline=None, max_examples=50)
@given(DIFFERENCES)
def test_sign_flip_is_the_full_enumeration(differences: list[int]) -> None:
    assert p_values(differences) == pytest.approx(enumerated(differences), abs=1e-12)
    mirrored = p_values([-d for d in differences])
    assert mirrored == pytest.approx(enumerated(differences)[::-1], abs=1e-12)


@pytest.mark.parametrize("n", [7, 30])
def test_sign_flip_agrees_with_scipys(n: int) -> None:
    differences = np.random.default_rng(n).normal(-0.2, 1, n)
    for ours, side in zip(p_values(list(differences)), ("less", "greater"), strict=True):
        theirs = scipy.stats.permutation_test(
            (differences, np.zeros(n)),
            lambda a, b, axis: (a - b).mean(axis),
            permutation_type="samples",
            alternative=side,
            n_resamples=np.inf if n < 10 else 50_000,
            vectorized=True,
            rng=1,
        ).pvalue
        assert ours == pytest.approx(theirs, abs=1e-12 if n < 10 else 0.008)


@pytest.mark.parametrize("differences", [[0] * 5, [1, -1], [2, 2, -2, 0], [-3] * 10, [0, 0]])
def test_sign_flip_with_ties_and_zeros(differences: list[int]) -> None:
    assert p_values(differences) == pytest.approx(enumerated(differences), abs=1e-12)


@pytest.mark.parametrize("n", [2, 5, 9, 12, 16])
def test_the_smallest_p_is_exact(n: int) -> None:
    assert p_values([-0.1 * (k + 1) for k in range(n)]) == (2.0**-n, 1.0)


@pytest.mark.parametrize("difference", [-5, 0, 5])
def test_one_pair(difference: int) -> None:
    assert p_values([difference]) == enumerated([difference])


def test_exact_p_values_need_no_generator_state() -> None:
    rng = np.random.default_rng(3)
    assert permutation.sign_flip(np.array([-1.0, 2.0, -4.0]), rng) == p_values([-1.0, 2.0, -4.0], seed=8)


def test_many_pairs_are_sampled_close_to_the_normal_approximation() -> None:
    differences = np.random.default_rng(1).normal(-0.1, 1, 100)
    z = differences.sum() / np.sqrt((differences**2).sum())
    expected = scipy.stats.norm.cdf(z)
    less, greater = permutation.sign_flip(differences, np.random.default_rng(0))
    assert 0.01 < expected < 0.2, "neither hopeless nor certain"
    assert less == pytest.approx(expected, abs=0.006)
    assert greater == pytest.approx(1 - expected, abs=0.006)


def test_sampled_p_values_follow_from_the_generator() -> None:
    differences = list(np.random.default_rng(2).normal(0, 1, permutation.EXACT_BLOCKS + 1))
    assert p_values(differences, seed=5) == p_values(differences, seed=5)
    assert p_values(differences, seed=5) != p_values(differences, seed=6)


def test_a_sampled_p_is_never_zero() -> None:
    less, greater = p_values([-1.0] * 60)
    assert less == 1 / (permutation.RESAMPLES + 1)
    assert greater == 1.0


@pytest.mark.parametrize("size", [1, 2, 5, 21])
def test_holm_equals_statsmodels(size: int) -> None:
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    rng = np.random.default_rng(size)
    for p in (rng.random(size), rng.choice([0.0, 0.001, 0.02, 0.5], size)):
        adjusted = multitest.multipletests(p, method="holm")[1]
        assert paired.holm(list(p)) == pytest.approx(adjusted.tolist(), abs=1e-15)


def test_holm_by_hand_and_of_nothing() -> None:
    assert paired.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert paired.holm([0.5, 0.5]) == [1.0, 1.0]
    assert paired.holm([]) == []


def times(seed: int, softmaxes: int, replicas: int, scale: float = 1.0) -> np.ndarray:
    return scale * np.random.default_rng(seed).gamma(4, 25, (softmaxes, replicas))


def test_the_ratio_of_one_cell_is_that_of_its_means() -> None:
    candidate, baseline = np.array([[10.0, 20.0, 30.0]]), np.array([[40.0, 40.0, 40.0]])
    assert paired.restricted_ratio([candidate], [baseline]) == pytest.approx(0.5)


def test_the_ratio_of_many_cells_is_the_geometric_mean_of_theirs() -> None:
    candidate, baseline = [times(1, 3, 8), times(2, 1, 8)], [times(3, 3, 8), times(4, 1, 8)]
    ratios = [
        c.mean() / b.mean() for cs, bs in zip(candidate, baseline, strict=True) for c, b in zip(cs, bs, strict=True)
    ]
    assert len(ratios) == 4
    assert paired.restricted_ratio(candidate, baseline) == pytest.approx(scipy.stats.gmean(ratios))
    assert paired.restricted_ratio(baseline, candidate) == pytest.approx(1 / scipy.stats.gmean(ratios))
    # A task that is slower by a hundred times weighs no more than any other.
    slow = [[c * 100, d] for c, d in (candidate, baseline)]
    assert paired.restricted_ratio(*slow) == pytest.approx(scipy.stats.gmean(ratios))


@pytest.mark.parametrize("level", [0.95, 0.8])
def test_the_interval_of_one_cell_is_scipys_of_percentiles_at_an_expanded_level(level: float) -> None:
    candidate, baseline = times(5, 1, 15, scale=0.7), times(6, 1, 15)
    ours = paired.ratio_interval([candidate], [baseline], np.random.default_rng(0), level)
    expanded = 2 * scipy.stats.norm.cdf(scipy.stats.t.ppf((1 + level) / 2, 14)) - 1
    assert level < expanded < 1
    theirs = scipy.stats.bootstrap(
        (candidate[0], baseline[0]),
        lambda c, b, axis: c.mean(axis) / b.mean(axis),
        paired=True,
        method="percentile",
        vectorized=True,
        confidence_level=expanded,
        rng=np.random.default_rng(1),
    ).confidence_interval
    ratio = candidate.mean() / baseline.mean()
    drawn_out = [ratio * (end / ratio) ** np.sqrt(15 / 14) for end in theirs]
    assert ours == pytest.approx(drawn_out, rel=0.03)


def test_the_interval_covers_more_often_than_that_of_percentiles() -> None:
    """With eight pairs of log-normal times, a percentile interval of 95 % covers about 87 %."""
    rng = np.random.default_rng(0)
    covered, tables, truth = 0, 250, np.exp(-0.5)
    for _ in range(tables):
        ease = rng.normal(0, 0.3, (1, 8))
        c, b = (np.exp(mean + ease + rng.normal(0, 0.4, (1, 8))) for mean in (4.5, 5.0))
        low, high = paired.ratio_interval([c], [b], rng)
        covered += low <= truth <= high
    assert covered / tables > 0.9


def test_one_pair_has_no_interval() -> None:
    assert paired.ratio_interval([np.array([[5.0]])], [np.array([[7.0]])], np.random.default_rng(0)) == (0, np.inf)


def test_pairs_that_were_not_trained_are_left_out() -> None:
    c, b = times(1, 2, 8), times(2, 2, 8)
    c[1, 5:], b[1, 5:] = np.nan, np.nan
    expected = np.sqrt(c[0].mean() / b[0].mean() * c[1, :5].mean() / b[1, :5].mean())
    assert paired.restricted_ratio([c], [b]) == pytest.approx(expected)
    low, high = paired.ratio_interval([c], [b], np.random.default_rng(0))
    assert low < expected < high < np.inf


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**32), softmaxes=st.integers(1, 3), tasks=st.integers(1, 2), replicas=st.integers(5, 12))
def test_the_interval_contains_the_estimate(seed: int, softmaxes: int, tasks: int, replicas: int) -> None:
    candidate = [times(seed + i, softmaxes, replicas) for i in range(tasks)]
    baseline = [times(seed + 10 + i, softmaxes, replicas) for i in range(tasks)]
    low, high = paired.ratio_interval(candidate, baseline, np.random.default_rng(0))
    assert low <= paired.restricted_ratio(candidate, baseline) <= high
    assert (low, high) == paired.ratio_interval(candidate, baseline, np.random.default_rng(0))


def test_pairs_that_always_have_one_ratio_have_no_spread() -> None:
    """Both arms are resampled together."""
    baseline = times(7, 2, 10)
    low, high = paired.ratio_interval([baseline / 2], [baseline], np.random.default_rng(0))
    assert (low, high) == pytest.approx((0.5, 0.5))


def test_repeated_softmaxes_narrow_no_interval() -> None:
    """What shares a random stream is resampled together, so a copy of a cell is no new evidence."""
    candidate, baseline = times(8, 1, 10), times(9, 1, 10)
    once = paired.ratio_interval([candidate], [baseline], np.random.default_rng(0))
    thrice = [[np.repeat(a, 3, axis=0)] for a in (candidate, baseline)]
    assert paired.ratio_interval(thrice[0], thrice[1], np.random.default_rng(0)) == pytest.approx(once)


@settings(deadline=None, max_examples=60)
@given(DIFFERENCES, st.integers(2, 5))
def test_repeated_softmaxes_lower_no_p(differences: list[int], copies: int) -> None:
    """A block's differences are summed before they are flipped."""
    blocks = np.tile(np.array(differences, float), (copies, 1)).sum(0)
    once, repeated = p_values(differences), permutation.sign_flip(blocks, np.random.default_rng(0))
    assert repeated == pytest.approx(once, abs=1e-12)


def exchangeable(rng: np.random.Generator, pairs: int, censored: float) -> np.ndarray:
    """Log ratios of restricted times whose arms do not differ: correlated within a pair, whole epochs, one budget."""
    budget = 100.0
    ease = rng.normal(0, 0.5, (pairs, 1))
    epochs = np.ceil(np.exp(rng.normal(3, 0.4, (pairs, 2)) + ease) / 4)  # coarse: many ties
    late = rng.random((pairs, 2)) < censored
    log = np.log(np.minimum(np.where(late, budget, epochs), budget))
    return log[:, 0] - log[:, 1]


@pytest.mark.parametrize("censored", [0.0, 0.3, 0.7])
def test_no_more_false_alarms_than_the_level_allows(censored: float) -> None:
    rng = np.random.default_rng(int(10 * censored))
    tables, level = 400, 0.05
    alarms = np.zeros(2)
    for _ in range(tables):
        alarms += np.array(permutation.sign_flip(exchangeable(rng, 7, censored), rng)) <= level
    # Far above what 400 tables show by chance at the level itself: one time in 10 000.
    most = scipy.stats.binom.isf(1e-4, tables, level)
    assert all(alarms <= most)
    assert censored == 0.7 or all(alarms > 0), "a test that never rejects shows nothing"


@pytest.mark.parametrize(
    ("epochs", "reached", "expected"),
    [
        ([10, 30, 20], [True, True, True], 20),
        ([10, 40, 20, 30], [True] * 4, 25),
        ([10, 30, 0], [True, True, False], 30),
        ([0, 10, 0], [False, True, False], None),
        ([10, 20, 0, 0], [True, True, False, False], None),
        ([10, 20, 30, 0], [True, True, True, False], 25),
        ([0], [False], None),
        ([7], [True], 7),
    ],
)
def test_a_median_with_runs_that_did_not_grok(epochs: list[int], reached: list[bool], expected: float | None) -> None:
    value = paired.median(np.array(epochs, float), np.array(reached))
    assert value == expected


CENSORED = st.lists(st.tuples(st.integers(1, 9), st.booleans()), min_size=1, max_size=12)


def survival(rows: list[tuple[int, bool]]) -> tuple[np.ndarray, np.ndarray]:
    """Times with a common budget of 8: what comes later is censored there."""
    times = np.array([min(t, 8) for t, _ in rows], float)
    return times, np.array([t < 8 for t, _ in rows])


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(CENSORED, CENSORED), min_size=1, max_size=3))
def test_logrank_equals_statsmodels(strata: list[tuple[list[tuple[int, bool]], list[tuple[int, bool]]]]) -> None:
    survdiff = pytest.importorskip("statsmodels.duration.survfunc").survdiff
    candidate, baseline = ([survival(arms[i]) for arms in strata] for i in (0, 1))
    ours = paired.logrank(candidate, baseline)
    parts = [(t, e, arm, i) for i, arms in enumerate(zip(candidate, baseline, strict=True))
             for arm, (ts, es) in enumerate(arms) for t, e in zip(ts, es, strict=True)]  # fmt: skip
    t, e, arm, stratum = (np.array(column) for column in zip(*parts, strict=True))
    with np.errstate(all="ignore"):
        try:
            _, theirs = survdiff(t, e.astype(int), arm, strata=stratum)
        except (np.linalg.LinAlgError, ValueError, ZeroDivisionError, IndexError):
            theirs = np.nan  # it has no answer where no time tells the arms apart
    assert ours == pytest.approx(theirs, abs=1e-9) or (np.isnan(theirs) and ours == 1)


def test_the_restricted_mean_is_the_area_under_scipys_kaplan_meier_curve() -> None:
    rng = np.random.default_rng(0)
    for share in (0.0, 0.3, 0.7):
        late, budget = rng.random(30) < share, 100.0
        times = np.where(late, budget, rng.integers(1, 100, 30))
        data = scipy.stats.CensoredData.right_censored(times, late)
        curve = scipy.stats.ecdf(data).sf
        ends = np.concatenate([[0.0], curve.quantiles[curve.quantiles < budget], [budget]])
        heights = np.concatenate([[1.0], curve.probabilities[curve.quantiles < budget]])
        area = (np.diff(ends) * heights).sum()
        one = np.ones((1, 30))
        assert paired.restricted_ratio([times[None]], [one]) == pytest.approx(area)


@pytest.mark.parametrize(
    ("both", "first", "second", "neither", "expected"),
    [  # Newcombe 1998, table II, method 10; rows of 50 pairs
        (36, 12, 2, 0, (0.0569, 0.3404)),
        (0, 0, 0, 50, (-0.0713, 0.0713)),
        (43, 0, 0, 7, (-0.0504, 0.0504)),
    ],
)
def test_the_interval_of_paired_rates(
    both: int, first: int, second: int, neither: int, expected: tuple[float, float]
) -> None:
    x = np.repeat([1.0, 1.0, 0.0, 0.0], [both, first, second, neither])[None]
    y = np.repeat([1.0, 0.0, 1.0, 0.0], [both, first, second, neither])[None]
    difference, (low, high) = paired.rate_difference([x], [y])
    assert difference == pytest.approx((first - second) / (both + first + second + neither))
    assert low <= difference <= high
    mirrored = paired.rate_difference([y], [x])[1]
    assert mirrored == pytest.approx((-high, -low))
    if neither != 7:
        assert (low, high) == pytest.approx(expected, abs=2e-4)


def test_rates_of_several_cells_are_of_blocks() -> None:
    rng = np.random.default_rng(0)
    x, y = [(rng.random((3, 10)) < p).astype(float) for p in (0.9, 0.5)]
    difference, (low, high) = paired.rate_difference([x], [y])
    blocks = (x - y).mean(0)
    expected = scipy.stats.ttest_1samp(blocks, 0).confidence_interval(0.95)
    assert difference == pytest.approx(blocks.mean())
    assert (low, high) == pytest.approx(tuple(expected))


def test_rates_that_are_all_alike_have_an_interval_nevertheless() -> None:
    ones = np.ones((3, 10))
    difference, (low, high) = paired.rate_difference([ones, ones], [ones, ones])
    assert difference == 0
    assert low == pytest.approx(-high)
    assert 0.1 < high < 0.3


def test_unpaired_shuffles_agree_with_scipys() -> None:
    rng = np.random.default_rng(1)
    c, b = rng.normal(-0.6, 1, 9), rng.normal(0, 1, 12)
    ours = permutation.shuffle([c], [b])
    for p, side in zip(ours, ("less", "greater"), strict=True):
        theirs = scipy.stats.permutation_test(
            (c, b), lambda x, y, axis: x.mean(axis) - y.mean(axis), n_resamples=99_999, alternative=side, rng=rng
        )
        assert p == pytest.approx(theirs.pvalue, abs=0.006)


def spread_by_hand(c: list[float], b: list[float]) -> tuple[float, float]:
    """Every pattern of swaps, one by one."""
    pairs = list(zip(c, b, strict=True))
    gaps = []
    for swaps in itertools.product((False, True), repeat=len(pairs)):
        arms = [[pair[swap ^ i] for pair, swap in zip(pairs, swaps, strict=True)] for i in (False, True)]
        middles = [float(np.median(arm)) for arm in arms]
        means = [sum(max(0.0, middle - t) for t in arm) for arm, middle in zip(arms, middles, strict=True)]
        gaps.append((means[0] - means[1]) / (sum(means) or 1))
    return sum(g <= gaps[0] + 1e-9 for g in gaps) / len(gaps), sum(g >= gaps[0] - 1e-9 for g in gaps) / len(gaps)


@pytest.mark.parametrize(
    ("c", "b"),
    [
        ([50, 52, 49, 51, 50, 53, 48], [100, 140, 60, 90, 155, 70, 110]),
        ([50, 52, 49, 101, 50, 101, 48], [80, 60, 90, 75, 101, 101, 70]),
        ([10, 20, 30, 40, 50], [10, 20, 30, 40, 50]),
    ],
)
def test_spread_is_the_enumeration_of_swaps(c: list[float], b: list[float]) -> None:
    x, y = (np.array([v], float) for v in (c, b))
    ours = paired.spread([x], [y], [[201.0]], np.random.default_rng(0))
    assert ours == pytest.approx(spread_by_hand(c, b), abs=0.015)
    assert ours[::-1] == pytest.approx(paired.spread([y], [x], [[201.0]], np.random.default_rng(0)), abs=0.015)


def test_spread_leaves_out_cells_in_which_a_run_did_not_grok() -> None:
    hidden = np.array([[101.0, 90, 95, 50], [50, 90, 20, 1]])
    assert paired.spread([hidden[:1]], [hidden[1:]], [[101.0]], np.random.default_rng(0)) == (1, 1)


def test_an_arm_that_piles_up_against_the_budget_is_not_tighter() -> None:
    rng = np.random.default_rng(0)
    found = []
    for _ in range(40):
        times = np.exp(rng.normal(4.5, 0.4, (2, 9, 12)))
        candidate = np.where(times[0] + 250 <= 400, times[0] + 250, 401.0)
        found.append(paired.spread([candidate], [times[1]], [[401.0] * 9], rng)[0] <= 0.05)
    assert sum(found) <= scipy.stats.binom.isf(1e-4, 40, 0.05)


def test_an_interaction_is_found_and_its_absence_is_not() -> None:
    rng = np.random.default_rng(0)
    plain = [rng.normal(-1, 0.3, (3, 12)) + rng.normal(0, 1, 12) for _ in range(3)]
    assert paired.interaction(plain, rng) > 0.05
    for effects in plain:
        effects[2] -= 0.5
    assert paired.interaction(plain, rng) < 0.001
