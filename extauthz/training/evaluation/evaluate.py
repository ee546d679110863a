"""`extauthz evaluate DATA...`: what a model directory does on labelled texts.

Every model directory is measured alike: the shipped one, a new one, or a drop-in folder that knows
neither markers nor a calibration. What is measured is the classifier as the server runs it: a text
counts with the worst window of its worst view, is denied at the threshold of its channel, and a score
that is no number is denied. The server's certain rules (invisible characters, patterns, text that
cannot be read) come on top and are not counted. Needs no torch.

    the table       recall and false positives of each group of rows (`groups`)
    --disguises     the same texts plain and in every disguise (`by_disguise`)
    --attempts N    how often one of N random variants of an attack passes (`attempts`)
    --buried N      attacks in N long documents, and these without (`buried`)
    --everyday SET  one threshold for every channel, set on the benign rows of one set or kind
"""

import argparse
import importlib
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import numpy as np

from extauthz.settings import DEFAULT_MODEL
from extauthz.training.evaluation import (
    attempts,
    buried,
    by_disguise,
    groups,
    operating_point,
    report,
    single_rows,
)
from extauthz.training.evaluation.attempts import Success
from extauthz.training.evaluation.buried import Buried
from extauthz.training.evaluation.by_disguise import Disguised
from extauthz.training.evaluation.metrics import Scores
from extauthz.training.evaluation.operating_point import OperatingPoint
from extauthz.training.evaluation.report import Evaluation
from extauthz.training.evaluation.score import WindowScorer
from extauthz.training.evaluation.sets import Placed, read_sets, sample
from extauthz.training.evaluation.text_table import DASH

