"""The doors of Envoy beside the Check: its access log, and its rate limit filter."""

from typing import Final

from extauthz.accounts import Accounts
from extauthz.core.budget.descriptors import LimitStatus
from extauthz.core.cancellation import Cancellation
from extauthz.protocol import access_log, rate_limit

#: A question that is no question is answered with no.
_UNREADABLE: Final = LimitStatus(limited=True, amount=0, unit_s=0, remaining=0, reset_s=1.0)


class Doors:
    """Bytes of Envoy's to the accounts, and back."""

    def __init__(self, accounts: Accounts) -> None:
        """Settle and count in `accounts`."""
        self._accounts: Final = accounts

    def take_log(self, message: bytes) -> None:
        """A message of an access log's stream: settle what it tells of."""
        self._accounts.settle(access_log.read(message))

    async def rate_limit(self, message: bytes, deadline: float, _unused: Cancellation) -> bytes:
        """RateLimitRequest bytes in, RateLimitResponse bytes out."""
        asked = rate_limit.read(message)
        if asked is None:
            return rate_limit.write([_UNREADABLE])
        statuses = [
            await self._accounts.rate_limit(asked.domain, descriptor, deadline)
            for descriptor in asked.descriptors
        ]
        return rate_limit.write(statuses)
