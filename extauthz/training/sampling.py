"""Which texts an epoch sees, which window of each, and how windows share batches."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from extauthz.training.rows import CHANNEL_ONLY_KINDS, Row

Ids = NDArray[np.int64]

CLS, SEP, PAD = 101, 102, 0
# A benign text longer than this is cut at random, so that length does not give the label away.
SHORTEST_CROP = 32
# The whole of such a text is the attack, so its head is one too.
ATTACK_THROUGHOUT = frozenset({"jailbreak"})
# Batches are filled from runs of this many windows sorted by length: little padding, mixed order.
SORT_RUN = 1024


@dataclass(frozen=True, slots=True)
class Example:
    """A tokenised training text: ids without [CLS] and [SEP]."""

    ids: Ids
    label: int
    source: str


@dataclass(frozen=True, slots=True)
class Batch:
    """`input_ids`, `attention_mask` [batch, seq] int64 and `labels` [batch] int64."""

    input_ids: Ids
    attention_mask: Ids
    labels: Ids


def examples(rows: Sequence[Row], tokenizer: Tokenizer, window: int) -> list[Example]:
    """The rows, tokenised.

    An attack document that does not fit the window is left out, since a crop that misses the
    payload would be a wrong label. A jailbreak keeps its head.
    """
    encodings = tokenizer.encode_batch([row.text for row in rows], add_special_tokens=False)
    room = window - 2
    found = []
    for row, encoding in zip(rows, encodings, strict=True):
        ids = np.asarray(encoding.ids, dtype=np.int64)
        if row.label == 1 and row.kind in ATTACK_THROUGHOUT:
            ids = ids[:room]
        if ids.size and (row.label == 0 or ids.size <= room):
            found.append(Example(ids, row.label, row.source))
    return found


def learnable(rows: Sequence[Row]) -> list[Row]:
    """The rows of the train split whose label can be told from the text alone."""
    return [row for row in rows if row.split == "train" and row.kind not in CHANNEL_ONLY_KINDS]


def draw(pool: Sequence[Example], cap: int, rng: np.random.Generator) -> list[Example]:
    """At most `cap` texts of each source and label, so that no source dominates."""
    groups: dict[tuple[str, int], list[Example]] = {}
    for example in pool:
        groups.setdefault((example.source, example.label), []).append(example)
    drawn: list[Example] = []
    for _, group in sorted(groups.items()):
        drawn.extend(group[i] for i in rng.permutation(len(group))[:cap])
    return drawn


def batches(
    drawn: Sequence[Example], window: int, batch_tokens: int, rng: np.random.Generator
) -> list[Batch]:
    """One epoch in random order: windows of like length together, `batch_tokens` padded tokens each."""
    cut = [(_crop(example, window - 2, rng), example.label) for example in drawn]
    order = rng.permutation(len(cut))
    runs = (order[i : i + SORT_RUN] for i in range(0, len(order), SORT_RUN))
    made = [batch for run in runs for batch in _filled([cut[i] for i in run], batch_tokens)]
    return [made[i] for i in rng.permutation(len(made))]


def _crop(example: Example, room: int, rng: np.random.Generator) -> Ids:
    if example.label == 1 or example.ids.size <= room:
        return example.ids
    size = int(rng.integers(SHORTEST_CROP, room, endpoint=True))
    start = int(rng.integers(0, example.ids.size - size, endpoint=True))
    return example.ids[start : start + size]


def _filled(run: list[tuple[Ids, int]], batch_tokens: int) -> Iterator[Batch]:
    batch: list[tuple[Ids, int]] = []
    for window in sorted(run, key=lambda window: window[0].size):
        if batch and (len(batch) + 1) * (window[0].size + 2) > batch_tokens:
            yield _padded(batch)
            batch = []
        batch.append(window)
    if batch:
        yield _padded(batch)


def _padded(windows: list[tuple[Ids, int]]) -> Batch:
    seq = max(ids.size for ids, _ in windows) + 2
    input_ids = np.full((len(windows), seq), PAD, dtype=np.int64)
    mask = np.zeros_like(input_ids)
    for row, (ids, _) in enumerate(windows):
        input_ids[row, : ids.size + 2] = (CLS, *ids, SEP)
        mask[row, : ids.size + 2] = 1
    return Batch(input_ids, mask, np.asarray([label for _, label in windows], dtype=np.int64))
