"""The batcher, with a clock that only moves when a test says so and a model that is arithmetic."""

import heapq
import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from numpy.typing import NDArray

from extauthz.core import batcher as module
from extauthz.core.batcher import Batch, Batcher, Job
from extauthz.core.cancellation import Cancellation
from extauthz.core.reasons import Failure

MALICIOUS = np.array([0, 1], np.uint8)
SECONDS_PER_TOKEN = 0.001


def make_batcher(max_batch: int = 64, max_queue: int = 10_000, per_call: float = 0.0) -> Batcher:
    return Batcher(max_batch, max_queue, SECONDS_PER_TOKEN, per_call)


def make_job(
    *lengths: int, deadline: float = 1_000.0, owners: Sequence[int] | None = None, token: int = 7
) -> Job:
    windows = [np.full(length, token, np.int32) for length in lengths]
    return Job(windows, owners or [0] * len(lengths), deadline, Cancellation())


def logits(batch: Batch, attack: float = 0.0) -> NDArray[np.float32]:
    return np.tile(np.array([0.0, attack], np.float32), (len(batch.entries), 1))


def take(batcher: Batcher, now: float = 0.0) -> Batch:
    batch, _ = batcher.take(now)
    assert batch is not None
    return batch


def run(batcher: Batcher, now: float = 0.0) -> tuple[Batch, list[Job]]:
    """Take a batch and finish it in exactly the time that was expected of it."""
    batch = take(batcher, now)
    return batch, batcher.finish(batch, logits(batch), MALICIOUS, seconds_of(batch))


def seconds_of(batch: Batch) -> float:
    return batch.padded_tokens * SECONDS_PER_TOKEN


def jobs_of(batch: Batch) -> list[Job]:
    return [entry.job for entry in batch.entries]


# Which windows go together


def test_a_free_model_gets_whatever_waits_at_once() -> None:
    batcher = make_batcher()
    jobs = [make_job(10), make_job(10)]
    for job in jobs:
        assert batcher.offer(job, 0.0) is None
    assert jobs_of(take(batcher)) == jobs
    assert batcher.take(0.0) == (None, [])


def test_the_earliest_deadline_goes_first() -> None:
    batcher = make_batcher(max_batch=10)
    late, early, middle = (
        make_job(10, deadline=30),
        make_job(10, deadline=10),
        make_job(10, deadline=20),
    )
    for job in (late, early, middle):
        batcher.offer(job, 0.0)
    assert [jobs_of(run(batcher)[0])[0] for _ in range(3)] == [early, middle, late]


def test_a_long_documents_windows_give_way_to_a_more_urgent_question() -> None:
    batcher = make_batcher(max_batch=128)
    document, question = make_job(*[64] * 6, deadline=100), make_job(8, deadline=50)
    batcher.offer(document, 0.0)
    first, _ = run(batcher)
    assert jobs_of(first) == [document, document]
    batcher.offer(question, 0.1)
    second, complete = run(batcher, 0.1)
    assert jobs_of(second) == [question]
    assert complete == [question]
    assert [len(run(batcher, 0.2)[0].entries) for _ in range(2)] == [2, 2]
    assert document.done


def test_a_short_question_is_not_padded_to_a_documents_length() -> None:
    batcher = make_batcher(max_batch=4_096)
    for length in (512, 10, 400, 12, 300):
        batcher.offer(make_job(length), 0.0)
    lengths = [sorted(entry.length for entry in run(batcher)[0].entries) for _ in range(2)]
    assert lengths == [[300, 400, 512], [10, 12]]


