import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extauthz.training.evaluation.metrics import (
    auc,
    denied,
    rate,
    recall_at,
    reliability,
    roc,
    share,
    threshold_at,
    wilson,
)

# Few distinct values, so that ties are the rule.
SCORES = st.lists(st.integers(0, 12).map(lambda n: n / 12), min_size=1, max_size=40)
RATES = st.sampled_from([0.0, 0.001, 0.01, 0.1, 0.25, 0.5, 0.9])


def slow_auc(attacks: list[float], benign: list[float]) -> float:
    pairs = [(a > b) + 0.5 * (a == b) for a in attacks for b in benign]
    return sum(pairs) / len(pairs)


def slow_recall(attacks: list[float], benign: list[float], false_positives: float) -> float:
    """The best recall over every threshold worth trying."""
    candidates = [*attacks, *benign, math.inf]
    allowed = [
        t for t in candidates if sum(b >= t for b in benign) <= false_positives * len(benign)
    ]
    return max(sum(a >= t for a in attacks) / len(attacks) for t in allowed)


@given(SCORES, SCORES)
def test_auc_counts_pairs(attacks: list[float], benign: list[float]) -> None:
    assert auc(np.array(attacks), np.array(benign)) == pytest.approx(slow_auc(attacks, benign))


@given(SCORES, SCORES, RATES)
def test_recall_is_the_best_any_threshold_of_that_rate_gives(
    attacks: list[float], benign: list[float], false_positives: float
) -> None:
    found = recall_at(np.array(attacks), np.array(benign), false_positives)
    assert found == pytest.approx(slow_recall(attacks, benign, false_positives))


@given(SCORES, RATES)
def test_a_threshold_keeps_the_rate_it_was_set_for(
    benign: list[float], false_positives: float
) -> None:
    scores = np.array(benign)
    threshold = threshold_at(scores, false_positives)
    assert rate(scores, threshold) <= false_positives
    lower = scores[scores < threshold]
    assert not lower.size or rate(scores, float(lower.max())) > false_positives


def test_too_few_benign_texts_put_the_threshold_above_all() -> None:
    assert threshold_at(np.array([0.1, 0.7]), 0.001) > 0.7


def test_no_benign_texts_are_no_measurement() -> None:
    with pytest.raises(ValueError, match="no benign texts"):
        threshold_at(np.array([]), 0.01)
    assert math.isnan(auc(np.array([0.5]), np.array([])))
    assert math.isnan(recall_at(np.array([]), np.array([0.5]), 0.01))
    assert math.isnan(rate(np.array([]), 0.5))
    assert share(np.array([], np.bool_)) is None


def test_a_score_that_is_not_a_number_is_denied() -> None:
    assert rate(np.array([math.nan, 0.1]), 0.5) == 0.5
    assert denied(np.array([math.nan, 0.1, 0.5]), 0.5).tolist() == [True, False, True]


def test_a_score_that_is_not_a_number_ranks_above_all_others() -> None:
    assert auc(np.array([math.nan]), np.array([0.1, 0.999])) == 1.0
    assert auc(np.array([0.999]), np.array([0.1, math.nan])) == 0.5


def test_what_no_threshold_allows_does_not_make_it_deny_the_rest() -> None:
    """Sorted as it is, a NaN became the threshold, and every attack counted as found."""
    benign = np.array([math.nan, 0.2, 0.3, 0.4])
    assert threshold_at(benign, 0.0) == math.inf
    assert recall_at(np.array([0.9, 0.95]), benign, 0.1) == 0.0
    assert recall_at(np.array([0.9, 0.35]), benign, 0.25) == 0.5


@pytest.mark.parametrize(
    ("hits", "of", "low", "high"),
    [  # Newcombe (1998), Statistics in Medicine 17, table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_the_interval_of_a_share_is_the_published_one(
    hits: int, of: int, low: float, high: float
) -> None:
    assert wilson(hits, of) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(1, 500), st.data())
def test_an_interval_holds_its_share_and_mirrors_that_of_the_rest(
    of: int, data: st.DataObject
) -> None:
    hits = data.draw(st.integers(0, of))
    low, high = wilson(hits, of)
    assert 0 <= low <= hits / of <= high <= 1
    assert wilson(of - hits, of) == pytest.approx((1 - high, 1 - low))


def test_a_share_says_of_how_many_it_is() -> None:
    found = share(np.array([True, False, False, True]))
    assert found is not None
    assert (found.hits, found.of, found.value) == (2, 4, 0.5)
    assert (found.low, found.high) == wilson(2, 4)


def test_a_curve_rises_from_nothing_to_everything_through_every_score() -> None:
    false_positives, recall = roc(np.array([0.9, 0.6]), np.array([0.6, 0.3, 0.2, 0.1]))
    assert list(zip(false_positives.tolist(), recall.tolist(), strict=True)) == [
        (0.0, 0.0),
        (0.0, 0.5),  # 0.9
        (0.25, 1.0),  # 0.6
        (0.5, 1.0),
        (0.75, 1.0),
        (1.0, 1.0),
    ]


def test_a_reliable_score_is_an_attack_as_often_as_it_says() -> None:
    scores = np.array([0.02, 0.04, 0.5, 0.5, 0.55, 1.0, math.nan])
    attack = np.array([False, False, True, False, True, True, True])
    low, middle, high = reliability(scores, attack)
    assert low.score == pytest.approx(0.03)
    assert low.attacks.value == 0.0
    assert middle.score == pytest.approx(1.55 / 3)
    assert (middle.attacks.hits, middle.attacks.of) == (2, 3)
    assert (high.score, high.attacks.value) == (1.0, 1.0)