#: Texts that are scored between two words about progress.
_STRIDE: Final = 2_000
#: Longer texts are not varied: a hundred variants of a book take a day, and nobody disguises one.
_MOST_CHARS: Final = 2_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `extauthz evaluate`."""
    parser.add_argument(
        "data",
        nargs="*",
        type=Path,
        metavar="DATA",
        help=".jsonl, .jsonl.gz or a folder of these; none: our own development set",
    )
    parser.add_argument("--model", type=Path, default=DEFAULT_MODEL, metavar="DIR")
    parser.add_argument("--split", choices=("train", "dev", "all"), default="all")
    parser.add_argument("--threads", type=int, default=1)
    where = parser.add_argument_group("thresholds", "the model's own, unless one of these is given")
    where.add_argument("--rate", type=float, metavar="R", help="of false positives, as calibrated")
    one = where.add_mutually_exclusive_group()
    one.add_argument("--threshold", type=float, metavar="T", help="this one for every channel")
    one.add_argument(
        "--everyday",
        metavar="SET",
        help="one for every channel, which a share of the benign rows of this set or kind reach: "
        f"--rate, or {operating_point.EVERYDAY_RATE:g}",
    )
    more = parser.add_argument_group("more to measure")
    more.add_argument("--disguises", action="store_true", help="texts in every disguise")
    more.add_argument(
        "--attempts", type=int, default=0, metavar="N", help="random variants of each attack"
    )
    more.add_argument(
        "--sample",
        type=int,
        default=200,
        metavar="N",
        help="texts of a class for these two: the same ones every time",
    )
    more.add_argument(
        "--buried",
        type=int,
        default=0,
        metavar="N",
        help="long documents, with an attack and without",
    )
    files = parser.add_argument_group("files to write")
    files.add_argument("--json", type=Path, metavar="FILE", help="every figure with its interval")
    files.add_argument("--scores", type=Path, metavar="FILE", help="the score of each row; no text")
    files.add_argument(
        "--worst", type=Path, metavar="FILE", help="worst misses and false alarms; holds their text"
    )
    files.add_argument("--plots", type=Path, metavar="FOLDER", help="pictures, with matplotlib")


def run(args: argparse.Namespace) -> int:
    """Prints tables and writes the files that were asked for; 0 when every row was scored.

    1 without rows, 2 without matplotlib where it is needed. Raises ValueError (`RowError` among them),
    `ModelError` or OSError.
    """
    if args.plots and find_spec("matplotlib") is None:
        print("--plots needs matplotlib: pip install 'extauthz[plots]'", file=sys.stderr)
        return 2
    _check(args)
    placed = read_sets(args.data, args.split)
    if not placed:
        print(f"no labelled rows of split {args.split}")
        return 1
    scorer = WindowScorer(args.model, args.threads)
    evaluation = _evaluated(args, placed, scorer)
    print(report.as_text(evaluation))
    disguised = _disguised(args, evaluation, scorer) if args.disguises else []
    success = _attempted(args, evaluation, scorer) if args.attempts else None
    found = _buried(args, evaluation, scorer) if args.buried else None
    if args.json:
        told = report.as_json(evaluation, disguised, success, found)
        args.json.write_text(told, encoding="utf-8")
    _write(args, evaluation, success)
    return 0


def _check(args: argparse.Namespace) -> None:
    """Raises ValueError for arguments that contradict each other or count nothing."""
    if args.threshold is not None and args.rate is not None:
        msg = "--threshold is where to deny, and --rate looks for that: expected one of them"
        raise ValueError(msg)
    if args.rate is not None and not 0 < args.rate < 1:
        msg = f"--rate {args.rate:g}, expected a share between 0 and 1"
        raise ValueError(msg)
    if min(args.attempts, args.buried) < 0 or args.sample < 1:
        msg = "--attempts and --buried must be 0 or more, --sample 1 or more"
        raise ValueError(msg)


def _evaluated(
    args: argparse.Namespace, placed: Sequence[Placed], scorer: WindowScorer
) -> Evaluation:
    # A threshold that cannot be had is found out before the hours that scores may take.
    given = None if args.everyday else _given(args, scorer)
    scores = _scored(placed, scorer)
    rate = operating_point.EVERYDAY_RATE if args.rate is None else args.rate
    point = given or operating_point.everyday(args.everyday, rate, placed, scores)
    lines = groups.table(placed, scores, point.thresholds)
    return Evaluation(scorer.directory, placed, scores, point, lines)


def _given(args: argparse.Namespace, scorer: WindowScorer) -> OperatingPoint:
    if args.threshold is not None:
        return operating_point.fixed(args.threshold)
    return operating_point.of_model(scorer.directory, args.rate)


def _scored(placed: Sequence[Placed], scorer: WindowScorer) -> Scores:
    parts = [np.empty(0)]
    for start in range(0, len(placed), _STRIDE):
        parts.append(scorer.texts([one.passage for one in placed[start : start + _STRIDE]]))
        if len(placed) > _STRIDE:
            done = min(start + _STRIDE, len(placed))
            print(f"scored {done} of {len(placed)} texts", file=sys.stderr, flush=True)
    return np.concatenate(parts)


def _disguised(
    args: argparse.Namespace, evaluation: Evaluation, scorer: WindowScorer
) -> list[Disguised]:
    attacks, benign = (_varied(evaluation, label, args.sample) for label in (1, 0))
    thresholds = evaluation.point.thresholds
    found = by_disguise.by_disguise([*attacks, *benign], scorer.raw_and_worst, thresholds)
    print(
        f"\n{len(attacks)} attacks and {len(benign)} benign texts of up to {_MOST_CHARS} characters"
    )
    print(by_disguise.render(found))
    return found


def _attempted(args: argparse.Namespace, evaluation: Evaluation, scorer: WindowScorer) -> Success:
    attacks = [one.passage for one in _varied(evaluation, 1, args.sample)]
    success = attempts.measure(attacks, scorer.texts, evaluation.point.thresholds, args.attempts)
    print(
        f"\n{len(attacks)} attacks of up to {_MOST_CHARS} characters, tried until a variant passes"
    )
    print(attempts.render(success))
    return success


def _buried(args: argparse.Namespace, evaluation: Evaluation, scorer: WindowScorer) -> Buried:
    thresholds = evaluation.point.thresholds
    found = buried.measure(evaluation.placed, scorer.texts, thresholds, args.buried)
    length = DASH if found.mean_length is None else f"{found.mean_length:.0f}"
    print(
        f"\n{found.documents} documents of {length} characters on average, made of {found.texts} "
        f"honest texts, and {found.attacks} attacks to bury in them"
    )
    print(buried.render(found))
    return found


def _varied(evaluation: Evaluation, label: int, size: int) -> list[Placed]:
    """The sample of one class that variants are made of."""
    rows = (one for one in evaluation.placed if one.row.label == label)
    return sample([one for one in rows if len(one.row.text) <= _MOST_CHARS], size)


def _write(args: argparse.Namespace, evaluation: Evaluation, success: Success | None) -> None:
    """The files about single rows, and the pictures."""
    rows = evaluation.placed, evaluation.scores
    thresholds = evaluation.point.thresholds
    if args.scores:
        single_rows.write_scores(args.scores, *rows)
    if args.worst:
        single_rows.write_worst(args.worst, *rows, thresholds)
        print(f"\nwrote {args.worst}: it holds texts of the data, keep it to yourself")
    if args.plots:
        plots = importlib.import_module("extauthz.training.evaluation.plots")
        written = plots.draw(args.plots, evaluation.title, *rows, thresholds)
        if success is not None and success.first_passes:
            written.append(plots.draw_attempts(args.plots, evaluation.title, success))
        print(f"\ndrew {', '.join(map(str, written))}")