@given(
    st.lists(st.lists(st.integers(1, 100), min_size=1, max_size=5), min_size=1, max_size=30),
    st.integers(1, 256),
)
def test_every_batch_keeps_to_its_padded_tokens_and_every_window_runs_once(
    shapes: list[list[int]], max_batch: int
) -> None:
    batcher = make_batcher(max_batch, max_queue=100_000)
    jobs = [make_job(*shape, deadline=900 + i % 7) for i, shape in enumerate(shapes)]
    for job in jobs:
        assert batcher.offer(job, 0.0) is None
    ran, complete = [], []
    while batcher.queued_tokens:
        batch, done = run(batcher)
        lengths = [entry.length for entry in batch.entries]
        assert len(lengths) == 1 or batch.padded_tokens <= max_batch
        assert max(lengths) <= 2 * min(lengths) + 16
        ran += [(id(entry.job), entry.index) for entry in batch.entries]
        complete += done
    assert sorted(ran) == sorted((id(job), i) for job in jobs for i in range(len(job.windows)))
    assert sorted(map(id, complete)) == sorted(map(id, jobs))


def test_a_window_longer_than_a_batch_runs_alone() -> None:
    batcher = make_batcher(max_batch=64)
    batcher.offer(make_job(100), 0.0)
    batcher.offer(make_job(100), 0.0)
    assert [run(batcher)[0].padded_tokens for _ in range(2)] == [100, 100]


def test_a_limit_of_one_token_gives_every_window_a_call_of_its_own() -> None:
    batcher = make_batcher(max_batch=1)
    batcher.offer(make_job(1, 1, 1), 0.0)
    batcher.offer(make_job(5), 0.0)
    assert [len(run(batcher)[0].entries) for _ in range(4)] == [1, 1, 1, 1]


@pytest.mark.parametrize("rest", [3, module._LOOK_AHEAD + 100])
def test_the_most_urgent_window_is_served_however_many_unlike_ones_wait(rest: int) -> None:
    batcher = make_batcher(max_batch=4_096, max_queue=10**9)
    batcher.offer(make_job(512, deadline=10.0), 0.0)
    for i in range(rest):
        batcher.offer(make_job(2, deadline=900 + i * 1e-6), 0.0)
    first, _ = run(batcher)
    assert [entry.length for entry in first.entries] == [512]
    served = 0
    while batcher.queued_tokens:
        served += len(run(batcher)[0].entries)
    assert served == rest


def test_a_batch_does_not_grow_until_its_most_urgent_window_is_late() -> None:
    batcher = make_batcher(max_batch=1_000)
    batcher.offer(make_job(10, deadline=0.025), 0.0)
    for _ in range(5):
        batcher.offer(make_job(10, deadline=100.0), 0.0)
    assert len(take(batcher).entries) == 2


def test_packing_pads_every_row_on_the_right() -> None:
    batcher = make_batcher()
    batcher.offer(make_job(2, token=5, deadline=10), 0.0)
    batcher.offer(make_job(3, token=6, deadline=20), 0.0)
    input_ids, attention_mask = take(batcher).pack(pad_id=9)
    assert input_ids.tolist() == [[5, 5, 9], [6, 6, 6]]
    assert attention_mask.tolist() == [[1, 1, 0], [1, 1, 1]]
    assert input_ids.dtype == attention_mask.dtype == np.int64


# Who is let in


def test_a_full_queue_refuses_a_job_and_keeps_nothing_of_it() -> None:
    batcher = make_batcher(max_queue=30)
    first = make_job(20)
    assert batcher.offer(first, 0.0) is None
    assert batcher.offer(make_job(5, 6), 0.0) is Failure.OVERLOADED
    assert batcher.queued_tokens == 20
    assert batcher.offer(make_job(10), 0.0) is None
    batch = take(batcher)
    assert batcher.queued_tokens == 0
    assert jobs_of(batch)[0] is first


@pytest.mark.parametrize("deadline", [0.0, -1.0])
def test_a_job_that_comes_too_late_is_refused(deadline: float) -> None:
    batcher = make_batcher()
    assert batcher.offer(make_job(1, deadline=deadline), 0.0) is Failure.DEADLINE_EXCEEDED
    assert batcher.queued_tokens == 0


def test_an_idle_model_takes_exactly_what_it_can_finish_in_time() -> None:
    assert make_batcher().offer(make_job(100, deadline=0.101), 0.0) is None
    assert make_batcher().offer(make_job(100, deadline=0.099), 0.0) is Failure.TOO_MANY_TOKENS


