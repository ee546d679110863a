"""Our own seeds: texts written by hand for this project, in YAML, one family and language a file.

The files lie in `corpus/`. Those in `corpus/development/` were written apart from the others, by
someone who had not seen them: they are never trained on.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml

from extauthz.core.call import Provenance
from extauthz.training.rows import Row, RowError

FOLDER: Final = Path(__file__).parent / "corpus"
DEVELOPMENT: Final = FOLDER / "development"
_LABELS: Final = ("honest", "attack")
#: Each file is a source of its own, so that none is drawn less of than it holds.
_SOURCES: Final = {"train": "seeds", "dev": "development"}
_MEMBERS: Final = {"label", "channel", "family", "lang", "texts"}
#: Injected passages without the document around them: composition puts them into one.
PAYLOAD: Final = "payload"


def seeds(folder: Path = FOLDER) -> list[Row]:
    """All seeds, in the order of their files. Raises `RowError` for a file that is none."""
    return [row for file in sorted(folder.rglob("*.yaml")) for _, row in numbered_seeds(file)]


def numbered_seeds(file: Path) -> Iterator[tuple[int, Row]]:
    """The seeds of one file, counted from 1. Raises `RowError` for a file that is none."""
    split = "dev" if file.parent == DEVELOPMENT else "train"
    told = _read(file)
    for number, text in enumerate(told["texts"], start=1):
        yield (
            number,
            Row(
                text=text,
                label=1 if told["label"] == "attack" else 0,
                kind=f"own-{told['family']}",
                source=f"{_SOURCES[split]}/{file.stem}",
                lang=told["lang"],
                channel=Provenance(told["channel"]),
                split=split,
            ),
        )


def _read(file: Path) -> dict[str, Any]:
    told = yaml.safe_load(file.read_text(encoding="utf-8"))
    if not isinstance(told, dict) or set(told) != _MEMBERS:
        raise RowError(f"{file}: expected a mapping of {', '.join(sorted(_MEMBERS))}")
    if told["label"] not in _LABELS or told["channel"] not in tuple(Provenance):
        raise RowError(f"{file}: label {told['label']!r} or channel {told['channel']!r} is unknown")
    texts = told["texts"]
    if not isinstance(texts, list) or not all(
        isinstance(one, str) and one.strip() for one in texts
    ):
        raise RowError(f"{file}: texts must be a list of strings that are not blank")
    return told


def is_seed(row: Row) -> bool:
    """Whether a row is one of ours."""
    return row.source.partition("/")[0] in _SOURCES.values()
