"""A listening socket, for a transport that is handed one."""

import asyncio
import contextlib
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

_BACKLOG = 1024


def listen(address: str) -> socket.socket:
    """A socket that listens on `host:port` or `unix:/path`. OSError when it can not.

    No SO_REUSEPORT: it would balance connections, not requests, and hide a second server.
    """
    kind, _, path = address.partition(":")
    if kind == "unix":
        return _listen_unix(Path(path))
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, int(port)), family=family, backlog=_BACKLOG)


def _listen_unix(path: Path) -> socket.socket:
    """Like gRPC, take the place of a socket file that a dead server left behind."""
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISSOCK(path.lstat().st_mode):
            path.unlink()
    listener = socket.socket(socket.AF_UNIX)
    try:
        listener.bind(str(path))
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def address_of(listener: socket.socket) -> str:
    """The address in the form `listen` takes, with the port the kernel chose."""
    name = listener.getsockname()
    if listener.family == socket.AF_UNIX:
        return f"unix:{name}"
    host = f"[{name[0]}]" if listener.family == socket.AF_INET6 else name[0]
    return f"{host}:{name[1]}"


@contextlib.contextmanager
def turning_away(listener: socket.socket) -> Iterator[None]:
    """Hang up on whoever still connects, then close. The file of a Unix socket stays.

    For a server that accepts no more but holds the socket: its clients would hang in the backlog.
    Another server's accept must not fail, so this accepts beside it and takes nothing away.
    """
    loop = asyncio.get_running_loop()

    def hang_up() -> None:
        with contextlib.suppress(OSError):
            listener.accept()[0].close()

    listener.setblocking(False)
    loop.add_reader(listener, hang_up)
    try:
        yield
    finally:
        loop.remove_reader(listener)
        listener.close()
