"""Who uses most is found in bounded memory, and nobody is made out to be heavier than they are."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extauthz.telemetry import consumers
from extauthz.telemetry.consumers import HALF_LIFE_S, Consumer, Consumers
from extauthz.telemetry.observation import Observation
from tests.telemetry.observations import LIMIT, allowance, observation

HOUR = HALF_LIFE_S


def used(principal: str, tokens: int, *scores: float, **allowed: Any) -> Observation:
    return observation(*scores, principal=principal, allowance=allowance(tokens, **allowed))


def counted(*seen: Observation, at_s: float = 0.0) -> Consumers:
    found = Consumers(0.0)
    for one in seen:
        found.observe(one, at_s)
    return found


def test_the_heaviest_is_first_with_its_requests_and_how_its_limit_stands() -> None:
    found = counted(
        used("alice", 10), used("bob", 50, remaining=7), used("alice", 15), used("bob", 1)
    )

    assert found.heaviest(9, 0.0) == [
        Consumer("bob", "a" * 64, 51, 2, LIMIT.name, 400),
        Consumer("alice", "a" * 64, 25, 2, LIMIT.name, 400),
    ]
    assert [one.principal for one in found.heaviest(1, 0.0)] == ["bob"]


def test_a_denied_request_uses_nothing_but_shows_how_the_limit_stands() -> None:
    found = counted(
        used("alice", 10), used("alice", 99, 0.9, remaining=3), used("eve", 99, limited=True)
    )

    assert found.heaviest(9, 0.0) == [Consumer("alice", "a" * 64, 10, 1, LIMIT.name, 3)]


def test_requests_for_which_nothing_is_reserved_are_nobodys() -> None:
    found = counted(observation(0.1), used("alice", 0), used("bob", 5, limit=None))

    assert found.heaviest(9, 0.0) == [Consumer("bob", "a" * 64, 5, 1, "", 0.0)]


def test_all_that_nobody_knows_are_one() -> None:
    assert counted(used("", 5), used("", 6)).heaviest(9, 0.0)[0][:3] == ("", "", 11)


def test_after_each_hour_everything_counts_for_half_also_while_nothing_happens() -> None:
    found = counted(*[used("alice", 100)] * 4)

    assert found.heaviest(1, HOUR - 1)[0].tokens == 400
    assert found.heaviest(1, HOUR)[0].tokens == 200
    assert found.heaviest(1, 2.5 * HOUR)[0][2:4] == (100, 1)
    found.observe(used("alice", 50), 2.5 * HOUR)
    assert found.heaviest(1, 2.5 * HOUR)[0][2:4] == (150, 2)
    assert found.heaviest(1, 3 * HOUR)[0].tokens == 75


def test_who_has_used_nothing_for_long_is_forgotten() -> None:
    found = counted(used("alice", 1_000_000))

    found.observe(observation(0.1), 48 * HOUR)

    assert found._table.sums == {}
    assert found.heaviest(9, 1e12) == []


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> int:
    """A table for few callers."""
    monkeypatch.setattr(consumers, "MOST", 10)
    return 10


@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(1, 10**6)), max_size=300),
)
def test_no_sum_is_too_large_nor_too_small_by_more_than_its_share(
    uses: list[tuple[int, int]],
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(consumers, "MOST", 10)
        found, true = Consumers(0.0), Counter[str]()
        for caller, tokens in uses:
            found.observe(used(str(caller), tokens), 0.0)
            true[str(caller)] += tokens
            assert len(found._table.sums) <= 10

        shown = {one.principal: one.tokens for one in found.heaviest(99, 0.0)}
        most_lost = true.total() / 5
        for caller_name, tokens in true.items():
            assert tokens - most_lost <= shown.get(caller_name, 0) <= tokens


def test_no_flood_of_callers_hides_the_heavy_one_or_grows_the_table(few: int) -> None:
    found = Consumers(0.0)
    for number in range(1_000):
        found.observe(used(f"flood-{number}", 10), 0.0)
        found.observe(used("heavy", 10), 0.0)
        assert len(found._table.sums) <= few

    heaviest = found.heaviest(9, 0.0)
    assert heaviest[0].principal == "heavy"
    assert heaviest[0].tokens >= 10_000 - 20_000 / 5
    assert all(one.tokens <= 10 for one in heaviest[1:])
