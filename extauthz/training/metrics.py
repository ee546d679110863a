"""How well scores tell attacks from benign texts. A text is denied when its score reaches a threshold."""

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]


def auc(attacks: Scores, benign: Scores) -> float:
    """The chance that an attack scores above a benign text, a tie counting half.

    NaN when either side is empty.
    """
    if not attacks.size or not benign.size:
        return float("nan")
    ordered = np.sort(benign)
    below = np.searchsorted(ordered, attacks, side="left")
    not_above = np.searchsorted(ordered, attacks, side="right")
    return float((below + not_above).mean() / (2 * benign.size))


def threshold_at(benign: Scores, false_positive_rate: float) -> float:
    """The lowest threshold that denies at most that share of the benign texts.

    With fewer than `1 / false_positive_rate` texts it lies above all of them. Raises ValueError
    when there is none: a rate cannot be measured on nothing.
    """
    if not benign.size:
        msg = "no benign texts to set a threshold on"
        raise ValueError(msg)
    allowed = int(false_positive_rate * benign.size)
    descending = np.sort(benign)[::-1]
    if allowed == benign.size:
        return float(descending[-1])
    return float(np.nextafter(descending[allowed], np.inf))


def recall_at(attacks: Scores, benign: Scores, false_positive_rate: float) -> float:
    """The share of attacks denied at `threshold_at`. NaN when either side is empty."""
    if not attacks.size or not benign.size:
        return float("nan")
    return rate(attacks, threshold_at(benign, false_positive_rate))


def rate(scores: Scores, threshold: float) -> float:
    """The share of `scores` that is denied. NaN when there are none.

    Denied is what is not below the threshold, as the server decides it: a NaN is denied.
    """
    return float((~(scores < threshold)).mean()) if scores.size else float("nan")
