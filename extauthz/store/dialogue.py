"""What this replica says to the store in one exchange, and what it makes of the answers."""

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial
from secrets import token_hex
from typing import Any, Final

import msgspec

from extauthz.core.budget.allowance import Allowance
from extauthz.core.budget.demand import Ask
from extauthz.core.budget.limits import Charge
from extauthz.core.budget.report import Usage
from extauthz.core.reasons import Failure
from extauthz.store.clock import Clock
from extauthz.store.exchange import EXCHANGE_S, Command, script
from extauthz.store.holdings import Holdings, Lack
from extauthz.store.leases import Lease, Order
from extauthz.store.plans import CONCURRENT

_NS: Final = 1_000_000_000
#: Timers may be early by a part of a millisecond.
_TURN_NS: Final = int(0.9 * EXCHANGE_S * _NS)
#: How often the server is asked whether it is still the one that it was, and for settlements.
_HEARTBEAT_NS: Final = 1 * _NS
#: Requests that one exchange serves.
_ASKED_AT_ONCE: Final = 512
#: What the store calls itself: another value, or none, and its counters are not those that we know.
_EPOCH: Final = "extauthz:{epoch}"
#: Settlements for another replica wait for it so long, and so many of them; so many wait here.
_INBOX_MS, _INBOX = 120_000, 10_000
_LETTERS_AT_ONCE: Final = 500

_LEASE_SCRIPT: Final = script("lease.lua")
_SLOTS_SCRIPT: Final = script("slots.lua")
_Heard = Callable[[object], None]


class Waiter:
    """A request that waits for the store."""

    def __init__(self, ask: Ask, lacks: list[Lack]) -> None:
        """Wait in the running event loop."""
        self.ask, self.lacks, self.rounds = ask, lacks, 0
        self.found: asyncio.Future[Allowance | Failure | None] = (
            asyncio.get_running_loop().create_future()
        )

    def end(self, found: Allowance | Failure | None) -> None:
        """Tell the request; None: to go on without the store."""
        if not self.found.done():
            self.found.set_result(found)


