"""Labelled texts for the tests of training."""

from typing import Any

from extauthz.core.call import Provenance
from extauthz.training.rows import Row

_ROW = Row("a text", 0, "benign", "somewhere", "en", Provenance.USER, "train")


def row(text: str = "a text", **changes: Any) -> Row:
    """An honest English text of a user, changed in the named fields of `Row`."""
    fields = {name: getattr(_ROW, name) for name in Row.__slots__}
    return Row(**fields | {"text": text} | changes)
