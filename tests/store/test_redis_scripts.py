"""The Lua scripts against a real server, at instants of the test's own choosing."""

import math
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib import resources
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis import Redis

from extauthz.core.budget.calendar import windows
from tests.store import valkey

LEASE = resources.files("extauthz.store").joinpath("lease.lua").read_text()
SLOTS = resources.files("extauthz.store").joinpath("slots.lua").read_text()
KEY = "extauthz:{counter}"
SECOND = 1_000_000
NOON = int(datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp()) * SECOND
#: From 1970 to 2100, in seconds.
INSTANTS = st.integers(0, 4_102_444_800)

one_server_for_all = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.fixture(scope="module", params=valkey.PROGRAMS, ids=valkey.name_of)
def server(request: pytest.FixtureRequest) -> Iterator[valkey.Server]:
    with valkey.serving(request.param) as running:
        yield running


@pytest.fixture
def client(server: valkey.Server) -> "Redis":
    server.client.flushall()
    return server.client


class Seen(NamedTuple):
    """What the script says."""

    granted: int
    v: int
    n: int
    g: int
    w: int
    now: int
    ends: int
    restored: int


class Counter:
    """One counter, and the replicas that ask for it."""

    def __init__(self, client: "Redis", kind: str, amount: int, per_unit: float = 0.0) -> None:
        self._client = client
        self._script = client.register_script(LEASE)
        self._what = (kind, amount, repr(per_unit))
        self.known: dict[str, Seen] = {}

    def ask(
        self,
        need: int = 0,
        *,
        now: int | None = NOON,
        by: str = "a",
        least: int | None = None,
        want: int = 0,
        divisor: int = 2,
        charge: int = 0,
        gift: bool = False,
    ) -> Seen:
        known = self.known.get(by, Seen(0, 0, 0, 0, 0, 0, 0, 0))
        args: list[str | int] = [
            *self._what,
            need,
            need if least is None else least,
            want,
            divisor,
            charge,
        ]
        args += [int(gift), known.g, known.n, known.v, known.w] + ([] if now is None else [now])
        self.known[by] = Seen(*self._script([KEY], args))
        return self.known[by]


