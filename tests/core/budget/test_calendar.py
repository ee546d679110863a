"""Windows are those of the calendar, and no step of a clock opens one early."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extauthz.core.budget.calendar import SteadyClock, windows

#: From 1970 to the year 9998.
INSTANTS = st.integers(0, 253_370_764_799)
#: Steps of a wall clock, up to a year either way.
NS = 1_000_000_000
STEPS = st.integers(-31_536_000 * NS, 31_536_000 * NS)
TICKS = st.lists(st.tuples(st.integers(0, 600 * NS), STEPS), max_size=30)


def at(unix_s: int) -> datetime:
    return datetime.fromtimestamp(unix_s, UTC)


@given(INSTANTS)
def test_an_instant_is_in_its_windows_and_they_end_on_the_calendar(unix_s: int) -> None:
    hour, day, month = windows(unix_s)

    assert unix_s < hour.end_s <= day.end_s <= month.end_s
    assert at(hour.end_s - 1).replace(minute=0, second=0) == at(unix_s).replace(minute=0, second=0)
    assert at(hour.end_s).minute == at(hour.end_s).second == 0
    assert at(day.end_s - 1).date() == at(unix_s).date()
    assert at(day.end_s).date() == at(unix_s).date() + timedelta(days=1)
    last = at(month.end_s - 1)
    assert (last.year, last.month) == (at(unix_s).year, at(unix_s).month)
    assert at(month.end_s).day == 1
    assert at(month.end_s).time().isoformat() == "00:00:00"


@given(INSTANTS, INSTANTS)
def test_two_instants_have_one_number_exactly_if_they_are_in_one_window(
    one: int, other: int
) -> None:
    for left, right in zip(windows(one), windows(other), strict=True):
        assert (left.number == right.number) == (left.end_s == right.end_s)
        assert (left.number < right.number) == (left.end_s < right.end_s)


@given(INSTANTS)
def test_the_window_after_has_the_next_number(unix_s: int) -> None:
    for index, window in enumerate(windows(unix_s)):
        assert windows(window.end_s)[index].number == window.number + 1


@pytest.mark.parametrize(
    ("text", "month_ends"),
    [
        ("2024-02-29T23:59:59", "2024-03-01"),
        ("2023-02-28T23:59:59", "2023-03-01"),
        ("2000-02-29T00:00:00", "2000-03-01"),
        ("2100-02-28T12:00:00", "2100-03-01"),
        ("2026-12-31T23:59:59", "2027-01-01"),
        ("2026-04-30T00:00:00", "2026-05-01"),
    ],
)
def test_months_have_the_days_that_they_have(text: str, month_ends: str) -> None:
    unix_s = int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())

    assert at(windows(unix_s)[2].end_s).date().isoformat() == month_ends


def test_a_wall_clock_that_is_right_is_believed() -> None:
    clock = SteadyClock(5, 1_000)

    assert clock.wall_ns(5, 1_000) == 1_000
    assert clock.wall_ns(5 + NS, 1_000 + NS) == 1_000 + NS


@given(TICKS)
def test_under_any_steps_time_goes_on_by_a_tenth_more_or_less_than_it_does(
    ticks: list[tuple[int, int]],
) -> None:
    start = 1_700_000_000 * NS
    clock, steady, before = SteadyClock(7, start), 7, start
    for passed, step in ticks:
        steady += passed
        now = clock.wall_ns(steady, start + steady + step)
        assert before <= now
        assert 0.9 * passed - 1 <= now - before <= 1.1 * passed + 1
        before = now


@given(STEPS)
def test_a_step_is_followed_in_ten_times_its_length_and_not_beyond(step: int) -> None:
    start = 1_700_000_000 * NS
    clock, steady = SteadyClock(0, start), 0
    after = 10 * abs(step) // 20 + 100
    for _ in range(21):
        steady += after
        clock.wall_ns(steady, start + steady + step)

    assert clock.wall_ns(steady, start + steady + step) == start + steady + step


def test_a_steady_clock_that_shows_the_past_moves_nothing_twice() -> None:
    clock = SteadyClock(0, 0)
    first = clock.wall_ns(10 * NS, 100 * NS)

    assert first == 11 * NS
    assert clock.wall_ns(5 * NS, 100 * NS) == 6 * NS
    assert clock.wall_ns(10 * NS, 100 * NS) == first
