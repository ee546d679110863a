"""Measurements as aligned columns of text."""

from collections.abc import Sequence
from typing import Final

from extauthz.training.evaluation.metrics import Share

#: What could not be measured.
DASH: Final = "-"
#: Longer names end in an ellipsis, so that a table fits a terminal.
_WIDEST_NAME: Final = 42


def aligned(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Rows below their head: names to the left, figures to the right."""
    named = [[_clipped(row[0]), *row[1:]] for row in rows]
    widths = [max(map(len, column)) for column in zip(head, *named, strict=True)]
    return "\n".join(_line(row, widths) for row in [head, *named])


def percent(share: Share | None, digits: int = 1) -> str:
    """A share in percent, or a dash."""
    return DASH if share is None else f"{100 * share.value:.{digits}f}"


def with_interval(share: Share | None, digits: int = 1) -> str:
    """A share in percent with its 95 % interval, or a dash."""
    if share is None:
        return DASH
    low, high = 100 * share.low, 100 * share.high
    return f"{percent(share, digits)} ({low:.{digits}f}-{high:.{digits}f})"


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    name, *figures = row
    cells = [figure.rjust(width) for figure, width in zip(figures, widths[1:], strict=True)]
    return "  ".join([name.ljust(widths[0]), *cells])


def _clipped(name: str) -> str:
    return name if len(name) <= _WIDEST_NAME else f"{name[: _WIDEST_NAME - 1]}…"
