"""Text into windows, with a real tokenizer."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, processors

import extauthz
from extauthz.core.cancellation import Cancellation
from extauthz.core.windows import PIECE_CHARS, spans
from extauthz.model.directory import ModelError
from extauthz.model.tokenizer import WindowTokenizer
from tests import canary_model

WINDOW, OVERLAP = 32, 8
PAD, CLS, SEP, WORD = 0, 2, 3, 4
PLENTY = 10**9


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return canary_model.build(tmp_path_factory.mktemp("model")) / "tokenizer.json"


@pytest.fixture(scope="module")
def tokenizer(path: Path) -> WindowTokenizer:
    return WindowTokenizer(path, WINDOW, OVERLAP)


def windows_of(tokenizer: WindowTokenizer, text: str) -> list[list[int]]:
    cut = tokenizer.windows(text, PLENTY)
    assert cut is not None
    windows, tokens = cut
    assert all(window.dtype == "int32" for window in windows)
    assert tokens == sum(map(len, windows))
    return [window.tolist() for window in windows]


def test_a_short_text_is_one_window_between_the_models_special_tokens(
    tokenizer: WindowTokenizer,
) -> None:
    assert windows_of(tokenizer, "xyzzy") == [[CLS, WORD, SEP]]


@pytest.mark.parametrize("special", ["[CLS]", "[SEP]", "[PAD]", "[UNK]"])
def test_special_tokens_in_a_text_are_text(tokenizer: WindowTokenizer, special: str) -> None:
    (ids,) = windows_of(tokenizer, f"{special}xyzzy{special}")
    assert not {PAD, CLS, SEP} & set(ids[1:-1])
    assert len(ids) == 2 + 1 + 2 * len(special)
    assert WORD in ids


@pytest.mark.parametrize("special", ["[CLS]", "[SEP]", "[PAD]", "[MASK]", "[UNK]"])
@pytest.mark.parametrize("written", ["{}", "x{}y", " {} ", "{}{}", "\u200b{}", "[\u00ad{}"])
def test_the_shipped_model_reads_its_own_special_tokens_as_text(special: str, written: str) -> None:
    shipped = Path(extauthz.__file__).parent / "models" / "minilm-guard" / "tokenizer.json"
    own = {token["id"] for token in json.loads(shipped.read_text())["added_tokens"]}
    for spelling in (special, special.lower()):
        ids = windows_of(WindowTokenizer(shipped, 256, 64), written.format(spelling, spelling))
        assert len(own) == 5
        assert not own & {one for window in ids for one in window[1:-1]}


@given(text=st.text(st.sampled_from("ab .\n"), max_size=400))
def test_windows_keep_to_their_size_and_cover_every_token(
    path: Path, tokenizer: WindowTokenizer, text: str
) -> None:
    tokens = Tokenizer.from_file(str(path)).encode(text, add_special_tokens=False).ids
    cuts = spans(len(tokens), WINDOW - 2, OVERLAP) or [(0, 0)]
    windows = windows_of(tokenizer, text)
    assert windows == [[CLS, *tokens[start:end], SEP] for start, end in cuts]
    assert all(len(window) <= WINDOW for window in windows)
    assert set(range(len(tokens))) <= {i for start, end in cuts for i in range(start, end)}


@pytest.mark.parametrize("text", ["", "\x00\x01\x02", " \n\t ", "\x7f" * 20_000])
def test_a_text_of_which_nothing_is_left_is_one_empty_window(
    tokenizer: WindowTokenizer, text: str
) -> None:
    assert windows_of(tokenizer, text) == [[CLS, SEP]]


def test_a_word_at_the_very_end_of_a_long_text_is_seen(tokenizer: WindowTokenizer) -> None:
    text = "a " * PIECE_CHARS + "xyzzy"
    assert WORD in windows_of(tokenizer, text)[-1]


class Counting:
    """A tokenizer that counts what it is asked to encode."""

    def __init__(self, inner: object) -> None:
        self.inner = inner
        self.pieces = 0

    def encode(self, text: str, *, add_special_tokens: bool) -> object:
        self.pieces += 1
        return self.inner.encode(text, add_special_tokens=add_special_tokens)  # type: ignore[attr-defined]


@pytest.fixture
def counting(path: Path) -> tuple[WindowTokenizer, Counting]:
    tokenizer = WindowTokenizer(path, WINDOW, OVERLAP)
    counter = Counting(tokenizer._tokenizer)
    object.__setattr__(tokenizer, "_tokenizer", counter)
    return tokenizer, counter


def test_a_text_with_too_many_tokens_is_not_read_to_its_end(
    counting: tuple[WindowTokenizer, Counting],
) -> None:
    tokenizer, counter = counting
    assert tokenizer.windows("a " * 50 * PIECE_CHARS, max_tokens=5_000) is None
    assert counter.pieces == 2


def test_a_text_that_nobody_wants_any_more_is_not_read(
    counting: tuple[WindowTokenizer, Counting],
) -> None:
    tokenizer, counter = counting
    cancellation = Cancellation()
    cancellation.cancel()
    assert tokenizer.windows(" " * 50 * PIECE_CHARS, PLENTY, cancellation) is None
    assert counter.pieces == 0


def test_the_token_limit_is_met_exactly(tokenizer: WindowTokenizer) -> None:
    assert tokenizer.windows("a b c", max_tokens=5) is not None
    assert tokenizer.windows("a b c", max_tokens=4) is None


def test_truncation_and_padding_settings_of_the_file_are_ignored(
    path: Path, tmp_path: Path
) -> None:
    cut = Tokenizer.from_file(str(path))
    cut.enable_truncation(4)
    cut.enable_padding(length=16)
    cut.save(str(tmp_path / "tokenizer.json"))
    windows = windows_of(WindowTokenizer(tmp_path / "tokenizer.json", WINDOW, OVERLAP), "a b c d e")
    assert len(windows[0]) == 7


@pytest.mark.parametrize("content", ["", "{", "[]", '{"model": {}}'])
def test_a_file_that_is_no_tokenizer_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(ModelError, match="not a tokenizer"):
        WindowTokenizer(tmp_path / "tokenizer.json", WINDOW, OVERLAP)


def test_a_window_with_no_room_for_text_is_refused(path: Path) -> None:
    with pytest.raises(ModelError, match="special tokens"):
        WindowTokenizer(path, window=10, overlap=8)


def test_a_tokenizer_that_adds_no_special_token_is_refused(path: Path, tmp_path: Path) -> None:
    bare = Tokenizer.from_file(str(path))
    bare.post_processor = processors.TemplateProcessing(single="$A", special_tokens=[])
    bare.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(ModelError, match="0 special tokens"):
        WindowTokenizer(tmp_path / "tokenizer.json", WINDOW, OVERLAP)


def test_an_endless_word_is_read_and_not_unknown(tokenizer: WindowTokenizer) -> None:
    """WordPiece gives up on words of more than 100 characters."""
    seen = {int(one) for window in windows_of(tokenizer, "a" * 120) for one in window}
    assert seen == {CLS, SEP} | {int(one) for one in windows_of(tokenizer, "aa")[0][1:-1]}
