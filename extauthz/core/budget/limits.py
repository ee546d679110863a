"""What the operator allows: limits, what models cost, and what a request without usage is charged."""

from enum import StrEnum
from typing import Final

from extauthz.core.spec import Spec

#: The model of every name that the policy does not know.
OTHER: Final = "other"


class Count(StrEnum):
    """What a limit counts. The order is that of the kernels."""

    REQUESTS = "requests"
    INPUT_TOKENS = "input_tokens"
    OUTPUT_TOKENS = "output_tokens"
    TOTAL_TOKENS = "total_tokens"
    COST = "cost"
    CONCURRENT = "concurrent"


class By(StrEnum):
    """Whose counter it is. Each is verified or the policy's own name, never a client's word."""

    PRINCIPAL = "principal"
    TENANT = "tenant"
    ROUTE = "route"
    MODEL = "model"


class Every(StrEnum):
    """The time in which a rate gives its whole amount back, a little at every instant."""

    SECOND = "second"
    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"


#: Seconds of each.
EVERY_S = {Every.SECOND: 1, Every.MINUTE: 60, Every.HOUR: 3_600, Every.DAY: 86_400}


class Calendar(StrEnum):
    """A window of the calendar (UTC), at whose end everything is there again."""

    HOUR = "hour"
    DAY = "day"
    MONTH = "month"


class Charge(StrEnum):
    """What is charged where the upstream's own count is not known."""

    RESERVED = "reserved"
    INPUT = "input"
    NOTHING = "nothing"


class OnStoreFailure(StrEnum):
    """What a replica does while it cannot reach the store that it shares with the others."""

    LOCAL_SHARE = "local_share"
    DENY = "deny"
    ALLOW = "allow"


class Limit(Spec, frozen=True):
    """How much of something one of whom may have.

    `name`, `count`, `by` and the kind of window are its identity: they alone name its counters, so a
    reload that changes an amount keeps what was counted.

    Attributes:
        amount: units of `count`; of money for cost.
        by: one counter for each combination of these; for all together where it is empty.
        every: a rate (GCRA), refilled at every instant.
        calendar: a budget of a calendar window. A limit has one of the two; `concurrent` has none.
        burst: how much of a rate may be had at once; the amount where it is not given.
        routes, models: for these alone, by their names in the policy; for all where empty.
        shadow: counted and told, and nothing is denied.
    """

    name: str
    count: Count
    amount: float
    by: tuple[By, ...] = ()
    every: Every | None = None
    calendar: Calendar | None = None
    burst: float | None = None
    routes: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    shadow: bool = False

    def is_for(self, route: str, model: str) -> bool:
        """Whether it counts requests to a route for a model."""
        return (not self.routes or route in self.routes) and (
            not self.models or model in self.models
        )

    @property
    def most_at_once(self) -> float:
        """What is there when nothing was used: the burst of a rate, the amount of any other."""
        return self.amount if self.burst is None else self.burst

    @property
    def identity(self) -> str:
        """What names its counters. The order in which `by` is written is none of it."""
        window = "rate" if self.every else self.calendar or "now"
        return f"{self.name} {self.count} {'+'.join(sorted(self.by))} {window}"


class Price(Spec, frozen=True):
    """Money for a million tokens, and how long an answer is until that was learnt."""

    input_price: float = 0.0
    output_price: float = 0.0
    expected_output: int = 1_024


class Model(Price, frozen=True, kw_only=True):
    """A model, or several that count as one.

    `match`: names that clients ask for, without regard to case; `*` stands for anything. Where it is
    empty, `name` itself.
    """

    name: str
    match: tuple[str, ...] = ()


class Settle(Spec, frozen=True):
    """What a request is charged when nobody says what it used.

    Attributes:
        unreported: it was answered, or cut short, without a count.
        failed: the upstream did not answer, or with an error, without a count.
        lost: nothing was heard of it for `expire_s` seconds.
    """

    unreported: Charge = Charge.RESERVED
    failed: Charge = Charge.NOTHING
    lost: Charge = Charge.RESERVED
    expire_s: int = 900


class Budgets(Spec, frozen=True):
    """The budgets of a policy.

    `other_models` is for every model that no entry of `models` names: they count as one, `other`, so
    that a client who invents names has one counter for all of them.
    """

    limits: tuple[Limit, ...] = ()
    models: tuple[Model, ...] = ()
    other_models: Price = Price()
    settle: Settle = Settle()
    on_store_failure: OnStoreFailure = OnStoreFailure.LOCAL_SHARE