class TestWindows:
    @one_server_for_all
    @given(st.lists(INSTANTS, min_size=1, max_size=20))
    def test_hours_days_and_months_are_those_of_the_calendar(
        self, client: "Redis", instants: list[int]
    ) -> None:
        for number, kind in enumerate(("hour", "day", "month")):
            counter = Counter(client, kind, 10)
            for instant in instants:
                seen = counter.ask(now=instant * SECOND + 999_999)
                assert (seen.w, seen.ends) == (
                    windows(instant)[number].number,
                    windows(instant)[number].end_s * SECOND,
                )

    @pytest.mark.parametrize("year", [1972, 1999, 2000, 2024, 2026, 2099, 2100])
    def test_each_month_ends_when_the_next_begins(self, client: "Redis", year: int) -> None:
        counter = Counter(client, "month", 10)
        for month in range(1, 13):
            first = int(datetime(year, month, 1, tzinfo=UTC).timestamp())
            for instant in (first - 1, first):
                seen = counter.ask(now=instant * SECOND)
                assert seen.ends == windows(instant)[2].end_s * SECOND

    def test_the_time_is_the_servers(self, client: "Redis") -> None:
        seconds, micros = client.time()

        seen = Counter(client, "day", 10).ask(1, now=None)

        assert 0 <= seen.now - (seconds * SECOND + micros) < 60 * SECOND
        assert seen.w == windows(seen.now // SECOND)[1].number


class TestBudgets:
    def test_what_is_left_is_granted_and_no_more(self, client: "Redis") -> None:
        counter = Counter(client, "day", 100)

        granted = [counter.ask(40).granted for _ in range(3)]

        assert granted == [40, 40, 0]
        assert counter.known["a"].v == 80

    def test_a_part_is_granted_where_it_is_of_use(self, client: "Redis") -> None:
        counter = Counter(client, "day", 100)

        assert counter.ask(250, least=40).granted == 100
        assert counter.ask(250, least=40).granted == 0

    def test_a_reserve_is_a_part_of_what_is_left(self, client: "Redis") -> None:
        counter = Counter(client, "day", 1_000)

        assert counter.ask(200, want=1_000, divisor=16).granted == 250
        assert counter.ask(0, want=10, divisor=16).granted == 10

    def test_a_new_window_begins_with_nothing_used(self, client: "Redis") -> None:
        counter = Counter(client, "hour", 100)
        counter.ask(100)

        seen = counter.ask(30, now=NOON + 3_600 * SECOND)

        assert (seen.granted, seen.v, seen.restored) == (30, 30, 0)

    def test_what_was_used_unasked_counts_even_above_the_amount(self, client: "Redis") -> None:
        counter = Counter(client, "day", 100)

        assert counter.ask(0, charge=130).v == 130
        assert counter.ask(1).granted == 0
        assert counter.ask(1, charge=-31).granted == 1

    def test_what_comes_back_leaves_no_less_than_nothing(self, client: "Redis") -> None:
        assert Counter(client, "day", 100).ask(0, charge=-50).v == 0

    def test_an_operator_may_give_more_than_the_amount(self, client: "Redis") -> None:
        counter = Counter(client, "day", 100)
        counter.ask(40)

        assert counter.ask(0, charge=-200, gift=True).v == -160
        assert counter.ask(0, charge=-10).v == -160
        assert counter.ask(260).granted == 260

    @pytest.mark.parametrize("charge", [-50, 50])
    def test_a_charge_of_a_window_that_has_ended_is_none(
        self, client: "Redis", charge: int
    ) -> None:
        counter = Counter(client, "hour", 100)
        counter.ask(60)

        counter.ask(70, by="b", now=NOON + 3_600 * SECOND)
        assert counter.ask(0, charge=charge, now=NOON + 3_600 * SECOND).v == 70

    def test_the_key_ends_with_its_window(self, client: "Redis") -> None:
        Counter(client, "hour", 100).ask(1, now=None)

        assert 0 < client.pttl(KEY) <= 3_600_000

    def test_a_refusal_writes_nothing(self, client: "Redis") -> None:
        counter = Counter(client, "day", 100)

        assert counter.ask(101).n == 0
        assert not client.exists(KEY)


class TestRates:
    def test_a_burst_and_then_as_it_comes_back(self, client: "Redis") -> None:
        counter = Counter(client, "rate", 10, per_unit=SECOND)

        assert counter.ask(10).granted == 10
        assert counter.ask(1).granted == 0
        assert counter.ask(1, now=NOON + SECOND - 1).granted == 0
        assert counter.ask(1, now=NOON + SECOND).granted == 1

    def test_units_far_below_a_microsecond_are_counted(self, client: "Redis") -> None:
        counter = Counter(client, "rate", 10**11, per_unit=0.0006)

        assert counter.ask(10**11).granted == 10**11
        assert counter.ask(10**10).granted == 0
        assert counter.ask(10**10, now=NOON + 6 * SECOND).granted == 10**10

    def test_a_counter_as_new_is_forgotten(self, client: "Redis") -> None:
        Counter(client, "rate", 10_000, per_unit=1_000).ask(5_000, now=None)

        assert 0 < client.pttl(KEY) <= 5_001

    @one_server_for_all
    @given(
        st.lists(
            st.tuples(st.integers(0, 5 * SECOND), st.integers(-8, 8), st.integers(0, 15)),
            min_size=1,
            max_size=30,
        ),
        st.sampled_from([0.7, 1_000.0, 250_000.5]),
    )
    def test_as_a_plain_gcra_does(
        self, client: "Redis", steps: list[tuple[int, int, int]], per_unit: float
    ) -> None:
        client.flushall()
        counter, now, tat = Counter(client, "rate", 10, per_unit), NOON, NOON
        for passed, charge, need in steps:
            now += passed
            if charge > 0:
                tat = max(tat, now) + math.ceil(charge * per_unit)
            else:
                tat -= math.floor(-charge * per_unit)
            fits = max(tat, now) - now + math.ceil(need * per_unit) <= math.ceil(10 * per_unit)
            if fits and need:
                tat = max(tat, now) + math.ceil(need * per_unit)

            assert counter.ask(need, now=now, charge=charge).granted == (need if fits else 0)


class TestWhatWasForgotten:
    @pytest.mark.parametrize(("kind", "per_unit"), [("day", 0.0), ("rate", 3600.0 * SECOND)])
    def test_comes_back_with_whoever_knows_more(
        self, client: "Redis", kind: str, per_unit: float
    ) -> None:
        counter = Counter(client, kind, 100, per_unit)
        counter.ask(30, by="a")
        counter.ask(50, by="b")
        client.flushall()

        # One knows 30 of 80; the other one brings the rest, and nothing twice.
        assert counter.ask(60, by="a").granted == 60
        assert counter.ask(1, by="b").granted == 0
        used = [counter.ask(by=by) for by in "abcab"]
        before = 0 if kind == "day" else NOON
        scale = 1 if kind == "day" else per_unit
        assert {round((seen.v - before) / scale) for seen in used} == {140}
        assert not any(seen.restored for seen in used)

    def test_a_stranger_begins_anew_and_the_others_add_what_they_know(
        self, client: "Redis"
    ) -> None:
        counter = Counter(client, "day", 100)
        counter.ask(70, by="a")
        client.flushall()

        assert counter.ask(20, by="new", now=NOON + 1).v == 20
        seen = counter.ask(1, by="a", now=NOON + 2)
        assert (seen.v, seen.restored) == (91, 1)

    def test_a_server_without_the_last_writes_is_told_them(self, client: "Redis") -> None:
        counter = Counter(client, "day", 100)
        counter.ask(10, by="a")
        behind = client.dump(KEY)
        counter.ask(20, by="b")
        counter.ask(30, by="c")
        client.restore(KEY, 60_000, behind, replace=True)  # type: ignore[arg-type]

        assert counter.ask(1, by="b", now=NOON + 1).v == 31
        assert counter.ask(1, by="c", now=NOON + 2).v == 62
        assert counter.ask(1, by="a", now=NOON + 3).v == 63

    def test_what_had_been_given_back_stays_given_back(self, client: "Redis") -> None:
        counter = Counter(client, "day", 100)
        counter.ask(90, by="a")
        counter.ask(0, by="b", charge=-80)
        client.flushall()

        assert counter.ask(1, by="b", now=NOON + 1).v == 11
        assert counter.ask(1, by="a", now=NOON + 2).v == 12

    def test_nothing_of_an_earlier_window_comes_back(self, client: "Redis") -> None:
        counter = Counter(client, "hour", 100)
        counter.ask(90)
        client.flushall()

        assert counter.ask(1, now=NOON + 3_600 * SECOND).v == 1

    def test_a_rate_is_put_back_whatever_was_before_it_came_back_in_full(
        self, client: "Redis"
    ) -> None:
        counter = Counter(client, "rate", 10, per_unit=SECOND)
        for _ in range(5):
            counter.ask(2, by="long ago")
        client.flushall()  # as it is forgotten by time
        counter.ask(8, by="b", now=NOON + 100 * SECOND)
        client.flushall()

        assert counter.ask(1, by="long ago", now=NOON + 101 * SECOND).restored == 0
        assert counter.ask(5, by="b", now=NOON + 101 * SECOND).granted == 0
        assert counter.ask(2, by="b", now=NOON + 101 * SECOND).granted == 2

    def test_a_rate_that_came_back_in_the_meantime_is_not_put_back(self, client: "Redis") -> None:
        counter = Counter(client, "rate", 10, per_unit=SECOND)
        counter.ask(10, by="a")
        client.flushall()
        counter.ask(3, by="b", now=NOON + 100 * SECOND)

        assert counter.ask(7, by="a", now=NOON + 100 * SECOND).granted == 7


STEPS = st.lists(
    st.tuples(
        st.sampled_from("abcd"),
        st.integers(0, 60),
        st.integers(0, 60),
        st.integers(0, 60),
        st.booleans(),
    ),
    max_size=40,
)


@one_server_for_all
@given(STEPS)
def test_leases_of_many_replicas_are_never_above_the_amount_and_returns_conserve(
    client: "Redis", steps: list[tuple[str, int, int, int, bool]]
) -> None:
    client.flushall()
    counter, held = Counter(client, "month", 300), dict.fromkeys("abcd", 0)
    spent = 0
    for who, need, want, used, gives_back in steps:
        charge = -held[who] if gives_back else 0
        seen = counter.ask(need, by=who, want=want, divisor=8, charge=charge)
        held[who] += charge + seen.granted
        use = min(used, held[who])
        held[who] -= use
        spent += use

        assert seen.v == spent + sum(held.values())
        assert 0 <= seen.v <= 300


class Places:
    """One counter of what is under way, and the replicas that ask for it."""

    def __init__(self, client: "Redis", amount: int) -> None:
        self._script = client.register_script(SLOTS)
        self._amount = amount

    def ask(self, by: str, held: int, need: int, *, want: int = 0, now_s: int = 1_000) -> list[int]:
        args: list[str | int] = [by, self._amount, held, need, need, want, 2, 30_000, now_s * 1_000]
        granted: list[int] = self._script([KEY], args)
        return granted


class TestPlaces:
    def test_they_are_shared_and_come_back(self, client: "Redis") -> None:
        places = Places(client, 10)

        assert places.ask("a", 0, 6) == [6, 6]
        assert places.ask("b", 0, 6) == [0, 6]
        assert places.ask("a", 2, 0) == [0, 2]
        assert places.ask("b", 0, 6) == [6, 8]

    def test_those_of_a_replica_that_is_gone_are_free_after_a_while(self, client: "Redis") -> None:
        places = Places(client, 10)
        places.ask("a", 0, 10)

        assert places.ask("b", 0, 1, now_s=1_029) == [0, 10]
        assert places.ask("b", 0, 1, now_s=1_030) == [1, 1]

    def test_what_was_forgotten_is_said_again(self, client: "Redis") -> None:
        places = Places(client, 10)
        places.ask("a", 0, 8)
        client.flushall()

        assert places.ask("a", 8, 0) == [0, 8]
        assert places.ask("b", 0, 3) == [0, 8]

    def test_none_are_kept_for_who_holds_none(self, client: "Redis") -> None:
        places = Places(client, 10)
        places.ask("a", 0, 8)
        places.ask("a", 0, 0)

        assert not client.exists(KEY)
