"""The codec and the whole service: CheckRequest bytes in, a CheckResponse out, whatever they are."""

import asyncio
from functools import cache

from extauthz.core.call import Call
from extauthz.core.decision import Verdict
from extauthz.core.reasons import Failure, Reason
from extauthz.protocol import check as wire
from fuzz.targets import require
from tests import as_envoy
from tests.door import Door

_ALLOWING = {Verdict.ALLOW, Verdict.MUTATE}


@cache
def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


async def _answer(message: bytes) -> tuple[bytes, Door]:
    door = Door()
    answer = await door.check(message)
    await asyncio.sleep(0)  # the observation comes after the answer
    door.authorizer.close()
    return answer, door


def check(data: bytes) -> None:
    """Envoy is told to allow exactly when the decision is to allow, and no bug answers for us."""
    require(isinstance(wire.read(data), Call | Failure), "a message is a call or a failure")
    answer, door = _loop().run_until_complete(_answer(data))
    decision = door.seen[0].decision
    require(as_envoy.allows(answer) == (decision.verdict in _ALLOWING), "status 0 is an allow")
    require((decision.denial is None) == (decision.verdict in _ALLOWING), "a denial has a shape")
    require(decision.reason is not Reason.INTERNAL_ERROR, "no input reaches a bug")
