"""Scores as the server gives them: the same directory, windows, session and worst window."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from extauthz.core.views import views
from extauthz.model.directory import ModelDirectory, load
from extauthz.model.session import Session
from extauthz.model.tokenizer import WindowTokenizer
from extauthz_kernels import worst_windows

Window = NDArray[np.int32]
# Padded tokens of one model call: enough to keep a core busy, little enough to stay in its cache.
BATCH_TOKENS = 2_048
# A text of the data is scored whole, however long.
UNBOUNDED = 1 << 40


class WindowScorer:
    """A verified model directory on the CPU, called batch by batch."""

    def __init__(self, path: Path, threads: int = 1) -> None:
        """Load and verify. Raises `ModelError`."""
        self.directory: ModelDirectory = load(path)
        self._session = Session(self.directory, "cpu", threads)
        self._tokenizer = WindowTokenizer(
            self.directory.tokenizer, self.directory.window, self.directory.overlap
        )
        self._malicious = np.array(self.directory.malicious, np.uint8)

    def windows(self, text: str) -> list[Window]:
        """The windows of one text, special tokens included."""
        cut = self._tokenizer.windows(text, UNBOUNDED)
        return cut[0] if cut else []

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

    def texts(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """The score of each text: that of the worst window of its worst view."""
        looks = [[shown for _, shown in views(text)] for text in texts]
        cut = [[window for look in shown for window in self.windows(look)] for shown in looks]
        windows = [window for found in cut for window in found]
        owners = np.repeat(np.arange(len(texts)), [len(found) for found in cut])
        order = np.argsort([window.size for window in windows], kind="stable")
        worst = np.full(len(texts), -1.0)
        for chosen in _batches(order, windows):
            np.maximum.at(worst, owners[chosen], self.batch([windows[i] for i in chosen]))
        return worst


def _batches(order: NDArray[np.intp], windows: Sequence[Window]) -> Iterator[NDArray[np.intp]]:
    """`order` goes from short to long, so the last window of a batch sets its width."""
    starts = [0]
    for place, index in enumerate(order):
        if (place + 1 - starts[-1]) * windows[index].size > BATCH_TOKENS and place > starts[-1]:
            starts.append(place)
    for start, end in pairwise([*starts, len(order)]):
        yield order[start:end]
