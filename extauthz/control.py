"""The control socket: budgets of a running server for its operator, who may show and change them.

A Unix socket that takes one JSON object a line and answers one a line. It is for the user that the
server runs as, and for root: the file's mode keeps everybody else out. Nothing here is logged but
which command was about which limits.
"""

import asyncio
import contextlib
import errno
import logging
import os
import socket
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
import orjson

from extauthz.core.budget.allowance import NANO, NO_USAGE
from extauthz.core.budget.demand import Ask
from extauthz.core.budget.limits import OTHER, Count, Limit
from extauthz.core.policy import Policy
from extauthz.store import Standing, Store
from extauthz.telemetry.consumers import Consumer

_log: Final = logging.getLogger(__name__)

#: Of a question. A principal has at most 2 KB.
_MAX_LINE_BYTES: Final = 16 * 1024
#: For a question to come, and for its answer to be found and to be read.
_WAIT_S: Final = 10.0
_ANSWER_S: Final = 5.0
#: One operator has one or two open. More are hung up on.
_MAX_CONNECTIONS: Final = 16
_MAX_TOP: Final = 1_000
#: Units that may be granted at once: more than any limit has.
_MAX_UNITS: Final = 10**18
_MODE: Final = 0o600

#: The heaviest consumers, so many of them.
Top = Callable[[int], Sequence[Consumer]]


class RefusedError(Exception):
    """A question that cannot be answered, and what is wrong with it."""


