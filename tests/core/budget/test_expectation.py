"""What is reserved for an answer: enough for nine in ten of those that were seen, and little more."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extauthz.core.budget.expectation import (
    _BUCKETS,
    _ENOUGH,
    _REMEMBERED,
    Expectation,
    Expectations,
    _bucket,
    _longest,
)

LENGTHS = st.integers(0, 2**34 - 1)


def learnt(*lengths: int) -> int | None:
    found = Expectation()
    for tokens in lengths:
        found.saw(tokens)
    return found.tokens()


def test_with_few_answers_nothing_is_known() -> None:
    assert learnt(*[100] * (_ENOUGH - 1)) is None
    assert learnt(*[8] * _ENOUGH) == 8


@given(LENGTHS)
def test_a_bucket_holds_a_length_and_none_an_eighth_longer(tokens: int) -> None:
    longest = _longest(_bucket(tokens))

    assert tokens <= longest
    assert longest == tokens or longest < tokens * 1.125


@given(LENGTHS, LENGTHS)
def test_longer_answers_are_in_later_buckets(one: int, other: int) -> None:
    assert (one <= other) <= (_bucket(one) <= _bucket(other))
    assert (_bucket(one) == _bucket(other)) == (_longest(_bucket(one)) == _longest(_bucket(other)))


@pytest.mark.parametrize("tokens", [-1, -(2**63), 2**34, 2**63, 2**200])
def test_no_length_is_out_of_all_buckets(tokens: int) -> None:
    assert 0 <= _bucket(tokens) < _BUCKETS


@given(st.lists(LENGTHS, min_size=_ENOUGH, max_size=200))
def test_nine_in_ten_answers_fit_and_it_is_no_longer_than_it_has_to_be(lengths: list[int]) -> None:
    found = learnt(*lengths)
    assert found is not None

    ordered = sorted(lengths)
    ninth = ordered[-(-9 * len(ordered) // 10) - 1]
    assert sum(one <= found for one in lengths) >= 0.9 * len(lengths)
    assert found <= ninth * 1.125


def test_what_was_usual_once_is_forgotten() -> None:
    before, since = [100_000] * _REMEMBERED, [10] * 10 * _REMEMBERED

    assert learnt(*before) == _longest(_bucket(100_000))
    assert learnt(*before, *since) == 10


@given(st.integers(0, 3 * _REMEMBERED))
def test_the_total_is_that_of_the_buckets(answers: int) -> None:
    found = Expectation()
    for tokens in range(answers):
        found.saw(tokens)

    assert found._total == pytest.approx(sum(found._counts))
    assert found._total < _REMEMBERED


def test_models_learn_by_themselves_and_are_forgotten_with_the_policy() -> None:
    found = Expectations()
    for _ in range(_ENOUGH):
        found.saw("large", 8)
        found.saw("small", 3)

    assert (found.tokens("large"), found.tokens("small"), found.tokens("new")) == (8, 3, None)

    found.keep(frozenset({"small", "new"}))

    assert (found.tokens("large"), found.tokens("small")) == (None, 3)
