"""Our filter on a thread of its own, and a real Envoy that asks it."""

import asyncio
import math
import subprocess
import threading
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import numpy as np
import uvloop

from extauthz import policy_file
from extauthz.accounts import Accounts
from extauthz.core.batcher import Batcher, Job
from extauthz.core.budget.settlement import Settlement
from extauthz.core.call import Passage
from extauthz.core.cancellation import Cancellation
from extauthz.core.reasons import Failure
from extauthz.demo.client import Answer, Request, logged, send
from extauthz.demo.processes import Envoy, bootstrap
from extauthz.demo.upstream import Received, Upstream
from extauthz.doors import Doors
from extauthz.model.directory import ModelDirectory
from extauthz.model.scorer import RunsModel, Scorer, Scores
from extauthz.protocol import access_log, check, health, rate_limit
from extauthz.service import Authorizer, ScoresTexts
from extauthz.store.memory import private_store
from extauthz.telemetry.observation import Observation
from extauthz.transport import Methods, Sinks, Transport, grpcio, http2
from extauthz.transport.options import ListenOptions

POLICY = Path(__file__).with_name("policy.yaml")
LOOPBACK = ListenOptions("127.0.0.1:0")

_START: dict[str, Callable[[Methods, ListenOptions, Sinks], Awaitable[Transport]]] = {
    "h2corn": http2.start,
    "grpcio": grpcio.start,
}
_T = TypeVar("_T")
Change = Callable[[dict[str, Any]], None]

_STOPPED: list[asyncio.AbstractEventLoop] = []


class Filter:
    """Authorizer and transport in this process: a test may look at checks, and change the scorer."""

    def __init__(
        self,
        transport: str,
        scorer: Callable[[], ScoresTexts],
        options: ListenOptions = LOOPBACK,
        policy: Path = POLICY,
        receipt_key: bytes | None = None,
    ) -> None:
        """Start to serve. `scorer` is called on the filter's own event loop."""
        self.transport = transport
        self.checks: list[bytes] = []
        self.observed: list[Observation] = []
        #: Messages of Envoy's access log, and what became of their entries. With `holds_logs` nothing
        #: becomes of one, until `settle` is given it.
        self.logs: list[bytes] = []
        self.holds_logs = False
        self.settlements: list[Settlement] = []
        self.loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="filter")
        self._thread.start()
        self._served = self._run(self._start(scorer, options, policy, receipt_key))
        self.address = self._served.addresses[0]

    async def _start(
        self,
        scorer: Callable[[], ScoresTexts],
        options: ListenOptions,
        policy: Path,
        receipt_key: bytes | None,
    ) -> Transport:
        self.scorer = Switch(scorer())
        self.accounts = Accounts(private_store(), self.settlements.append)
        self.authorizer = Authorizer(
            policy_file.load(policy),
            self.scorer,
            self.accounts,
            self.observed.append,
            receipt_key,
        )
        methods: Methods = {
            check.METHOD: self._check,
            health.METHOD: self._health,
            rate_limit.METHOD: Doors(self.accounts).rate_limit,
        }
        return await _START[self.transport](methods, options, {access_log.METHOD: self._log})

    async def _check(self, message: bytes, deadline: float, cancellation: Cancellation) -> bytes:
        self.checks.append(message)
        return await self.authorizer.check(message, deadline, cancellation)

    def _log(self, message: bytes) -> None:
        self.logs.append(message)
        if not self.holds_logs:
            self.accounts.settle(access_log.read(message))

    def settle(self, message: bytes) -> None:
        """Take a message of an access log, as if Envoy sent it now."""

        async def take() -> None:
            self.accounts.settle(access_log.read(message))

        self._run(take())

    async def _health(self, message: bytes, deadline: float, cancellation: Cancellation) -> bytes:
        return health.answer(message, serving=True)

    def _run(self, work: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: object, trace: TracebackType | None
    ) -> None:
        self._run(self._served.drain(1.0))
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        # The loop is stopped and kept: gRPC's poller may still hold a reader on it, and a closed
        # uvloop that something still reads from ends the process.
        _STOPPED.append(self.loop)


class Switch:
    """A scorer that a test replaces while the filter runs."""

    def __init__(self, scorer: ScoresTexts) -> None:
        self.usual = self.now = scorer

    @property
    def directory(self) -> ModelDirectory:
        return self.usual.directory

    async def score(
        self, texts: Sequence[Passage], max_tokens: int, deadline: float, cancellation: Cancellation
    ) -> Scores | Failure:
        return await self.now.score(texts, max_tokens, deadline, cancellation)


def scorer(directory: ModelDirectory, session: RunsModel, *, full: bool = False) -> Scorer:
    """The real scorer over a model that may be a stub; `full`: its queue has no room left."""
    batcher = Batcher(1_024, 65_536, 1e-6)
    if full:
        waiting = Job([np.zeros(65_536, np.int32)], [0], math.inf, Cancellation())
        assert batcher.offer(waiting, 0.0) is None
    return Scorer(directory, session, batcher)


class Gateway:
    """A real Envoy with `envoy/envoy.yaml`, changed where a test says so, and what is behind it."""

    def __init__(
        self,
        folder: Path,
        upstream: Upstream,
        servers: Sequence[str],
        change: Change = lambda _: None,
        name: str = "envoy",
    ) -> None:
        config = bootstrap(servers, upstream.address)
        change(config)
        self.upstream = upstream
        self.fails_open = False
        self._stack = ExitStack()
        self.envoy = self._stack.enter_context(Envoy(folder, config, name))
        try:
            self.address = self.envoy.ready()
        except BaseException:
            self._stack.close()
            raise

    def send(self, request: Request) -> Answer:
        """What the client gets."""
        return send(self.address, request)

    def logged(self, answer: Answer) -> dict[str, Any]:
        """What Envoy's access log says of it."""
        return logged(self.envoy.stdout, answer)

    def passed(self, request: Request) -> tuple[Answer, list[Received]]:
        """The client's answer, and what the upstream got meanwhile."""
        before = len(self.upstream.received)
        answer = self.send(request)
        return answer, self.upstream.received[before:]

    def rpc_errors(self) -> int:
        """How often Envoy counted a check as failed: no answer, an RPC error, or error_response."""
        return self.envoy.stat("http.llm.ext_authz.error")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: object, trace: TracebackType | None
    ) -> None:
        self._stack.close()


def ext_authz(config: dict[str, Any]) -> dict[str, Any]:
    """Settings of the ext_authz filter in a bootstrap."""
    listener = config["static_resources"]["listeners"][0]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    filters = {one["name"]: one["typed_config"] for one in manager["http_filters"]}
    settings: dict[str, Any] = filters["envoy.filters.http.ext_authz"]
    return settings


def run(*command: str | Path) -> tuple[int, str]:
    """Exit status of a command, and all that it said."""
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr
