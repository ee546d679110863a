"""Budgets at their edges: the last unit, the last instant, the largest number, the last slot."""

import math

import pytest

from extauthz_kernels import ledger
from tests.kernels.test_ledger import (
    BRIM,
    LONG,
    MOST,
    NOW,
    PERIODS,
    Table,
    ask,
    calendar_at,
    kernels,
    limit,
    states,
)
from tests.reference.ledger import (
    CONCURRENT,
    COST,
    GRANTED,
    IN_FLIGHT,
    INPUT,
    INPUT_ALONE,
    KNOWN,
    LEASE,
    LIMITED,
    NOTHING,
    OUTPUT,
    RATE,
    REQUESTS,
    RESERVED,
    SETTLED,
    SHORT,
    TOTAL,
    UNKNOWN,
    USED,
    WINDOW,
    Answer,
)


@kernels
@pytest.mark.parametrize("kind", [RATE, WINDOW, CONCURRENT])
def test_just_the_amount_fits_and_one_unit_more_does_not(plain: bool, kind: int) -> None:
    limits = [limit(kind, 10)]
    assert states(Table(plain).reserve(limits, [ask(1, 10), ask(2, 1), ask(3, 0)], NOW)) == [
        GRANTED,
        LIMITED,
        GRANTED,
    ]
    above, after = Table(plain).reserve(limits, [ask(1, 11), ask(2, 10)], NOW)
    assert (above.state, above.row, above.remaining, above.wait) == (LIMITED, 0, 10, -1)
    assert (after.state, after.remaining) == (GRANTED, 0)


@kernels
def test_a_rate_grants_again_at_the_very_instant_that_it_said(plain: bool) -> None:
    limits, table = [limit(RATE, 10, interval=5.0)], Table(plain)
    table.reserve(limits, [ask(1, 10)], NOW)
    assert table.reserve(limits, [ask(2, 3)], NOW) == [Answer(LIMITED, 0, 0, 15, 50)]
    assert table.reserve(limits, [ask(2, 3)], NOW + 14) == [Answer(LIMITED, 0, 2, 1, 36)]
    assert table.reserve(limits, [ask(2, 3)], NOW + 15) == [Answer(GRANTED, 0, 0, 0, 50)]


@kernels
def test_a_rate_that_was_idle_for_long_has_one_burst_and_no_more(plain: bool) -> None:
    limits, table = [limit(RATE, 10, interval=5.0)], Table(plain)
    table.reserve(limits, [ask(1, 10)], NOW)
    now = NOW + 10**9
    assert states(table.reserve(limits, [ask(2, 10), ask(3, 1)], now)) == [GRANTED, LIMITED]


@kernels
def test_a_window_ends_at_its_end_and_not_before(plain: bool) -> None:
    limits, table = [limit(WINDOW, 10)], Table(plain)
    end = calendar_at(NOW)[2][1]
    assert table.reserve(limits, [ask(1, 10)], NOW) == [Answer(GRANTED, 0, 0, 0, end - NOW)]
    assert table.reserve(limits, [ask(2)], end - 1) == [Answer(LIMITED, 0, 0, 1, 1)]
    assert table.reserve(limits, [ask(2)], end) == [Answer(GRANTED, 0, 9, 0, PERIODS[2])]
    table.settle([(1, NOTHING, 0, 0)], end)
    assert table.peek(limits, ask(0), end)[1] == [(1, 9, PERIODS[2])]


@kernels
def test_what_leaked_away_is_not_given_back_once_more(plain: bool) -> None:
    limits, table = [limit(RATE, 10)], Table(plain)
    table.reserve(limits, [ask(1, 10)], NOW)
    assert table.settle([(1, NOTHING, 0, 0)], NOW + 6)[0][0] == SETTLED
    assert table.reserve(limits, [ask(2, 10)], NOW + 6)[0].state == GRANTED
    assert table.reserve(limits, [ask(3, 1)], NOW + 6)[0].state == LIMITED


