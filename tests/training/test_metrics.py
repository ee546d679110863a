import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extauthz.training.metrics import auc, rate, recall_at, threshold_at

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


def test_a_score_that_is_not_a_number_is_denied() -> None:
    assert rate(np.array([math.nan, 0.1]), 0.5) == 0.5
