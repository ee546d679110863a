"""Composition root: load, warm up, bind, serve, reload, drain."""

import asyncio
import contextlib
import gc
import logging
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Final

import uvloop

from extauthz import __version__
from extauthz.accounts import Accounts
from extauthz.control import Control, Desk
from extauthz.core.budget.settlement import Settlement
from extauthz.core.call import Provenance
from extauthz.core.cancellation import Cancellation
from extauthz.core.policy import Policy
from extauthz.core.receipts import read_keys
from extauthz.doors import Doors
from extauthz.model import directory
from extauthz.model.calibration import Calibration
from extauthz.model.directory import ModelDirectory, ModelError
from extauthz.model.scorer import open_scorer
from extauthz.model.session import Session
from extauthz.model.vocabularies import Vocabularies
from extauthz.policy_file import PolicyError
from extauthz.policy_file import load as load_policy
from extauthz.protocol import access_log, check, health, rate_limit
from extauthz.service import Authorizer
from extauthz.settings import Settings
from extauthz.store import Ticked
from extauthz.store.opening import open_store
from extauthz.telemetry.admin import Admin
from extauthz.telemetry.consumers import Consumer, Consumers
from extauthz.telemetry.drift import Spread, spread
from extauthz.telemetry.metrics import Metrics
from extauthz.telemetry.observation import Observation
from extauthz.telemetry.records import RecordWriter
from extauthz.transport import Methods, Sinks, Transport, grpcio, http2
from extauthz.transport.options import ListenOptions

_log: Final = logging.getLogger(__name__)

#: How often the policy file is looked at. Kubernetes swaps a symlink when a ConfigMap changes, so
#: the file is read and compared rather than its directory watched.
_WATCH_S: Final = 1.0

#: How long a thread that reads a large body may keep the interpreter from the event loop. Python's
#: own 5 ms would be half of what a check is allowed to cost others.
_SWITCH_S: Final = 0.0005

#: How often reservations that nobody settled are ended, and counters that ended are freed.
_TICK_S: Final = 1.0

_START: Final[dict[str, Callable[[Methods, ListenOptions, Sinks], Awaitable[Transport]]]] = {
    "h2corn": http2.start,
    "grpcio": grpcio.start,
}


