"""What `extauthz evaluate` tells: for people as text, for machines as JSON. Neither holds a text."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from extauthz.model.directory import ModelDirectory
from extauthz.training.evaluation.attempts import Success
from extauthz.training.evaluation.buried import Buried
from extauthz.training.evaluation.by_disguise import Disguised
from extauthz.training.evaluation.groups import Line, render
from extauthz.training.evaluation.metrics import Scores
from extauthz.training.evaluation.operating_point import OperatingPoint
from extauthz.training.evaluation.sets import Placed
from extauthz.training.rows import data_digest

#: Rows that are named in the text; the JSON names all.
_NAMED: Final = 5


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Scored rows, where they are denied, and what comes of it."""

    model: ModelDirectory
    placed: Sequence[Placed]
    scores: Scores
    point: OperatingPoint
    lines: Sequence[Line]

    @property
    def title(self) -> str:
        """The model by name."""
        return " ".join(filter(None, (self.model.name, self.model.version)))

    @property
    def faults(self) -> int:
        """Rows for which the model gave no number."""
        return int(np.isnan(self.scores).sum())


def as_text(evaluation: Evaluation) -> str:
    """What was measured on what, and the table of groups."""
    return "\n".join([*_head(evaluation), "", render(evaluation.lines)])


def as_json(
    evaluation: Evaluation,
    disguised: Sequence[Disguised],
    success: Success | None,
    buried: Buried | None,
) -> str:
    """Every figure with its interval; null is what could not be measured."""
    told: dict[str, Any] = {
        "model": {
            "name": evaluation.model.name,
            "version": evaluation.model.version,
            "digest": evaluation.model.digest,
        },
        "rows": len(evaluation.placed),
        "data": data_digest(one.row for one in evaluation.placed),
        "scores_that_are_no_number": evaluation.faults,
        "thresholds": {
            "told": evaluation.point.told,
            "set_by": list(evaluation.point.set_by),
            "by_channel": dict(evaluation.point.thresholds),
        },
        "lines": [asdict(line) for line in evaluation.lines],
    }
    if disguised:
        told["disguises"] = [asdict(line) for line in disguised]
    if success is not None:
        told["attempts"] = _attempts(success)
    if buried is not None:
        told["buried"] = asdict(buried)
    return json.dumps(told, indent=1, allow_nan=False) + "\n"


def _head(evaluation: Evaluation) -> Iterator[str]:
    point = evaluation.point
    yield f"{len(evaluation.placed)} texts, scored by {evaluation.title}"
    if evaluation.faults:
        yield f"the model gave no number for {evaluation.faults} of them: these are denied"
    yield f"thresholds: {point.told}"
    if point.set_by:
        named = ", ".join(point.set_by[:_NAMED])
        more = len(point.set_by) - _NAMED
        yield f"set by {named}" + (f" and {more} more (--json names all)" if more > 0 else "")
    values = dict(point.thresholds)
    if len(set(values.values())) > 1:
        yield "  ".join(f"{channel} {threshold:.4f}" for channel, threshold in values.items())


def _attempts(success: Success) -> dict[str, Any]:
    within = {str(count): success.within(count) for count in success.counts}
    return {
        "as_written": success.as_written and asdict(success.as_written),
        "within": {count: found and asdict(found) for count, found in within.items()},
        "first_passes": list(success.first_passes),
    }
