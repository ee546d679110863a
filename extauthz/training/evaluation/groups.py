"""What is measured on groups of rows: by set, channel, kind, language and length."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from extauthz.core.call import Provenance
from extauthz.training.evaluation.metrics import Scores, Share, auc, denied, share, threshold_at
from extauthz.training.evaluation.sets import Placed
from extauthz.training.evaluation.text_table import DASH, aligned, percent, with_interval

#: False positive rates at which groups are compared whatever their thresholds are.
RATES: Final = (0.01, 0.005, 0.001)
#: Characters of a text, and what the texts below are called.
_LENGTHS: Final = ((100, "under 100"), (1_000, "100 to 1k"), (10_000, "1k to 10k"))
_LONGEST: Final = "over 10k"
_HEAD: Final = (
    "group",
    "attacks",
    "benign",
    "AUC",
    "R@1%",
    "R@0.5%",
    "R@0.1%",
    "recall %",
    "FPR %",
)


@dataclass(frozen=True, slots=True)
class Line:
    """One group of rows. None is what could not be measured on them.

    Attributes:
        group: its name.
        attacks: rows that are.
        benign: rows that are.
        ranked_against: benign rows of its channels, also of other groups: its attacks are ranked
            among these.
        auc: the chance that an attack outscores one of these.
        recall_at: by false positive rate, the share of attacks denied at the threshold that so many
            of these reach; None where they are too few to see that rate.
        recall: the share of attacks denied at the thresholds in use.
        false_positive_rate: the share of its benign rows denied at them.
    """

    group: str
    attacks: int
    benign: int
    ranked_against: int
    auc: float | None
    recall_at: Mapping[str, Share | None]
    recall: Share | None
    false_positive_rate: Share | None


def table(
    placed: Sequence[Placed], scores: Scores, thresholds: Mapping[Provenance, float]
) -> list[Line]:
    """A line for everything, each channel, set, kind within its channel, language and length."""
    groups: dict[tuple[int, int | str, str], list[int]] = {}
    for index, one in enumerate(placed):
        for order, (rank, name) in enumerate(_groups_of(one)):
            groups.setdefault((order, rank, name), []).append(index)
    facts = _Facts(placed, scores, thresholds)
    return [facts.line(key[-1], np.array(groups[key])) for key in sorted(groups)]


def render(lines: Sequence[Line]) -> str:
    """The lines as a table in percent; what cannot be measured is a dash."""
    return aligned(_HEAD, [list(_cells(line)) for line in lines])


def _groups_of(one: Placed) -> Iterator[tuple[int, str]]:
    """Its groups, one of each sort; each with its rank among those of the sort."""
    row = one.row
    yield 0, "all"
    yield 0, f"channel {row.channel}"
    yield 0, f"set {one.of_set}"
    yield 0, f"kind {row.kind} ({row.channel})"
    yield 0, f"language {row.lang}"
    length = len(row.text)
    ranks = enumerate(_LENGTHS)
    yield next(
        ((rank, f"length {name}") for rank, (end, name) in ranks if length < end),
        (len(_LENGTHS), f"length {_LONGEST}"),
    )


class _Facts:
    """Rows as columns."""

    def __init__(
        self, placed: Sequence[Placed], scores: Scores, thresholds: Mapping[Provenance, float]
    ) -> None:
        self.scores = scores
        self.attack = np.array([one.is_attack for one in placed])
        self.channel = np.array([one.row.channel for one in placed])
        at = np.array([thresholds[one.row.channel] for one in placed])
        self.denied = denied(scores, at)

    def line(self, group: str, chosen: NDArray[np.intp]) -> Line:
        attack = self.attack[chosen]
        channels = np.unique(self.channel[chosen])
        attacks = self.scores[chosen[attack]]
        benign = self.scores[~self.attack & np.isin(self.channel, channels)]
        return Line(
            group=group,
            attacks=int(attack.sum()),
            benign=int((~attack).sum()),
            ranked_against=int(benign.size),
            auc=auc(attacks, benign) if attacks.size and benign.size else None,
            recall_at={f"{rate:g}": _recall_at(attacks, benign, rate) for rate in RATES},
            recall=share(self.denied[chosen[attack]]),
            false_positive_rate=share(self.denied[chosen[~attack]]),
        )


def _recall_at(attacks: Scores, benign: Scores, rate: float) -> Share | None:
    if benign.size * rate < 1:
        return None  # one benign text more or less would be more than the rate
    return share(denied(attacks, threshold_at(benign, rate)))


def _cells(line: Line) -> Iterator[str]:
    yield line.group
    yield f"{line.attacks}"
    yield f"{line.benign}"
    yield DASH if line.auc is None else f"{line.auc:.4f}"
    yield from (percent(found) for found in line.recall_at.values())
    yield with_interval(line.recall)
    yield with_interval(line.false_positive_rate, digits=2)