class Question(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What is asked. Who or what is left out is not meant; an empty name is whoever nobody knows.

    Attributes:
        command: show, reset and grant are about limits, top about who uses most.
        principal, tenant: whose counters, as `identify` spells them.
        route, model: by their names in the policy.
        limit: only this one.
        amount: to grant, in the unit of the policy.
        count: of consumers to name.
    """

    command: Literal["show", "reset", "grant", "top"]
    principal: str | None = None
    tenant: str | None = None
    route: str | None = None
    model: str | None = None
    limit: str | None = None
    amount: int | float | None = None
    count: int = 20


_QUESTION: Final = msgspec.json.Decoder(Question)


@dataclass(frozen=True, slots=True)
class Desk:
    """Where questions are answered: over a store, for the policy that is served."""

    store: Store
    policy: Callable[[], Policy]
    top: Top

    async def answer(self, line: bytes) -> dict[str, Any]:
        """The answer to one line. Never raises: what goes wrong is told."""
        try:
            return await self._answer(_QUESTION.decode(line))
        except (msgspec.DecodeError, RefusedError) as refused:
            return {"error": str(refused)}
        except TimeoutError:
            return {"error": "the store did not answer in time"}
        except Exception as bug:  # noqa: BLE001 - its text may name somebody
            _log.error("bug, a control command was not done: %s", type(bug).__name__)
            return {"error": f"the server failed: {type(bug).__name__}"}

    async def _answer(self, question: Question) -> dict[str, Any]:
        if question.command == "top":
            if not 0 < question.count <= _MAX_TOP:
                raise RefusedError(f"count must be 1 to {_MAX_TOP}")
            return {"consumers": [_told(one) for one in self.top(question.count)]}
        meant, unnamed = self._meant(question)
        async with asyncio.timeout(_ANSWER_S):
            if question.command == "reset":
                await self._each(meant, question, self.store.reset)
            elif question.command == "grant":
                units = _units(meant, question.amount)
                await self._each(meant, question, lambda ask: self.store.grant(ask, units))
            found = [
                _shown(one)
                for ask in _asks(meant, question)
                for one in await self.store.standing(ask)
            ]
        return {"limits": found, "unnamed": unnamed}

    def _meant(self, question: Question) -> tuple[list[Limit], list[dict[str, Any]]]:
        """The limits that a question is about, and those that would be if it said for whom."""
        policy = self.policy()
        budgets = policy.budgets
        _known("route", question.route, (rule.name for rule in (*policy.routes, policy.default)))
        _known("model", question.model, (OTHER, *(model.name for model in budgets.models)))
        _known("limit", question.limit, (limit.name for limit in budgets.limits))
        meant, unnamed = [], []
        for limit in budgets.limits:
            if question.limit not in {None, limit.name} or not _is_about(limit, question):
                continue
            if needs := [part for part in limit.by if getattr(question, part) is None]:
                unnamed.append({"name": limit.name, "needs": needs})
            else:
                meant.append(limit)
        return meant, unnamed

    async def _each(
        self, meant: list[Limit], question: Question, change: Callable[[Ask], Any]
    ) -> None:
        for ask in _asks(meant, question):
            await change(ask)
        names = ", ".join(limit.name for limit in meant)
        _log.info("control socket: %s of limits: %s", question.command, names or "none")


def _known(what: str, name: str | None, names: Iterable[str]) -> None:
    known = list(names)
    if name is not None and name not in known:
        raise RefusedError(
            f"the policy has no {what} of that name; it has {', '.join(known) or 'none'}"
        )


def _is_about(limit: Limit, question: Question) -> bool:
    """Whether a limit counts requests to the route and the model of a question, where it has them."""
    return (question.route is None or not limit.routes or question.route in limit.routes) and (
        question.model is None or not limit.models or question.model in limit.models
    )


def _asks(meant: list[Limit], question: Question) -> Iterator[Ask]:
    """Requests that fall under these limits alone: one for each route and model that it takes.

    A route or model that the question leaves open is part of no counter's name, so any will do.
    """
    groups: dict[tuple[str, str], list[str]] = {}
    for limit in meant:
        route = question.route or next(iter(limit.routes), "")
        model = question.model or next(iter(limit.models), "")
        groups.setdefault((route, model), []).append(limit.name)
    for (route, model), names in groups.items():
        yield Ask(
            "",
            question.principal or "",
            question.tenant or "",
            route,
            model,
            NO_USAGE,
            only=tuple(names),
        )


def _units(meant: list[Limit], amount: float | None) -> int:
    """What is granted, in units of the counters."""
    if amount is None:
        raise RefusedError("grant needs an amount")
    counts = sorted({limit.count for limit in meant})
    if Count.CONCURRENT in counts:
        raise RefusedError("what is under way cannot be granted; name another limit")
    if len(counts) > 1:
        raise RefusedError(f"these limits count {' and '.join(counts)}: name one of them")
    units = amount * NANO if counts == [Count.COST] else amount
    if counts != [Count.COST] and units != int(units):
        raise RefusedError("an amount of tokens or requests is a whole number")
    if not 1 <= units <= _MAX_UNITS:
        raise RefusedError("an amount must be above 0, and no more than a limit can have")
    return round(units)


def _shown(standing: Standing) -> dict[str, Any]:
    limit = standing.limit
    unit = NANO if limit.count is Count.COST else 1
    return {
        "name": limit.name,
        "count": limit.count,
        "by": limit.by,
        "window": _window(limit),
        "amount": limit.most_at_once,
        "used": standing.used / unit if unit > 1 else standing.used,
        "remaining": standing.remaining / unit if unit > 1 else standing.remaining,
        "reset_s": round(standing.reset_s, 3),
        "shadow": limit.shadow,
    }


def _window(limit: Limit) -> str:
    if limit.every is not None:
        return f"every {limit.every}"
    return f"calendar {limit.calendar}" if limit.calendar else "at once"


def _told(one: Consumer) -> dict[str, Any]:
    return {
        "principal": one.principal,
        "digest": one.digest,
        "tokens": one.tokens,
        "requests": one.requests,
        "limit": one.limit or None,
        "remaining": one.remaining if one.limit else None,
    }


class Control:
    """A control socket that is served."""

    def __init__(self, path: Path, desk: Desk) -> None:
        """Bind the socket; `start` serves it. Raises OSError where the file cannot be made."""
        self._path: Final = path
        self._desk: Final = desk
        self._tasks: Final[set[asyncio.Task[None]]] = set()
        self._listener: Final = _listen(path)
        self._file: Final = path.lstat()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Take questions from now on."""
        self._server = await asyncio.start_unix_server(
            self._meet, sock=self._listener, limit=_MAX_LINE_BYTES
        )

    async def close(self) -> None:
        """Hang up on everybody, and take the file away if it is still ours."""
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(self._path.lstat(), self._file):
                self._path.unlink()
        if self._server is None:
            self._listener.close()
            return
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._tasks) >= _MAX_CONNECTIONS:
            writer.transport.abort()
            return
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer line after line, until there is none in time, or one is too long."""
        try:
            with contextlib.suppress(TimeoutError, OSError, asyncio.IncompleteReadError):
                while line := await _line(reader):
                    writer.write(orjson.dumps(await self._desk.answer(line)) + b"\n")
                    async with asyncio.timeout(_ANSWER_S):
                        await writer.drain()
                writer.write(orjson.dumps({"error": f"more than {_MAX_LINE_BYTES} bytes"}) + b"\n")
                async with asyncio.timeout(_ANSWER_S):
                    await writer.drain()
        finally:
            writer.close()


async def _line(reader: asyncio.StreamReader) -> bytes:
    """The next line; empty where it is too long."""
    async with asyncio.timeout(_WAIT_S):
        try:
            return await reader.readuntil(b"\n")
        except asyncio.LimitOverrunError:
            return b""


def _listen(path: Path) -> socket.socket:
    """A socket that only its user can connect to, in the place of one that a dead server left."""
    _clear(path)
    listener = socket.socket(socket.AF_UNIX)
    try:
        # Before it has a name: on Linux there is no moment at which others could open it.
        with contextlib.suppress(OSError):
            os.fchmod(listener.fileno(), _MODE)
        listener.bind(str(path))
        path.chmod(_MODE)
        listener.listen()
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


def _clear(path: Path) -> None:
    """Remove a socket that nobody listens on. Raises OSError for anything else that is there."""
    try:
        is_socket = stat.S_ISSOCK(path.lstat().st_mode)
    except FileNotFoundError:
        return
    if not is_socket:
        raise FileExistsError(errno.EEXIST, "there is a file that is no socket", str(path))
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
    raise OSError(errno.EADDRINUSE, "another server listens here", str(path))
