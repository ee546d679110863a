"""The motion around the batcher: event loop on one side, one inference thread on the other.

The batcher is touched by the event loop only; the thread gets a batch and returns logits. One
batch is in flight at a time, so the next one forms as late as possible.
"""

import asyncio
import logging
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from extauthz.core.batcher import Batch, Batcher, Job
from extauthz.core.call import Passage, Provenance
from extauthz.core.cancellation import Cancellation
from extauthz.core.reasons import Failure
from extauthz.core.windows import CHARS_PER_TOKEN
from extauthz.model.directory import ModelDirectory, ModelError
from extauthz.model.session import Session
from extauthz.model.tokenizer import tokenizer_of

_log: Final = logging.getLogger(__name__)

#: Texts longer than this together are tokenized off the event loop, which stands still meanwhile. So
#: much prose costs 0.5 ms, and the worst that a client can send (an endless word, rare Han or
#: full-width letters, which are read in parts and normalised as well) 5 to 7 ms; 4,096 cost 9 to 14.
_INLINE_CHARS: Final = 2_048
#: A text costs the tokenizer as much as so many characters, however short it is.
_CHARS_PER_TEXT: Final = 64
#: Padded tokens of one model call. A CPU gains nothing from large batches, and a call cannot be
#: interrupted; a GPU needs them.
BATCH_TOKENS: Final = {"cpu": 1_024, "cuda": 32_768}
#: A small batch: what it costs beyond its tokens is the cost of a call.
_SMALL_TOKENS: Final = 16
#: Tokens that may wait, in batches: more could not finish within any sensible deadline.
_QUEUED_BATCHES: Final = 64


@dataclass(frozen=True, slots=True)
class TextScore:
    """The worst window of one text: a probability, over so many windows of so many tokens.

    `unread` is the most letters that the model's vocabulary does not have, among any 64 in a row.
    """

    score: float
    windows: int
    tokens: int
    unread: int = 0


Scores = tuple[TextScore, ...]


