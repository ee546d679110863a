"""Logits of a batch of windows into the worst score of each text."""

import math

import numba
import numpy as np
from numpy.typing import NDArray

from extauthz_kernels._jit import kernel, read_only

_SIGNATURE = numba.int64(
    numba.types.Array(numba.float32, 2, "C", readonly=True),
    read_only(numba.uint8),
    read_only(numba.int64),
    numba.float64[::1],
)


@kernel(_SIGNATURE)
def worst_windows(
    logits: NDArray[np.float32],
    malicious: NDArray[np.uint8],
    owners: NDArray[np.int64],
    scores: NDArray[np.float64],
) -> int:
    """Raise `scores[owners[w]]` to the score of window `w`, for every window of the batch.

    The score is the probability mass of the malicious labels: softmax over two or more logits,
    sigmoid of a single one. The softmax subtracts the largest logit, so large logits do not
    overflow. A window whose logits are not all finite, or that has none, makes its owner's score NaN
    for good: nothing may hide it, and `score < threshold` is then false.

    Args:
        logits: (windows, labels) float32.
        malicious: (labels,) uint8, 1 where the label counts as an attack.
        owners: (windows,) int64, index into `scores` of the text the window is from.
        scores: (texts,) float64, updated in place; start at -1 for "no window seen".

    Returns:
        Number of windows with non-finite logits.
    """
    faults = 0
    labels = logits.shape[1]
    for row in range(logits.shape[0]):
        owner = owners[row]
        largest = 0.0 if labels == 1 else -math.inf  # sigmoid(x) is softmax over (0, x)
        finite = labels > 0
        for label in range(labels):
            value = float(logits[row, label])
            finite = finite and math.isfinite(value)
            largest = max(largest, value)
        if not finite:
            faults += 1
            scores[owner] = math.nan
            continue
        total = math.exp(-largest) if labels == 1 else 0.0
        attack = 0.0
        for label in range(labels):
            weight = math.exp(float(logits[row, label]) - largest)
            total += weight
            if labels == 1 or malicious[label] == 1:
                attack += weight
        score = attack / total
        if not math.isnan(scores[owner]) and score > scores[owner]:
            scores[owner] = score
    return faults
