"""Scores as the server gives them: the same directory, windows, session and worst window."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from extauthz.core.call import Passage
from extauthz.core.views import views
from extauthz.model.directory import ModelDirectory, load
from extauthz.model.session import Session
from extauthz.model.tokenizer import tokenizer_of
from extauthz_kernels import worst_windows

Window = NDArray[np.int32]
# Padded tokens of one model call: enough to keep a core busy, little enough to stay in its cache.
BATCH_TOKENS = 2_048
# A text of the data is scored whole, however long.
UNBOUNDED = 1 << 40


class WindowScorer:
    """A verified model directory on the CPU, called batch by batch."""

    def __init__(self, path: Path, threads: int = 1, *, ignore_calibration: bool = False) -> None:
        """Load and verify. Raises `ModelError`."""
        self.directory: ModelDirectory = load(path, ignore_calibration=ignore_calibration)
        self._session = Session(self.directory, "cpu", threads)
        self._tokenizer = tokenizer_of(self.directory)
        self._malicious = np.array(self.directory.malicious, np.uint8)
        # Where a score may depend on its batch, the server runs window by window.
        self._batch_tokens = BATCH_TOKENS if self.directory.batch_invariant else 1

    def windows(self, passage: Passage) -> list[Window]:
        """The windows of one text, special tokens included."""
        cut = self._tokenizer.windows(passage, UNBOUNDED)
        return cut.windows if cut else []

    def batch(self, windows: Sequence[Window]) -> NDArray[np.float64]:
        """One model call: the score of each window, padded to the longest."""
        seq = max(window.size for window in windows)
        input_ids = np.full((len(windows), seq), self.directory.pad_id, np.int64)
        mask = np.zeros_like(input_ids)
        for row, window in enumerate(windows):
            input_ids[row, : window.size] = window
            mask[row, : window.size] = 1
        scores = np.full(len(windows), -1.0)
        logits = self._session.run(input_ids, mask)
        worst_windows(logits, self._malicious, np.arange(len(windows)), scores)
        return scores

    def texts(self, texts: Sequence[Passage]) -> NDArray[np.float64]:
        """The score of each text: that of the worst window of its worst view."""
        return self.raw_and_worst(texts)[1]

    def raw_and_worst(
        self, texts: Sequence[Passage]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The score of each text as it is written, and that of its worst view: (texts,) each."""
        looks = [[Passage(where, shown) for _, shown in views(text)] for where, text in texts]
        scores = self._as_written([look for shown in looks for look in shown])
        counts = np.array([len(shown) for shown in looks], np.intp)
        worst = np.full(len(texts), -1.0)
        _raise(worst, np.repeat(np.arange(len(texts)), counts), scores)
        return scores[np.cumsum(counts) - counts], worst  # the raw view is the first one

    def _as_written(self, passages: Sequence[Passage]) -> NDArray[np.float64]:
        """The score of the worst window of each passage."""
        cut = [self.windows(passage) for passage in passages]
        windows = [window for found in cut for window in found]
        owners = np.repeat(np.arange(len(cut)), np.array([len(found) for found in cut], np.intp))
        order = np.argsort([window.size for window in windows], kind="stable")
        worst = np.full(len(cut), -1.0)
        for chosen in _batches(order, windows, self._batch_tokens):
            _raise(worst, owners[chosen], self.batch([windows[i] for i in chosen]))
        return worst


def _raise(
    worst: NDArray[np.float64], owners: NDArray[np.intp], scores: NDArray[np.float64]
) -> None:
    """Raise `worst[owners[i]]` to `scores[i]`. NaN, which is denied, outweighs all others."""
    with np.errstate(invalid="ignore"):
        np.maximum.at(worst, owners, scores)


def _batches(
    order: NDArray[np.intp], windows: Sequence[Window], most_tokens: int
) -> Iterator[NDArray[np.intp]]:
    """`order` goes from short to long, so the last window of a batch sets its width."""
    starts = [0]
    for place, index in enumerate(order):
        if (place + 1 - starts[-1]) * windows[index].size > most_tokens and place > starts[-1]:
            starts.append(place)
    if windows:
        for start, end in pairwise([*starts, len(order)]):
            yield order[start:end]
