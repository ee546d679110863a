"""Reading labelled texts: one JSON object a line, plain or gzipped."""

import gzip
import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import IO, Literal

# An out-of-place task ("write a poem" inside a mail) is an attack only because of where it stands.
# One model that sees text without its channel cannot tell it from an honest user turn.
CHANNEL_ONLY_KINDS = frozenset({"indirect-task"})

_CHOICES: dict[str, tuple[object, ...]] = {
    "label": (0, 1, None),
    "channel": ("user", "document"),
    "split": ("train", "dev"),
}


class RowError(ValueError):
    """A line that is not a labelled text; the message names the file, the line and the expectation."""


@dataclass(frozen=True, slots=True)
class Row:
    """One text with its label (1 attack, 0 benign) and where it came from."""

    text: str
    label: Literal[0, 1]
    kind: str
    source: str
    lang: str
    channel: str
    split: str


_FIELDS = tuple(field.name for field in fields(Row))


def read_rows(paths: Iterable[Path]) -> list[Row]:
    """The labelled rows of all files, in order.

    Rows with label null belong to neither class and are left out. Raises `RowError` for a line it
    cannot read and `OSError` for a file it cannot open.
    """
    return [row for path in paths for row in _rows_of(path)]


def data_digest(rows: Iterable[Row]) -> str:
    """`sha256:` and the sha256 over the sorted row digests, so that order does not matter."""
    digests = sorted(_row_digest(row) for row in rows)
    return "sha256:" + hashlib.sha256(b"".join(digests)).hexdigest()


def _rows_of(path: Path) -> Iterator[Row]:
    with _open_text(path) as lines:
        for number, line in enumerate(lines, start=1):
            row = _row(line, f"{path}:{number}")
            if row is not None:
                yield row


def _open_text(path: Path) -> IO[str]:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8")
    return path.open(encoding="utf-8")


def _row(line: str, where: str) -> Row | None:
    try:
        value = json.loads(line)
    except ValueError as error:
        raise RowError(f"{where}: not JSON ({error})") from None
    if not isinstance(value, dict):
        raise RowError(f"{where}: expected a JSON object, got {type(value).__name__}")
    missing = [name for name in _FIELDS if name not in value]
    if missing:
        raise RowError(f"{where}: missing {', '.join(missing)}")
    _check_types(value, where)
    if value["label"] is None:
        return None
    return Row(**{name: value[name] for name in _FIELDS})


def _check_types(value: dict[str, object], where: str) -> None:
    for name in _FIELDS:
        choices = _CHOICES.get(name)
        if choices is None and not isinstance(value[name], str):
            raise RowError(f"{where}: {name} must be a string")
        if choices is not None and not any(_same(value[name], choice) for choice in choices):
            expected = ", ".join(json.dumps(choice) for choice in choices)
            raise RowError(f"{where}: {name} must be one of {expected}")


def _same(value: object, choice: object) -> bool:
    """Equal and of one type: true is not 1, and neither is 1.0."""
    return type(value) is type(choice) and value == choice


def _row_digest(row: Row) -> bytes:
    text = json.dumps(asdict(row), sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).digest()
