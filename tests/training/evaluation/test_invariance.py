"""What a batch does to a score, and a search for the batch-mate that does most."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from extauthz.core.call import Passage, Provenance
from extauthz.model.directory import largest_id
from extauthz.training.evaluation.invariance import BatchEffect, Score, batch_effect, worst_mate
from extauthz.training.evaluation.metrics import Scores
from extauthz.training.evaluation.score import Window, WindowScorer
from tests.model import drop_ins

WINDOWS = [np.arange(101, 101 + size, dtype=np.int32) for size in range(3, 40)]
LONGEST, VOCABULARY = 256, 31_700
THRESHOLDS = [0.3, 0.5]


def by_itself(windows: Sequence[Window]) -> Scores:
    return np.array([0.2 + window.size / 100 for window in windows])


def by_its_loudest(windows: Sequence[Window]) -> Scores:
    """As a shared quantisation scale would: the widest token of the batch coarsens every score."""
    step = max(int(window.max()) for window in windows) / VOCABULARY
    return np.asarray(by_itself(windows) + 0.1 * step)


def rare(window: Window) -> float:
    """The share of a window's tokens that are among one in 211."""
    return float((window % 211 == 17).mean())


def by_rare_company(windows: Sequence[Window]) -> Scores:
    """Only a mate that is full of rare tokens moves a score, and the more of them the further."""
    others = [[*windows[:place], *windows[place + 1 :]] for place in range(len(windows))]
    company = np.array([max(map(rare, mates), default=0.0) for mates in others])
    return np.asarray(by_itself(windows) + 0.2 * company**2)


def effect_on(score: Score, steps: int, seed: int = 0) -> BatchEffect:
    return batch_effect(
        score,
        WINDOWS,
        longest=LONGEST,
        vocabulary=VOCABULARY,
        thresholds=THRESHOLDS,
        steps=steps,
        seed=seed,
    )


@pytest.mark.parametrize("steps", [0, 20])
def test_scores_that_ignore_the_batch_show_no_effect(steps: int) -> None:
    assert effect_on(by_itself, steps) == BatchEffect(0.0, 0)


def test_scores_that_heed_a_hostile_mate_are_found_out() -> None:
    effect = effect_on(by_its_loudest, steps=0)
    assert effect.largest > 0.05
    assert effect.flips > 0


@pytest.mark.parametrize("seed", range(5))
def test_a_search_finds_a_mate_that_no_random_batch_has(seed: int) -> None:
    at_random = effect_on(by_rare_company, 0, seed)
    assert at_random.largest < 1e-3
    assert at_random.flips == 0
    searched = effect_on(by_rare_company, 200, seed)
    assert searched.largest > 0.04
    assert searched.flips > 0


def test_a_search_never_ends_below_its_start_and_ends_the_same_every_time() -> None:
    start = np.full(LONGEST, 17, np.int32)
    start[1:] = 5
    searches = [
        worst_mate(by_rare_company, WINDOWS[:7], start, vocabulary=VOCABULARY, steps=steps)
        for steps in (0, 200, 200)
    ]
    assert searches[0].window.tolist() == start.tolist()
    assert 0 < searches[0].shift < 1e-5
    assert searches[1].shift > 1e-3
    assert searches[1].shift == searches[2].shift
    assert searches[1].window.tolist() == searches[2].window.tolist()


def test_every_window_is_scored_beside_the_worst_mate() -> None:
    """The search watches a few; those whose decision changes may be others."""
    effect = batch_effect(
        by_rare_company,
        WINDOWS,
        longest=LONGEST,
        vocabulary=VOCABULARY,
        thresholds=[0.25],  # far from where a score moves most easily
        steps=200,
    )
    assert effect.flips > 0


@pytest.mark.parametrize("vocabulary", [1, 3, 500])
@pytest.mark.parametrize("longest", [1, 2, 37])
def test_small_vocabularies_and_odd_windows_are_searched_too(vocabulary: int, longest: int) -> None:
    seen: list[Window] = []

    def noted(windows: Sequence[Window]) -> Scores:
        seen.extend(windows)
        return by_itself(windows)

    batch_effect(
        noted, WINDOWS[:3], longest=longest, vocabulary=vocabulary, thresholds=[], steps=50
    )
    strangers = [one for one in seen if not any(one is window for window in WINDOWS)]
    assert {one.size for one in strangers} == {longest}
    assert {one.dtype for one in strangers} == {np.dtype(np.int32)}
    assert 0 <= min(map(np.min, strangers)) <= max(map(np.max, strangers)) < vocabulary


@pytest.mark.parametrize("graph", ["model.onnx", "model_quantized.onnx"])
def test_a_graph_with_one_scale_for_its_batch_is_found_out(tmp_path: Path, graph: str) -> None:
    published = drop_ins.DropIn("bert", ("LABEL_0",), ("LABEL_0",), graph=graph)
    scorer = WindowScorer(drop_ins.build(tmp_path, published))
    texts = ["the quick brown fox", "", "fox " * 30, "the lazy dog jumps", "over the fox"]
    effect = batch_effect(
        scorer.batch,
        [scorer.windows(Passage(Provenance.USER, text))[0] for text in texts],
        longest=64,
        vocabulary=largest_id(scorer.directory.tokenizer) + 1,
        thresholds=[0.5],
        steps=20,
    )
    assert effect.largest > 1e-3 if "quantized" in graph else effect.largest < 1e-5


def test_a_score_that_is_no_number_in_company_has_moved_as_far_as_can_be() -> None:
    def poisoned(windows: Sequence[Window]) -> Scores:
        return by_itself(windows) if len(windows) == 1 else np.full(len(windows), np.nan)

    assert effect_on(poisoned, steps=0).largest == np.inf
