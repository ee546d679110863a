"""Data sets as they are measured: labelled rows, each with the file and the line it was read from."""

import gzip
import json
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from extauthz.core.call import Passage
from extauthz.training.rows import Row, read_rows

#: The same rows are drawn every time, so that two models are asked the same.
_SEED: Final = 7


@dataclass(frozen=True, slots=True)
class Placed:
    """A labelled row and where it was read from.

    Attributes:
        row: the text and what is known of it.
        of_set: the name of its set: the file's, without endings; its path where two are alike.
        path: the file.
        line: counted from 1.
    """

    row: Row
    of_set: str
    path: Path
    line: int

    @property
    def passage(self) -> Passage:
        """The text as the scorer takes it."""
        return Passage(self.row.channel, self.row.text)

    @property
    def is_attack(self) -> bool:
        """Whether the label says so."""
        return self.row.label == 1

    def __str__(self) -> str:
        return f"{self.path}:{self.line}"


def read_sets(paths: Iterable[Path], split: str = "all") -> list[Placed]:
    """The rows of all files that belong to `split` (train, dev or all), in order.

    Raises `RowError` for a line that cannot be read and `OSError` for a file that cannot be opened.
    """
    files = [file for path in paths for file in _files(path)]
    times = Counter(map(_stem, files))
    return [
        Placed(row, _stem(file) if times[_stem(file)] == 1 else str(file), file, line)
        for file in files
        for row, line in zip(read_rows([file]), _lines(file), strict=True)
        if split in ("all", row.split)
    ]


def sample(placed: Sequence[Placed], size: int) -> list[Placed]:
    """At most `size` of them in their order; the same ones whenever they are asked for."""
    rng = random.Random(_SEED)  # noqa: S311 - nothing is secret
    chosen = rng.sample(range(len(placed)), min(size, len(placed)))
    return [placed[index] for index in sorted(chosen)]


def _files(path: Path) -> list[Path]:
    """A folder as the files in it. One without any is left for `read_rows` to refuse."""
    inside = sorted([*path.glob("*.jsonl"), *path.glob("*.jsonl.gz")]) if path.is_dir() else []
    return inside or [path]


def _stem(file: Path) -> str:
    return file.name.split(".")[0]


def _lines(file: Path) -> Iterator[int]:
    """The numbers of the lines that are rows, in a file that was read: their label is not null."""
    opened = gzip.open if file.suffix == ".gz" else open
    with opened(file, "rt", encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if json.loads(line)["label"] is not None:
                yield number
