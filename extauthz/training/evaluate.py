"""`extauthz evaluate MODEL_DIR DATA...`: what a model directory does on labelled texts.

Needs no torch: texts are scored as the server scores them.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from extauthz.core.call import Provenance
from extauthz.training.metrics import Scores, auc, rate, recall_at
from extauthz.training.rows import Row, read_rows
from extauthz.training.score import WindowScorer


@dataclass(frozen=True, slots=True)
class Line:
    """One group of rows. Its attacks are ranked against all benign rows of their channels."""

    group: str
    attacks: int
    benign: int
    auc: float
    recall_at_1_percent: float
    recall_at_01_percent: float
    recall: float
    false_positive_rate: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `extauthz evaluate`."""
    parser.add_argument("model", type=Path, metavar="MODEL_DIR")
    parser.add_argument("data", nargs="+", type=Path, metavar="DATA", help=".jsonl or .jsonl.gz")
    parser.add_argument("--split", choices=("train", "dev", "all"), default="all")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures here")
    parser.add_argument("--threads", type=int, default=1)


def run(args: argparse.Namespace) -> int:
    """Prints a table; 0 when every row was scored. Raises `RowError`, `ModelError` or `OSError`."""
    files = {path.name: _of_split(read_rows([path]), args.split) for path in args.data}
    scorer = WindowScorer(args.model, args.threads)
    rows = [row for of_file in files.values() for row in of_file]
    if not rows:
        print(f"no labelled rows of split {args.split}")
        return 1
    names = [name for name, of_file in files.items() for _ in of_file]
    scores = scorer.texts([row.text for row in rows])
    lines = table(rows, names, scores, scorer.directory.thresholds)
    print(render(lines))
    if args.json:
        report = {"model": scorer.directory.digest, "lines": [asdict(line) for line in lines]}
        args.json.write_text(json.dumps(report, indent=1).replace("NaN", "null") + "\n")
    return 0


def table(
    rows: Sequence[Row],
    names: Sequence[str],
    scores: Scores,
    thresholds: Mapping[Provenance, float],
) -> list[Line]:
    """A line for everything, for each channel, each file, and each kind within its channel."""
    groups: dict[str, list[int]] = {}
    for index, (row, name) in enumerate(zip(rows, names, strict=True)):
        for group in (
            "all",
            f"channel {row.channel}",
            f"file {name}",
            f"kind {row.kind} ({row.channel})",
        ):
            groups.setdefault(group, []).append(index)
    facts = _Facts(rows, scores, thresholds)
    return [facts.line(group, np.array(groups[group])) for group in sorted(groups)]


class _Facts:
    """Rows as columns."""

    def __init__(
        self, rows: Sequence[Row], scores: Scores, thresholds: Mapping[Provenance, float]
    ) -> None:
        self.scores = scores
        self.attack = np.array([row.label == 1 for row in rows])
        self.channel = np.array([row.channel for row in rows])
        at = np.array([thresholds[Provenance(row.channel)] for row in rows])
        self.denied = ~(scores < at)

    def line(self, group: str, chosen: np.ndarray[tuple[int], np.dtype[np.intp]]) -> Line:
        attack, channel = self.attack[chosen], np.unique(self.channel[chosen])
        attacks = self.scores[chosen[attack]]
        benign = self.scores[~self.attack & np.isin(self.channel, channel)]
        return Line(
            group=group,
            attacks=int(attack.sum()),
            benign=int((~attack).sum()),
            auc=auc(attacks, benign),
            recall_at_1_percent=recall_at(attacks, benign, 0.01),
            recall_at_01_percent=recall_at(attacks, benign, 0.001),
            recall=_mean(self.denied[chosen[attack]]),
            false_positive_rate=_mean(self.denied[chosen[~attack]]),
        )


def render(lines: Sequence[Line]) -> str:
    """The lines as a table; a figure that cannot be measured is a dash."""
    head = ("group", "attacks", "benign", "AUC", "R@1%", "R@0.1%", "recall", "FPR")
    cells = [[_cell(value) for value in asdict(line).values()] for line in lines]
    widths = [max(len(row[i]) for row in [list(head), *cells]) for i in range(len(head))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if place == 0 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in [list(head), *cells]
    )


def _of_split(rows: Sequence[Row], split: str) -> list[Row]:
    return [row for row in rows if split in ("all", row.split)]


def _mean(flags: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> float:
    return rate(flags.astype(np.float64), 0.5)


def _cell(value: str | float) -> str:
    if isinstance(value, float):
        return "-" if np.isnan(value) else f"{value:.4f}"
    return str(value)
