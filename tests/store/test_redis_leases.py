"""What a lease asks for and lends, at instants of the test's choosing and without a server."""

from extauthz.core.budget.limits import Calendar, Count, Every, Limit
from extauthz.store.leases import Lease, Order, Share

S = 1_000_000_000
NOW = 1_000 * S
MINUTE = Limit(name="minute", count=Count.TOTAL_TOKENS, amount=6_000, every=Every.MINUTE)
DAY = Limit(name="day", count=Count.TOTAL_TOKENS, amount=6_000, calendar=Calendar.DAY)
AT_ONCE = Limit(name="at once", count=Count.CONCURRENT, amount=12)
FOUR = Share(replicas=4, overshoot=0.01)


def lease(limit: Limit) -> Lease:
    return Lease("name", 1, limit, NOW)


def told(one: Lease, granted: int, used: int, *, window: int = 0, ends_s: int = 3_600) -> int:
    """The store's answer to a question for `granted` units, of which it counts `used` then."""
    if one.limit.every:
        value, ends = 5_000_000 + used * 10_000, 0  # a unit comes back in 10 ms
    else:
        value, ends = used, 5_000_000 + ends_s * 1_000_000
    answer = [granted, value, 1, 7, window, 5_000_000, ends, 0]
    return one.leased(Order(one), answer, NOW, NOW)


def borrows(one: Lease, units: int, now: int) -> bool:
    lent = one.can_borrow(units, now, FOUR, now + 3_600 * S)
    if lent:
        one.borrow(units, now, FOUR)
    return lent


class TestShares:
    def test_of_a_window_are_of_what_was_left(self) -> None:
        one = lease(DAY)
        told(one, 0, 2_000)

        assert borrows(one, 1_000, NOW)
        assert not borrows(one, 1, NOW)

    def test_of_a_new_window_are_of_all_and_nothing_old_is_charged(self) -> None:
        one = lease(DAY)
        told(one, 0, 5_000, ends_s=60)
        assert borrows(one, 250, NOW)
        assert not borrows(one, 1, NOW)

        assert borrows(one, 1_500, NOW + 61 * S)
        assert one.own == 1_500
        assert one.known == (0, 0, 0, 0)

    def test_of_a_rate_come_back_at_a_share_of_its_speed(self) -> None:
        one = lease(MINUTE)
        told(one, 0, 2_000)

        assert borrows(one, 1_000, NOW)
        assert not borrows(one, 1, NOW)
        # 25 units come back in a second; what others used comes back likewise.
        assert borrows(one, 25, NOW + S)
        assert not borrows(one, 1, NOW + S)

    def test_of_a_rate_are_charged_less_what_came_back(self) -> None:
        one = lease(MINUTE)
        told(one, 0, 0)
        borrows(one, 1_000, NOW)
        one.balance = 0  # it was spent

        order = one.order(NOW + 10 * S, FOUR)

        assert order is not None
        assert order.own == 750

    def test_of_places_are_what_a_replica_may_have_with_those_it_has(self) -> None:
        one = lease(AT_ONCE)
        one.leased(Order(one), [2, 12], NOW, NOW)

        assert borrows(one, 1, NOW)
        assert not borrows(one, 1, NOW)


class TestReserves:
    def test_of_a_rate_are_no_more_than_agreed(self) -> None:
        one = lease(MINUTE)
        for turn in range(20):
            one.balance += 1_000
            one.look(0, NOW + turn * S // 20)

        order = one.order(NOW + S, FOUR)

        assert order is not None
        assert order.want == 15

    def test_are_for_some_seconds_at_the_present_speed(self) -> None:
        one = lease(DAY)
        told(one, 0, 0)
        for turn in range(200):
            one.balance += 10
            one.look(0, NOW + turn * S // 20)

        order = one.order(NOW + 10 * S, FOUR)

        assert order is not None
        assert 900 <= order.want <= 1_000

    def test_a_debt_is_charged_and_not_asked_for_a_second_time(self) -> None:
        one = lease(DAY)
        told(one, 0, 0)
        one.look(-300, NOW)

        order = one.order(NOW, FOUR, need=500, least=500)

        assert order is not None
        assert (order.debt, order.need, order.least) == (300, 200, 200)

    def test_a_debt_of_a_window_that_has_ended_is_not_made_good(self) -> None:
        one = lease(DAY)
        told(one, 0, 0, window=1)
        one.look(-300, NOW)
        answer = [50, 50, 1, 9, 2, 5_000_000, 90_000_000, 0]

        assert one.leased(Order(one, debt=300), answer, NOW, NOW) == 50

    def test_an_idle_one_goes_back_less_what_came_back_by_time(self) -> None:
        one = lease(MINUTE)
        told(one, 60, 60)

        order = one.order(NOW + S, FOUR)

        assert order is not None
        assert order.back == 60
        assert one.worth(order.back, NOW + S // 2) == 10
