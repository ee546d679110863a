"""The table of the demo: rows as they come, colours and a progress line on a terminal only."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TextIO

_GREEN, _RED, _CYAN, _DIM, _BOLD = "32", "31", "36", "2", "1"
_COLOURS: Final = {"allow": _GREEN, "deny": _RED, "mutate": _CYAN}
_WIDTHS: Final = (46, 9, 22, 7, 10)


@dataclass(frozen=True, slots=True)
class Row:
    """What became of one request. `faults` says how it differs from what was expected."""

    name: str
    verdict: str
    reason: str
    score: float | None
    check_ms: float | None
    faults: tuple[str, ...]


class Table:
    """Writes rows, and below them what is being done now."""

    def __init__(self, out: TextIO) -> None:
        """Write to `out`; NO_COLOR in the environment is honoured."""
        self._out: Final = out
        self._live: Final = out.isatty()
        self._colours: Final = self._live and not os.environ.get("NO_COLOR")

    def progress(self, text: str) -> None:
        """Say what is being done: one line, rewritten; nothing where it could not be rewritten."""
        if self._live:
            self._out.write(f"\r\x1b[K  {self._paint(text, _DIM)}")
            self._out.flush()

    def line(self, text: str = "") -> None:
        """One line for good."""
        self._out.write(("\r\x1b[K" if self._live else "") + text + "\n")
        self._out.flush()

    def head(self) -> None:
        """Names of the columns."""
        self.line()
        names = _cells(("request", "verdict", "reason", "score", "check"))
        self.line("   " + self._paint(names, _BOLD))
        self.line("   " + "─" * len(names))

    def row(self, row: Row) -> None:
        """One result, and how it differs from what was expected."""
        score = "" if row.score is None else f"{row.score:.4f}"
        check = "" if row.check_ms is None else f"{row.check_ms:.1f} ms"
        text = _cells((row.name, row.verdict, row.reason, score, check))
        start, word = _WIDTHS[0] + 1, row.verdict.split()[0]
        coloured = text[:start] + text[start:].replace(
            word, self._paint(word, _COLOURS.get(word, _DIM)), 1
        )
        mark = self._paint("✗", _RED) if row.faults else self._paint("✓", _GREEN)
        self.line(f" {mark} {coloured}".rstrip())
        for fault in row.faults:
            self.line(self._paint(f"     {fault}", _RED))

    def _paint(self, text: str, colour: str) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self._colours else text


def _cells(texts: Sequence[str]) -> str:
    *left, score, check = texts
    words = [text.ljust(width) for text, width in zip(left, _WIDTHS, strict=False)]
    return " ".join([*words, score.rjust(_WIDTHS[3]), check.rjust(_WIDTHS[4])])
