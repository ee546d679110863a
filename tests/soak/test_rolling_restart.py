"""A rolling restart loses no request: two servers behind Envoy, each drained and restarted in turn."""

import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from extauthz.demo.client import send
from extauthz.demo.processes import Envoy, Server, bootstrap, free_port
from extauthz.demo.upstream import Upstream
from extauthz.model import directory
from tests import canary_model
from tests.e2e.conftest import chat
from tests.e2e.running import POLICY

pytestmark = [pytest.mark.soak, pytest.mark.timeout(300)]

_CLIENTS = 8
_ROUNDS = 2
_ENOUGH = 3_000
_BOUND_S = 180.0
#: One request in so many is an attack, so that denials are counted too.
_ATTACKS = 10


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "canary"
    canary_model.build(path, config={"max_position_embeddings": 512})
    return directory.load(path).path


class Clients:
    """Clients that send one request after another until told to stop, and count the answers."""

    def __init__(self, address: str) -> None:
        self.answers: Counter[tuple[bool, int]] = Counter()
        self._address = address
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._send) for _ in range(_CLIENTS)]
        for thread in self._threads:
            thread.start()

    @property
    def sent(self) -> int:
        return self.answers.total()

    def stop(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _send(self) -> None:
        count = 0
        while not self._stopping.is_set():
            count += 1
            attack = count % _ATTACKS == 0
            status = send(self._address, chat(canary_model.CANARY if attack else "Hello")).status
            with self._lock:
                self.answers[attack, status] += 1


class Pair:
    """Two servers, each on a port that it keeps over restarts."""

    def __init__(self, stack: ExitStack, folder: Path, transport: str, model: Path) -> None:
        self.addresses = [f"127.0.0.1:{free_port()}" for _ in range(2)]
        self._folder, self._stack, self._starts = folder, stack, 0
        self._settings: dict[str, str | Path] = {
            "transport": transport,
            "model": model,
            "policy": POLICY,
        }
        self._servers = [self._start(address) for address in self.addresses]
        for server in self._servers:
            server.ready()

    def restart(self, index: int) -> None:
        """SIGTERM, wait until it has drained and is gone, start it anew, wait until it is ready."""
        self._servers[index].send_signal(signal.SIGTERM)
        assert self._servers[index].wait(60) == 0
        self._servers[index] = self._start(self.addresses[index])
        self._servers[index].ready()
        time.sleep(1.0)  # Envoy's health check, every 0.5 s, has to find it first

    def _start(self, address: str) -> Server:
        self._starts += 1
        name = f"server-{self._starts}"
        server = Server(self._folder, name, listen=address, **self._settings)
        return self._stack.enter_context(server)


@pytest.mark.parametrize("transport", ["h2corn", "grpcio"])
def test_a_rolling_restart_of_two_servers_under_load_fails_no_request(
    stack: ExitStack,
    transport: str,
    model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    upstream = stack.enter_context(Upstream())
    pair = Pair(stack, tmp_path, transport, model)
    envoy = stack.enter_context(Envoy(tmp_path, bootstrap(pair.addresses, upstream.address)))
    clients = Clients(envoy.ready())
    stack.callback(clients.stop)
    started = time.monotonic()

    for index in [0, 1] * _ROUNDS:
        pair.restart(index)
    while clients.sent < _ENOUGH and time.monotonic() - started < _BOUND_S:
        time.sleep(0.1)
    clients.stop()

    answers = clients.answers
    allowed, denied = answers.pop((False, 200), 0), answers.pop((True, 403), 0)
    with capsys.disabled():
        print(  # noqa: T201 - the figure is what the run is for
            f"\n{transport}: {allowed + denied + answers.total()} requests over {2 * _ROUNDS} restarts "
            f"in {time.monotonic() - started:.0f} s: {allowed} allowed, {denied} denied, "
            f"{answers.total()} failed, {envoy.stat('http.llm.ext_authz.error')} checks failed"
        )
    assert answers.total() == 0, answers
    assert allowed + denied >= _ENOUGH
    assert len(upstream.received) == allowed
