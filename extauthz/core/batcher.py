"""Which windows go into the next model call. No thread, no clock, no model: `now` is an argument.

There is no waiting window: a batch is whatever stands in the queue when the model is free, earliest
deadline first. A job may be spread over several batches, so a long document does not hold up who is
more urgent, and a window that nobody waits for any more is dropped unexecuted.
"""

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Final

import numpy as np
from numpy.typing import NDArray

from extauthz.core.cancellation import Cancellation
from extauthz.core.reasons import Failure
from extauthz_kernels import pack_windows, worst_windows

#: Weight of the newest batch in the running pace: settles within some ten batches.
_NEWEST: Final = 0.2
#: One batch counts as at most this many times slower than expected: a model call that was held up
#: for seconds says little about the next.
_SLOWEST: Final = 2.0
#: Queue entries looked at for one batch; bounds the work of `take` whatever the queue holds.
_LOOK_AHEAD: Final = 512
#: Windows may share a batch when the longer is at most twice the shorter plus this many tokens:
#: padding a short question to a document's length would cost more than a second batch.
_ALIKE_TOKENS: Final = 16


@dataclass(eq=False, slots=True)
class Job:
    """The windows of one request, and what is known of them so far.

    Attributes:
        windows: token ids with the model's special tokens, each (length,) int32.
        owners: for each window, the index of its text.
        deadline: instant in seconds after which the answer is worthless.
        cancellation: set when nobody waits any more.
        scores: (texts,) float64, the worst window so far; -1 before the first.
        failure: why there will be no scores, once that is known.
    """

    windows: Sequence[NDArray[np.int32]]
    owners: Sequence[int]
    deadline: float
    cancellation: Cancellation
    scores: NDArray[np.float64] = field(init=False)
    pending: int = field(init=False)
    failure: Failure | None = None

    def __post_init__(self) -> None:
        """Nothing is scored yet."""
        self.scores = np.full(max(self.owners, default=-1) + 1, -1.0)
        self.pending = len(self.windows)

    @property
    def done(self) -> bool:
        """Whether the job needs the model no more."""
        return self.pending == 0 or self.failure is not None

    @property
    def tokens(self) -> int:
        """Tokens over all windows."""
        return sum(map(len, self.windows))


@dataclass(frozen=True, slots=True)
class Entry:
    """One window of a job. Entries that must run `alone` were in a batch that failed."""

    job: Job
    index: int
    alone: bool = False

    @property
    def length(self) -> int:
        """Tokens of the window."""
        return len(self.job.windows[self.index])