def test_the_running_batch_counts_until_it_is_expected_back() -> None:
    batcher = make_batcher()
    batcher.offer(make_job(60), 0.0)
    take(batcher)  # until 0.060
    assert batcher.finish_estimate(10, 1.0, 0.02) == pytest.approx(0.070)
    assert batcher.finish_estimate(10, 1.0, 0.5) == pytest.approx(0.510)


def test_windows_that_are_due_earlier_count_in_whole_calls() -> None:
    batcher = make_batcher(max_batch=64)
    batcher.offer(make_job(60, deadline=500), 0.0)
    assert batcher.finish_estimate(1, 500, 0.0) == pytest.approx(0.064)
    assert batcher.finish_estimate(10, 500, 0.0) == pytest.approx(0.128)


def test_an_urgent_job_does_not_wait_for_a_queue_that_is_due_later() -> None:
    batcher = make_batcher()
    for _ in range(100):
        batcher.offer(make_job(60, deadline=500), 0.0)
    urgent = make_job(10, deadline=0.011)
    assert batcher.offer(urgent, 0.0) is None
    assert jobs_of(take(batcher)) == [urgent]
    assert batcher.offer(make_job(10, deadline=0.011), 0.0) is Failure.OVERLOADED


def test_the_estimate_follows_what_batches_cost() -> None:
    batcher = make_batcher()
    for _ in range(40):
        batcher.offer(make_job(10), 0.0)
        batch = take(batcher)
        batcher.finish(batch, logits(batch), MALICIOUS, 3 * seconds_of(batch))
    batcher.offer(make_job(10), 0.0)
    assert batcher.finish_estimate(64 - 10, 1_000, 0.0) == pytest.approx(0.192, rel=0.01)


def test_short_questions_on_a_gpu_do_not_make_tokens_look_dear() -> None:
    batcher = Batcher(32_768, 10**6, seconds_per_token=1e-6, seconds_per_call=0.002)
    for _ in range(50):
        batcher.offer(make_job(10), 0.0)
        batch = take(batcher)
        batcher.finish(batch, logits(batch), MALICIOUS, 0.002 + batch.padded_tokens * 1e-6)
    assert batcher.offer(make_job(*[512] * 16, deadline=0.1), 0.0) is None


def test_one_hung_call_does_not_shut_the_door_for_good() -> None:
    batcher = make_batcher()
    batcher.offer(make_job(10), 0.0)
    batch = take(batcher)
    batcher.finish(batch, logits(batch), MALICIOUS, 3_600.0)
    assert batcher.offer(make_job(10, deadline=3_600.1), 3_600.0) is None


def test_a_slow_spell_is_unlearned_even_when_only_documents_come() -> None:
    batcher = make_batcher(max_batch=512)
    for _ in range(100):
        batcher.offer(make_job(10), 0.0)
        batch = take(batcher)
        batcher.finish(batch, logits(batch), MALICIOUS, 50 * seconds_of(batch))
    for _ in range(50):
        assert batcher.offer(make_job(400, deadline=0.5), 0.0) is None
        run(batcher)
    assert batcher.pace == pytest.approx(1.0, rel=0.01)


@pytest.mark.parametrize("lengths", [[20], [20, 500], [20, 20, 20, 200, 1_500]])
@pytest.mark.parametrize("allowed_s", [0.16, 0.4])
def test_eightfold_overload_costs_no_goodput(lengths: list[int], allowed_s: float) -> None:
    """Who is let in is answered in time: a queue of late answers would be work for nothing."""
    load = Overload(lengths, allowed_s)
    load.run(seconds=4.0)
    assert load.goodput > 0.9
    assert load.late <= 0.01 * load.in_time


