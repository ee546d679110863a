"""What disguises do: the same texts plain and in every disguise, with the views and without.

The views are what undoes a disguise, so the raw score says what the classifier alone makes of it.
Rules that deny certain findings, such as invisible characters, are the server's and not counted here.
"""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from extauthz.core.call import Passage, Provenance
from extauthz.training.disguises import DISGUISES, Disguise
from extauthz.training.evaluation.metrics import Scores, Share, denied, share
from extauthz.training.evaluation.sets import Placed
from extauthz.training.evaluation.text_table import DASH, aligned, percent, with_interval

#: The score of each text as it is written, and that of its worst view.
RawAndWorst = Callable[[Sequence[Passage]], tuple[Scores, Scores]]

PLAIN: Final = "plain"
_HEAD: Final = ("disguise", "recall %", "of plain", "FPR %", "raw: recall %", "of plain", "FPR %")


@dataclass(frozen=True, slots=True)
class Decided:
    """What is denied of texts in one disguise, looked at in one way.

    `of_plain` is the recall relative to that of plain texts with all views.
    """

    recall: Share | None
    of_plain: float | None
    false_positive_rate: Share | None


@dataclass(frozen=True, slots=True)
class Disguised:
    """One disguise, with all views as the server has them by default, and with the raw text alone."""

    disguise: str
    views: Decided
    raw: Decided


def by_disguise(
    chosen: Sequence[Placed], score: RawAndWorst, thresholds: Mapping[Provenance, float]
) -> list[Disguised]:
    """A line for the plain texts, and for each of DISGUISES."""
    disguises: dict[str, Disguise] = {PLAIN: lambda text, _rng: text, **DISGUISES}
    attack = np.array([one.is_attack for one in chosen], np.bool_)
    at = np.array([thresholds[one.row.channel] for one in chosen])
    plain: Share | None = None
    found: list[Disguised] = []
    for name, disguise in disguises.items():
        flags = [denied(scores, at) for scores in score(list(_dressed(chosen, name, disguise)))]
        recall_raw, recall = (share(one[attack]) for one in flags)
        alarms_raw, alarms = (share(one[~attack]) for one in flags)
        plain = plain or recall
        views = Decided(recall, _relative(recall, plain), alarms)
        found.append(
            Disguised(name, views, Decided(recall_raw, _relative(recall_raw, plain), alarms_raw))
        )
    return found


def render(lines: Sequence[Disguised]) -> str:
    """The lines as a table in percent."""
    rows = [
        [line.disguise, *_cells(line.views, with_interval), *_cells(line.raw, percent)]
        for line in lines
    ]
    return aligned(_HEAD, rows)


def _dressed(chosen: Sequence[Placed], name: str, disguise: Disguise) -> Iterator[Passage]:
    for index, one in enumerate(chosen):
        rng = random.Random(f"{name} {index}")  # noqa: S311 - nothing is secret
        yield Passage(one.row.channel, disguise(one.row.text, rng))


def _relative(recall: Share | None, plain: Share | None) -> float | None:
    return recall.value / plain.value if recall and plain and plain.hits else None


def _cells(decided: Decided, written: Callable[[Share | None], str]) -> Iterator[str]:
    yield written(decided.recall)
    yield DASH if decided.of_plain is None else f"{decided.of_plain:.2f}"
    yield written(decided.false_positive_rate)
