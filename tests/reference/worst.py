"""Slow twin of `worst_windows`, in decimal arithmetic that neither overflows nor rounds early."""

import math
from decimal import Decimal

_SMALLEST = Decimal(-2000)  # e to the -2000 is nothing beside the 1 of the largest logit


def score(logits: list[float], malicious: list[bool]) -> float:
    """Probability mass of the malicious labels; NaN unless every logit is a finite number."""
    if not logits or not all(math.isfinite(logit) for logit in logits):
        return math.nan
    if len(logits) == 1:
        return score([0.0, logits[0]], [False, True])
    largest = max(logits)
    weights = [max(Decimal(logit) - Decimal(largest), _SMALLEST).exp() for logit in logits]
    attack = sum(weight for weight, bad in zip(weights, malicious, strict=True) if bad)
    return float(attack / sum(weights))


def worst_windows(
    logits: list[list[float]], malicious: list[bool], owners: list[int], scores: list[float]
) -> tuple[list[float], int]:
    """(scores raised to the worst of each owner's windows, windows that are not finite)."""
    found = [score(row, malicious) for row in logits]
    worst = []
    for text, start in enumerate(scores):
        own = [start, *(s for s, owner in zip(found, owners, strict=True) if owner == text)]
        worst.append(math.nan if any(math.isnan(s) for s in own) else max(own))
    return worst, sum(math.isnan(s) for s in found)
