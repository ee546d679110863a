"""The connection to Redis or Valkey: one pipeline of scripts at a time, and what happens when it fails."""

import asyncio
import random
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha1
from importlib import resources
from typing import Any, Final, Protocol

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoPermissionError, NoScriptError, RedisError, ResponseError

#: A decision waits for the store no longer than this.
_PATIENCE_S: Final = 0.005
#: What is not urgent is gathered for so long.
EXCHANGE_S: Final = 0.05
#: Late once is a busy moment of either machine; so often in a row is a slow server.
_SLOW_AT: Final = 3
#: A server that has not answered after this is taken for lost.
_TIMEOUT_S: Final = 1.0
#: Tries to reach a lost one: exponential, with full jitter, so that replicas do not come all at once.
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 2.0
#: What a server says of one key, when it is not what it should be. Anything else it refuses, it refuses
#: for all: READONLY, LOADING, OOM, MISCONF, NOPERM ...
_ONE_KEY: Final = "WRONGTYPE"


class UnableError(Exception):
    """The server answered that it cannot serve."""


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script, and the name that a server knows it by."""

    text: str
    sha: str


def script(name: str) -> Script:
    """One of the scripts beside this module."""
    text = resources.files(__package__).joinpath(name).read_text("utf-8")
    return Script(text, sha1(text.encode(), usedforsecurity=False).hexdigest())


@dataclass(frozen=True, slots=True)
class Command:
    """One command about one key. `script` is what it runs, if it does."""

    words: tuple[Any, ...]
    script: Script | None = None

    def written(self, *, in_full: bool) -> tuple[Any, ...]:
        """The words to send. A server that does not know the script is sent it `in_full`."""
        if self.script is None:
            return self.words
        if in_full:
            return ("EVAL", self.script.text, 1, *self.words)
        return ("EVALSHA", self.script.sha, 1, *self.words)


class Source(Protocol):
    """Who asks the store, and hears its answers."""

    def commands(self, *, first: bool) -> list[Command]:
        """What to ask now; `first` after the connection was made: something short that writes."""

    def farewell(self) -> list[Command]:
        """What to say at the end."""

    def answered(self, answers: list[Any]) -> None:
        """The answers to those, in their order. One that the server refused is an exception."""

    def failed(self) -> None:
        """There will be no answers to those. Whether they were carried out, nobody knows."""


class Exchange:
    """Asks one server for one source. All replicas together never have more than one pipeline each.

    Attributes:
        up: the last exchange was answered.
        prompt: and so fast that a decision may wait for the next one.
        patience_s: how long a decision waits for it.
        round_trips: pipelines sent.
        last_s: how long the last one took.
        failures: how often the server was lost.
    """

    def __init__(self, url: str, source: Source) -> None:
        """Nothing is sent before `start`."""
        self.up = False
        self.prompt = False
        self.patience_s = _PATIENCE_S
        self.round_trips = 0
        self.last_s = 0.0
        self.failures = 0
        self._url: Final = url
        self._source: Final = source
        self._client: Redis | RedisCluster | None = None
        self._task: asyncio.Task[None] | None = None
        self._slow = 0
        self._urgent = asyncio.Event()
        self._tried = asyncio.Event()
        self._closing = asyncio.Event()

    def start(self) -> None:
        """Begin, in the running event loop. Again: nothing."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._serve())

    async def first(self) -> bool:
        """Wait until it was tried. Whether the server is there."""
        await self._tried.wait()
        return self.up

    def wake(self) -> None:
        """Ask at once: somebody waits."""
        self._urgent.set()

    def too_slow(self) -> None:
        """Somebody waited for too long. If that goes on, nobody is to wait until it is fast again."""
        self._slow += 1
        self.prompt = self.up and self._slow < _SLOW_AT

    async def close(self) -> None:
        """Ask a last time, if it is there, and hang up."""
        self._closing.set()
        self._urgent.set()
        if self._task is not None:
            # It is not cancelled: what is under way is answered within a second, and then known.
            await asyncio.wait([self._task])

    async def _serve(self) -> None:
        tries = 0
        while not self._closing.is_set():
            try:
                await self._connect()
                await self._exchange(first=True)
                tries = 0
                while not self._closing.is_set():
                    await self._gather()
                    await self._exchange(first=False)
                await self._send(self._source.farewell())
            except (RedisError, OSError, TimeoutError, UnableError):
                pass  # what was not given back in time is lost to others, until it comes back by time
            except Exception as error:  # noqa: BLE001  # whatever it was, others must be answered
                asyncio.get_running_loop().call_exception_handler(
                    {"message": "exchange with the store of counters", "exception": error}
                )
            self._lost()
            await self._hang_up()
            await self._pause(tries)
            tries = min(tries + 1, 16)

    async def _pause(self, tries: int) -> None:
        longest = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2**tries)
        with suppress(TimeoutError):
            async with asyncio.timeout(random.uniform(0, longest)):  # noqa: S311  # no secret
                await self._closing.wait()

    async def _connect(self) -> None:
        """Connect anew, so that a name is looked up anew. OSError or RedisError when it fails."""
        async with asyncio.timeout(_TIMEOUT_S):
            self._client = client = Redis.from_url(self._url, **_OPTIONS)
            try:
                is_cluster = bool((await client.info("cluster")).get("cluster_enabled"))
            except NoPermissionError:
                is_cluster = False
            if is_cluster:
                await client.aclose()
                self._client = RedisCluster.from_url(self._url, **_OPTIONS)

    async def _gather(self) -> None:
        """Wait until something is urgent, or until it is time for what is not."""
        timer = asyncio.get_running_loop().call_later(EXCHANGE_S, self._urgent.set)
        await self._urgent.wait()
        timer.cancel()
        self._urgent.clear()

    async def _exchange(self, *, first: bool) -> None:
        commands = self._source.commands(first=first)
        if not commands:
            return
        loop = asyncio.get_running_loop()
        began = loop.time()
        answers = await self._send(commands)
        self.last_s = loop.time() - began
        for answer in answers:
            if isinstance(answer, ResponseError) and not str(answer).startswith(_ONE_KEY):
                raise UnableError(str(answer))
        self.up = True
        self._slow = 0 if self.last_s < self.patience_s else self._slow + 1
        self.prompt = self._slow < _SLOW_AT
        self._source.answered(answers)
        self._tried.set()

    async def _send(self, commands: list[Command]) -> list[Any]:
        if not commands:
            return []
        async with asyncio.timeout(_TIMEOUT_S):
            answers = await self._pipeline(commands)
            unknown = [
                index for index, answer in enumerate(answers) if isinstance(answer, NoScriptError)
            ]
            if unknown:
                again = await self._pipeline([commands[index] for index in unknown], in_full=True)
                for index, answer in zip(unknown, again, strict=True):
                    answers[index] = answer
            return answers

    async def _pipeline(self, commands: list[Command], *, in_full: bool = False) -> list[Any]:
        if self._client is None:
            raise UnableError("not connected")
        self.round_trips += 1
        pipeline = self._client.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command.written(in_full=in_full))
        return await pipeline.execute(raise_on_error=False)

    def _lost(self) -> None:
        self.failures += self.up
        self.up = self.prompt = False
        self._source.failed()
        self._tried.set()

    async def _hang_up(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            try:
                await client.aclose()
            except (RedisError, OSError):
                return


#: One connection, and no retries inside the client: who waits must not wait for them.
_OPTIONS: Final[dict[str, Any]] = {
    "protocol": 2,
    "socket_timeout": _TIMEOUT_S,
    "socket_connect_timeout": _TIMEOUT_S,
    "retry": Retry(NoBackoff(), 0),
}