@kernels
def test_calls_that_wait_for_long_do_not_free_many_bursts_at_once(plain: bool) -> None:
    limits, table = [limit(RATE, 10)], Table(plain)
    for number in range(20):
        assert table.reserve(limits, [ask(number + 1, 10)], NOW + 10 * number)[0].state == GRANTED
    now = NOW + 195
    table.settle([(number + 1, NOTHING, 0, 0) for number in range(20)], now)
    requests = [ask(number + 100, 1) for number in range(20)]
    assert states(table.reserve(limits, requests, now)).count(GRANTED) == 10


@kernels
def test_who_refuses_charges_none_of_the_limits(plain: bool) -> None:
    limits = [limit(WINDOW, 9, salt=1), limit(RATE, 9, salt=2), limit(CONCURRENT, 4, salt=3)]
    table = Table(plain)
    assert table.reserve(limits, [ask(1, 5, last=3)], NOW)[0][:2] == (LIMITED, 2)
    assert table.live(NOW) == []
    assert table.reservations == 0
    assert table.settle([(1, USED, 5, 5)], NOW)[0][0] == UNKNOWN
    leased = [limit(kind, 9, salt=kind + 1) for kind in (WINDOW, RATE, CONCURRENT, LEASE)]
    assert table.reserve(leased, [ask(1, 5, last=4)], NOW) == [Answer(SHORT)]
    assert table.live(NOW) == []


@kernels
def test_a_shadow_is_charged_where_it_fits_and_only_there(plain: bool) -> None:
    limits = [limit(WINDOW, 9, salt=1, shadow=1), limit(WINDOW, 20, salt=2)]
    table = Table(plain)
    answers = table.reserve(limits, [ask(number, 5, last=2) for number in (1, 2)], NOW)
    assert [(answer.state, answer.row, answer.shadowed) for answer in answers] == [
        (GRANTED, 1, 0),
        (GRANTED, 1, 1),
    ]
    assert [state[0] for state in table.peek(limits, ask(0, last=2), NOW)[1]] == [5, 10]
    table.settle([(2, NOTHING, 0, 0)], NOW)
    assert [state[0] for state in table.peek(limits, ask(0, last=2), NOW)[1]] == [5, 5]


@kernels
@pytest.mark.parametrize("mode", [USED, RESERVED, INPUT_ALONE, NOTHING])
def test_a_place_is_given_back_whatever_is_charged(plain: bool, mode: int) -> None:
    limits = [limit(CONCURRENT, 1, IN_FLIGHT), limit(LEASE, 0, IN_FLIGHT, salt=8)]
    table = Table(plain)
    (_, key), _ = table.peek(limits, ask(0, last=2), NOW)
    table.adjust(key, LEASE, 1, NOW + LONG, NOW)
    assert states(table.reserve(limits, [ask(1, last=2), ask(2, last=2)], NOW)) == [
        GRANTED,
        LIMITED,
    ]
    table.settle([(1, mode, 9, 9)], NOW)
    assert table.reserve(limits, [ask(2, last=2)], NOW)[0].state == GRANTED


@kernels
@pytest.mark.parametrize(
    ("count", "charges"),
    [
        (REQUESTS, [1, 1, 1, 1]),
        (INPUT, [40, 10, 10, 0]),
        (OUTPUT, [50, 20, 0, 0]),
        (TOTAL, [90, 33, 10, 0]),
        (COST, [40 * 3 + 50 * 7, 99, 30, 0]),
    ],
)
def test_each_mode_charges_each_count(plain: bool, count: int, charges: list[int]) -> None:
    limits = [limit(WINDOW, 10**6, count)]
    for mode, charge in enumerate(charges):
        table = Table(plain)
        request = ask(1, usage=(1, 10, 20, 33, 99, 1), input_price=3, output_price=7)
        table.reserve(limits, [request], NOW)
        assert table.settle([(1, mode, 40, 50)], NOW) == [(SETTLED, 10, 20, NOW)]
        assert table.peek(limits, ask(0), NOW)[1][0][0] == charge


@kernels
def test_a_released_request_is_still_one_request(plain: bool) -> None:
    limits, table = [limit(WINDOW, 5, REQUESTS), limit(WINDOW, 50, salt=8)], Table(plain)
    table.reserve(limits, [ask(1, 9, last=2)], NOW)
    table.settle([(1, NOTHING, 0, 0)], NOW)
    assert [state[0] for state in table.peek(limits, ask(0, last=2), NOW)[1]] == [1, 0]


