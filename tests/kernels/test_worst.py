"""The worst window of each text."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extauthz_kernels import worst_windows
from tests.reference import worst as reference

either = pytest.mark.parametrize(
    "kernel", [worst_windows, worst_windows.py_func], ids=["jit", "py"]
)
TEXTS = 3
finite = st.floats(width=32, allow_nan=False, allow_infinity=False) | st.floats(-20, 20, width=32)


@dataclass(frozen=True)
class Batch:
    logits: list[list[float]]
    malicious: list[bool]
    owners: list[int]


@st.composite
def batches(draw: st.DrawFn, logit: st.SearchStrategy[float] = finite) -> Batch:
    labels = draw(st.integers(1, 3))
    rows = draw(st.lists(st.lists(logit, min_size=labels, max_size=labels), max_size=8))
    count = len(rows)
    return Batch(
        rows,
        draw(st.lists(st.booleans(), min_size=labels, max_size=labels)),
        draw(st.lists(st.integers(0, TEXTS - 1), min_size=count, max_size=count)),
    )


def run(batch: Batch, kernel: Callable[..., int] = worst_windows) -> tuple[list[float], int]:
    labels = len(batch.malicious)
    scores = np.full(TEXTS, -1.0)
    faults = kernel(
        np.array(batch.logits, np.float32).reshape(-1, labels),
        np.array(batch.malicious, np.uint8),
        np.array(batch.owners, np.int64),
        scores,
    )
    return scores.tolist(), int(faults)


def one(logits: list[float], malicious: list[bool], kernel: Callable[..., int]) -> float:
    return run(Batch([logits], malicious, [0]), kernel)[0][0]


@either
@given(batch=batches(finite | st.sampled_from([math.nan, math.inf, -math.inf])))
def test_equals_the_twin(kernel: Callable[..., int], batch: Batch) -> None:
    scores, faults = run(batch, kernel)
    expected, expected_faults = reference.worst_windows(
        batch.logits, batch.malicious, batch.owners, [-1.0] * TEXTS
    )
    assert scores == pytest.approx(expected, rel=1e-12, abs=1e-15, nan_ok=True)
    assert faults == expected_faults


@given(batch=batches())
def test_a_text_scores_no_lower_than_any_of_its_windows(batch: Batch) -> None:
    scores, _ = run(batch)
    for logits, owner in zip(batch.logits, batch.owners, strict=True):
        (alone, *_), _ = run(Batch([logits], batch.malicious, [0]))
        assert scores[owner] >= alone
        assert 0 <= alone <= 1


@given(batch=batches(finite | st.just(math.nan)), data=st.data())
def test_the_order_of_the_windows_does_not_matter(batch: Batch, data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(len(batch.owners))))
    shuffled = Batch(
        [batch.logits[i] for i in order], batch.malicious, [batch.owners[i] for i in order]
    )
    np.testing.assert_equal(run(shuffled), run(batch))


@either
@pytest.mark.parametrize("fault", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("position", [0, 1, 2])
def test_a_fault_stays_whatever_comes_before_or_after(
    kernel: Callable[..., int], fault: float, position: int
) -> None:
    windows = [[0.0, 9.0], [9.0, 0.0]]
    windows.insert(position, [0.0, fault])
    scores, faults = run(Batch([*windows, [0.0, 0.0]], [False, True], [0, 0, 0, 1]), kernel)
    assert math.isnan(scores[0])
    assert faults == 1
    assert scores[1:] == [0.5, -1.0], "no other text is touched, and one without windows is -1"


@either
@pytest.mark.parametrize(
    ("logits", "malicious", "score"),
    [
        ([0.0], [True], 0.5),
        ([1000.0], [True], 1.0),
        ([-1000.0], [True], 0.0),
        ([3e38, -3e38], [True, False], 1.0),
        ([3e38, -3e38], [False, True], 0.0),
        ([1000.0, 1000.0, 1000.0], [False, True, True], 2 / 3),
        ([math.log(2), 0.0], [False, True], 1 / 3),
        ([5.0, 5.0], [False, False], 0.0),
    ],
)
def test_known_scores(
    kernel: Callable[..., int], logits: list[float], malicious: list[bool], score: float
) -> None:
    assert one(logits, malicious, kernel) == pytest.approx(score, abs=1e-7)


@either
def test_a_head_without_labels_never_passes_for_harmless(kernel: Callable[..., int]) -> None:
    scores = np.full(1, -1.0)
    owners = np.zeros(1, np.int64)
    assert kernel(np.zeros((1, 0), np.float32), np.zeros(0, np.uint8), owners, scores) == 1
    assert math.isnan(scores[0])


def test_scores_carry_over_to_the_next_batch() -> None:
    scores = np.array([0.9, -1.0])
    logits = np.array([[0.0, 0.0], [0.0, 0.0]], np.float32)
    malicious = np.array([0, 1], np.uint8)
    worst_windows(logits, malicious, np.array([0, 1], np.int64), scores)
    assert scores.tolist() == [0.9, 0.5]
