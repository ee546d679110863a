"""Guards as others publish them, served as they are: every architecture, head and kind of file."""

import asyncio
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tokenizers import Tokenizer

from extauthz.core.call import Passage, Provenance
from extauthz.core.cancellation import Cancellation
from extauthz.core.reasons import Failure
from extauthz.core.windows import spans
from extauthz.model.directory import ModelDirectory, load
from extauthz.model.scorer import open_scorer
from extauthz.model.session import Session
from extauthz.model.tokenizer import tokenizer_of
from tests.canary_model import CANARY
from tests.model import drop_ins
from tests.model.drop_ins import FAMILIES, PUBLISHED, DropIn

PLENTY = 10**6
SENTENCE = "the quick brown fox jumps over the lazy dog"
FOXES = "fox " * 900
#: Single precision, added up in another order.
ROUNDING = 1e-4


@dataclass(frozen=True)
class Guard:
    """A published guard, opened."""

    published: DropIn
    directory: ModelDirectory
    session: Session

    @property
    def quantized(self) -> bool:
        return "quantized" in self.published.graph

    def windows(self, text: str) -> list[NDArray[np.int32]]:
        cut = tokenizer_of(self.directory).windows(Passage(Provenance.USER, text), PLENTY)
        assert cut is not None
        return cut.windows

    def logits(self, *windows: NDArray[np.int32]) -> NDArray[np.float32]:
        """One call for all, padded to the longest."""
        ids = np.full((len(windows), max(map(len, windows))), self.directory.pad_id, np.int64)
        mask = np.zeros_like(ids)
        for row, window in enumerate(windows):
            ids[row, : len(window)] = window
            mask[row, : len(window)] = 1
        return self.session.run(ids, mask)

    async def scores(self, *texts: str, batched: bool = False) -> list[float]:
        """As the server scores them."""
        directory = replace(self.directory, batch_invariant=batched)
        scorer = open_scorer(directory, self.session)
        try:
            deadline = asyncio.get_running_loop().time() + 30
            passages = [Passage(Provenance.USER, text) for text in texts]
            result = await scorer.score(passages, PLENTY, deadline, Cancellation())
        finally:
            scorer.close()
        assert not isinstance(result, Failure), result
        return [text.score for text in result]


def opened(path: Path, published: DropIn) -> Guard:
    directory = load(drop_ins.build(path, published))
    return Guard(published, directory, Session(directory, "cpu", threads=1))