@kernels
def test_a_lease_says_what_it_lacks_and_pays_what_was_used(plain: bool) -> None:
    limits, table = [limit(LEASE, 0), limit(LEASE, 0, REQUESTS, salt=8)], Table(plain)
    first, second = table.peek(limits, ask(0, last=2), NOW)[0]
    table.adjust(second, LEASE, 5, NOW + LONG, NOW)
    assert table.reserve(limits, [ask(1, 7, last=2)], NOW) == [Answer(SHORT)]
    assert table.missing[0, :3].tolist() == [7, -4, 0]
    table.adjust(first, LEASE, 7, NOW + LONG, NOW)
    assert table.reserve(limits, [ask(1, 7, last=2)], NOW)[0].state == GRANTED
    table.settle([(1, USED, 9, 0)], NOW)
    assert table.withdraw(first, 10, NOW) == 0
    assert table.adjust(first, LEASE, 0, NOW, NOW) == -2
    assert table.withdraw(second, 3, NOW) == 3
    assert table.withdraw(second, 3, NOW) == 1


@kernels
@pytest.mark.parametrize("huge", [BRIM - 1, BRIM, BRIM + 1, MOST])
@pytest.mark.parametrize("kind", [RATE, WINDOW, CONCURRENT, LEASE])
def test_no_number_wraps(plain: bool, kind: int, huge: int) -> None:
    table = Table(plain)
    limits = [limit(kind, 10, COST), limit(WINDOW, huge, TOTAL, salt=8)]
    usage = (huge,) * 6
    assert states(table.reserve(limits, [ask(1, last=2, usage=usage)], NOW)) == [
        SHORT if kind == LEASE else LIMITED
    ]
    table.adjust(table.peek(limits, ask(0), NOW)[0][0], LEASE, 10, NOW + LONG, NOW)
    low = ask(2, last=2, input_price=huge, output_price=huge, usage=(1, 0, 0, 0, 0, 1))
    assert states(table.reserve(limits, [low], NOW)) == [GRANTED]
    table.settle([(2, USED, huge, huge)], NOW)
    for value, ends, _ in table.live(NOW):
        assert -BRIM <= value <= BRIM
        assert ends == math.inf or NOW < ends <= BRIM
    if kind != CONCURRENT:
        assert table.reserve(limits, [ask(3, usage=(1,) * 6)], NOW)[0].state in (LIMITED, SHORT)


@kernels
def test_the_largest_amounts_are_had_once(plain: bool) -> None:
    limits = [limit(WINDOW, MOST, salt=1), limit(CONCURRENT, MOST, salt=2)]
    table = Table(plain)
    whole = ask(1, MOST, last=2, ttl=MOST)
    assert states(table.reserve(limits, [whole, ask(2, 1, last=2)], NOW)) == [GRANTED, LIMITED]
    assert table.settle([(1, RESERVED, 0, 0)], NOW + 1)[0][0] == SETTLED
    assert [state[0] for state in table.peek(limits, ask(0, last=2), NOW + 1)[1]] == [BRIM, 0]


@kernels
def test_amounts_below_zero_count_as_none(plain: bool) -> None:
    limits, table = [limit(WINDOW, 5)], Table(plain)
    table.reserve(limits, [ask(1, 5), ask(2, -9), ask(3, 0)], NOW)
    table.settle([(3, USED, -9, -9)], NOW)
    assert table.peek(limits, ask(0), NOW)[1][0][0] == 5
    assert table.reserve([limit(WINDOW, -5)], [ask(4, 1, who=2)], NOW)[0].state == LIMITED


@kernels
def test_more_limits_than_a_reservation_has_room_for_are_refused(plain: bool) -> None:
    limits = [limit(WINDOW, 9, salt=number) for number in range(ledger.ROWS + 1)]
    table = Table(plain)
    assert table.reserve(limits, [ask(1, last=ledger.ROWS + 1)], NOW) == [Answer(ledger.FULL)]
    assert table.live(NOW) == []
    assert table.reserve(limits, [ask(1, last=ledger.ROWS)], NOW)[0].state == GRANTED
    assert len(table.live(NOW)) == ledger.ROWS


