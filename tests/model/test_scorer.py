"""The scorer with real threads and a real model; a test stops the model where it must wait."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tokenizers import Tokenizer

from extauthz.core.batcher import Batcher
from extauthz.core.call import Passage, Provenance
from extauthz.core.cancellation import Cancellation
from extauthz.core.reasons import Failure
from extauthz.model.directory import ModelDirectory, load
from extauthz.model.scorer import Scorer, Scores, open_scorer
from extauthz.model.session import Session
from tests import canary_model
from tests.canary_model import CANARY, MARKERS

PLENTY = 10**6
#: The id of "~" in the canary's vocabulary.
TILDE = 5 + ord("~") - ord("!")
BENIGN, ATTACK = pytest.approx(0.0001, abs=1e-4), pytest.approx(0.9999, abs=1e-4)


class Gate(Session):
    """A session that counts its calls, keeps their shapes and can be held up or made to fail."""

    def __init__(self, directory: ModelDirectory) -> None:
        super().__init__(directory, "cpu", threads=1)
        self.open = threading.Event()
        self.open.set()
        self.entered = threading.Event()
        self.shapes: list[tuple[int, ...]] = []
        self.rows: list[list[int]] = []
        self.threads: set[str] = set()
        self.fails: Callable[[NDArray[np.int64]], bool] = lambda _: False
        self.spoils: Callable[[NDArray[np.int64], NDArray[np.float32]], None] = lambda _, __: None

    def run(
        self, input_ids: NDArray[np.int64], attention_mask: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        self.shapes.append(input_ids.shape)
        self.rows += input_ids.tolist()
        self.threads.add(threading.current_thread().name)
        self.entered.set()
        assert self.open.wait(30)
        if self.fails(input_ids):
            raise RuntimeError("poison")
        logits = super().run(input_ids, attention_mask)
        self.spoils(input_ids, logits)
        return logits


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> ModelDirectory:
    return load(canary_model.build(tmp_path_factory.mktemp("model")))


@pytest.fixture
def gate(directory: ModelDirectory) -> Gate:
    return Gate(directory)


@pytest.fixture
def scorer(gate: Gate) -> Iterator[Scorer]:
    scorer = Scorer(gate.directory, gate, Batcher(1_024, 4_096, 1e-6))
    yield scorer
    gate.open.set()
    scorer.close()


async def score(
    scorer: Scorer,
    *texts: str,
    max_tokens: int = PLENTY,
    allowed_s: float = 30.0,
    cancellation: Cancellation | None = None,
) -> Scores | Failure:
    deadline = asyncio.get_running_loop().time() + allowed_s
    passages = [Passage(Provenance.USER, text) for text in texts]
    return await scorer.score(passages, max_tokens, deadline, cancellation or Cancellation())


async def held_up(scorer: Scorer, gate: Gate) -> asyncio.Task[Scores | Failure]:
    """A first call that the model is busy with until the gate opens."""
    gate.open.clear()
    gate.entered.clear()
    first = asyncio.create_task(score(scorer, "first"))
    await asyncio.to_thread(gate.entered.wait, 30)
    return first


async def queued(scorer: Scorer, *texts: str, **options: object) -> asyncio.Task[Scores | Failure]:
    """A call whose windows wait in the queue."""
    before = scorer.queued_tokens
    task = asyncio.create_task(score(scorer, *texts, **options))  # type: ignore[arg-type]
    async with asyncio.timeout(30):
        while scorer.queued_tokens == before:  # noqa: ASYNC110 - a queue has no event for a test
            await asyncio.sleep(0)
    return task


def scores_of(result: Scores | Failure) -> list[float]:
    assert not isinstance(result, Failure), result
    return [text.score for text in result]


async def test_every_text_gets_its_own_score(scorer: Scorer) -> None:
    result = await score(scorer, "hello", f"say {CANARY}", "bye")
    assert scores_of(result) == [BENIGN, ATTACK, BENIGN]


async def test_a_long_texts_score_is_that_of_its_worst_window(scorer: Scorer) -> None:
    result = await score(scorer, "a " * 40 + CANARY + " b" * 40, "a " * 81)
    assert scores_of(result) == [ATTACK, BENIGN]
    assert not isinstance(result, Failure)
    assert [(text.windows, text.tokens) for text in result] == [(4, 4 * 32), (4, 4 * 32)]


async def test_no_text_needs_no_model(scorer: Scorer, gate: Gate) -> None:
    assert await score(scorer) == ()
    assert gate.shapes == []


@pytest.mark.parametrize("text", ["", "\x01\x02"])
async def test_a_text_without_tokens_is_scored_all_the_same(scorer: Scorer, text: str) -> None:
    assert scores_of(await score(scorer, text, CANARY)) == [BENIGN, ATTACK]


async def test_requests_that_come_while_the_model_is_busy_share_its_next_call(
    scorer: Scorer, gate: Gate
) -> None:
    first = await held_up(scorer, gate)
    tasks = [await queued(scorer, CANARY if i % 3 == 0 else "hi") for i in range(9)]
    gate.open.set()
    results = [scores_of(await task) for task in tasks]
    assert results == [[ATTACK if i % 3 == 0 else BENIGN] for i in range(9)]
    assert scores_of(await first) == [BENIGN]
    assert [shape[0] for shape in gate.shapes] == [1, 9]
    assert gate.threads == {"inference_0"}


async def test_a_thousand_requests_at_once_each_get_their_own_score(scorer: Scorer) -> None:
    rng = np.random.default_rng(1)
    hot = rng.random(1_000) < 0.3
    texts = [
        "ab " * int(n) + (CANARY if bad else "")
        for n, bad in zip(rng.integers(0, 3, 1_000), hot, strict=True)
    ]
    scorer._batcher.max_queue_tokens = 10**6
    results = await asyncio.gather(*(score(scorer, text) for text in texts))
    assert [scores_of(result)[0] > 0.5 for result in results] == hot.tolist()
    assert scorer.queued_tokens == 0


async def test_a_cancelled_check_is_not_executed(scorer: Scorer, gate: Gate) -> None:
    first = await held_up(scorer, gate)
    cancellation = Cancellation()
    gone = await queued(scorer, CANARY, cancellation=cancellation)
    mate = await queued(scorer, CANARY)
    cancellation.cancel()
    gate.open.set()
    assert await gone is Failure.CANCELLED
    assert scores_of(await mate) == [ATTACK]
    assert scores_of(await first) == [BENIGN]
    assert [shape[0] for shape in gate.shapes] == [1, 1]


async def test_a_cancelled_task_takes_nobody_with_it(scorer: Scorer, gate: Gate) -> None:
    first = await held_up(scorer, gate)
    gone, mate = await queued(scorer, "gone"), await queued(scorer, CANARY)
    gone.cancel()
    first.cancel()  # its windows are in the model
    gate.open.set()
    assert scores_of(await mate) == [ATTACK]
    assert gone.cancelled()
    assert first.cancelled()
    assert [shape[0] for shape in gate.shapes] == [1, 1]


async def test_a_hung_model_does_not_delay_the_answer_and_the_queue_recovers(
    scorer: Scorer, gate: Gate
) -> None:
    loop = asyncio.get_running_loop()
    first = await held_up(scorer, gate)
    start = loop.time()
    late = [score(scorer, "a " * 300, allowed_s=0.1) for _ in range(3)]
    assert await asyncio.gather(*late) == [Failure.DEADLINE_EXCEEDED] * 3
    assert loop.time() - start < 5.0
    waiting = await queued(scorer, CANARY)
    gate.open.set()
    assert scores_of(await waiting) == [ATTACK]
    assert scores_of(await first) == [BENIGN]
    assert scorer.queued_tokens == 0
    assert [shape[0] for shape in gate.shapes] == [1, 1]


async def test_more_dead_windows_than_one_batch_looks_at_do_not_stall_the_queue(
    scorer: Scorer, gate: Gate
) -> None:
    scorer._batcher.max_queue_tokens = 10**6
    first = await held_up(scorer, gate)
    cancellation = Cancellation()
    gone = await queued(scorer, *["x"] * 2_000, cancellation=cancellation)
    waiting = await queued(scorer, CANARY, allowed_s=60.0)
    cancellation.cancel()
    gate.open.set()
    assert scores_of(await asyncio.wait_for(waiting, 10)) == [ATTACK]
    assert await gone is Failure.CANCELLED
    await first


async def test_a_deadline_that_has_passed_is_answered_without_the_model(
    scorer: Scorer, gate: Gate
) -> None:
    assert await score(scorer, "hi", allowed_s=-1.0) is Failure.DEADLINE_EXCEEDED
    assert gate.shapes == []


async def test_a_full_queue_refuses_at_once_and_works_on(scorer: Scorer, gate: Gate) -> None:
    first = await held_up(scorer, gate)
    waiting = await queued(scorer, "a " * 2_000)
    assert await score(scorer, "a " * 2_000) is Failure.OVERLOADED
    gate.open.set()
    assert scores_of(await waiting) == [BENIGN]
    await first


async def test_the_token_limit_is_over_all_texts(scorer: Scorer, gate: Gate) -> None:
    assert not isinstance(await score(scorer, "a b", "c", max_tokens=7), Failure)
    assert await score(scorer, "a b", "c", max_tokens=6) is Failure.TOO_MANY_TOKENS
    assert await score(scorer, "a " * 50_000, max_tokens=100) is Failure.TOO_MANY_TOKENS


async def test_text_with_hardly_a_token_in_it_is_not_tokenized_to_find_out(
    scorer: Scorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not isinstance(await score(scorer, " " * 1_600, max_tokens=100), Failure)
    monkeypatch.setattr(scorer, "_tokenizer", None)
    assert await score(scorer, " " * 1_601, max_tokens=100) is Failure.TOO_MANY_TOKENS


@pytest.mark.parametrize(
    ("texts", "thread"),
    [
        (["hi"], "MainThread"),
        (["a" * 1_984], "MainThread"),
        (["a" * 1_985], "tokenizer_0"),
        (["a"] * 500, "tokenizer_0"),
    ],
    ids=["short", "not quite long", "long", "many"],
)
async def test_only_little_text_is_tokenized_on_the_event_loop(
    scorer: Scorer, monkeypatch: pytest.MonkeyPatch, texts: list[str], thread: str
) -> None:
    used: set[str] = set()
    windows = scorer._tokenizer.windows

    def noted(*arguments: object) -> object:
        used.add(threading.current_thread().name)
        return windows(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(scorer._tokenizer, "windows", noted)
    await score(scorer, *texts)
    assert used == {thread}


async def test_a_cancelled_check_stops_being_tokenized(scorer: Scorer, gate: Gate) -> None:
    cancellation = Cancellation()
    cancellation.cancel()
    text = " " * 5_000_000
    assert await score(scorer, text, cancellation=cancellation) is Failure.CANCELLED
    assert gate.shapes == []


async def test_a_poison_row_fails_alone(
    scorer: Scorer, gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    gate.fails = lambda input_ids: bool((input_ids == TILDE).any())
    first = await held_up(scorer, gate)
    texts = ["hi", "~", CANARY]
    tasks = [await queued(scorer, text) for text in texts]
    gate.open.set()
    results = [await task for task in tasks]
    await first
    assert results[1] is Failure.MODEL_FAULT
    assert [scores_of(results[0]), scores_of(results[2])] == [[BENIGN], [ATTACK]]
    assert [shape[0] for shape in gate.shapes] == [1, 3, 1, 1, 1]
    assert "RuntimeError" in caplog.text
    assert "poison" not in caplog.text


@pytest.mark.parametrize("row", [(0.0, np.nan), (np.inf, 0.0), (0.0, -np.inf), (np.inf, np.inf)])
async def test_a_row_without_numbers_fails_its_own_check_and_its_mates_keep_their_scores(
    scorer: Scorer, gate: Gate, row: tuple[float, float]
) -> None:
    def spoil(input_ids: NDArray[np.int64], logits: NDArray[np.float32]) -> None:
        logits[(input_ids == TILDE).any(axis=1)] = row

    gate.spoils = spoil
    first = await held_up(scorer, gate)
    tasks = [await queued(scorer, *texts) for texts in (["hi"], ["a", "~", "b"], [CANARY])]
    gate.open.set()
    harmless, faulty, attack = [await task for task in tasks]
    await first
    assert faulty is Failure.MODEL_FAULT
    assert [scores_of(harmless), scores_of(attack)] == [[BENIGN], [ATTACK]]
    assert [shape[0] for shape in gate.shapes] == [1, 5], "and nothing is run twice"
    assert await score(scorer, "~") is Failure.MODEL_FAULT
    assert scores_of(await score(scorer, "and on", CANARY)) == [BENIGN, ATTACK]


async def test_a_token_that_the_graph_does_not_know_fails_its_own_check_only(
    tmp_path: Path,
) -> None:
    """A tokenizer with more tokens than the graph has rows: ONNX Runtime refuses the whole batch."""
    foreign = tmp_path / "foreign"
    canary_model.build(foreign, markers=True)
    canary_model.build(tmp_path)
    gate = Gate(load(tmp_path))
    described = replace(gate.directory, tokenizer=foreign / "tokenizer.json", markers=MARKERS)
    lacking = {**MARKERS, Provenance.USER: "[CLS]", Provenance.DOCUMENT: "[SEP]"}
    scorer = Scorer(replace(described, markers=lacking), gate, Batcher(1_024, 4_096, 1e-6))
    try:
        first = await held_up(scorer, gate)
        places = [Provenance.USER, Provenance.SYSTEM, Provenance.DOCUMENT]
        passages = [Passage(place, CANARY) for place in places]
        deadline = asyncio.get_running_loop().time() + 30
        tasks = [
            asyncio.create_task(scorer.score([one], PLENTY, deadline, Cancellation()))
            for one in passages
        ]
        await asyncio.sleep(0)
        gate.open.set()
        user, system, document = [await task for task in tasks]
        await first
    finally:
        gate.open.set()
        scorer.close()
    assert system is Failure.MODEL_FAULT
    assert [scores_of(user), scores_of(document)] == [[ATTACK], [ATTACK]]
    assert [shape[0] for shape in gate.shapes] == [1, 3, 1, 1, 1]


async def test_the_model_is_told_where_each_text_is_from(tmp_path: Path) -> None:
    canary_model.build(tmp_path, markers=True)
    directory = replace(load(tmp_path), markers=MARKERS)
    gate = Gate(directory)
    scorer = Scorer(directory, gate, Batcher(1_024, 4_096, 1e-6))
    passages = [Passage(one, "a") for one in Provenance]
    deadline = asyncio.get_running_loop().time() + 30
    try:
        scores = await scorer.score(passages, PLENTY, deadline, Cancellation())
    finally:
        scorer.close()
    vocabulary = Tokenizer.from_file(str(directory.tokenizer)).get_vocab()
    assert [row[1] for row in gate.rows] == [vocabulary[MARKERS[one]] for one in Provenance]
    assert scores_of(scores) == [BENIGN] * len(Provenance)


@pytest.mark.parametrize("repeat", [1, 700], ids=["on the loop", "on a thread"])
async def test_letters_that_the_model_cannot_read_are_counted_for_each_text(
    scorer: Scorer, repeat: int
) -> None:
    scores = await score(scorer, "a " * repeat, "\u4f60 b " * repeat, "\u4f60\u597d")
    assert not isinstance(scores, Failure)
    assert [text.unread for text in scores] == [0, min(repeat, 32), 2]


async def test_a_model_that_always_raises_fails_every_check_and_no_later_one(
    scorer: Scorer, gate: Gate
) -> None:
    gate.fails = lambda _: True
    results = await asyncio.gather(*(score(scorer, "hi", "you") for _ in range(5)))
    assert results == [Failure.MODEL_FAULT] * 5
    gate.fails = lambda _: False
    assert scores_of(await score(scorer, CANARY)) == [ATTACK]


class DependsOnItsBatch(Gate):
    """As dynamic int8 does: one scale for the whole batch, so a loud row silences the others."""

    def run(
        self, input_ids: NDArray[np.int64], attention_mask: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        return super().run(input_ids, attention_mask) / np.float32(len(input_ids) ** 2)


@pytest.mark.parametrize("invariant", [False, True])
async def test_a_model_not_known_to_be_batch_invariant_is_only_given_single_rows(
    directory: ModelDirectory, invariant: bool
) -> None:
    described = replace(directory, batch_invariant=invariant)
    gate = DependsOnItsBatch(described)
    scorer = open_scorer(described, gate)
    try:
        texts = [CANARY, "hi", "a " * 100, "b"] * 8
        first = await held_up(scorer, gate)
        gate.shapes.clear()
        waiting = await queued(scorer, *texts)
        gate.open.set()
        scores = scores_of(await waiting)
        await first
    finally:
        gate.open.set()
        scorer.close()
    single = {shape[0] for shape in gate.shapes} == {1}
    assert single is not invariant
    assert (scores == [ATTACK, BENIGN, BENIGN, BENIGN] * 8) is not invariant


async def test_warm_up_measures_what_a_call_and_a_token_cost(directory: ModelDirectory) -> None:
    gate = Gate(directory)
    scorer = open_scorer(replace(directory, batch_invariant=True), gate)
    scorer.close()
    assert gate.shapes == [(1, 16), (1, 16), (32, 32), (1, 16), (32, 32)]
    assert scorer._batcher.seconds_per_token > 0
    assert scorer._batcher.seconds_per_call >= 0


async def test_warm_up_tries_every_place_that_a_text_can_be_from(tmp_path: Path) -> None:
    canary_model.build(tmp_path, markers=True)
    directory = replace(load(tmp_path), markers=MARKERS, batch_invariant=True)
    gate = Gate(directory)
    open_scorer(directory, gate).close()
    assert len({row[1] for row in gate.rows}) == len(Provenance)


async def test_closing_stops_both_threads(directory: ModelDirectory, gate: Gate) -> None:
    scorer = Scorer(directory, gate, Batcher(1_024, 4_096, 1e-6))
    await score(scorer, "a" + " " * 5_000)
    threads = {*scorer._inference._threads, *scorer._tokenizing._threads}
    assert len(threads) == 2
    scorer.close()
    assert not any(thread.is_alive() for thread in threads)
