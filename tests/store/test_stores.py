"""What holds for counters wherever they are: one body of tests over every store that needs no server."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from extauthz.core.budget.allowance import NANO, Allowance
from extauthz.core.budget.demand import Ask
from extauthz.core.budget.limits import (
    Budgets,
    By,
    Calendar,
    Charge,
    Count,
    Every,
    Limit,
    Settle,
)
from extauthz.core.budget.report import Usage
from extauthz.core.reasons import Failure
from extauthz.store.ledger import Ledger, private_cells
from extauthz.store.memory import MemoryStore
from extauthz.store.shared import SharedCells
from tests.store.still_clock import StillClock

Open = Callable[[], MemoryStore]
COUNTERS, RESERVATIONS = 1024, 256


@pytest.fixture
def clock() -> StillClock:
    return StillClock()


@pytest.fixture(params=["private", "shared"])
def store(request: pytest.FixtureRequest, clock: StillClock, tmp_path: Path) -> MemoryStore:
    if request.param == "private":
        return MemoryStore(Ledger(private_cells(COUNTERS, RESERVATIONS)), clock)
    cells = SharedCells(tmp_path / "counters", COUNTERS, RESERVATIONS)
    return MemoryStore(Ledger(cells.cells, cells.secret, cells), clock)


def day(name: str = "day", amount: float = 1_000, **fields: object) -> Limit:
    plain: dict[str, object] = {
        "count": Count.TOTAL_TOKENS,
        "by": (By.PRINCIPAL,),
        "calendar": Calendar.DAY,
    }
    return Limit(name=name, amount=amount, **plain | fields)  # type: ignore[arg-type]


def rate(name: str = "rate", amount: float = 60, **fields: object) -> Limit:
    return day(name, amount, **{"calendar": None, "every": Every.MINUTE} | fields)


def slots(amount: float = 2) -> Limit:
    return day("slots", amount, count=Count.CONCURRENT, calendar=None)


def ask(
    call_id: str, who: str = "alice", tokens: int = 100, output: int = 0, **fields: object
) -> Ask:
    plain: dict[str, object] = {
        "id": call_id,
        "principal": who,
        "tenant": "",
        "route": "chat",
        "model": "other",
        "usage": Usage(tokens, output),
    }
    return Ask(**plain | fields)  # type: ignore[arg-type]


async def reserve(store: MemoryStore, asked: Ask) -> Allowance:
    allowance = await store.reserve(asked, 0.0)
    assert isinstance(allowance, Allowance)
    return allowance


async def granted(store: MemoryStore, asked: Ask) -> bool:
    return not (await reserve(store, asked)).limited


async def left(store: MemoryStore, who: str = "alice") -> list[int]:
    return [standing.remaining for standing in await store.standing(ask("", who))]


async def test_without_a_limit_everything_passes_and_nothing_is_told(store: MemoryStore) -> None:
    allowance = await reserve(store, ask("1", tokens=10**12))

    assert not allowance.limited
    assert allowance.limit is None


async def test_a_budget_is_had_to_the_last_token_and_no_further(store: MemoryStore) -> None:
    store.serve(Budgets(limits=(day(),)))
    assert [await granted(store, ask(str(n))) for n in range(12)] == [True] * 10 + [False] * 2
    assert await granted(store, ask("free", tokens=0))


async def test_another_principal_is_not_touched(store: MemoryStore) -> None:
    store.serve(Budgets(limits=(day(),)))
    assert await granted(store, ask("1", tokens=1_000))
    assert not await granted(store, ask("2", tokens=1))
    assert await granted(store, ask("3", who="bob", tokens=1_000))


async def test_a_refusal_says_which_limit_when_to_come_back_and_charges_nothing(
    store: MemoryStore, clock: StillClock
) -> None:
    store.serve(Budgets(limits=(rate(burst=30), day())))
    assert await granted(store, ask("1", tokens=30))

    refused = await reserve(store, ask("2", tokens=10))

    assert refused.limited
    assert refused.limit is not None
    assert refused.limit.name == "rate"
    assert refused.wait_s == pytest.approx(10.0)
    assert await left(store) == [0, 970]
    clock.forward(10.0)
    assert await granted(store, ask("3", tokens=10))


async def test_the_strictest_of_those_that_refuse_has_the_longest_wait(
    store: MemoryStore, clock: StillClock
) -> None:
    store.serve(Budgets(limits=(rate(), day(amount=60))))
    assert await granted(store, ask("1", tokens=60))

    refused = await reserve(store, ask("2", tokens=60))

    assert refused.limit is not None
    assert refused.limit.name == "day"
    assert refused.wait_s == pytest.approx(clock.seconds_of_day_left())


async def test_what_is_above_the_whole_limit_never_passes_and_is_told_no_time(
    store: MemoryStore,
) -> None:
    store.serve(Budgets(limits=(day(),)))
    refused = await reserve(store, ask("1", tokens=1_001))
    assert refused.limited
    assert refused.wait_s is None


async def test_a_grant_names_the_limit_with_the_smallest_share_left(store: MemoryStore) -> None:
    store.serve(Budgets(limits=(day("a", 1_000), day("b", 200))))
    allowance = await reserve(store, ask("1"))
    assert allowance.limit is not None
    assert (allowance.limit.name, allowance.remaining) == ("b", 100)


async def test_a_new_day_has_a_new_budget(store: MemoryStore, clock: StillClock) -> None:
    store.serve(Budgets(limits=(day(),)))
    assert await granted(store, ask("1", tokens=1_000))
    clock.forward(clock.seconds_of_day_left())
    assert await granted(store, ask("2", tokens=1_000))
    assert not await granted(store, ask("3", tokens=1))


async def test_the_real_usage_is_charged_in_place_of_what_was_reserved(store: MemoryStore) -> None:
    store.serve(Budgets(limits=(day(),)))
    await reserve(store, ask("1", tokens=100, output=500))
    assert await left(store) == [400]

    settled = store.settle(store.replica, "1", Usage(90, 10))

    assert settled is not None
    assert settled.estimated == Usage(100, 500)
    assert await left(store) == [900]


async def test_more_than_was_reserved_is_charged_too_and_shuts_the_door(store: MemoryStore) -> None:
    store.serve(Budgets(limits=(day(),)))
    await reserve(store, ask("1", tokens=100))
    store.settle(store.replica, "1", Usage(100, 5_000))
    assert await left(store) == [0]
    assert not await granted(store, ask("2", tokens=1))


@pytest.mark.parametrize(
    ("charge", "remaining"), [(Charge.RESERVED, 400), (Charge.INPUT, 900), (Charge.NOTHING, 1_000)]
)
async def test_without_a_count_the_rule_is_charged(
    store: MemoryStore, charge: Charge, remaining: int
) -> None:
    store.serve(Budgets(limits=(day(),)))
    await reserve(store, ask("1", tokens=100, output=500))
    store.settle(store.replica, "1", charge)
    assert await left(store) == [remaining]


async def test_whatever_is_told_again_changes_nothing(store: MemoryStore) -> None:
    store.serve(Budgets(limits=(day(), slots())))
    for _ in range(3):
        assert await granted(store, ask("1", tokens=100))
    assert await left(store) == [900, 1]
    assert store.settle(store.replica, "1", Usage(50, 0)) is not None
    for charge in (Usage(0, 0), Charge.NOTHING, Usage(900, 0)):
        assert store.settle(store.replica, "1", charge) is None
    store.release("1")
    assert await granted(store, ask("1", tokens=100))
    assert await left(store) == [950, 2]


async def test_nothing_comes_of_a_settlement_for_nobody(store: MemoryStore) -> None:
    store.serve(Budgets(limits=(day(),)))
    assert store.settle(store.replica, "never", Usage(10**9, 10**9)) is None
    assert await left(store) == [1_000]


async def test_a_request_that_is_refused_after_all_was_still_a_request(store: MemoryStore) -> None:
    store.serve(Budgets(limits=(day(), day("requests", 10, count=Count.REQUESTS), slots())))
    await reserve(store, ask("1"))
    store.release("1")
    assert await left(store) == [1_000, 9, 2]


async def test_places_at_the_same_time_come_back_however_a_request_ends(store: MemoryStore) -> None:
    store.serve(Budgets(limits=(slots(),)))
    assert await granted(store, ask("1"))
    assert await granted(store, ask("2"))
    assert not await granted(store, ask("3"))
    store.settle(store.replica, "1", Charge.RESERVED)
    assert await granted(store, ask("4"))
    store.release("2")
    assert await granted(store, ask("5"))
    assert not await granted(store, ask("6"))


@pytest.mark.parametrize(("lost", "remaining"), [(Charge.RESERVED, 900), (Charge.NOTHING, 1_000)])
async def test_a_request_that_nobody_hears_of_again_is_settled_by_rule(
    store: MemoryStore, clock: StillClock, lost: Charge, remaining: int
) -> None:
    store.serve(Budgets(limits=(day(), slots()), settle=Settle(lost=lost, expire_s=60)))
    await reserve(store, ask("1"))
    clock.forward(59.0)
    assert store.tick().expired == 0
    clock.forward(1.0)

    ticked = store.tick()

    assert (ticked.expired, ticked.reservations) == (1, 0)
    assert await left(store) == [remaining, 2]
    assert store.settle(store.replica, "1", Usage(5, 5)) is None


async def test_a_reload_keeps_what_was_counted_whatever_the_amount_is_now(
    store: MemoryStore,
) -> None:
    store.serve(Budgets(limits=(day(amount=1_000),)))
    await reserve(store, ask("1", tokens=600))

    store.serve(Budgets(limits=(day("new", 5), day(amount=700))))
    assert (await left(store))[1] == 100
    store.serve(Budgets(limits=(day(amount=500),)))
    assert not await granted(store, ask("2", tokens=1))
    store.settle(store.replica, "1", Usage(100, 0))
    assert await left(store) == [400]


async def test_a_shadow_limit_is_told_and_denies_nothing(store: MemoryStore) -> None:
    store.serve(Budgets(limits=(day("trial", 150, shadow=True), day())))
    assert (await reserve(store, ask("1"))).shadowed == ()
    second = await reserve(store, ask("2"))
    assert (second.limited, second.shadowed) == (False, ("trial",))
    assert await left(store) == [50, 800]


async def test_limits_are_for_the_routes_and_models_that_they_name(store: MemoryStore) -> None:
    limits = (day("routed", 100, routes=("chat",)), day("large", 100, models=("large",)))
    store.serve(Budgets(limits=limits))
    assert await granted(store, ask("1", route="images", tokens=10**6))
    assert await granted(store, ask("2"))
    assert not await granted(store, ask("3", tokens=1))
    assert await granted(store, ask("4", route="images", model="large"))
    assert not await granted(store, ask("5", route="images", model="large", tokens=1))


async def test_counters_are_apart_for_what_they_are_by(store: MemoryStore) -> None:
    store.serve(Budgets(limits=(day(amount=100, by=(By.TENANT, By.MODEL)),)))
    assert await granted(store, ask("1", tenant="a", model="small"))
    assert not await granted(store, ask("2", tenant="a", model="small", who="bob"))
    assert await granted(store, ask("3", tenant="a", model="large"))
    assert await granted(store, ask("4", tenant="b", model="small"))
    assert await granted(store, ask("5", tenant="small", model="a"))


async def test_money_is_counted_by_the_billionth(store: MemoryStore) -> None:
    store.serve(Budgets(limits=(day("money", 0.5, count=Count.COST),)))
    priced: dict[str, Any] = {
        "input_price": 2_500,
        "output_price": 10_000,
    }  # 2.50 and 10.00 for a million
    allowance = await reserve(store, ask("1", tokens=1_000, output=40_000, **priced))
    assert allowance.remaining == round((0.5 - 0.0025 - 0.4) * NANO)
    assert not await granted(store, ask("2", tokens=1_000, output=10_000, **priced))
    store.settle(store.replica, "1", Usage(1_000, 1_000))
    assert await left(store) == [round((0.5 - 0.0125) * NANO)]


async def test_input_and_output_have_limits_of_their_own(store: MemoryStore) -> None:
    limits = (day("in", 100, count=Count.INPUT_TOKENS), day("out", 50, count=Count.OUTPUT_TOKENS))
    store.serve(Budgets(limits=limits))
    refused = await reserve(store, ask("1", tokens=100, output=51))
    assert refused.limit is not None
    assert refused.limit.name == "out"
    assert await granted(store, ask("2", tokens=100, output=50))
    assert await left(store) == [0, 0]


async def test_no_number_is_too_large(store: MemoryStore) -> None:
    store.serve(Budgets(limits=(day(), day("money", 10**9, count=Count.COST))))
    huge = ask("1", tokens=2**63, output=2**40 * 1_000, input_price=10**9, output_price=10**9)
    assert not await granted(store, huge)
    assert await left(store) == [1_000, 10**9 * NANO]


async def test_more_requests_at_once_than_there_is_room_for_are_refused_by_name(
    store: MemoryStore,
) -> None:
    store.serve(Budgets(limits=(day(amount=10**9),)))
    answers = [await store.reserve(ask(str(n), tokens=1), 0.0) for n in range(2 * RESERVATIONS)]
    assert Failure.OVERLOADED in answers
    held = [n for n, answer in enumerate(answers) if answer is not Failure.OVERLOADED]
    assert len(held) > RESERVATIONS / 2
    for n in held:
        store.settle(store.replica, str(n), Charge.NOTHING)
    assert store.tick().reservations == 0
    assert await left(store) == [10**9]


async def test_a_flood_of_identities_frees_nobody_who_is_over(store: MemoryStore) -> None:
    store.serve(Budgets(limits=(day(amount=100),)))
    assert await granted(store, ask("0", who="offender"))
    for n in range(4 * COUNTERS):
        answer = await store.reserve(ask(f"f{n}", who=f"nobody {n}", tokens=1), 0.0)
        assert isinstance(answer, Allowance)
        store.settle(store.replica, f"f{n}", Charge.RESERVED)
    assert not await granted(store, ask("1", who="offender", tokens=1))


async def test_reset_and_grant_are_for_one_principal(store: MemoryStore) -> None:
    store.serve(Budgets(limits=(day(), rate())))
    for who in ("alice", "bob"):
        await reserve(store, ask(who, who=who, tokens=50))

    assert await store.grant(ask("", only=("day",)), 20) == 1
    assert await left(store) == [970, 10]
    assert await store.reset(ask("")) == 2
    assert await left(store) == [1_000, 60]
    assert await left(store, "bob") == [950, 10]


async def test_a_grant_may_be_more_than_the_budget(store: MemoryStore) -> None:
    store.serve(Budgets(limits=(day(),)))
    await store.grant(ask(""), 500)
    assert await granted(store, ask("1", tokens=1_000))
    assert await granted(store, ask("2", tokens=500))
    assert not await granted(store, ask("3", tokens=1))
