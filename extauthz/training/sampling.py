"""Which texts an epoch sees, which window of each, and how windows share batches."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from extauthz.core.call import Provenance
from extauthz.core.windows import spans
from extauthz.training.corpus import PAYLOAD
from extauthz.training.rows import Row
from extauthz.training.vocabulary import CLS, MARKERS, PAD, SEP, UNKNOWN

Ids = NDArray[np.int64]

#: Tokens that neighbouring windows share.
OVERLAP: Final = 64
#: A benign text longer than a window is cut at random, to as little as this, so that length does not
#: give the label away.
SHORTEST_CROP: Final = 32
#: Only the first tokens of a text are looked at: a crop of a book is a crop of its beginning.
MOST_CHARS: Final = 12_000
#: The whole of such a text is the attack, so its head is one too.
ATTACK_THROUGHOUT: Final = frozenset({"jailbreak", "own-jailbreak"})
#: Raw texts of these are no words, and honest and hostile ones look alike; views decode them.
UNREADABLE: Final = ("gen:base64", "gen:hex", "gen:rot13")
#: Batches are filled from runs of this many windows sorted by length: little padding, mixed order.
SORT_RUN: Final = 1_024
#: One token in ten is unknown to the model, in every other text, so that no single word decides.
_DROPPED: Final = 0.1
_DROPPED_TEXTS: Final = 0.5
#: Of the texts that a source may give, how many are those that the model finds hardest.
_HARD: Final = 0.5


@dataclass(frozen=True, slots=True)
class Batch:
    """`input_ids`, `attention_mask` [batch, seq] int64 and `labels` [batch] int64."""

    input_ids: Ids
    attention_mask: Ids
    labels: Ids


class Cutter:
    """Tokenises texts and cuts one window out of each."""

    def __init__(self, tokenizer: Tokenizer, window: int) -> None:
        """Windows of at most `window` tokens, special tokens and marker included."""
        tokenizer.encode_special_tokens = True
        self._tokenizer = tokenizer
        self._room = window - 3
        ids: dict[str, int] = tokenizer.get_vocab()
        self.pad = ids[PAD]
        self._cls, self._sep, self._unknown = ids[CLS], ids[SEP], ids[UNKNOWN]
        self._markers: Mapping[Provenance, int] = {
            provenance: ids[marker] for provenance, marker in MARKERS.items()
        }

    def windows(
        self, rows: Sequence[Row], rng: np.random.Generator, *, dropping: bool = False
    ) -> list[tuple[Ids, int]]:
        """A window of each row that has one, with its label.

        An attack document that does not fit is left out, since a crop that misses the payload would be
        a wrong label.
        """
        encodings = self._tokenizer.encode_batch(
            [row.text[:MOST_CHARS] for row in rows], add_special_tokens=False
        )
        found: list[tuple[Ids, int]] = []
        for row, encoding in zip(rows, encodings, strict=True):
            ids = self._crop(row, np.asarray(encoding.ids, dtype=np.int64), rng)
            if not ids.size:
                continue
            if dropping and rng.random() < _DROPPED_TEXTS:
                ids = np.where(rng.random(ids.size) < _DROPPED, self._unknown, ids)
            marker = self._markers[row.channel]
            found.append((np.concatenate([[self._cls, marker], ids, [self._sep]]), row.label))
        return found

    def every_window(self, row: Row) -> list[Ids]:
        """Overlapping windows over the whole of a text, as the server cuts them."""
        encoding = self._tokenizer.encode(row.text, add_special_tokens=False)
        ids = np.asarray(encoding.ids, dtype=np.int64)
        cuts = spans(ids.size, self._room, OVERLAP) or [(0, 0)]
        head = [self._cls, self._markers[row.channel]]
        return [np.concatenate([head, ids[start:end], [self._sep]]) for start, end in cuts]

    def _crop(self, row: Row, ids: Ids, rng: np.random.Generator) -> Ids:
        if ids.size <= self._room:
            return ids
        if row.label == 1:
            return ids[: self._room] if row.kind in ATTACK_THROUGHOUT else ids[:0]
        size = int(rng.integers(SHORTEST_CROP, self._room, endpoint=True))
        start = int(rng.integers(0, ids.size - size, endpoint=True))
        return ids[start : start + size]


def learnable(rows: Sequence[Row]) -> list[Row]:
    """The rows of the train split that are whole texts in words. Payloads want a document first."""
    return [
        row
        for row in rows
        if row.split == "train"
        and not (row.label == 1 and row.source.startswith(UNREADABLE))
        and not (row.kind.endswith(PAYLOAD) and len(row.text) < 40)
    ]


def grouped(rows: Sequence[Row]) -> dict[tuple[str, int, str], list[int]]:
    """The places of rows by maker and label, and honest ones by language: what is drawn from alike."""
    groups: dict[tuple[str, int, str], list[int]] = defaultdict(list)
    for place, row in enumerate(rows):
        groups[row.maker, row.label, "" if row.label else row.lang].append(place)
    return groups


def draw(
    rows: Sequence[Row], cap: int, rng: np.random.Generator, scores: NDArray[np.float32] | None
) -> list[Row]:
    """At most `cap` attacks of each maker, and honest texts of each maker and language: none dominates.

    With `scores` (one for each row, high for what looks like an attack), half of an honest source's
    share are its texts that look most like one.
    """
    drawn: list[int] = []
    for (_, label, _), places in sorted(grouped(rows).items()):
        order = rng.permutation(places)
        if scores is not None and label == 0 and len(places) > cap:
            hardest = order[np.argsort(-scores[order], kind="stable")]
            hard = int(_HARD * cap)
            order = np.concatenate([hardest[:hard], rng.permutation(hardest[hard:])])
        drawn.extend(order[:cap].tolist())
    return [rows[place] for place in drawn]


def batches(
    windows: Sequence[tuple[Ids, int]], pad: int, batch_tokens: int, rng: np.random.Generator
) -> Iterator[Batch]:
    """All windows in random order, those of like length together, `batch_tokens` padded tokens each."""
    order = rng.permutation(len(windows))
    for start in range(0, len(order), SORT_RUN):
        run = [windows[i] for i in order[start : start + SORT_RUN]]
        made = list(_filled(run, pad, batch_tokens))
        for place in rng.permutation(len(made)):
            yield made[place]


def _filled(run: Sequence[tuple[Ids, int]], pad: int, batch_tokens: int) -> Iterator[Batch]:
    batch: list[tuple[Ids, int]] = []
    for window in sorted(run, key=lambda window: window[0].size):
        if batch and (len(batch) + 1) * window[0].size > batch_tokens:
            yield padded(batch, pad)
            batch = []
        batch.append(window)
    if batch:
        yield padded(batch, pad)


def padded(windows: Sequence[tuple[Ids, int]], pad: int) -> Batch:
    """Windows of several lengths as one batch."""
    seq = max(ids.size for ids, _ in windows)
    input_ids = np.full((len(windows), seq), pad, dtype=np.int64)
    mask = np.zeros_like(input_ids)
    for row, (ids, _) in enumerate(windows):
        input_ids[row, : ids.size] = ids
        mask[row, : ids.size] = 1
    return Batch(input_ids, mask, np.asarray([label for _, label in windows], dtype=np.int64))
