"""Rows with a place, for the tests of what is measured on them."""

from pathlib import Path
from typing import Any

from extauthz.training.evaluation.sets import Placed
from tests.training.texts import row


def placed(
    label: int, text: str = "a text", *, of_set: str = "a", line: int = 1, **changes: Any
) -> Placed:
    """A row of a set, changed in the named fields of `Row`."""
    return Placed(row(text, label=label, **changes), of_set, Path(f"{of_set}.jsonl"), line)
