"""Reading labelled texts: one JSON object a line, plain or gzipped."""

import gzip
import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Final, Literal

from extauthz.core.call import Provenance

#: Where text stands that neither the user nor the operator wrote, and an injection in it.
THIRD_PARTY: Final = frozenset({Provenance.DOCUMENT, Provenance.TOOL_RESULT})
#: Members that a line may leave out, and what they are then. `kind` is otherwise the class, and `source`
#: the file.
_DEFAULTS: Final = {"lang": "und", "channel": "user", "split": "train"}
_KINDS: Final = ("benign", "attack")
_SPLITS: Final = ("train", "dev")
#: Members that every line has.
_REQUIRED: Final = ("text", "label")


class RowError(ValueError):
    """A line that is not a labelled text; the message names the file, the line and the expectation."""


@dataclass(frozen=True, slots=True)
class Row:
    """One text with its label (1 attack, 0 benign), where it came from, and where it stands.

    Attributes:
        kind: the family of texts that it belongs to.
        source: who made it; `maker:part` for a part of a source.
        lang: ISO 639-1, `und` where nobody said.
        channel: where a gateway would see it.
        split: `dev` rows are never trained on.
    """

    text: str
    label: Literal[0, 1]
    kind: str
    source: str
    lang: str
    channel: Provenance
    split: str

    @property
    def maker(self) -> str:
        """The source without its part: what is left out at once."""
        return self.source.split(":")[0].split(" (")[0].split("/t0(")[0]


def read_rows(paths: Iterable[Path], label: Literal[0, 1] | None = None) -> list[Row]:
    """The labelled rows of all files, in order; of a folder, those of its `.jsonl` and `.jsonl.gz`.

    Rows with label null belong to neither class and are left out. With `label`, lines that have none
    are of that class. Raises `RowError` for a line it cannot read and `OSError` for a file it
    cannot open.
    """
    return [row for path in paths for file in files_of(path) for _, row in numbered(file, label)]


def data_digest(rows: Iterable[Row]) -> str:
    """`sha256:` and the sha256 over the sorted row digests, so that order does not matter."""
    digests = sorted(_row_digest(row) for row in rows)
    return "sha256:" + hashlib.sha256(b"".join(digests)).hexdigest()


def files_of(path: Path) -> list[Path]:
    """A file itself, or the data files of a folder. Raises `RowError` when it has none."""
    if not path.is_dir():
        return [path]
    found = sorted([*path.glob("*.jsonl"), *path.glob("*.jsonl.gz")])
    if not found:
        raise RowError(f"{path}: expected .jsonl or .jsonl.gz files in this folder, found none")
    return found


def numbered(path: Path, label: Literal[0, 1] | None = None) -> Iterator[tuple[int, Row]]:
    """The labelled rows of one file, each with the number of its line. Raises as `read_rows`."""
    with _open_text(path) as lines:
        for number, line in enumerate(lines, start=1):
            row = _row(line, f"{path}:{number}", path.name.split(".")[0], label)
            if row is not None:
                yield number, row


def _open_text(path: Path) -> IO[str]:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8")
    return path.open(encoding="utf-8")


def _row(line: str, where: str, source: str, label: Literal[0, 1] | None) -> Row | None:
    try:
        value = json.loads(line)
    except ValueError as error:
        raise RowError(f"{where}: not JSON ({error})") from None
    if not isinstance(value, dict):
        raise RowError(f"{where}: expected a JSON object, got {type(value).__name__}")
    if label is not None:
        value.setdefault("label", label)
    if missing := [name for name in _REQUIRED if name not in value]:
        raise RowError(f"{where}: missing {', '.join(missing)}")
    if value["label"] is None:
        return None
    if type(value["label"]) is not int or value["label"] not in (0, 1):
        raise RowError(f"{where}: label must be one of 0, 1, null")
    filled: dict[str, Any] = {
        "kind": _KINDS[value["label"]],
        "source": source,
        **_DEFAULTS,
        **value,
    }
    return Row(
        text=_string(filled, "text", where),
        label=filled["label"],
        kind=_string(filled, "kind", where),
        source=_string(filled, "source", where),
        lang=_string(filled, "lang", where),
        channel=Provenance(_choice(filled, "channel", tuple(Provenance), where)),
        split=_choice(filled, "split", _SPLITS, where),
    )


def _string(value: dict[str, Any], name: str, where: str) -> str:
    found = value[name]
    if not isinstance(found, str):
        raise RowError(f"{where}: {name} must be a string")
    return found


def _choice(value: dict[str, Any], name: str, choices: tuple[str, ...], where: str) -> str:
    if (chosen := _string(value, name, where)) not in choices:
        raise RowError(f"{where}: {name} must be one of {', '.join(choices)}")
    return chosen


def _row_digest(row: Row) -> bytes:
    text = json.dumps(asdict(row), sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).digest()