class Overload:
    """A model that costs 60 µs per padded token, and Poisson arrivals of eight times that."""

    PER_TOKEN = 60e-6
    PER_CALL = 1e-3

    def __init__(self, lengths: list[int], allowed_s: float) -> None:
        self.batcher = Batcher(1_024, 65_536, self.PER_TOKEN, self.PER_CALL)
        self.lengths = lengths
        self.allowed_s = allowed_s
        self.in_time = self.late = self.tokens_in_time = 0
        self.seconds = 0.0

    @property
    def goodput(self) -> float:
        """Share of the time that went into answers that came in time."""
        return self.tokens_in_time * self.PER_TOKEN / self.seconds

    def run(self, seconds: float) -> None:
        dice = random.Random(1)
        mean = sum(self.lengths) / len(self.lengths)
        self.seconds = seconds
        now, free_at, batch = 0.0, 0.0, None
        while now < seconds:
            now += dice.expovariate(8 / (mean * self.PER_TOKEN))
            while free_at <= now:
                if batch is not None:
                    self._finish(batch, free_at)
                batch, _ = self.batcher.take(free_at if batch is not None else now)
                if batch is None:
                    free_at = now
                    break
                free_at = max(free_at, 0.0) + self._cost(batch)
            length = dice.choice(self.lengths)
            windows = [min(512, length - at) for at in range(0, length, 512)]
            self.batcher.offer(make_job(*windows, deadline=now + self.allowed_s), now)

    def _cost(self, batch: Batch) -> float:
        return self.PER_CALL + batch.padded_tokens * self.PER_TOKEN

    def _finish(self, batch: Batch, now: float) -> None:
        for job in self.batcher.finish(batch, logits(batch), MALICIOUS, self._cost(batch)):
            if now <= job.deadline:
                self.in_time += 1
                self.tokens_in_time += job.tokens
            else:
                self.late += 1


# Who is dropped


def test_a_cancelled_job_is_dropped_unexecuted() -> None:
    batcher = make_batcher()
    gone, waiting = make_job(10, 10), make_job(10)
    for job in (gone, waiting):
        batcher.offer(job, 0.0)
    gone.cancellation.cancel()
    batch, dropped = batcher.take(0.0)
    assert batch is not None
    assert jobs_of(batch) == [waiting]
    assert dropped == [gone]
    assert gone.failure is Failure.CANCELLED


def test_an_expired_job_is_dropped_unexecuted() -> None:
    batcher = make_batcher()
    batcher.offer(make_job(10, 10, deadline=5.0), 0.0)
    batch, dropped = batcher.take(5.0)
    assert batch is None
    assert [job.failure for job in dropped] == [Failure.DEADLINE_EXCEEDED]
    assert batcher.queued_tokens == 0


def test_a_job_that_the_model_could_only_finish_too_late_is_not_begun() -> None:
    batcher = make_batcher()
    batcher.offer(make_job(50, deadline=5.0), 0.0)
    batch, dropped = batcher.take(4.96)
    assert batch is None
    assert [job.failure for job in dropped] == [Failure.DEADLINE_EXCEEDED]


