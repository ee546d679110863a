"""Files about single rows: the score of each, and the texts that a model is most wrong about."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from extauthz.core.call import Provenance
from extauthz.training.evaluation.metrics import Scores, denied
from extauthz.training.evaluation.sets import Placed

#: Misses, and as many false alarms.
_WORST: Final = 30
#: Characters of a text that are shown: enough to see what it is.
_SHOWN: Final = 2_000


def write_scores(path: Path, placed: Sequence[Placed], scores: Scores) -> None:
    """One JSON object a line: file, line, label, channel and score. Never the text.

    A score that is no number is null.
    """
    with path.open("w", encoding="utf-8") as file:
        for one, score in zip(placed, scores.tolist(), strict=True):
            told = {
                "file": str(one.path),
                "line": one.line,
                "label": one.row.label,
                "channel": one.row.channel,
                "score": None if np.isnan(score) else score,
            }
            file.write(json.dumps(told) + "\n")


def write_worst(
    path: Path, placed: Sequence[Placed], scores: Scores, thresholds: Mapping[Provenance, float]
) -> None:
    """The attacks furthest below their threshold and the benign texts furthest above, as text."""
    at = np.array([thresholds[one.row.channel] for one in placed])
    attack = np.array([one.is_attack for one in placed])
    wrong = denied(scores, at) != attack
    # What is no number is above any threshold.
    above = np.where(np.isnan(scores), np.inf, scores) - at
    misses = [index for index in np.argsort(above, kind="stable") if wrong[index] & attack[index]]
    alarms = [index for index in np.argsort(-above, kind="stable") if wrong[index] & ~attack[index]]
    with path.open("w", encoding="utf-8") as file:
        file.write(
            "Texts of the data, with what the model makes of them. Keep this file to yourself.\n"
        )
        for title, found in (("misses", misses), ("false alarms", alarms)):
            file.write(f"\n==== the worst of {len(found)} {title}\n")
            for index in found[:_WORST]:
                file.writelines(_entry(placed[index], scores[index], at[index]))


def _entry(one: Placed, score: float, threshold: float) -> Iterator[str]:
    row = one.row
    yield f"\n---- {one}  {row.channel}, {row.kind}, {row.lang}  "
    yield f"score {score:.4f}, threshold {threshold:.4f}\n"
    yield f"{row.text[:_SHOWN]}\n"
    if (more := len(row.text) - _SHOWN) > 0:
        yield f"[and {more} characters more]\n"
