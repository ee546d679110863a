"""Counters of budgets: in memory, in memory that processes share, and leased from Redis or Valkey."""

from typing import NamedTuple, Protocol

from extauthz.core.budget.allowance import Allowance
from extauthz.core.budget.demand import Ask
from extauthz.core.budget.limits import Budgets, Charge, Limit
from extauthz.core.budget.report import Usage
from extauthz.core.budget.settlement import Settled
from extauthz.core.reasons import Failure


class Ticked(NamedTuple):
    """What a store holds now, and how many reservations nobody settled since it was last asked."""

    counters: int
    reservations: int
    expired: int


class Standing(NamedTuple):
    """How one limit stands for somebody. `used` and `remaining` are units of its counter."""

    limit: Limit
    used: int
    remaining: int
    reset_s: float


class Store(Protocol):
    """The counters, wherever they are. One body of tests holds for each of them."""

    @property
    def replica(self) -> str:
        """What this process is called in the metadata of its decisions: 16 hexadecimal digits."""

    @property
    def where(self) -> str:
        """Where the counters are, and whether they can be reached: for a person."""

    async def open(self) -> bool:
        """Connect, for a second at most. Whether counters are in reach: they may be later."""

    def serve(self, budgets: Budgets) -> None:
        """Limit by these from now on. What was counted for a limit stays."""

    async def reserve(self, ask: Ask, until: float) -> Allowance | Failure:
        """Charge a request to every limit that is for it, or to none.

        `until` is the instant of the event loop's clock at which an answer must be there. OVERLOADED
        where there is no room to count in, STORE_FAULT where counters are out of reach.
        """

    def settle(self, replica: str, call_id: str, charge: Usage | Charge) -> Settled | None:
        """Charge what was used of what `replica` reserved. None where nothing is reserved here.

        What another replica reserved is for that one to settle: it is told (`forwards`).
        """

    def forwards(self, replica: str) -> bool:
        """Whether what `replica` reserved is not settled here but there."""

    def release(self, call_id: str) -> None:
        """Take back what was reserved for a request that is refused after all, but that it was one."""

    async def standing(self, ask: Ask) -> list[Standing]:
        """How each limit for a request stands."""

    async def grant(self, ask: Ask, amount: int) -> int:
        """Give back units of every limit that is for `ask`. Of how many limits."""

    async def reset(self, ask: Ask) -> int:
        """Make every limit that is for `ask` as new. How many that are."""

    def tick(self) -> Ticked:
        """Settle by rule what nobody will settle, and free what has ended. Once a second."""

    async def close(self) -> None:
        """Give back what is held elsewhere."""
