"""Drift is 0 where live scores are spread as those of the calibration, and large where they are not."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extauthz.core.call import Provenance
from extauthz.core.views import DECODED, JOINED, NORMALISED, RAW
from extauthz.telemetry.drift import (
    ENOUGH,
    RECENT,
    Drift,
    Spread,
    spread,
    stability_index,
    worst_of_each_text,
)
from tests import builders

RATES = (0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001)
#: Of scores that are spread evenly between 0 and 1.
THRESHOLDS = tuple(1 - rate for rate in RATES)


def even(texts: int = 10_000) -> Spread:
    found = spread(RATES, THRESHOLDS, texts)
    assert found is not None
    return found


def drift_of(scores: np.typing.NDArray[np.float64], honest: Spread | None = None) -> float:
    drift = Drift(honest or even())
    for score in scores.tolist():
        drift.saw(score)
    return drift.index()


def test_the_bins_lie_between_the_thresholds_and_hold_what_the_rates_leave() -> None:
    honest = even()
    assert honest.edges == THRESHOLDS
    assert honest.shares == pytest.approx(
        (0.5, 0.3, 0.1, 0.05, 0.03, 0.01, 0.005, 0.003, 0.001, 0.001)
    )


def test_rates_that_too_few_texts_could_show_make_no_bin() -> None:
    honest = even(texts=100)
    assert honest.edges == THRESHOLDS[:6]
    assert honest.shares == pytest.approx((0.5, 0.3, 0.1, 0.05, 0.03, 0.01, 0.01))


def test_of_rates_with_one_threshold_the_lowest_counts() -> None:
    honest = spread((0.5, 0.2, 0.1, 0.05), (0.1, 0.3, 0.3, 0.4), 1_000)
    assert honest is not None
    assert honest.edges == (0.1, 0.3, 0.4)
    assert honest.shares == pytest.approx((0.5, 0.4, 0.05, 0.05))


@pytest.mark.parametrize(
    ("rates", "thresholds", "texts"),
    [
        ((0.005,), (0.9,), 10_000),
        ((0.5, 0.2), (0.1, 0.2), 10_000),
        ((0.5, 0.2, 0.1), (0.3, 0.3, 0.3), 10_000),
        (RATES, THRESHOLDS, 2),
    ],
    ids=["one rate", "two rates", "one threshold", "two texts"],
)
def test_a_column_that_says_too_little_of_the_spread_is_none(
    rates: tuple[float, ...], thresholds: tuple[float, ...], texts: int
) -> None:
    assert spread(rates, thresholds, texts) is None


@given(st.lists(st.floats(1e-6, 1, exclude_max=True), min_size=3, max_size=12, unique=True))
def test_the_shares_of_every_calibration_make_up_all_texts(rates: list[float]) -> None:
    falling = sorted(rates, reverse=True)
    honest = spread(falling, sorted(1 - rate for rate in rates), 10**7)
    assert honest is None or (
        sum(honest.shares) == pytest.approx(1)
        and all(share > 0 for share in honest.shares)
        and len(honest.shares) == len(honest.edges) + 1
        and all(low < high for low, high in pairwise(honest.edges))
    )


@pytest.mark.parametrize("seed", range(5))
def test_scores_of_the_same_spread_do_not_drift(seed: int) -> None:
    scores = np.random.default_rng(seed).random(RECENT)
    assert 0 < drift_of(scores) < 0.05
    assert 0 < drift_of(scores[:ENOUGH]) < 0.1


@pytest.mark.parametrize(
    ("shifted", "least"),
    [
        (np.sqrt, 0.25),
        (lambda scores: scores**2, 0.1),
        (lambda scores: np.where(scores < 0.1, 0.9999, scores), 0.25),
        (lambda scores: np.full_like(scores, 0.97), 1),
        (np.zeros_like, 0.25),
    ],
    ids=["higher", "lower", "a tenth attacks", "one text", "nothing"],
)
def test_scores_of_another_spread_do(shifted: object, least: float) -> None:
    assert callable(shifted)
    scores = np.random.default_rng(1).random(RECENT)
    assert drift_of(shifted(scores)) > least


def test_it_is_0_until_enough_texts_were_seen() -> None:
    assert drift_of(np.ones(ENOUGH - 1)) == 0
    assert drift_of(np.ones(ENOUGH)) > 1


def test_only_recent_texts_count() -> None:
    rng = np.random.default_rng(2)
    attacked, calm = np.ones(10 * RECENT), rng.random(RECENT)
    assert drift_of(np.concatenate([attacked, calm])) == drift_of(calm) < 0.05
    assert drift_of(np.concatenate([calm, attacked[:RECENT]])) == drift_of(attacked[:RECENT])


def test_a_score_at_a_threshold_reached_it() -> None:
    at, below = Drift(even()), Drift(even())
    for _ in range(ENOUGH):
        at.saw(THRESHOLDS[-1])
        below.saw(float(np.nextafter(THRESHOLDS[-1], 0)))
    assert at._counts == [0] * 9 + [ENOUGH]
    assert below._counts == [0] * 8 + [ENOUGH, 0]


@given(st.lists(st.integers(0, 10**6), min_size=10, max_size=10))
def test_the_index_is_a_number_and_none_below_0(counts: list[int]) -> None:
    assert -1e-12 < stability_index(counts, even().shares) < 20


def test_the_index_of_exactly_what_is_expected_is_0() -> None:
    assert stability_index([500, 300, 200], [0.5, 0.3, 0.2]) == pytest.approx(0)


def test_the_index_is_that_of_the_textbook_for_many_texts() -> None:
    expected = (0.6 - 0.5) * np.log(0.6 / 0.5) + (0.4 - 0.5) * np.log(0.4 / 0.5)
    assert stability_index([6 * 10**8, 4 * 10**8], [0.5, 0.5]) == pytest.approx(expected)


def test_each_text_counts_once_with_its_worst_view() -> None:
    user, tool = Provenance.USER, Provenance.TOOL_RESULT
    scored = (
        builders.scored(0.1, provenance=user, view=RAW),
        builders.scored(0.7, provenance=user, view=NORMALISED),
        builders.scored(0.3, provenance=user, view=DECODED),
        builders.scored(0.2, provenance=user, view=RAW),
        builders.scored(0.4, provenance=tool, view=RAW),
        builders.scored(0.2, provenance=tool, view=DECODED),
        builders.scored(0.9, provenance=user, view=JOINED, pointer=""),
        builders.scored(0.9, provenance=user, view=DECODED, pointer=""),
    )
    assert list(worst_of_each_text(scored)) == [(user, 0.7), (user, 0.2), (tool, 0.4)]
    assert list(worst_of_each_text(())) == []
    assert list(worst_of_each_text(scored[:1])) == [(user, 0.1)]
