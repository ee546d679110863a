"""Regular expressions in linear time. This is the only door to RE2.

RE2 has no backreferences and no lookaround, and no text makes it backtrack. The cost of a byte is
some 2 ns once the automaton is warm. A pattern that counts what it also starts with (`a.{300}b`)
can be made to rebuild its automaton at every byte: some 10 ns for each instruction then, which is
why policies may hold so many and no more. Matching lets go of the interpreter lock.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Final

import re2

#: Of one set, automaton included. It is taken as texts need it, seldom more than a few MiB.
_MAX_MEMORY: Final = 32 * 1024 * 1024

#: What can stand before and after an empty match, for all that ^ $ \A \z \b \B can tell.
_NEIGHBOURS: Final = ("", "\n", "a", ".")


class TooLargeError(ValueError):
    """Patterns that are usable one by one do not fit together."""


class NamedSet:
    """Patterns with names, looked for in one pass. Threads may share it."""

    def __init__(self, patterns: Iterable[tuple[str, str]]) -> None:
        """Compile pairs of (name, RE2 pattern); several may share a name.

        Raises TooLargeError, or `re2.error` for what `refusal` would have told.
        """
        self._names: list[str] = []
        self._set: Any = re2.Set.SearchSet(_options())
        for name, pattern in patterns:
            self._set.Add(pattern)
            self._names.append(name)
        try:
            self._set.Compile()
        except re2.error as error:
            raise TooLargeError(str(error)) from None

    def find(self, utf8: bytes) -> frozenset[str]:
        """Names of the patterns that occur in a text (`encode`)."""
        if not self._names:
            return _NOTHING
        return frozenset(self._names[index] for index in self._set.Match(utf8) or ())


_NOTHING: Final[frozenset[str]] = frozenset()


class Occurrences:
    """One pattern, of which every occurrence counts."""

    def __init__(self, pattern: str) -> None:
        """Compile an RE2 pattern."""
        self._pattern: Final[Any] = re2.compile(pattern.encode(), _options())

    def each(self, utf8: bytes) -> Iterator[object]:
        """One object for each occurrence, found when it is asked for."""
        yield from self._pattern.finditer(utf8)


def encode(text: str) -> bytes:
    """UTF-8 as RE2 reads it. Total: a lone surrogate, which no body can hold, becomes `?`."""
    return text.encode("utf-8", "replace")


def refusal(pattern: str) -> str:
    """Why `pattern` cannot be looked for, in RE2's words where they are; empty if it can."""
    try:
        compiled = re2.compile(pattern, _options())
    except re2.error as error:
        return bytes(error.args[0]).decode("utf-8", "replace")
    if _matches_nothing(compiled):
        return "it matches between two characters, and so in every text"
    return ""


def instructions(pattern: str) -> int:
    """How long the program of a pattern is that `refusal` has nothing against."""
    return int(re2.compile(pattern, _options()).programsize)


def either(literals: Iterable[str]) -> str:
    """One pattern for any of `literals`, without regard to case.

    Sorted, because RE2 shares the beginnings of neighbours only: 5,000 literals in any order cost
    a hostile text 36 us a byte, and sorted 0.05 us.
    """
    return f"(?i:{'|'.join(map(re2.escape, sorted(literals, key=str.lower)))})"


def _options() -> Any:  # noqa: ANN401 - RE2's bindings have no types
    options = re2.Options()
    options.max_mem = _MAX_MEMORY
    options.never_capture = True
    options.log_errors = False
    return options


def _matches_nothing(compiled: Any) -> bool:  # noqa: ANN401
    return any(
        compiled.fullmatch(before + after, len(before), len(before))
        for before in _NEIGHBOURS
        for after in _NEIGHBOURS
    )
