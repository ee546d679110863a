"""What all contestants are asked, and what they have to be able to do."""

import random
from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

from extauthz.core.budget.demand import Ask
from extauthz.core.budget.limits import By, Count, Every, Limit
from extauthz.core.budget.report import Usage

IDENTITIES: Final = 100_000
#: One identity in ten has used up one of its limits.
SPENT: Final = 10
_COUNTS: Final = (Count.INPUT_TOKENS, Count.OUTPUT_TOKENS, Count.TOTAL_TOKENS)
#: Nobody but those gets near it. A unit comes back in a minute, so they stay where they are.
BURST: Final = 10_000_000
A_DAY: Final = 1_440
INTERVAL_NS: Final = 60 * 10**9
BURST_NS: Final = BURST * INTERVAL_NS
TTL_NS: Final = 900 * 10**9


class Request(NamedTuple):
    """What all contestants are asked. `usage` is by the place of a limit's count in `_COUNTS`."""

    call_id: str
    who: str
    usage: tuple[int, int, int]


class Contestant(Protocol):
    """One way to decide."""

    def prepare(self, requests: Sequence[Request]) -> None:
        """Bring them into the form in which they are asked: not timed."""

    def reserve(self) -> int:
        """Decide all that were prepared. How many are granted."""

    def settle(self) -> int:
        """Settle what was granted at half of it. How many that were."""

    def rest(self) -> None:
        """Let what goes on in the background come to its end: not timed."""


class Base:
    """What most contestants need not do."""

    def prepare(self, requests: Sequence[Request]) -> None:
        """Keep them."""
        self.requests = requests

    def settle(self) -> int:
        """There is no reservation."""
        return 0

    def rest(self) -> None:
        """Nothing goes on."""


def limits_of(count: int) -> tuple[Limit, ...]:
    return tuple(
        Limit(
            name=f"limit-{number}",
            count=_COUNTS[number % 3],
            amount=A_DAY,
            by=(By.PRINCIPAL,),
            every=Every.DAY,
            burst=BURST,
        )
        for number in range(count)
    )


def ask_of(request: Request) -> Ask:
    input_tokens, output_tokens, _ = request.usage
    usage = Usage(input_tokens, output_tokens)
    return Ask(request.call_id, request.who, "acme", "chat", "large", usage)


def name_of(number: int) -> str:
    return f"user-{number:07d}"


def spent_limit(number: int, limits: int) -> int:
    """The limit that an identity has used up, -1 if none."""
    return number // SPENT % limits if number % SPENT == 0 else -1


def requests_of(rng: random.Random, count: int, identities: int) -> tuple[list[Request], int]:
    """Requests by new strings, as they come from a wire, and how many are to be granted."""
    drawn = [rng.randrange(identities) for _ in range(count)]
    requests = []
    for number in drawn:
        used, made = rng.randint(100, 2_000), rng.randint(100, 1_000)
        usage = (used, made, used + made)
        requests.append(Request(f"{rng.getrandbits(128):032x}", name_of(number), usage))
    return requests, sum(number % SPENT != 0 for number in drawn)


def shuffled(count: int) -> list[int]:
    """Identities in the order in which they happened to come."""
    numbers = list(range(count))
    random.Random(0).shuffle(numbers)
    return numbers
