"""Thresholds for each provenance, from the scores of benign texts."""

import math
from collections.abc import Sequence

import numpy as np

from extauthz.core.call import Provenance
from extauthz.training.metrics import Scores, threshold_at
from extauthz.training.rows import Row

FALSE_POSITIVES = 0.005
# What the operator wrote is read on every call: a false alarm there stops the application.
FALSE_POSITIVES_SYSTEM = 0.001
# No view decodes base64 and its like yet, so that encoded texts of both classes look alike and
# would set the threshold for all others. They are reported on their own.
UNREADABLE_KINDS = frozenset({"obfuscated-benign"})
DECIMALS = 4


def calibrate(rows: Sequence[Row], scores: Scores) -> dict[Provenance, float]:
    """One threshold per provenance from the benign rows of the channel that is most like it.

    Raises ValueError when a channel has no benign rows.
    """
    benign = np.array([row.label == 0 and row.kind not in UNREADABLE_KINDS for row in rows])
    channel = np.array([row.channel for row in rows])
    user = _rounded(threshold_at(scores[benign & (channel == "user")], FALSE_POSITIVES))
    document = _rounded(threshold_at(scores[benign & (channel == "document")], FALSE_POSITIVES))
    system = _rounded(threshold_at(scores[benign], FALSE_POSITIVES_SYSTEM))
    return {
        Provenance.SYSTEM: max(system, user, document),
        Provenance.USER: user,
        # A client can put words into the assistant's mouth; the honest ones quote either channel.
        Provenance.ASSISTANT: max(user, document),
        Provenance.TOOL_RESULT: document,
        Provenance.TOOL_DEFINITION: document,
        Provenance.DOCUMENT: document,
    }


def _rounded(threshold: float) -> float:
    """Upwards, so that rounding denies no more than was measured."""
    scale = 10.0**DECIMALS
    return min(1.0, math.ceil(threshold * scale) / scale)