@pytest.mark.parametrize("windows_per_job", [1, 10_000])
def test_no_number_of_dead_windows_hides_a_live_one(windows_per_job: int) -> None:
    batcher = make_batcher(max_queue=10**6)
    for _ in range(10_000 // windows_per_job):
        batcher.offer(make_job(*[1] * windows_per_job, deadline=50.0), 0.0)
    live = make_job(10, deadline=900.0)
    batcher.offer(live, 0.0)
    batch, dropped = batcher.take(50.0)
    assert batch is not None
    assert jobs_of(batch) == [live]
    assert len(dropped) == 10_000 // windows_per_job


def test_a_job_that_was_given_up_by_its_owner_leaves_the_queue_unexecuted() -> None:
    batcher = make_batcher()
    given_up = make_job(*[10] * 1_000)
    batcher.offer(given_up, 0.0)
    given_up.failure = Failure.DEADLINE_EXCEEDED
    assert batcher.take(0.0) == (None, [])
    assert batcher.queued_tokens == 0


def test_one_take_looks_at_a_bounded_number_of_live_windows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    batcher = make_batcher(max_batch=100, max_queue=10**9)
    batcher.offer(make_job(50, deadline=1.0), 0.0)
    batcher.offer(make_job(*[1] * 20_000), 0.0)
    operations: list[str] = []
    for name in ("heappush", "heappop"):
        monkeypatch.setattr(heapq, name, counted(getattr(heapq, name), name, operations))
    assert len(take(batcher).entries) == 1
    assert len(operations) <= 2 * module._LOOK_AHEAD


def counted(function: object, name: str, calls: list[str]) -> object:
    def call(*arguments: object) -> object:
        calls.append(name)
        assert callable(function)
        return function(*arguments)

    return call


def test_a_refusal_under_overload_does_not_walk_through_the_queue() -> None:
    batcher = make_batcher(max_queue=10**9)
    batcher.offer(make_job(*[1] * 1_000, deadline=1_000), 0.0)
    batcher._queue.clear()  # whoever looks at it counts wrong
    assert batcher.finish_estimate(1, 1_000, 0.0) == pytest.approx(1.024)


# One row never touches another


def test_a_texts_score_is_that_of_its_worst_window() -> None:
    batcher = make_batcher()
    job = make_job(4, 4, 4, owners=[0, 0, 1])
    batcher.offer(job, 0.0)
    batch = take(batcher)
    rows = np.array([[0, -2], [0, 2], [0, -1]], np.float32)
    assert batcher.finish(batch, rows, MALICIOUS, 0.01) == [job]
    assert job.scores == pytest.approx(1 / (1 + np.exp([-2.0, 1.0])), abs=1e-6)


def test_the_worst_window_counts_across_batches() -> None:
    batcher = make_batcher(max_batch=4)
    job = make_job(4, 4, 4)
    batcher.offer(job, 0.0)
    for attack in (0.0, 3.0, -3.0):
        batch = take(batcher)
        batcher.finish(batch, logits(batch, attack), MALICIOUS, 0.01)
    assert job.scores == pytest.approx([1 / (1 + np.exp(-3.0))], abs=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_score_that_is_no_number_fails_its_own_job_only(bad: float) -> None:
    batcher = make_batcher()
    jobs = [make_job(4, deadline=10 + i) for i in range(3)]
    for job in jobs:
        batcher.offer(job, 0.0)
    batch = take(batcher)
    rows = logits(batch)
    rows[1, 0] = bad
    assert batcher.finish(batch, rows, MALICIOUS, 0.01) == jobs
    assert [job.failure for job in jobs] == [None, Failure.MODEL_FAULT, None]
    assert [jobs[0].scores[0], jobs[2].scores[0]] == [0.5, 0.5]


def test_a_failed_jobs_other_windows_are_dropped() -> None:
    batcher = make_batcher(max_batch=4)
    job = make_job(4, 4, 4)
    batcher.offer(job, 0.0)
    batch = take(batcher)
    assert batcher.finish(batch, np.full((1, 2), np.nan, np.float32), MALICIOUS, 0.01) == [job]
    assert batcher.take(0.0) == (None, [])
    assert batcher.queued_tokens == 0


POISON = 666


def drain(batcher: Batcher, now: float = 0.0) -> list[Job]:
    """Run until nothing waits. The model raises for every batch with a poison row."""
    returned = []
    while True:
        batch, dropped = batcher.take(now)
        returned += dropped
        if batch is None:
            return returned
        if any((entry.job.windows[entry.index] == POISON).any() for entry in batch.entries):
            returned += batcher.fault(batch)
        else:
            returned += batcher.finish(batch, logits(batch, 1.0), MALICIOUS, seconds_of(batch))


def test_a_poison_row_fails_alone_and_its_mates_get_their_scores() -> None:
    batcher = make_batcher(max_batch=1_000)
    jobs = [make_job(4, 4, deadline=10 + i, token=POISON if i == 2 else 1) for i in range(5)]
    for job in jobs:
        batcher.offer(job, 0.0)
    returned = drain(batcher)
    assert sorted(map(id, returned)) == sorted(map(id, jobs))
    assert [job.failure for job in jobs] == [None, None, Failure.MODEL_FAULT, None, None]
    assert all(job.scores[0] > 0.7 for job in jobs if job.failure is None)
    assert batcher.queued_tokens == 0


def test_rows_that_are_tried_again_share_no_batch_with_newcomers() -> None:
    batcher = make_batcher(max_batch=1_000)
    old = [make_job(4, deadline=10), make_job(4, deadline=10)]
    for job in old:
        batcher.offer(job, 0.0)
    batcher.fault(take(batcher))
    new = [make_job(4, deadline=5), make_job(4, deadline=20)]
    for job in new:
        batcher.offer(job, 0.0)
    assert [jobs_of(run(batcher)[0]) for _ in range(3)] == [new, [old[0]], [old[1]]]


def test_mates_of_a_poison_row_may_be_cancelled_meanwhile() -> None:
    batcher = make_batcher(max_batch=1_000)
    poison, gone, mate = make_job(4, token=POISON), make_job(4), make_job(4)
    for job in (poison, gone, mate):
        batcher.offer(job, 0.0)
    batch = take(batcher)
    gone.cancellation.cancel()
    assert batcher.fault(batch) == []
    assert sorted(map(id, drain(batcher))) == sorted(map(id, (poison, gone, mate)))
    assert [j.failure for j in (poison, gone, mate)] == [
        Failure.MODEL_FAULT,
        Failure.CANCELLED,
        None,
    ]


def test_a_fault_after_which_nobody_waits_leaves_nothing_in_the_queue() -> None:
    batcher = make_batcher()
    jobs = [make_job(4), make_job(4)]
    for job in jobs:
        batcher.offer(job, 0.0)
    batch = take(batcher)
    for job in jobs:
        job.failure = Failure.DEADLINE_EXCEEDED
    assert batcher.fault(batch) == []
    assert batcher.queued_tokens == 0


def test_a_fault_of_a_job_that_was_given_up_is_nobodys_answer() -> None:
    batcher = make_batcher()
    job = make_job(4)
    batcher.offer(job, 0.0)
    batch = take(batcher)
    job.failure = Failure.DEADLINE_EXCEEDED
    assert batcher.fault(batch) == []
    assert job.failure is Failure.DEADLINE_EXCEEDED


@dataclass
class Known:
    """What the test knows of a job that was accepted."""

    job: Job
    returned: int = 0


@settings(max_examples=60, stateful_step_count=60)
class AnyInterleaving(RuleBasedStateMachine):
    """Offers, batches, faults, cancellations and time in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.batcher = Batcher(48, 300, SECONDS_PER_TOKEN, 0.002)
        self.now = 0.0
        self.known: dict[int, Known] = {}
        self.batch: Batch | None = None

    def returns(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            self.known[id(job)].returned += 1
            assert job.done

    @rule(
        lengths=st.lists(st.integers(1, 60), min_size=1, max_size=6),
        allowed_s=st.floats(0.001, 2.0),
        poison=st.integers(0, 4),
    )
    def offer(self, lengths: list[int], allowed_s: float, poison: int) -> None:
        token = POISON if poison == 0 else 1
        job = make_job(*lengths, deadline=self.now + allowed_s, token=token)
        queued = [item[2] for item in self.batcher._queue]
        wanted = [entry for entry in queued if not entry.job.cancellation.cancelled]
        before = {sum(entry.length for entry in entries) for entries in (queued, wanted)}
        if self.batcher.offer(job, self.now) is None:
            self.known[id(job)] = Known(job)
            assert self.batcher.queued_tokens - job.tokens in before
        else:
            assert self.batcher.queued_tokens in before
            assert not any(item[2].job is job for item in self.batcher._queue)

    @precondition(lambda self: self.batch is None)
    @rule()
    def take(self) -> None:
        self.batch, dropped = self.batcher.take(self.now)
        self.returns(dropped)
        if self.batch is None:
            assert self.batcher.queued_tokens == 0
            return
        for entry in self.batch.entries:
            assert not entry.job.done
            assert not entry.job.cancellation.cancelled
            assert entry.job.deadline > self.now
        assert len(self.batch.entries) == 1 or self.batch.padded_tokens <= 48

    @precondition(lambda self: self.batch is not None)
    @rule(factor=st.floats(0.1, 20.0), nan=st.booleans())
    def finish(self, factor: float, nan: bool) -> None:
        assert self.batch is not None
        if any(entry.job.windows[0][0] == POISON for entry in self.batch.entries):
            self.returns(self.batcher.fault(self.batch))
        else:
            rows = logits(self.batch)
            if nan:
                rows[0] = np.nan
            seconds = factor * seconds_of(self.batch)
            self.returns(self.batcher.finish(self.batch, rows, MALICIOUS, seconds))
        self.batch = None

    @precondition(lambda self: self.known)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        known = data.draw(st.sampled_from(list(self.known.values())))
        known.job.cancellation.cancel()

    @rule(seconds=st.floats(0.0, 0.5))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def the_queue_is_counted_and_bounded(self) -> None:
        counted_tokens = sum(item[2].length for item in self.batcher._queue)
        assert self.batcher.queued_tokens == counted_tokens >= 0
        assert counted_tokens <= 300 + 48

    @invariant()
    def nobody_is_answered_twice_and_poison_never_passes(self) -> None:
        for known in self.known.values():
            assert known.returned == (1 if known.job.done else 0)
            passed = known.job.done and known.job.failure is None
            assert not (passed and known.job.windows[0][0] == POISON)

    def teardown(self) -> None:
        while self.batch is not None or self.batcher.queued_tokens:
            if self.batch is None:
                self.take()
            else:
                self.finish(1.0, nan=False)
        self.take()
        assert all(known.returned == 1 for known in self.known.values())


TestAnyInterleaving = AnyInterleaving.TestCase


def test_what_even_an_idle_model_could_not_do_in_time_is_the_callers_doing() -> None:
    batcher = Batcher(1_024, 4_096, seconds_per_token=0.01)
    late = Job([np.zeros(200, np.int32)], [0], 1.0, Cancellation())
    huge = Job([np.zeros(256, np.int32)] * 17, [0] * 17, 1e9, Cancellation())
    assert batcher.offer(late, 0.0) is Failure.TOO_MANY_TOKENS
    assert batcher.offer(huge, 0.0) is Failure.TOO_MANY_TOKENS
    assert batcher.queued_tokens == 0


def test_a_queue_full_of_callers_who_left_has_room_for_who_came() -> None:
    batcher = Batcher(64, 256, seconds_per_token=0.001)
    gone = [Job([np.zeros(64, np.int32)], [0], 100.0, Cancellation()) for _ in range(4)]
    for job in gone:
        assert batcher.offer(job, 0.0) is None
    newcomer = Job([np.zeros(64, np.int32)], [0], 100.0, Cancellation())
    assert batcher.offer(newcomer, 0.0) is Failure.OVERLOADED

    for job in gone:
        job.cancellation.cancel()
    assert batcher.offer(newcomer, 0.0) is None
    batch, dropped = batcher.take(0.0)
    assert set(dropped) == set(gone)
    assert {job.failure for job in gone} == {Failure.CANCELLED}
    assert batch is not None
    assert [entry.job for entry in batch.entries] == [newcomer]


def test_a_job_found_to_be_in_vain_by_its_longer_window_runs_none_of_its_windows() -> None:
    batcher = Batcher(48, 300, seconds_per_token=0.01)
    job = Job([np.zeros(1, np.int32), np.zeros(30, np.int32)], [0, 0], 0.4, Cancellation())
    assert batcher.offer(job, 0.0) is None
    assert batcher.take(0.2) == (None, [job])
    assert job.failure is Failure.DEADLINE_EXCEEDED