class Server:
    """A server with its model loaded. `run` serves until told to stop."""

    def __init__(self, settings: Settings) -> None:
        """Load policy and model, and warm up. Raises PolicyError, ModelError or OSError."""
        self._settings: Final = settings
        self._metrics: Final = Metrics()
        # Read before it is loaded: a change while the model loads is one, too.
        self._policy_file = _contents(settings.policy)
        policy = load_policy(settings.policy)
        self._metrics.serve_policy(policy.digest)
        key = _receipt_key(settings.receipt_key)
        self._session: Final = Session(
            directory.load(settings.model, settings.calibration),
            settings.device,
            settings.model_threads,
        )
        _check_rates(policy, self._session.directory)
        self._scorer: Final = open_scorer(self._session.directory, self._session)
        self._sink: Final = _open_sink(settings.records)
        self._records: Final = RecordWriter(self._sink)
        self._store: Final = open_store(settings.store)
        accounts = Accounts(self._store, self._settled)
        self._doors: Final = Doors(accounts)
        self._authorizer: Final = Authorizer(
            policy,
            self._scorer,
            accounts,
            self._observe,
            key,
            Vocabularies(settings.vocabularies),
        )
        self._consumers: Final = Consumers(time.monotonic())
        self._ticked = Ticked(0, 0, 0)
        self._stopping: Final = asyncio.Event()
        self._hung_up: Final = asyncio.Event()
        self._serving = False
        self._gauges()

    def stop(self) -> None:
        """Begin to drain: answer NOT_SERVING, wait, send GOAWAY, finish what is in flight."""
        self._stopping.set()

    async def run(self, ready: Callable[[tuple[str, ...]], None]) -> None:
        """Serve until `stop`. `ready` is called with the addresses once checks are answered."""
        settings = self._settings
        methods: Methods = {
            check.METHOD: self._authorizer.check,
            health.METHOD: self._health,
            rate_limit.METHOD: self._doors.rate_limit,
        }
        sinks: Sinks = {access_log.METHOD: self._doors.take_log}
        admin: Admin | None = None
        transports: list[Transport] = []
        control = self._control()
        await self._store.open()
        tasks = [asyncio.create_task(self._watch_policy()), asyncio.create_task(self._tick())]
        try:
            if settings.admin:
                with _named(settings.admin):
                    admin = Admin(
                        settings.admin, self._metrics.registry, self._status, self._heaviest
                    )
            if control is not None:
                await control.start()
            for options in settings.listeners:
                with _named(options.address):
                    transports.append(await _START[settings.transport](methods, options, sinks))
            # What was loaded stays; a collector that walks it again would stall checks for 0.1 s.
            gc.freeze()
            self._serving = True
            ready(tuple(address for one in transports for address in one.addresses))
            await self._stopping.wait()
            self._serving = False
            # Envoy must see NOT_SERVING, and send its checks elsewhere, before connections close.
            await asyncio.sleep(settings.drain_wait_s)
        finally:
            for task in tasks:
                task.cancel()
            drains = (one.drain(settings.drain_grace_s) for one in transports)
            faults = await asyncio.gather(*drains, return_exceptions=True)
            if control is not None:
                await control.close()
            await self._store.close()
            self._close(admin)
            for fault in filter(None, faults):
                _log.error("a listener did not drain: %s", type(fault).__name__)

    async def reload(self) -> None:
        """Serve the policy file as it is now, or keep the last good one and say why."""
        try:
            # On a thread: the longest policies take a third of a second, and checks would wait.
            policy = await asyncio.to_thread(load_policy, self._settings.policy)
            _check_rates(policy, self._session.directory)
        except (PolicyError, ModelError, OSError) as error:
            self._metrics.policy_valid.set(0)
            _log.error("policy not reloaded, the last good one stays: %s", error)
            return
        if policy.digest != self._authorizer.policy.digest:
            self._authorizer.serve(policy)
            _log.info("policy %s loaded", policy.digest[:12])
        self._metrics.serve_policy(policy.digest)

    def hang_up(self) -> None:
        """Reload now, changed or not: what SIGHUP asks for."""
        self._hung_up.set()

    async def _watch_policy(self) -> None:
        seen = self._policy_file
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_WATCH_S):
                    await self._hung_up.wait()
            before, seen = seen, await asyncio.to_thread(_contents, self._settings.policy)
            # A change counts once two looks agree: at the first it may be half written.
            changed = seen != self._policy_file and seen == before
            if changed or self._hung_up.is_set():
                self._hung_up.clear()
                self._policy_file = seen
                await self.reload()

    async def _health(self, message: bytes, _deadline: float, _unused: Cancellation) -> bytes:
        return health.answer(message, serving=self._serving)

    async def _tick(self) -> None:
        while True:
            try:
                self._ticked = ticked = self._store.tick()
            except Exception as bug:  # noqa: BLE001 - without it reservations would never end
                _log.error("bug, reservations were not looked after: %s", type(bug).__name__)
            else:
                self._metrics.counters.set(ticked.counters)
                self._metrics.reservations.set(ticked.reservations)
                self._metrics.lost.inc(ticked.expired)
            await asyncio.sleep(_TICK_S)

    def _settled(self, settlement: Settlement) -> None:
        self._metrics.settled(settlement, time.time())

    def _observe(self, seen: Observation) -> None:
        self._metrics.observe(seen)
        self._consumers.observe(seen, time.monotonic())
        self._records.observe(seen)

    def _control(self) -> Control | None:
        if self._settings.control is None:
            return None
        desk = Desk(self._store, lambda: self._authorizer.policy, self._heaviest)
        with _named(str(self._settings.control)):
            return Control(self._settings.control, desk)

    def _heaviest(self, most: int) -> list[Consumer]:
        return self._consumers.heaviest(most, time.monotonic())

    def _gauges(self) -> None:
        model = self._scorer.directory
        self._metrics.model.labels(model.name, model.digest, self._session.device).set(1)
        self._metrics.queued_tokens.set_function(lambda: self._scorer.queued_tokens)
        self._metrics.records_dropped.set_function(lambda: self._records.dropped)
        self._metrics.compare_scores(_honest_scores(model.calibration))

    def _status(self) -> dict[str, str]:
        model = self._scorer.directory
        return {
            "serving": "yes" if self._serving else "no",
            "version": __version__,
            "transport": self._settings.transport,
            "policy": f"{self._settings.policy.name} sha256:{self._authorizer.policy.digest}",
            "model": f"{model.name} {model.version} on {self._session.device}",
            "model digest": f"sha256:{model.digest}",
            "receipts": "on" if self._settings.receipt_key else "off",
            "queued tokens": str(self._scorer.queued_tokens),
            "budgets counted": self._store.where,
            "counters in use": str(self._ticked.counters),
            "reservations open": str(self._ticked.reservations),
        }

    def _close(self, admin: Admin | None) -> None:
        if admin is not None:
            admin.close()
        self._authorizer.close()
        self._scorer.close()
        self._records.close()
        if self._sink is not sys.stdout.buffer:
            self._sink.close()


