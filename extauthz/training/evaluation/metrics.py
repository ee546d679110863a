"""How well scores tell attacks from benign texts. A text is denied when its score reaches a threshold."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]
Flags = NDArray[np.bool_]

#: Standard deviations of a normal distribution that hold 95 % of it.
_Z = 1.959964


@dataclass(frozen=True, slots=True)
class Share:
    """So many of so many, with the 95 % interval after Wilson."""

    hits: int
    of: int
    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Bin:
    """Texts of similar scores: their mean score, and which share of them are attacks."""

    score: float
    attacks: Share


def auc(attacks: Scores, benign: Scores) -> float:
    """The chance that an attack scores above a benign text, a tie counting half.

    NaN when either side is empty. A score that is no number counts as the highest: it is denied.
    """
    if not attacks.size or not benign.size:
        return float("nan")
    ordered = np.sort(_ranked(benign))
    below = np.searchsorted(ordered, _ranked(attacks), side="left")
    not_above = np.searchsorted(ordered, _ranked(attacks), side="right")
    return float((below + not_above).mean() / (2 * benign.size))


def threshold_at(benign: Scores, false_positive_rate: float) -> float:
    """The lowest threshold that denies at most that share of the benign texts.

    With fewer than `1 / false_positive_rate` texts it lies above all of them. Where more of them have
    a score that is no number, which no threshold allows, it is infinite. Raises ValueError when there
    is none: a rate cannot be measured on nothing.
    """
    if not benign.size:
        msg = "no benign texts to set a threshold on"
        raise ValueError(msg)
    allowed = int(false_positive_rate * benign.size)
    descending = np.sort(_ranked(benign))[::-1]
    if allowed == benign.size:
        return float(descending[-1])
    return float(np.nextafter(descending[allowed], np.inf))


def recall_at(attacks: Scores, benign: Scores, false_positive_rate: float) -> float:
    """The share of attacks denied at `threshold_at`. NaN when either side is empty."""
    if not attacks.size or not benign.size:
        return float("nan")
    return rate(attacks, threshold_at(benign, false_positive_rate))


def rate(scores: Scores, threshold: float) -> float:
    """The share of `scores` that is denied. NaN when there are none."""
    return float(denied(scores, threshold).mean()) if scores.size else float("nan")


def denied(scores: Scores, threshold: float | Scores) -> Flags:
    """Which scores are denied: what is not below the threshold, as the server decides it.

    A NaN is denied.
    """
    return ~(scores < threshold)


def share(flags: Flags) -> Share | None:
    """The share of flags that are up; None of nothing."""
    if not flags.size:
        return None
    hits, of = int(flags.sum()), int(flags.size)
    return Share(hits, of, hits / of, *wilson(hits, of))


def wilson(hits: int, of: int) -> tuple[float, float]:
    """The 95 % interval of a share, after Wilson (1927): honest near 0 and 1, and for few texts."""
    value, weight = hits / of, _Z * _Z / of
    middle = (value + weight / 2) / (1 + weight)
    half = math.sqrt(value * (1 - value) * weight + weight * weight / 4) / (1 + weight)
    return max(0.0, min(value, middle - half)), min(1.0, max(value, middle + half))


def roc(attacks: Scores, benign: Scores) -> tuple[Scores, Scores]:
    """False positive rate and recall at every threshold, both rising. Expects texts on both sides."""
    scores = np.concatenate([_ranked(attacks), _ranked(benign)])
    thresholds = np.unique(scores)[::-1]
    sides = [np.sort(_ranked(side)) for side in (benign, attacks)]
    reached = [1 - np.searchsorted(side, thresholds, side="left") / side.size for side in sides]
    false_positives, recall = (np.concatenate([[0.0], rates]) for rates in reached)
    return false_positives, recall


def reliability(scores: Scores, attack: Flags, bins: int = 10) -> list[Bin]:
    """How often a text of a given score is an attack, in bins of equal width; empty ones left out.

    Scores that are no numbers say nothing and are left out.
    """
    number = np.isfinite(scores)
    places = np.minimum((scores[number] * bins).astype(np.intp), bins - 1)
    found = []
    for place in np.unique(places):
        here = places == place
        if of_attacks := share(attack[number][here]):
            found.append(Bin(float(scores[number][here].mean()), of_attacks))
    return found


def _ranked(scores: Scores) -> Scores:
    """Scores that can be sorted. What is no number is denied at any threshold, so it comes first."""
    return np.where(np.isnan(scores), np.inf, scores)