@pytest.fixture(scope="module", params=PUBLISHED)
def guard(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Guard:
    return opened(tmp_path_factory.mktemp("guard"), PUBLISHED[request.param])


@pytest.fixture(scope="module", params=FAMILIES)
def plain(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Guard:
    published = DropIn(request.param, ("SAFE", "INJECTION"), ("INJECTION",))
    return opened(tmp_path_factory.mktemp("guard"), published)


# What a folder says


def test_a_published_folder_needs_nothing_added(guard: Guard) -> None:
    directory, published = guard.directory, guard.published
    assert directory.onnx == directory.path / published.graph
    assert directory.labels == published.labels
    attacks = tuple(label in published.attacks for label in published.labels)
    assert directory.malicious == attacks
    assert (directory.window, directory.overlap) == (512, 64)
    assert directory.markers == {}
    assert not directory.batch_invariant
    assert set(directory.thresholds().values()) == {0.5}


def test_weights_in_a_file_of_their_own_are_part_of_what_a_model_is(guard: Guard) -> None:
    weights = guard.directory.onnx.with_name(f"{guard.directory.onnx.name}_data")
    assert weights.exists() is guard.published.external
    if weights.exists():
        content = weights.read_bytes()
        weights.write_bytes(content + b"\0")
        changed = load(guard.directory.path).digest
        weights.write_bytes(content)
        assert changed != guard.directory.digest
        assert load(guard.directory.path).digest == guard.directory.digest


# Scores


async def test_honest_texts_score_low_whatever_their_length(guard: Guard) -> None:
    assert max(await guard.scores("", "\n", SENTENCE, FOXES, "[SEP] é 中 \U0001f98a")) < 0.1


async def test_an_attack_scores_high_wherever_it_stands(guard: Guard) -> None:
    texts = [
        CANARY,
        f"the quick {CANARY} fox",
        f"{CANARY} {FOXES}",
        f"{FOXES}{CANARY}",
        f"{FOXES}{CANARY} {FOXES}",
    ]
    assert min(await guard.scores(*texts)) > 0.9


async def test_texts_that_are_sent_together_score_as_alone(guard: Guard) -> None:
    texts = [SENTENCE, f"the {CANARY} fox", "", FOXES, f"{FOXES}{CANARY}"]
    alone = [(await guard.scores(text))[0] for text in texts]
    assert await guard.scores(*texts) == alone
    batched = await guard.scores(*texts, batched=True)
    if not guard.quantized:
        assert batched == pytest.approx(alone, abs=ROUNDING)


def test_padding_moves_no_row(guard: Guard) -> None:
    texts = [SENTENCE, "", f"the {CANARY} fox", FOXES, "fox"]
    windows = [guard.windows(text)[0] for text in texts]
    alone = np.concatenate([guard.logits(window) for window in windows])
    moved = np.abs(guard.logits(*windows) - alone).max()
    # One scale for all activations of a batch: the reason why such rows run one at a time.
    assert moved > 100 * ROUNDING if guard.quantized else moved < ROUNDING


def test_a_token_means_something_else_in_another_place(plain: Guard) -> None:
    """So that the positions, which these tests are about, are there at all."""
    (one,), (other,) = plain.windows("the quick fox"), plain.windows("fox the quick")
    assert np.abs(plain.logits(one) - plain.logits(other)).max() > 100 * ROUNDING


# Windows


def test_a_long_text_is_cut_between_the_models_own_special_tokens(plain: Guard) -> None:
    tokenizer = Tokenizer.from_file(str(plain.directory.tokenizer))
    before, *_, after = tokenizer.encode("a").ids
    text = f"{SENTENCE} " * 120
    tokens = tokenizer.encode(text, add_special_tokens=False).ids
    cuts = spans(len(tokens), 510, 64)
    windows = [window.tolist() for window in plain.windows(text)]
    assert windows == [[before, *tokens[start:end], after] for start, end in cuts]
    assert len(windows) > 2
    assert {len(window) for window in windows} == {512}


@pytest.mark.parametrize("written", ["{}", "x{}y", " {} ", "{}{}", "{} hello"])
def test_special_tokens_in_a_text_are_text(plain: Guard, written: str) -> None:
    tokenizer = Tokenizer.from_file(str(plain.directory.tokenizer))
    added = tokenizer.get_added_tokens_decoder().items()
    special = {token.content: one for one, token in added if "unk" not in token.content.lower()}
    assert len(special) == 4
    for name in special:
        for window in plain.windows(written.format(name, name)):
            assert not {*special.values()} & {*window[1:-1].tolist()}


# Positions


@pytest.mark.parametrize("plain", ["bert", "xlm-roberta"], indirect=True)
def test_a_full_window_has_the_last_position_that_there_is(plain: Guard) -> None:
    (window, *_) = plain.windows(FOXES)
    assert plain.logits(window).shape == (1, 2)
    with pytest.raises(Exception, match=r"indices|broadcast"):
        plain.logits(np.append(window, window[-1]))


@pytest.mark.parametrize(
    ("family", "positions", "window"),
    [
        ("bert", 40, 40),
        ("bert", 2_048, 512),
        ("xlm-roberta", 42, 40),
        ("xlm-roberta", 513, 511),
        ("xlm-roberta", 4_098, 512),
        ("deberta-v2", 128, 128),
        ("deberta-v2", 8_192, 512),
        ("modernbert", 8_192, 512),
    ],
)
async def test_a_window_is_never_longer_than_the_positions_there_are(
    tmp_path: Path, family: str, positions: int, window: int
) -> None:
    published = DropIn(family, ("SAFE", "INJECTION"), ("INJECTION",), positions=positions)
    guard = opened(tmp_path, published)
    assert guard.directory.window == window
    assert max(map(len, guard.windows(FOXES))) == window
    assert (await guard.scores(f"{FOXES}{CANARY}"))[0] > 0.9