def serve(settings: Settings) -> None:
    """Run a server until SIGTERM or SIGINT; SIGHUP reloads the policy."""
    sys.setswitchinterval(_SWITCH_S)

    async def main() -> None:
        # Handlers first: a signal while the model loads waits until there is a server to obey it.
        server: Server
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, lambda: server.stop())  # noqa: PLW0108 - not yet there
        loop.add_signal_handler(signal.SIGHUP, lambda: server.hang_up())  # noqa: PLW0108 - nor now
        server = Server(settings)
        await server.run(lambda addresses: _log.info("serving on %s", ", ".join(addresses)))

    uvloop.run(main())


@contextlib.contextmanager
def _named(address: str) -> Iterator[None]:
    """Say which address cannot be bound: there are several, and not every error names it."""
    try:
        yield
    except OSError as error:
        msg = f"cannot listen on {address}: {error.strerror or error}"
        raise OSError(msg) from error


def _check_rates(policy: Policy, model: ModelDirectory) -> None:
    """Raises ModelError when a rule wants a rate of false positives that was never measured."""
    for rule in (*policy.routes, policy.default):
        try:
            model.thresholds(rule.false_positive_rate)
        except ModelError as error:
            msg = f"rule {rule.name}: {error}"
            raise ModelError(msg) from error


def _honest_scores(calibration: Calibration | None) -> dict[Provenance, Spread]:
    """How scores are spread that were measured: a column that is borrowed says nothing of its own."""
    if calibration is None:
        return {}
    spreads = {
        provenance: spread(calibration.rates, calibration.thresholds[provenance], texts)
        for provenance, texts in calibration.texts.items()
    }
    return {provenance: honest for provenance, honest in spreads.items() if honest is not None}


def _open_sink(records: str) -> BinaryIO:
    return sys.stdout.buffer if records == "-" else Path(records).open("ab")


def _receipt_key(path: Path | None) -> bytes | None:
    """The key that seals receipts: the first one in the file."""
    if path is None:
        _log.info("receipts are off: there is no --receipt-key")
        return None
    try:
        return read_keys(path.read_bytes())[0]
    except ValueError as error:
        msg = f"{path}: {error}"
        raise ValueError(msg) from error


def _contents(path: Path) -> bytes | None:
    with contextlib.suppress(OSError):
        return path.read_bytes()
    return None
