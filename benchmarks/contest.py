"""One piece of work done in several ways."""

from collections.abc import Callable
from dataclasses import dataclass

Run = Callable[[], object]


@dataclass(frozen=True)
class Contest:
    """Up to three ways to do the same work on one input. NumPy has no natural form of some."""

    kernel: Run
    python: Run
    numpy: Run | None