class RunsModel(Protocol):
    """What the scorer needs of a session."""

    def run(
        self, input_ids: NDArray[np.int64], attention_mask: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """Logits of a batch, (rows, labels) float32."""


class Scorer:
    """Scores texts, batched with everyone else's."""

    def __init__(self, directory: ModelDirectory, session: RunsModel, batcher: Batcher) -> None:
        """Wire up; nothing runs until the first text."""
        self.directory: Final = directory
        self._tokenizer: Final = tokenizer_of(directory)
        self._session: Final = session
        self._malicious: Final = np.array(directory.malicious, np.uint8)
        self._batcher: Final = batcher
        self._waiting: Final[dict[Job, asyncio.Future[None]]] = {}
        self._inference: Final = ThreadPoolExecutor(1, "inference")
        self._tokenizing: Final = ThreadPoolExecutor(1, "tokenizer")
        self._running = False

    @property
    def queued_tokens(self) -> int:
        """Tokens that wait for the model."""
        return self._batcher.queued_tokens

    async def score(
        self,
        texts: Sequence[Passage],
        max_tokens: int,
        deadline: float,
        cancellation: Cancellation,
    ) -> Scores | Failure:
        """The worst score of each text.

        Fails with TOO_MANY_TOKENS (over all texts), OVERLOADED, DEADLINE_EXCEEDED, CANCELLED or
        MODEL_FAULT. `deadline` is an instant of the event loop's clock.
        """
        if not texts:
            return ()
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout_at(deadline):
                if _chars(texts) + _CHARS_PER_TEXT * len(texts) <= _INLINE_CHARS:
                    cut = self._cut(texts, max_tokens, cancellation)
                else:
                    cut = await loop.run_in_executor(
                        self._tokenizing, self._cut, texts, max_tokens, cancellation
                    )
                if cut is None:
                    wanted = not cancellation.cancelled
                    return Failure.TOO_MANY_TOKENS if wanted else Failure.CANCELLED
                windows, owners, tokens, unread = cut
                job = Job(windows, owners, deadline, cancellation)
                if failure := self._batcher.offer(job, loop.time()):
                    return failure
                await self._completion(job)
        except TimeoutError:
            return Failure.DEADLINE_EXCEEDED
        if job.failure is not None:
            return job.failure
        counts = np.bincount(owners, minlength=len(texts)).tolist()
        return tuple(map(TextScore, job.scores.tolist(), counts, tokens, unread))

    async def _completion(self, job: Job) -> None:
        done = asyncio.get_running_loop().create_future()
        self._waiting[job] = done
        try:
            self._pump()
            await done
        finally:
            self._waiting.pop(job, None)
            if not job.done:
                job.failure = Failure.DEADLINE_EXCEEDED  # its windows leave the queue unexecuted

    def _cut(
        self, texts: Sequence[Passage], max_tokens: int, cancellation: Cancellation
    ) -> tuple[list[NDArray[np.int32]], list[int], list[int], list[int]] | None:
        """Windows of all texts, the text each is of; tokens and unread letters of each text."""
        if _chars(texts) > CHARS_PER_TOKEN * max_tokens:
            return None
        windows: list[NDArray[np.int32]] = []
        owners: list[int] = []
        tokens: list[int] = []
        unread: list[int] = []
        left = max_tokens
        for index, text in enumerate(texts):
            cut = self._tokenizer.windows(text, left, cancellation)
            if cut is None:
                return None
            windows += cut.windows
            owners += [index] * len(cut.windows)
            tokens.append(cut.tokens)
            unread.append(cut.unread)
            left -= cut.tokens
        return windows, owners, tokens, unread

    def _pump(self) -> None:
        """Start the next batch if the model is free."""
        if self._running:
            return
        loop = asyncio.get_running_loop()
        batch, dropped = self._batcher.take(loop.time())
        self._resolve(dropped)
        if batch is None:
            return
        call = loop.run_in_executor(self._inference, self._infer, batch)
        self._running = True
        call.add_done_callback(lambda finished: self._finished(batch, finished))

    def _infer(self, batch: Batch) -> tuple[NDArray[np.float32], float]:
        """On the inference thread: logits, and the seconds they took."""
        start = time.perf_counter()
        logits = self._session.run(*batch.pack(self.directory.pad_id))
        return logits, time.perf_counter() - start

    def _finished(
        self, batch: Batch, call: asyncio.Future[tuple[NDArray[np.float32], float]]
    ) -> None:
        self._running = False
        if error := call.exception():
            _log.error("model call failed: %s", type(error).__name__)
            self._resolve(self._batcher.fault(batch))
        else:
            logits, seconds = call.result()
            self._resolve(self._batcher.finish(batch, logits, self._malicious, seconds))
        self._pump()

    def _resolve(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            done = self._waiting.get(job)
            if done is not None and not done.done():
                done.set_result(None)

    def close(self) -> None:
        """Stop the threads. What still waits is not answered: drain first."""
        self._inference.shutdown(wait=True, cancel_futures=True)
        self._tokenizing.shutdown(wait=True, cancel_futures=True)


def open_scorer(directory: ModelDirectory, session: Session) -> Scorer:
    """Warm the model up, measure what tokens cost, and return a scorer that is ready.

    Raises ModelError when the model does not give finite logits for a harmless text.
    """
    largest = BATCH_TOKENS[session.device]
    batch_tokens = largest if directory.batch_invariant else 1
    seconds_per_token, seconds_per_call = _warm_up(directory, session, batch_tokens)
    batcher = Batcher(batch_tokens, _QUEUED_BATCHES * largest, seconds_per_token, seconds_per_call)
    return Scorer(directory, session, batcher)


def _warm_up(
    directory: ModelDirectory, session: RunsModel, batch_tokens: int
) -> tuple[float, float]:
    """Run the smallest, a middling and the largest batch. Seconds per token, seconds per call."""
    full, *others = _harmless(directory)
    rows = max(1, batch_tokens // len(full))
    _measure(directory, session, full[None, : len(full) // 2])
    for other in others:  # a marker that the graph has no row for fails here, and not in service
        _measure(directory, session, other[None, :_SMALL_TOKENS])
    for _ in range(2):  # the first run of a shape is slower than any later one
        small = _measure(directory, session, full[None, :_SMALL_TOKENS])
        large = _measure(directory, session, np.tile(full, (rows, 1)))
    tokens = rows * len(full)
    if batch_tokens == 1:  # one row per call: a share of the call is part of a token's price
        return large / tokens, 0.0
    per_call = min(max(0.0, small - large * _SMALL_TOKENS / tokens), large / 2)
    return (large - per_call) / tokens, per_call


def _harmless(directory: ModelDirectory) -> list[NDArray[np.int64]]:
    """A full window of harmless text from each place that the model tells apart, (length,) int64."""
    tokenizer = tokenizer_of(directory)
    text = "the quick brown fox " * directory.window
    places = [*directory.markers] or [Provenance.USER]
    cuts = (tokenizer.windows(Passage(place, text), sys.maxsize) for place in places)
    return [cut.windows[0].astype(np.int64) for cut in cuts if cut is not None]


def _chars(texts: Sequence[Passage]) -> int:
    return sum(len(passage.text) for passage in texts)


def _measure(directory: ModelDirectory, session: RunsModel, ids: NDArray[np.int64]) -> float:
    """Seconds of one model call. Raises ModelError when it fails or gives no finite logits."""
    start = time.perf_counter()
    try:
        logits = session.run(ids, np.ones_like(ids))
    except Exception as error:
        msg = f"{directory.onnx}: a harmless text made it fail: {type(error).__name__}"
        raise ModelError(msg) from error
    if not np.isfinite(logits).all():
        msg = f"{directory.onnx}: logits of a harmless text are not finite"
        raise ModelError(msg)
    return time.perf_counter() - start
