"""Counters of this process, or of the processes of this machine: nobody else counts with them."""

from collections import deque
from pathlib import Path
from secrets import token_hex
from typing import Final

from extauthz.core.budget.allowance import Allowance
from extauthz.core.budget.demand import Ask
from extauthz.core.budget.limits import Budgets, Charge
from extauthz.core.budget.report import Usage
from extauthz.core.budget.settlement import Settled
from extauthz.core.reasons import Failure
from extauthz.store import Standing, Ticked
from extauthz.store.clock import Clock
from extauthz.store.ledger import NS, Answer, Ledger, private_cells
from extauthz.store.options import DEFAULT, StoreOptions
from extauthz.store.plans import Plans
from extauthz.store.shared import BusyError, SharedCells
from extauthz_kernels import ledger as kernels

#: Settlements that wait for another process; older ones are settled by rule, if ever.
_MOST_LATER: Final = 10_000


def private_store(options: StoreOptions = DEFAULT) -> "MemoryStore":
    """Counters that no other process sees."""
    ledger = Ledger(private_cells(options.counters, options.reservations))
    return MemoryStore(ledger, Clock(), "in this process")


def shared_store(path: Path, options: StoreOptions = DEFAULT) -> "MemoryStore":
    """Counters in a file, for all processes of this machine that open it."""
    cells = SharedCells(path, options.counters, options.reservations)
    ledger = Ledger(cells.cells, cells.secret, cells, cells.instant)
    return MemoryStore(ledger, Clock(), f"by this machine's processes, in {path}")


class MemoryStore:
    """Answers from a ledger, at once."""

    def __init__(self, ledger: Ledger, clock: Clock, where: str = "in memory") -> None:
        """Count in `ledger`. Nothing is limited until `serve`."""
        self.replica: Final = token_hex(8)
        self.where: Final = where
        self._ledger: Final = ledger
        self._clock: Final = clock
        self._later: Final[deque[tuple[str, Usage | Charge]]] = deque(maxlen=_MOST_LATER)
        self._ticked = Ticked(0, 0, 0)
        self.serve(Budgets())

    async def open(self) -> bool:
        """Nothing is elsewhere."""
        return True

    def serve(self, budgets: Budgets) -> None:
        """Limit by these from now on. What was counted for a limit stays."""
        self._budgets = budgets
        self._plans = Plans(budgets, self._ledger.digest)

    async def reserve(self, ask: Ask, _until: float) -> Allowance | Failure:
        """Room for a request within all its limits, or OVERLOADED when there is none to count it in."""
        now = self._clock.now()
        ttl = self._budgets.settle.expire_s * NS
        try:
            answer = self._ledger.reserve(self._plans, ask, self._clock.calendar(now), now, ttl)
        except BusyError:
            return Failure.STORE_FAULT
        if answer.state == kernels.FULL:
            return Failure.OVERLOADED
        return allowance(self._plans, ask, answer)

    def settle(self, _replica: str, call_id: str, charge: Usage | Charge) -> Settled | None:
        """Charge what was used. None where nothing is reserved: late, twice, or never ours."""
        try:
            return self._ledger.settle(call_id, charge, self._clock.now())
        except BusyError:
            self._later.append((call_id, charge))
            return None

    def forwards(self, _replica: str) -> bool:
        """Whoever counts in these arrays settles what is in them."""
        return False

    def release(self, call_id: str) -> None:
        """Take back what was reserved for a request that is refused after all."""
        self.settle(self.replica, call_id, Charge.NOTHING)

    async def standing(self, ask: Ask) -> list[Standing]:
        """How each limit for a request stands."""
        now = self._clock.now()
        found = self._ledger.standing(self._plans, ask, self._clock.calendar(now), now)
        return [
            Standing(self._plans.limits[seen.row], seen.used, seen.remaining, seen.reset_ns / NS)
            for seen in found
        ]

    async def grant(self, ask: Ask, amount: int) -> int:
        """Give back units of every limit that is for `ask`. Of how many limits."""
        now = self._clock.now()
        return self._ledger.give_back(self._plans, ask, amount, self._clock.calendar(now), now)

    async def reset(self, ask: Ask) -> int:
        """Make every limit that is for `ask` as new. How many that are."""
        now = self._clock.now()
        return self._ledger.forget(self._plans, ask, self._clock.calendar(now), now)

    def tick(self) -> Ticked:
        """Settle by rule what nobody will settle, and free what has ended."""
        try:
            while self._later:
                self._ledger.settle(*self._later[0], self._clock.now())
                self._later.popleft()
            self._ticked = self._ledger.tick(self._budgets.settle.lost, self._clock.now())
        except BusyError:
            return self._ticked._replace(expired=0)
        return self._ticked

    async def close(self) -> None:
        """Nothing is held elsewhere."""


def allowance(plans: Plans, ask: Ask, answer: Answer) -> Allowance:
    """An answer of the kernel in the policy's words."""
    limit = plans.limits[answer.row] if answer.row >= 0 else None
    limited = answer.state == kernels.LIMITED
    return Allowance(
        limited=limited,
        limit=limit,
        remaining=answer.remaining,
        wait_s=answer.wait_ns / NS if limited and answer.wait_ns >= 0 else None,
        reset_s=answer.reset_ns / NS,
        shadowed=_shadows(plans, ask, answer.shadowed) if answer.shadowed else (),
    )


def _shadows(plans: Plans, ask: Ask, bits: int) -> tuple[str, ...]:
    first, last = plans.of(ask)
    return tuple(plans.limits[row].name for row in range(first, last) if bits >> row - first & 1)
