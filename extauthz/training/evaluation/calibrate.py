"""`extauthz calibrate --traffic FILE... --out FILE`: what a score means, measured on honest texts.

Needs no torch: texts are scored as the server scores them.
"""

import argparse
import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from extauthz.core.call import Passage, Provenance
from extauthz.model import calibration
from extauthz.model.calibration import RATES, Calibration
from extauthz.model.directory import UNCALIBRATED_THRESHOLD
from extauthz.settings import DEFAULT_MODEL
from extauthz.training.evaluation.metrics import Scores, threshold_at
from extauthz.training.evaluation.score import WindowScorer
from extauthz.training.rows import read_rows

RATE: Final = 0.005
#: At the usual rate one text in so many is denied. Of fewer texts the threshold would be the highest
#: score, whatever text happened to have it.
LEAST_TEXTS: Final = 200
_DECIMALS: Final = 6
#: Where nothing like a provenance was measured: the usual meaning of a score is all there is.
_LEAST: Final = UNCALIBRATED_THRESHOLD
#: Who is most like a provenance that has too few texts of its own.
_ALIKE: Final[Mapping[Provenance, tuple[Provenance, ...]]] = {
    # What a program fetched, either way; some APIs send it as the one, some as the other.
    Provenance.TOOL_RESULT: (Provenance.DOCUMENT,),
    Provenance.DOCUMENT: (Provenance.TOOL_RESULT,),
    # Written by a programmer and not by a user, with orders in it as some documents have.
    Provenance.TOOL_DEFINITION: (Provenance.TOOL_RESULT, Provenance.DOCUMENT),
    # The honest words of an assistant quote its user and what it read.
    Provenance.ASSISTANT: (Provenance.USER, Provenance.DOCUMENT),
    # Orders throughout, read on every call: a false alarm there stops the application.
    Provenance.SYSTEM: tuple(Provenance),
    Provenance.USER: (),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `extauthz calibrate`."""
    parser.add_argument(
        "--traffic",
        nargs="+",
        type=Path,
        required=True,
        metavar="FILE",
        help='honest texts, one JSON object a line: {"text": "...", "channel": "user"}; channel is '
        f"one of {', '.join(Provenance)}, user where it is left out; .jsonl or .jsonl.gz",
    )
    parser.add_argument("--model", type=Path, default=DEFAULT_MODEL, metavar="DIR")
    parser.add_argument(
        "--rate", type=float, default=RATE, help="of false positives, where a policy names none"
    )
    parser.add_argument("--out", required=True, type=Path, metavar="FILE", help="calibration.json")
    parser.add_argument("--threads", type=int, default=1)


def run(args: argparse.Namespace) -> int:
    """Writes a calibration and prints it as a table.

    Raises ValueError (`RowError` among them), `ModelError` or OSError.
    """
    rows = read_rows(args.traffic, label=0)
    passages = [Passage(row.channel, row.text) for row in rows if row.label == 0]
    places = [passage.provenance for passage in passages]
    _check(places, args.rate)  # before the hours that scores take
    # What the directory has may be the very one to be replaced, of another model or damaged.
    scorer = WindowScorer(args.model, args.threads, ignore_calibration=True)
    model = scorer.directory.graph_digest
    measured = calibrate(places, scorer.texts(passages), model, args.rate)
    calibration.write(args.out, measured)
    print(f"{len(passages)} honest texts, scored by {scorer.directory.name}")
    if skipped := len(rows) - len(passages):
        print(f"{skipped} texts are labelled as attacks: left out")
    print(render(measured, Counter(places)))
    print(f"\nwrote {args.out}. To use it: extauthz serve --calibration {args.out}")
    print("A rule asks for a rate with detect.prompt_injection.false_positive_rate in the policy.")
    return 0


def calibrate(
    provenances: Sequence[Provenance], scores: Scores, model: str, rate: float = RATE
) -> Calibration:
    """Thresholds that honest texts reach at each of RATES, for every provenance.

    A provenance with fewer than LEAST_TEXTS texts borrows the highest thresholds among those most
    like it that have enough: a tool result a document's, and the other way round; a tool definition
    theirs; the assistant's words those of user and document; the system's those of all. Where none of
    these has enough, nothing like it was measured: then it is the highest of all that were, and no
    lower than the usual meaning of a score, 0.5.

    Args:
        provenances: where each text is from.
        scores: (texts,) float64, of whole texts over all views.
        model: whose scores these are: SHA-256 of its graph, hex.
        rate: the one that is meant where nobody names one.

    Raises ValueError when no provenance has enough texts, a score is no number, or the rate is
    finer than RATES.
    """
    counts = _check(provenances, rate)
    if faults := int((~np.isfinite(scores)).sum()):
        msg = f"the model gave no number for {faults} texts"
        raise ValueError(msg)
    places = np.array(provenances)
    texts = {one: count for one, count in counts.items() if count >= LEAST_TEXTS}
    columns = {one: _column(scores[places == one]) for one in texts}
    columns |= {one: _borrowed(one, columns) for one in Provenance if one not in texts}
    thresholds = {one: tuple(columns[one].tolist()) for one in Provenance}
    return Calibration(model, rate, RATES, texts, thresholds)


def lenders(borrower: Provenance, measured: Collection[Provenance]) -> list[Provenance]:
    """Whose thresholds a provenance takes that was not measured, given those that were."""
    among = _ALIKE[borrower] if _is_alike(borrower, measured) else Provenance
    return [one for one in among if one in measured]


def render(measured: Calibration, texts: Mapping[Provenance, int]) -> str:
    """A calibration as a table, with what was borrowed and what was not seen.

    `texts` counts those that there were, also where they are too few.
    """
    head = ["rate", *Provenance]
    rows = [head, ["texts", *(str(texts.get(one, 0)) for one in Provenance)]]
    rows += [_row(measured, index) for index in range(len(measured.rates))]
    lines = ["  ".join(_padded(row, head)).rstrip() for row in rows]
    return "\n".join([*lines, "", *_notes(measured)])


def _row(measured: Calibration, index: int) -> list[str]:
    rate = measured.rates[index]
    usual = next(one for one in measured.rates if one <= measured.false_positive_rate)
    return [
        f"{rate:g}{'*' if rate == usual else ''}",
        *(_cell(measured, one, index) for one in Provenance),
    ]


def _cell(measured: Calibration, provenance: Provenance, index: int) -> str:
    count = measured.texts.get(provenance)
    mark = " " if count is None or measured.rates[index] * count >= 1 else "+"
    return f"{measured.thresholds[provenance][index]:.6f}{mark}"


def _padded(row: Sequence[str], head: Sequence[str]) -> Iterator[str]:
    for index, cell in enumerate(row):
        yield cell.ljust(7) if index == 0 else cell.rjust(max(9, len(head[index])))


def _notes(measured: Calibration) -> Iterator[str]:
    yield f"* the rate where a policy names none ({measured.false_positive_rate:g})"
    seen = [f"{one} {1 / count:.1g}" for one, count in measured.texts.items()]
    yield f"+ finer than one text of those measured ({', '.join(seen)}): just above every score"
    for borrower in Provenance:
        if borrower not in measured.texts:
            lent = f"highest of {', '.join(lenders(borrower, measured.texts))}"
            least = "" if _is_alike(borrower, measured.texts) else f", {_LEAST} at least"
            yield f"{borrower} has fewer than {LEAST_TEXTS} texts: {lent}{least}"


def _is_alike(borrower: Provenance, measured: Collection[Provenance]) -> bool:
    """Whether anything was measured that a provenance is like."""
    return any(one in measured for one in _ALIKE[borrower])


def _borrowed(borrower: Provenance, columns: Mapping[Provenance, Scores]) -> Scores:
    highest: Scores = np.max([columns[one] for one in lenders(borrower, columns)], axis=0)
    return highest if _is_alike(borrower, columns) else np.maximum(highest, _LEAST)


def _check(provenances: Sequence[Provenance], rate: float) -> Counter[Provenance]:
    """How many texts there are of each provenance, if they suffice for a calibration."""
    if not RATES[-1] <= rate < 1:
        msg = f"rate {rate:g}, expected a share of texts from {RATES[-1]:g} to below 1"
        raise ValueError(msg)
    counts = Counter(provenances)
    if max(counts.values(), default=0) < LEAST_TEXTS:
        found = ", ".join(f"{one} {count}" for one, count in counts.items()) or "none"
        msg = f"honest texts: {found}; expected {LEAST_TEXTS} or more from one place at least"
        raise ValueError(msg)
    return counts


def _column(honest: Scores) -> Scores:
    return np.array([_rounded(threshold_at(honest, rate)) for rate in RATES])


def _rounded(threshold: float) -> float:
    """Upwards, so that rounding denies no more than was measured."""
    scale = 10**_DECIMALS
    return min(1.0, (math.floor(threshold * scale) + 1) / scale)