@dataclass(frozen=True, slots=True)
class Batch:
    """The windows of one model call."""

    entries: tuple[Entry, ...]

    @property
    def padded_tokens(self) -> int:
        """What the call costs: rows times the longest row."""
        return max(entry.length for entry in self.entries) * len(self.entries)

    def pack(self, pad_id: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """`input_ids` and `attention_mask`, both (rows, longest) int64."""
        rows = [entry.job.windows[entry.index] for entry in self.entries]
        offsets = np.zeros(len(rows) + 1, np.int64)
        np.cumsum([len(row) for row in rows], out=offsets[1:])
        input_ids = np.empty((len(rows), max(map(len, rows))), np.int64)
        attention_mask = np.empty_like(input_ids)
        pack_windows(np.concatenate(rows), offsets, pad_id, input_ids, attention_mask)
        return input_ids, attention_mask


class Batcher:
    """Queue and admission. Every job that was offered and accepted is returned exactly once."""

    def __init__(
        self,
        max_batch_tokens: int,
        max_queue_tokens: int,
        seconds_per_token: float,
        seconds_per_call: float = 0.0,
    ) -> None:
        """An empty queue.

        Args:
            max_batch_tokens: bound on rows x longest row of one model call. A single window
                may exceed it, alone.
            max_queue_tokens: bound on the tokens that wait. Windows that are tried again after a
                fault may exceed it by one batch.
            seconds_per_token: cost of a padded token as measured at warm-up.
            seconds_per_call: what a call costs besides, as measured at warm-up. On a GPU it is
                most of a small batch, and must not be taken for the price of its tokens.
        """
        self.max_batch_tokens = max_batch_tokens
        self.max_queue_tokens = max_queue_tokens
        self.seconds_per_token = seconds_per_token
        self.seconds_per_call = seconds_per_call
        self.pace = 1.0  # how much slower than at warm-up the model runs now
        self.queued_tokens = 0
        self._queue: list[tuple[float, int, Entry]] = []
        self._order = count()
        self._busy_until = -math.inf
        self._latest = -math.inf
        self._forgotten: list[Job] = []

    def offer(self, job: Job, now: float) -> Failure | None:
        """Queue a job, or say at once why it would be in vain.

        DEADLINE_EXCEEDED, OVERLOADED, or TOO_MANY_TOKENS for a job that even an idle model could
        not do in its time: that is the caller's doing, and trying again cannot help.
        """
        if job.deadline <= now:
            return Failure.DEADLINE_EXCEEDED
        tokens = job.tokens
        if tokens > self.max_queue_tokens or now + self._seconds(tokens) > job.deadline:
            return Failure.TOO_MANY_TOKENS
        if not self._has_room(job, now):
            self._forget_cancelled()  # who left must not keep out who came
            if not self._has_room(job, now):
                return Failure.OVERLOADED
        for index in range(len(job.windows)):
            self._push(Entry(job, index))
        return None

    def finish_estimate(self, tokens: int, deadline: float, now: float) -> float:
        """When `tokens` more tokens with this deadline would be done; those due later wait."""
        ahead = self._tokens_due(deadline)
        calls = math.ceil((ahead + tokens) / self.max_batch_tokens)
        # Who does not go first is answered at the end of a whole call, which later arrivals fill.
        total = calls * self.max_batch_tokens if ahead else tokens
        idle = not self._queue and self._busy_until == -math.inf
        # An idle model is tried at its old pace: otherwise a slow spell would never be unlearned.
        pace = min(self.pace, 1.0) if idle else self.pace
        return max(now, self._busy_until) + pace * self._seconds(total, calls)

    def take(self, now: float) -> tuple[Batch | None, list[Job]]:
        """The next batch, and the jobs dropped on the way: expired ones and cancelled ones.

        No batch means that nothing waits. Beyond the windows that are dropped for good, the work
        is bounded by _LOOK_AHEAD.
        """
        dropped: list[Job] = []
        for job in self._forgotten:
            if not job.done:
                job.failure = Failure.CANCELLED
                dropped.append(job)
        self._forgotten = []
        chosen = self._choose(now, dropped)
        while not chosen and self._queue:
            chosen = self._choose(now, dropped)
        if not chosen:
            return None, dropped
        batch = Batch(tuple(chosen))
        self._busy_until = now + self.pace * self._seconds(batch.padded_tokens)
        return batch, dropped

    def _choose(self, now: float, dropped: list[Job]) -> list[Entry]:
        """Windows that go together. None when the job of each turned out to be in vain."""
        chosen: list[Entry] = []
        skipped: list[Entry] = []
        shortest = longest = 0
        for _ in range(_LOOK_AHEAD):
            entry = self._pop_wanted(now, dropped)
            if entry is None:
                break
            low = min(shortest, entry.length) if chosen else entry.length
            high = max(longest, entry.length)
            if chosen and not self._fits(entry, chosen, low, high, now):
                skipped.append(entry)
                continue
            chosen.append(entry)
            shortest, longest = low, high
            if entry.alone or longest * (len(chosen) + 1) > self.max_batch_tokens:
                break
        for entry in skipped:
            self._push(entry)
        # A longer window of the same job may have shown that the job is in vain.
        return [entry for entry in chosen if not entry.job.done]

    def finish(
        self,
        batch: Batch,
        logits: NDArray[np.float32],
        malicious: NDArray[np.uint8],
        seconds: float,
    ) -> list[Job]:
        """Take in the logits of a batch, (rows, labels) float32; returns the jobs now complete.

        A job with a non-finite score has failed with MODEL_FAULT; its batch-mates have not.
        """
        self._busy_until = -math.inf
        measured = seconds / self._seconds(batch.padded_tokens)
        self.pace += _NEWEST * (min(measured, _SLOWEST * self.pace) - self.pace)
        scores = np.full(len(batch.entries), -1.0)
        worst_windows(logits, malicious, np.arange(len(batch.entries)), scores)
        complete: list[Job] = []
        for entry, score in zip(batch.entries, scores.tolist(), strict=True):
            job = entry.job
            if job.done:
                continue
            job.pending -= 1
            if not math.isfinite(score):
                job.failure = Failure.MODEL_FAULT
            text = job.owners[entry.index]
            job.scores[text] = max(job.scores[text], score)
            if job.done:
                complete.append(job)
        return complete

    def fault(self, batch: Batch) -> list[Job]:
        """The model raised. Rows are tried again one by one, so that only the poison one fails.

        Returns the jobs that have failed for good: those of a batch of one row.
        """
        self._busy_until = -math.inf
        if len(batch.entries) > 1:
            for entry in batch.entries:
                if not entry.job.done:
                    self._push(Entry(entry.job, entry.index, alone=True))
            return []
        job = batch.entries[0].job
        if job.done:
            return []
        job.failure = Failure.MODEL_FAULT
        return [job]

    def _fits(
        self, entry: Entry, chosen: Sequence[Entry], shortest: int, longest: int, now: float
    ) -> bool:
        """Whether a window may join a batch without making it too large, too uneven or too late."""
        tokens = longest * (len(chosen) + 1)
        return (
            not entry.alone
            and tokens <= self.max_batch_tokens
            and longest <= 2 * shortest + _ALIKE_TOKENS
            and now + self.pace * self._seconds(tokens) <= chosen[0].job.deadline
        )

    def _seconds(self, padded_tokens: int, calls: int = 1) -> float:
        """What so many tokens in so many model calls took at warm-up."""
        return calls * self.seconds_per_call + padded_tokens * self.seconds_per_token

    def _tokens_due(self, deadline: float) -> int:
        if deadline >= self._latest:  # the usual case, and the queue may be long
            return self.queued_tokens
        return sum(entry.length for due, _, entry in self._queue if due <= deadline)

    def _has_room(self, job: Job, now: float) -> bool:
        fits = self.queued_tokens + job.tokens <= self.max_queue_tokens
        return fits and self.finish_estimate(job.tokens, job.deadline, now) <= job.deadline

    def _forget_cancelled(self) -> None:
        """Take the windows of cancelled jobs out of the queue; `take` returns the jobs."""
        left = {item[2].job for item in self._queue if item[2].job.cancellation.cancelled}
        if left:
            self._forgotten += left
            self._queue = [item for item in self._queue if item[2].job not in left]
            self.queued_tokens = sum(item[2].length for item in self._queue)
            heapq.heapify(self._queue)

    def _pop_wanted(self, now: float, dropped: list[Job]) -> Entry | None:
        """The most urgent window that is worth running. Jobs found to be in vain are `dropped`."""
        while self._queue:
            entry = self._pop()
            if entry.job.done:
                continue
            entry.job.failure = self._vain(entry, now)
            if entry.job.failure is None:
                return entry
            dropped.append(entry.job)
        return None

    def _vain(self, entry: Entry, now: float) -> Failure | None:
        """Cancelled, or past its deadline before the model, at its best, could be done with it."""
        if entry.job.cancellation.cancelled:
            return Failure.CANCELLED
        best = min(self.pace, 1.0) * self._seconds(entry.length)
        late = entry.job.deadline <= now or entry.job.deadline < now + best
        return Failure.DEADLINE_EXCEEDED if late else None

    def _push(self, entry: Entry) -> None:
        self.queued_tokens += entry.length
        self._latest = max(self._latest, entry.job.deadline)
        heapq.heappush(self._queue, (entry.job.deadline, next(self._order), entry))

    def _pop(self) -> Entry:
        entry = heapq.heappop(self._queue)[2]
        self.queued_tokens -= entry.length
        return entry