@kernels
def test_an_overdue_reservation_keeps_its_slot_until_it_is_settled(plain: bool) -> None:
    limits = [limit(CONCURRENT, 9)]
    table = Table(plain, reservations=2)
    assert states(table.reserve(limits, [ask(n, ttl=5) for n in (2, 4, 6)], NOW)) == [
        GRANTED,
        GRANTED,
        ledger.FULL,
    ]
    late = NOW + 5
    assert table.reserve(limits, [ask(6)], late) == [Answer(ledger.FULL)]
    assert table.expire(RESERVED, late - 1) == 0
    assert table.expire(RESERVED, late, 1) == 1
    assert states(table.reserve(limits, [ask(6), ask(8)], late)) == [GRANTED, ledger.FULL]
    assert table.expire(RESERVED, late) == 1
    table.settle([(6, RESERVED, 0, 0)], late)
    assert table.live(late) == []


@kernels
def test_reservations_of_one_home_are_found_whatever_lies_between(plain: bool) -> None:
    size = 64
    limits, table = [limit(WINDOW, 10**6)], Table(plain, reservations=size)
    names = [-(2**63), 2**63 - size, *range(0, 40 * size, size), size - 1, -1]
    requests = [ask(name, 1, ttl=10 + index % 3) for index, name in enumerate(names)]
    assert states(table.reserve(limits, requests, NOW)) == [GRANTED] * len(names)
    table.settle([(name, RESERVED, 0, 0) for name in names[::3]], NOW)
    # By then the first third may have lost its slots, and the second one has been expired.
    for now in (NOW, NOW + 10, NOW + 11):
        table.expire(RESERVED, now)
        found = table.reserve(limits, requests[2::3], now)
        assert states(found) == [KNOWN] * len(found)
    told = table.settle([(name, RESERVED, 0, 0) for name in names[2::3]], NOW + 11)
    assert {result[0] for result in told} == {SETTLED}
    assert table.reservations == 0
    assert table.peek(limits, ask(0), NOW + 11)[1][0][0] == len(names)


@kernels
def test_settled_ones_make_room_where_there_is_none_and_not_before(plain: bool) -> None:
    limits, table = [limit(WINDOW, 100)], Table(plain, reservations=4)
    table.reserve(limits, [ask(number) for number in range(1, 4)], NOW)
    table.settle([(number, RESERVED, 0, 0) for number in range(1, 4)], NOW)
    assert table.reserve(limits, [ask(4)], NOW)[0].state == GRANTED
    again = [ask(number) for number in range(1, 5)]
    assert states(table.reserve(limits, again, NOW)) == [KNOWN] * 4
    assert table.reserve(limits, [ask(5)], NOW)[0].state == GRANTED
    assert table.reservations == 2


@kernels
@pytest.mark.parametrize("parts", range(16))
def test_a_counter_is_for_the_parts_of_the_subject_that_it_is_by(plain: bool, parts: int) -> None:
    limits, table = [limit(WINDOW, 1, parts=parts)], Table(plain)
    table.reserve(limits, [ask(1, subject=(1, 2, 3, 4))], NOW)
    for part in range(4):
        subject = tuple(9 if index == part else index + 1 for index in range(4))
        state = table.reserve(limits, [ask(2 + part, subject=subject)], NOW)[0].state
        assert state == (GRANTED if parts >> part & 1 else LIMITED)


@kernels
def test_a_batch_at_one_instant_has_all_of_a_burst_of_whole_nanoseconds(plain: bool) -> None:
    """Each charge is rounded up to a ns. Of 60 s / 7 the seventh comes 4 ns later, never earlier."""
    limits, table = [limit(RATE, 7, interval=60e9 / 7)], Table(plain)
    found = table.reserve(limits, [ask(number + 1) for number in range(7)], NOW)
    assert states(found) == [GRANTED] * 6 + [LIMITED]
    assert found[6].wait == 4
    assert table.reserve(limits, [ask(7)], NOW + 4)[0].state == GRANTED


