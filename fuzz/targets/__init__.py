"""One module a target: `check(data)` returns, or raises for what must never happen.

Targets do not know Atheris, so the tests can replay the seeds without it.
"""

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class BrokenError(Exception):
    """What must hold for every input does not hold for this one."""


def require(holds: bool, what: str) -> None:
    """Raise BrokenError unless it holds. No assert: it must not vanish under -O."""
    if not holds:
        raise BrokenError(what)


class Choices:
    """The input of a target, taken from the front: a byte for each choice, then what is left.

    Reading past the end gives the first option and no bytes, so every input means something.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def pick(self, options: Sequence[T]) -> T:
        """The option that the next byte names."""
        byte = self._data[self._at] if self._at < len(self._data) else 0
        self._at += 1
        return options[byte % len(options)]

    def rest(self) -> bytes:
        """What no choice has used."""
        return self._data[self._at :]
