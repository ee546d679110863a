"""Calls in flight: a handler outlives the client that asked, and its deadline is kept here.

A client stream has no deadline. It lasts until its client or a drain ends it.
"""

import asyncio
import logging
import traceback
from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import IntEnum

from extauthz.core.cancellation import Cancellation
from extauthz.transport import Handler, Sink

_log = logging.getLogger(__name__)


class Status(IntEnum):
    """The gRPC status codes a transport answers with on its own."""

    OK = 0
    DEADLINE_EXCEEDED = 4
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14


@dataclass(frozen=True, slots=True)
class Refusal:
    """An RPC that ends in an error status. The text is ours, never the client's."""

    status: Status
    message: str


NOT_ADMITTED = Refusal(Status.PERMISSION_DENIED, "client certificate is not admitted")
UNKNOWN_METHOD = Refusal(Status.UNIMPLEMENTED, "method is not served")
DEADLINE_PASSED = Refusal(Status.DEADLINE_EXCEEDED, "deadline passed")
HANDLER_FAILED = Refusal(Status.INTERNAL, "handler failed")
DRAINING = Refusal(Status.UNAVAILABLE, "server is draining")

#: The one message that every client stream is answered with.
_RECEIVED = b""


class Calls:
    """Runs handlers as tasks of their own, so that no client can cut one short."""

    __slots__ = ("_draining", "_loop", "_running", "_streams")

    def __init__(self) -> None:
        """Belong to the running event loop."""
        self._loop = asyncio.get_running_loop()
        self._running: set[asyncio.Task[bytes]] = set()
        self._streams: set[asyncio.Timeout] = set()
        self._draining = False

    async def answer(self, handler: Handler, message: bytes, deadline: float) -> bytes | Refusal:
        """Await the handler's answer until `deadline`, an instant of the loop's clock.

        When the deadline passes, or whoever awaits this is cancelled because the client is gone,
        the handler's cancellation is set and the handler runs on.
        """
        cancellation = Cancellation()
        task = asyncio.ensure_future(handler(message, deadline, cancellation), loop=self._loop)
        self._running.add(task)
        # A future of its own between the two tasks, as asyncio.shield has: cancelling the waiter
        # (or the future, at the deadline) does not reach the handler.
        finished: asyncio.Future[None] = self._loop.create_future()

        def finish(_: object) -> None:
            self._running.discard(task)
            if not finished.done():
                finished.set_result(None)

        task.add_done_callback(finish)
        timer = self._loop.call_at(deadline, finished.cancel)
        try:
            await finished
            return task.result()
        except asyncio.CancelledError:
            cancellation.cancel()
            task.add_done_callback(_report_task)
            if _client_gone():
                raise
            return DEADLINE_PASSED
        except Exception as error:  # noqa: BLE001 - whatever it raises, the client gets an answer
            _report(error)
            return HANDLER_FAILED
        finally:
            timer.cancel()

    async def take(self, sink: Sink, messages: AsyncIterator[bytes | Refusal]) -> bytes | Refusal:
        """Give each message to the sink, until there are no more or a drain begins.

        A refusal among them is the last, and what the client is told.
        """
        if self._draining:
            return DRAINING
        answer: bytes | Refusal = _RECEIVED
        patience = asyncio.timeout(None)  # end_streams sets an end
        self._streams.add(patience)
        try:
            async with patience:
                async for message in messages:
                    if isinstance(message, Refusal):
                        answer = message
                    else:
                        _give(sink, message)
                        # What has arrived already is read without waiting: a burst of small messages
                        # would keep every decision waiting for as long as it lasts.
                        await asyncio.sleep(0)
        except TimeoutError:
            return DRAINING
        finally:
            self._streams.discard(patience)
        return answer

    def end_streams(self) -> None:
        """End the client streams that are open, and those to come."""
        if self._draining:
            return
        self._draining = True
        for patience in self._streams:
            patience.reschedule(self._loop.time())

    async def finished(self, until: float) -> None:
        """Wait for every handler until that instant; cancel the tasks that are left then."""
        if self._running:
            await asyncio.wait(self._running, timeout=max(0.0, until - self._loop.time()))
        for task in self._running:
            task.cancel()


def _client_gone() -> bool:
    """Whether it was the awaiting task that was cancelled, and not what it awaited."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _give(sink: Sink, message: bytes) -> None:
    try:
        sink(message)
    except Exception as error:  # noqa: BLE001 - a bug met by one message must not lose the next
        _report(error)


def _report_task(task: "asyncio.Task[bytes]") -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _report(error)


def _report(error: BaseException) -> None:
    """Log where a handler failed. The exception's text may quote a prompt, so it stays out."""
    where = traceback.extract_tb(error.__traceback__)[-1]
    _log.error("handler failed: %s in %s:%s", type(error).__name__, where.name, where.lineno)