@kernels
def test_the_longest_wait_is_told_and_the_first_of_equal_ones(plain: bool) -> None:
    limits = [
        limit(RATE, 5, salt=1),
        limit(RATE, 5, salt=2, interval=3.0),
        limit(RATE, 5, salt=3, interval=3.0),
        limit(LEASE, 0, salt=4),
        limit(CONCURRENT, 0, IN_FLIGHT, salt=5),
    ]
    table = Table(plain)
    table.reserve(limits, [ask(1, 5, last=3)], NOW)
    assert table.reserve(limits, [ask(2, last=3)], NOW) == [Answer(LIMITED, 1, 0, 3, 15)]
    assert table.reserve(limits, [ask(2, last=4)], NOW) == [Answer(LIMITED, 1, 0, 3, 15)]
    assert table.reserve(limits, [ask(2, last=5)], NOW) == [Answer(LIMITED, 4, 0, -1, 0)]
    assert table.reserve(limits, [ask(2, who=2, last=3)], NOW)[0][:3] == (GRANTED, 0, 4)


@kernels
def test_what_others_used_since_is_not_forgiven_by_a_refund_of_what_has_leaked_away(
    plain: bool,
) -> None:
    limits, table = [limit(RATE, 10)], Table(plain)
    table.reserve(limits, [ask(1, 10)], NOW)
    assert table.reserve(limits, [ask(2, 9)], NOW + 9)[0].state == GRANTED
    table.settle([(1, NOTHING, 0, 0)], NOW + 9)
    found = table.reserve(limits, [ask(3, 2), ask(4, 1)], NOW + 9)
    assert states(found) == [LIMITED, GRANTED]


@kernels
def test_a_refund_moves_later_charges_to_an_earlier_time(plain: bool) -> None:
    limits, table = [limit(RATE, 10)], Table(plain)
    table.reserve(limits, [ask(1, 5), ask(2, 5)], NOW)
    table.settle([(1, NOTHING, 0, 0)], NOW + 2)
    assert table.reserve(limits, [ask(3, 9)], NOW + 6)[0].state == GRANTED
    table.settle([(2, NOTHING, 0, 0)], NOW + 6)
    assert table.reserve(limits, [ask(4, 2)], NOW + 6)[0].state == LIMITED


@kernels
@pytest.mark.parametrize("kind", [WINDOW, CONCURRENT])
def test_a_counter_that_was_made_as_new_owes_nothing_to_earlier_requests(
    plain: bool, kind: int
) -> None:
    limits, table = [limit(kind, 10)], Table(plain)
    table.reserve(limits, [ask(1, 5)], NOW)
    assert table.forget(table.peek(limits, ask(0), NOW)[0][0], NOW + 1) == 1
    assert table.reserve(limits, [ask(2, 5)], NOW + 1)[0].remaining == 5
    table.settle([(1, NOTHING, 0, 0)], NOW + 2)
    assert table.peek(limits, ask(0), NOW + 2)[1][0][:2] == (5, 5)


@kernels
def test_a_lease_gets_back_what_was_taken_from_an_earlier_one(plain: bool) -> None:
    limits, table = [limit(LEASE, 0)], Table(plain)
    (key,), _ = table.peek(limits, ask(0), NOW)
    table.adjust(key, LEASE, 5, NOW + 10, NOW)
    assert table.reserve(limits, [ask(1, 5)], NOW)[0].state == GRANTED
    assert table.adjust(key, LEASE, 1, NOW + 90, NOW + 20) == 1
    table.settle([(1, NOTHING, 0, 0)], NOW + 20)
    assert table.withdraw(key, 99, NOW + 20) == 6


@kernels
def test_what_is_used_beyond_the_estimate_is_owed_by_a_rate_that_is_as_new(plain: bool) -> None:
    limits, table = [limit(RATE, 10)], Table(plain)
    table.reserve(limits, [ask(1, 2)], NOW)
    table.settle([(1, USED, 9, 0)], NOW + 50)
    found = table.reserve(limits, [ask(2, 4), ask(3, 3), ask(4, 1)], NOW + 50)
    assert states(found) == [LIMITED, GRANTED, LIMITED]


@kernels
def test_a_settled_one_is_remembered_while_there_is_an_unused_slot(plain: bool) -> None:
    limits, table = [limit(WINDOW, 10)], Table(plain, reservations=4)
    table.reserve(limits, [ask(1)], NOW)
    table.settle([(1, RESERVED, 0, 0)], NOW)
    found = table.reserve(limits, [ask(5), ask(1)], NOW)
    assert states(found) == [GRANTED, KNOWN]
