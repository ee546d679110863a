"""Leave-one-source-out: what the recipe makes of sources that it has never seen.

The makers of the given data are dealt into a few folds; for each, a model is trained on all the others
and scores the rows of those left out. Every maker is left out once, in company, which is no easier
than alone. Our own seeds are always learned from: they are not a sample of anybody's traffic.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from extauthz.core.call import Provenance
from extauthz.training import encoder, vocabulary
from extauthz.training.deal import deal
from extauthz.training.evaluation.metrics import auc, recall_at
from extauthz.training.fit import Recipe, fit, margins
from extauthz.training.rows import Row
from extauthz.training.sampling import Cutter, Ids, learnable, padded

#: Rows of one maker, label and kind of place that are scored: enough for two digits.
_SCORED: Final = 300
_BATCH_ROWS: Final = 24
_USER, _THIRD_PARTY = "user", "third party"


@dataclass(frozen=True, slots=True)
class Held:
    """How the attacks of one maker rank among the honest rows of its fold, in one kind of place."""

    maker: str
    place: str
    attacks: int
    honest: int
    auc: float
    recall_at_1_percent: float


@dataclass(frozen=True, slots=True)
class Report:
    """All makers, and the plain means over them."""

    held: tuple[Held, ...]
    mean_auc: float
    mean_recall_at_1_percent: float
    worst: str


def leave_out(
    rows: Sequence[Row], recipe: Recipe, folds: int, report: Callable[[str], None]
) -> Report:
    """Trains once for each fold. Raises ValueError where there are too few makers, or nothing to rank."""
    dealt = deal(rows, folds)
    if not all(dealt):
        msg = f"{folds} folds need as many sources, found {sum(map(len, dealt))}"
        raise ValueError(msg)
    held: list[Held] = []
    for number, makers in enumerate(dealt, start=1):
        report(f"fold {number} of {folds} leaves out {', '.join(sorted(makers))}")
        held += _fold(rows, makers, replace(recipe, seed=recipe.seed + number), report)
    if not held:
        msg = "no fold has attacks and honest texts in one place: nothing can be ranked"
        raise ValueError(msg)
    return _summed(held)


def write(path: Path, found: Report) -> None:
    """The report as JSON."""
    path.write_text(json.dumps(asdict(found), indent=1, allow_nan=False) + "\n", "utf-8")


def render(found: Report) -> str:
    """The report as a table."""
    lines = [f"{'left out':<44}{'place':<13}{'attacks':>8}{'honest':>8}{'AUC':>8}{'R@1%':>8}"]
    lines += [
        f"{one.maker[:43]:<44}{one.place:<13}{one.attacks:>8}{one.honest:>8}"
        f"{one.auc:>8.3f}{one.recall_at_1_percent:>8.3f}"
        for one in found.held
    ]
    mean = f"mean AUC {found.mean_auc:.3f}, mean recall at 1 % {found.mean_recall_at_1_percent:.3f}"
    return "\n".join([*lines, f"{mean}; worst: {found.worst}"])


def _fold(
    rows: Sequence[Row], makers: frozenset[str], recipe: Recipe, report: Callable[[str], None]
) -> Iterator[Held]:
    learned = learnable([row for row in rows if row.maker not in makers])
    words = encoder.vocabulary_for([row.text for row in learned])
    cutter = Cutter(vocabulary.tokenizer(words.pieces), recipe.window)
    model = fit(encoder.pretrained(words, recipe.seed), learned, cutter, recipe, None, report)
    judged = _sample([row for row in rows if row.maker in makers], recipe.seed)
    scores = _worst(model, cutter, judged)
    for place in (_USER, _THIRD_PARTY):
        there = np.array([_place(row) == place for row in judged])
        label = np.array([row.label for row in judged])
        honest = scores[there & (label == 0)]
        for maker in sorted(makers):
            of_maker = np.array([row.maker == maker for row in judged])
            attacks = scores[there & of_maker & (label == 1)]
            if attacks.size and honest.size:
                found = auc(attacks, honest), recall_at(attacks, honest, 0.01)
                yield Held(maker, place, int(attacks.size), int(honest.size), *found)


def _sample(rows: Sequence[Row], seed: int) -> list[Row]:
    groups: dict[tuple[str, int, str], list[Row]] = defaultdict(list)
    for row in rows:
        groups[row.maker, row.label, _place(row)].append(row)
    rng = np.random.default_rng(seed)
    return [
        group[i]
        for _, group in sorted(groups.items())
        for i in rng.permutation(len(group))[:_SCORED]
    ]


def _worst(model: encoder.Classifier, cutter: Cutter, rows: Sequence[Row]) -> NDArray[np.float64]:
    """The margin of the worst window of each row's raw text: (rows,) float64."""
    windows: list[tuple[Ids, int]] = []
    for place, row in enumerate(rows):
        windows += [(window, place) for window in cutter.every_window(row)]
    windows.sort(key=lambda window: window[0].size)
    worst = np.full(len(rows), -np.inf)
    for start in range(0, len(windows), _BATCH_ROWS):
        batch = windows[start : start + _BATCH_ROWS]
        found = margins(model, padded(batch, cutter.pad))
        np.maximum.at(worst, [place for _, place in batch], found)
    return worst


def _summed(held: Sequence[Held]) -> Report:
    worst = min(held, key=lambda one: one.auc)
    return Report(
        tuple(held),
        float(np.mean([one.auc for one in held])),
        float(np.mean([one.recall_at_1_percent for one in held])),
        f"{worst.maker} ({worst.place})",
    )


def _place(row: Row) -> str:
    return _USER if row.channel is Provenance.USER else _THIRD_PARTY
