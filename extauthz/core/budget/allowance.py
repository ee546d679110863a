"""What a store says of a request: there is room for it, or which limit has none."""

from dataclasses import dataclass

from extauthz.core.budget.limits import Count, Limit
from extauthz.core.budget.report import Usage

#: Counters of money hold billionths.
NANO = 1_000_000_000


NO_USAGE = Usage(0, 0)


@dataclass(frozen=True, slots=True)
class Allowance:
    """Whether a request is within every limit that is for it, and how the strictest one stands.

    Attributes:
        limited: it is above a limit, and nothing was reserved.
        limit: the strictest: of those that refuse it the one with the longest wait, or of all the one
            with the smallest share left. None where no limit is for the request.
        remaining: units of that limit that are left.
        wait_s: until the same request would pass; None if it never would, or was not refused.
        reset_s: until that limit is as new.
        shadowed: names of the shadow limits that would have refused it.
        reserved: tokens that are held for it until it is settled.
        uncounted: the store failed, and the policy lets requests pass without being counted.
    """

    limited: bool = False
    limit: Limit | None = None
    remaining: int = 0
    wait_s: float | None = None
    reset_s: float = 0.0
    shadowed: tuple[str, ...] = ()
    reserved: Usage = NO_USAGE
    uncounted: bool = False

    @property
    def remaining_amount(self) -> float:
        """`remaining` in the unit of the policy: money is money again."""
        is_money = self.limit is not None and self.limit.count is Count.COST
        return self.remaining / NANO if is_money else self.remaining