class Dialogue:
    """The source of an exchange: requests that wait, leases that are due, and settlements of others.

    Attributes:
        waiting: requests for the next exchange.
        forwarded: settlements sent to other replicas.
        received: settlements that other replicas sent.
        forgetful: how often the server was found to be another one, or to have forgotten everything.
        restored: counters that it had forgotten, and was told again.
    """

    def __init__(
        self,
        replica: str,
        holdings: Holdings,
        clock: Clock,
        retry: Callable[[Waiter], None],
        deliver: Callable[[str, Usage | Charge], object],
    ) -> None:
        """Speak for `replica`.

        Args:
            replica: whose holdings these are.
            holdings: what is asked for and granted.
            clock: of the holdings.
            retry: a request's exchange was answered.
            deliver: another replica knows what a request of ours has used.
        """
        self.waiting: deque[Waiter] = deque()
        self.forwarded = self.received = self.forgetful = self.restored = 0
        self._replica: Final = replica
        self._holdings: Final = holdings
        self._clock: Final = clock
        self._retry: Final = retry
        self._deliver: Final = deliver
        self._asked: list[Waiter] = []
        self._direct: list[tuple[Order, asyncio.Future[None]]] = []
        self._said: list[tuple[Command, _Heard]] = []
        self._said_at = self._turned_at = self._heartbeat_at = 0
        self._letters: deque[tuple[str, bytes]] = deque(maxlen=_INBOX)
        self._posted: list[tuple[str, bytes]] = []
        #: What the server was called when it was last heard.
        self._epoch: bytes | None = None
        self._forgot_at = 0

    def forward(self, replica: str, call_id: str, charge: Usage | Charge) -> None:
        """Tell `replica` what a request of its own has used."""
        self._letters.append((replica, msgspec.json.encode((call_id, charge))))
        self.forwarded += 1

    def ask(self, order: Order) -> "asyncio.Future[None]":
        """Ask this in the next exchange. Cancelled if there is no answer."""
        answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._direct.append((order, answered))
        return answered

    # What is said.

    def commands(self, *, first: bool) -> list[Command]:
        """What to say now; `first` after the connection was made."""
        now = self._clock.now()
        self._said, self._said_at = [], now
        if first:
            self._say_heartbeat(now)
            return [command for command, _ in self._said]
        is_due = now - self._turned_at >= _TURN_NS
        for order in self._holdings.orders(self._needs(), now, all_due=is_due):
            self._say_order(order, partial(self._answered, order))
        for order, answered in self._direct:
            self._say_order(order, partial(self._answered_directly, order, answered))
        if is_due:
            self._turned_at = now
            for order in self._holdings.told(self._forgot_at, now):
                self._say_order(order, partial(self._answered, order))
            self._say_letters()
            if now - self._heartbeat_at >= _HEARTBEAT_NS:
                self._say_heartbeat(now)
        return [command for command, _ in self._said]

    def farewell(self) -> list[Command]:
        """Give back whatever nobody uses, and send what there is to send."""
        now = self._clock.now()
        self._said = []
        for order in self._holdings.give_all_back(now):
            self._say_order(order, _unheard)
        self._say_letters()
        return [command for command, _ in self._said]

    def _needs(self) -> dict[Lease, tuple[int, int]]:
        """Units that waiting requests lack of each lease, and the fewest that help one of them."""
        needs: dict[Lease, tuple[int, int]] = {}
        while self.waiting and len(self._asked) < _ASKED_AT_ONCE:
            waiter = self.waiting.popleft()
            if waiter.found.done():
                continue
            self._asked.append(waiter)
            for lease, units, *_ in waiter.lacks:
                need, least = needs.get(lease, (0, units))
                needs[lease] = need + units, min(least, units)
        return needs

    def _say(self, heard: _Heard, *words: object) -> None:
        self._said.append((Command(words), heard))

    def _say_order(self, order: Order, heard: _Heard) -> None:
        lease = order.lease
        runs = _SLOTS_SCRIPT if lease.kind == CONCURRENT else _LEASE_SCRIPT
        words = (lease.name, *order.arguments(self._replica, self._holdings.share))
        self._said.append((Command(words, runs), heard))

    def _say_heartbeat(self, now: int) -> None:
        """Ask whether the server is who it was: a write, so that one that only reads is found out."""
        self._heartbeat_at = now
        self._say(_unheard, "SET", _EPOCH, token_hex(8), "NX")  # it never gets the same name twice
        self._say(self._heard_epoch, "GET", _EPOCH)
        self._say(self._heard_letters, "LPOP", _inbox(self._replica), _LETTERS_AT_ONCE)

    def _say_letters(self) -> None:
        letters: dict[str, list[bytes]] = {}
        while self._letters and len(self._posted) < _LETTERS_AT_ONCE:
            replica, letter = self._letters.popleft()
            self._posted.append((replica, letter))
            letters.setdefault(replica, []).append(letter)
        for replica, those in letters.items():
            key = _inbox(replica)
            self._say(_unheard, "RPUSH", key, *those)
            self._say(_unheard, "LTRIM", key, -_INBOX, -1)
            self._say(_unheard, "PEXPIRE", key, _INBOX_MS)

    # What is answered.

    def answered(self, answers: list[Any]) -> None:
        """The answers, in the order of what was said. One that was refused is an exception."""
        self._posted.clear()
        self._direct.clear()
        asked, self._asked = self._asked, []
        for (_, heard), answer in zip(self._said, answers, strict=True):
            heard(answer)
        for waiter in asked:
            self._retry(waiter)

    def failed(self) -> None:
        """There will be no answers. What was to be given back may be lost, and is then as if used."""
        for waiter in (*self._asked, *self.waiting):
            waiter.end(None)
        for _, answered in self._direct:
            answered.cancel()
        self._asked.clear()
        self.waiting.clear()
        self._direct.clear()
        # Whoever hears of a settlement twice does nothing the second time.
        self._letters.extendleft(reversed(self._posted))
        self._posted.clear()
        # Whatever answers next may be another server, that lacks the last writes of this one.
        self._epoch = None

    def _answered(self, order: Order, answer: object) -> None:
        if not isinstance(answer, list):
            return  # this key alone is not what it should be: its requests go on without the store
        self._holdings.answered(order, answer, self._said_at, self._clock.now())
        if order.lease.kind != CONCURRENT:
            self.restored += answer[-1]

    def _answered_directly(
        self, order: Order, answered: "asyncio.Future[None]", answer: object
    ) -> None:
        self._answered(order, answer)
        if isinstance(answer, Exception):
            answered.cancel()
        elif not answered.done():
            answered.set_result(None)

    def _heard_epoch(self, answer: object) -> None:
        if answer != self._epoch:
            self._epoch = answer if isinstance(answer, bytes) else None
            self.forgetful += 1
            self._forgot_at = self._clock.now()
            self._holdings.tell_again()

    def _heard_letters(self, answer: object) -> None:
        if not isinstance(answer, list):
            return
        for letter in answer:
            try:
                call_id, charge = msgspec.json.decode(letter, type=tuple[str, Charge | Usage])
            except msgspec.DecodeError:
                continue  # nothing of ours
            self._deliver(call_id, charge)
            self.received += 1
        if len(answer) == _LETTERS_AT_ONCE:
            self._heartbeat_at = 0


def _inbox(replica: str) -> str:
    return f"extauthz:{{inbox:{replica}}}"


def _unheard(_: object) -> None:
    """An answer that says nothing."""
