"""Bodies are read on the event loop while that takes but a moment, and on threads where it may not."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from extauthz.core.body import is_coded
from extauthz.core.call import Call
from extauthz.core.cancellation import Cancellation
from extauthz.core.reading import Reading
from extauthz.core.reasons import Failure

#: Bodies up to here are read on the event loop (the worst take some 2 ms); larger ones on a thread.
INLINE_BYTES: Final = 8 * 1024
#: Each string may be a text with views of its own, and costs up to 0.1 ms. A chat of 20 messages has
#: 40 commas between its members, and as many in its sentences.
_INLINE_COMMAS: Final = 100
#: Parsing holds the interpreter for most of its time: more threads would read no faster.
_READERS: Final = 2
#: Bytes of large bodies that may wait to be read or be read at once. A parsed body takes up to 40
#: times its size, so this bounds what many clients can make of our memory together.
_MAX_READING_BYTES: Final = 64 * 1024 * 1024

Task = Callable[[], Reading | Failure]


class Readers:
    """The threads that read large bodies, a few at a time."""

    def __init__(self) -> None:
        """Start none until there is something to read."""
        self._threads: Final = ThreadPoolExecutor(_READERS, "reader")
        self._reading_bytes = 0

    async def read(
        self, task: Task, call: Call, deadline: float, cancellation: Cancellation
    ) -> Reading | Failure:
        """What `task` reads in a call. Fails as it does, with OVERLOADED or DEADLINE_EXCEEDED."""
        if _is_quick(call):
            return task()
        weight = len(call.body)
        if self._reading_bytes + weight > _MAX_READING_BYTES:
            return Failure.OVERLOADED
        self._reading_bytes += weight
        try:
            async with asyncio.timeout_at(deadline):
                reading: Reading | Failure = await asyncio.get_running_loop().run_in_executor(
                    self._threads, _if_wanted, task, cancellation
                )
                return reading
        except TimeoutError:
            return Failure.DEADLINE_EXCEEDED
        finally:
            self._reading_bytes -= weight

    def close(self) -> None:
        """Stop the threads."""
        self._threads.shutdown(wait=True, cancel_futures=True)


def _is_quick(call: Call) -> bool:
    """Whether reading a body takes but a moment: few bytes, of few strings, whatever they are."""
    size = len(call.body)
    return (
        size <= INLINE_BYTES
        and call.body.count(b",") <= _INLINE_COMMAS
        and not is_coded(call.headers)
    )


def _if_wanted(task: Task, cancellation: Cancellation) -> Reading | Failure:
    return Failure.CANCELLED if cancellation.cancelled else task()
