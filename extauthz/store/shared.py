"""Counters in a file that several processes of one machine have in their memory.

One process at a time changes them, under the file's lock: a request has up to sixteen counters and a
reservation, all of which change or none, and no single atomic instruction can do that. The system lets
go of the lock when its holder dies, however it dies; what it had begun is in the journal, and the next
one to enter finishes it. A lock and its release cost less than a microsecond.
"""

import fcntl
import mmap
import os
import time
from hashlib import blake2b
from pathlib import Path
from secrets import token_bytes
from types import TracebackType
from typing import Final, Self

import numpy as np

from extauthz.store.ledger import Cells, cells_in, cells_size
from extauthz_kernels import ledger as kernels

#: Changes when the arrays do.
_MAGIC: Final = b"extauthz counters 1\n"
_SECRET_BYTES: Final = 32
_BOOT_BYTES: Final = 16
_HEAD_BYTES: Final = 4_096
#: Where the system says since when it runs: instants of an earlier run mean nothing.
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
#: A holder needs some microseconds, and a few milliseconds where the system puts it aside.
_PATIENCE_S: Final = 0.005


class BusyError(Exception):
    """Another process has held the counters for too long: it is stopped, or the machine is."""


class SharedCells:
    """The arrays of a ledger in a file, and its lock: `with` it, they are this process's alone."""

    def __init__(self, path: Path, counters: int, reservations: int) -> None:
        """Open the file at `path`, or make it. Both sizes are powers of two.

        OSError when it cannot be opened; ValueError when it is another kind of file, or was made for
        other sizes.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._file: Final = os.open(path, flags, 0o600)
        try:
            _check_owner(self._file, path)
            fcntl.flock(self._file, fcntl.LOCK_EX)
            head = _head(counters, reservations)
            size = _HEAD_BYTES + cells_size(counters, reservations)
            begun = os.pread(self._file, len(head) + _BOOT_BYTES + _SECRET_BYTES, 0)
            if any(begun) and not begun.startswith(head):
                msg = f"{path} holds something else, or counters for other sizes: remove it first"
                raise ValueError(msg)
            self.secret: Final = self._begin(begun, head, size)
            self._map: Final = mmap.mmap(self._file, size)
        except BaseException:
            os.close(self._file)
            raise
        fcntl.flock(self._file, fcntl.LOCK_UN)
        self._latest: Final = np.frombuffer(self._map, np.int64, 1, offset=_HEAD_BYTES - 8)
        memory = np.frombuffer(self._map, np.int64, offset=_HEAD_BYTES)
        self.cells: Final[Cells] = cells_in(memory, counters, reservations)

    def _begin(self, begun: bytes, head: bytes, size: int) -> bytes:
        """The file's secret. A file that is new, or from before the machine started, is emptied."""
        boot = _boot()
        if begun[len(head) : len(head) + _BOOT_BYTES] == boot:
            return begun[len(head) + _BOOT_BYTES :]
        secret = token_bytes(_SECRET_BYTES)
        os.ftruncate(self._file, 0)
        os.ftruncate(self._file, size)
        # All of it now: a page that the file system has no room for later would end the process.
        if hasattr(os, "posix_fallocate"):  # not on macOS
            os.posix_fallocate(self._file, 0, size)
        os.pwrite(self._file, head + boot + secret, 0)
        return secret

    def instant(self, now: int) -> int:
        """`now`, or what the last one who held the lock took for it, if that is later.

        Whoever waits for the lock has looked at the clock before it gets it, and nobody may reserve
        in a counter before it began.
        """
        self._latest[0] = max(now, self._latest[0])
        return int(self._latest[0])

    def __enter__(self) -> Self:
        """Wait for the lock, a few milliseconds at most. BusyError after that."""
        until = time.monotonic() + _PATIENCE_S
        while True:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > until:
                    raise BusyError from None
                os.sched_yield()
            else:
                break
        if self.cells.journal[0]:
            kernels.redo(self.cells.counters, self.cells.heads, self.cells.journal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: object, trace: TracebackType | None
    ) -> None:
        fcntl.flock(self._file, fcntl.LOCK_UN)


def _check_owner(file: int, path: Path) -> None:
    """ValueError where others could change what is counted, or hold the lock."""
    found = os.fstat(file)
    if found.st_uid != os.geteuid() or found.st_mode & 0o077:
        msg = f"{path} is not this user's alone: remove it first"
        raise ValueError(msg)


def _head(counters: int, reservations: int) -> bytes:
    return _MAGIC + counters.to_bytes(8, "little") + reservations.to_bytes(8, "little")


def _boot() -> bytes:
    """What tells one run of the machine from another; the same for all where it does not say."""
    try:
        name = _BOOT_ID.read_bytes()
    except OSError:
        name = b"unknown"
    return blake2b(name, digest_size=_BOOT_BYTES).digest()
