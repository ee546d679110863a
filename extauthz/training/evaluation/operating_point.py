"""The thresholds that a measurement is made at: the model's own, or one for every channel."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from extauthz.core.call import Provenance
from extauthz.model.directory import ModelDirectory
from extauthz.training.evaluation.metrics import Scores, denied, threshold_at
from extauthz.training.evaluation.sets import Placed

#: Of benign rows that one threshold for everything may flag, where nobody says.
EVERYDAY_RATE: Final = 0.01


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """Thresholds by channel, and in words how they came about.

    `set_by` are the rows that one threshold was set by, and that reach it.
    """

    thresholds: Mapping[Provenance, float]
    told: str
    set_by: tuple[str, ...] = ()


def of_model(directory: ModelDirectory, rate: float | None) -> OperatingPoint:
    """What the server would deny at: the model's own thresholds, or those calibrated for a rate.

    Raises `ModelError` for a rate that was never measured.
    """
    told = "the model's own" if rate is None else f"the model's for a rate of {rate:g}"
    return OperatingPoint(directory.thresholds(rate), told)


def fixed(threshold: float) -> OperatingPoint:
    """One threshold for every channel. Raises ValueError for none that a score could reach."""
    if not 0 < threshold <= 1:
        msg = f"threshold {threshold:g}, expected a number above 0 and up to 1"
        raise ValueError(msg)
    return OperatingPoint(dict.fromkeys(Provenance, threshold), f"{threshold:g} for every channel")


def everyday(name: str, rate: float, placed: Sequence[Placed], scores: Scores) -> OperatingPoint:
    """One threshold for every channel, which at most `rate` of the benign rows of one set or kind reach.

    Raises ValueError when there are none of that name, or too few to see the rate, or when more of
    them have a score that is no number.
    """
    if not 0 < rate < 1:
        msg = f"rate {rate:g}, expected a share between 0 and 1"
        raise ValueError(msg)
    chosen = [
        index
        for index, one in enumerate(placed)
        if not one.is_attack and name in (one.of_set, one.path.name, str(one.path), one.row.kind)
    ]
    if len(chosen) * rate < 1:
        msg = f"{len(chosen)} benign rows in a set or of a kind {name!r}: too few for a rate of {rate:g}"
        raise ValueError(msg)
    threshold = threshold_at(scores[chosen], rate)
    if not math.isfinite(threshold):
        msg = f"the model gives no number for more than {rate:g} of the benign rows of {name}"
        raise ValueError(msg)
    flagged = [chosen[index] for index in np.flatnonzero(denied(scores[chosen], threshold))]
    told = (
        f"{threshold:.6f} for every channel: {len(flagged)} of {len(chosen)} benign rows of {name} "
        f"({100 * len(flagged) / len(chosen):.2f} %) reach it"
    )
    by = tuple(str(placed[index]) for index in flagged)
    return OperatingPoint(dict.fromkeys(Provenance, threshold), told, by)
