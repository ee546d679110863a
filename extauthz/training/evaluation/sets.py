"""Data sets as they are measured: labelled rows, each with the file and the line it was read from."""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from extauthz.core.call import Passage
from extauthz.training.corpus import DEVELOPMENT, numbered_seeds
from extauthz.training.rows import Row, files_of, numbered

#: The same rows are drawn every time, so that two models are asked the same.
_SEED: Final = 7


@dataclass(frozen=True, slots=True)
class Placed:
    """A labelled row and where it was read from.

    Attributes:
        row: the text and what is known of it.
        of_set: the name of its set: the file's, without endings; its path where two are alike.
        path: the file.
        line: counted from 1; in a file of our seeds, which of its texts.
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


def read_sets(paths: Sequence[Path], split: str = "all") -> list[Placed]:
    """The rows of all files that belong to `split` (train, dev or all), in order.

    Without files, our own development set. Raises `RowError` for a line that cannot be read and
    `OSError` for a file that cannot be opened.
    """
    if not paths:
        return [
            Placed(row, "development", file, number)
            for file in sorted(DEVELOPMENT.glob("*.yaml"))
            for number, row in numbered_seeds(file)
            if split in ("all", row.split)
        ]
    files = [file for path in paths for file in files_of(path)]
    times = Counter(map(_stem, files))
    return [
        Placed(row, _stem(file) if times[_stem(file)] == 1 else str(file), file, line)
        for file in files
        for line, row in numbered(file)
        if split in ("all", row.split)
    ]


def sample(placed: Sequence[Placed], size: int) -> list[Placed]:
    """At most `size` of them in their order; the same ones whenever they are asked for."""
    rng = random.Random(_SEED)  # noqa: S311 - nothing is secret
    chosen = rng.sample(range(len(placed)), min(size, len(placed)))
    return [placed[index] for index in sorted(chosen)]


def _stem(file: Path) -> str:
    return file.name.split(".")[0]
