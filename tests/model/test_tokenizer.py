"""Text into windows, with a real tokenizer."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, processors

from extauthz.core.call import Passage, Provenance
from extauthz.core.cancellation import Cancellation
from extauthz.core.rules.unreadable import IN_A_ROW
from extauthz.core.windows import PIECE_CHARS, spans
from extauthz.model.directory import ModelDirectory, ModelError
from extauthz.model.tokenizer import WindowTokenizer, tokenizer_of
from tests import canary_model
from tests.canary_model import MARKERS
from tests.model.cuts import CLS, OVERLAP, PAD, PLENTY, SEP, WINDOW, WORD, cut_of


def said(text: str) -> Passage:
    return Passage(Provenance.USER, text)


def windows_of(
    tokenizer: WindowTokenizer, text: str, provenance: Provenance = Provenance.USER
) -> list[list[int]]:
    windows, tokens, _ = cut_of(tokenizer, text, provenance)
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


WRITTEN = pytest.mark.parametrize(
    "written", ["{}", "x{}y", " {} ", "{}{}", "\u200b{}", "[\u00ad{}", "[CLS] {} hello [SEP]"]
)


@WRITTEN
def test_the_shipped_model_reads_its_own_special_tokens_as_text(
    shipped: ModelDirectory, written: str
) -> None:
    tokenizer = tokenizer_of(shipped)
    own = {
        token["content"]: token["id"]
        for token in json.loads(shipped.tokenizer.read_text())["added_tokens"]
        if token["special"]
    }
    assert {"[CLS]", "[SEP]", "[PAD]", "[UNK]", *shipped.markers.values()} <= own.keys()
    before = 1 + bool(shipped.markers)
    for name in own:
        for spelling in (name, name.lower(), name.strip("[]")):
            windows = windows_of(tokenizer, written.format(spelling, spelling))
            assert not {*own.values()} & {one for ids in windows for one in ids[before:-1]}


# Where a text is from


@pytest.fixture(scope="module")
def marked_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return canary_model.build(tmp_path_factory.mktemp("marked"), markers=True) / "tokenizer.json"


@pytest.fixture(scope="module")
def marked(marked_path: Path) -> WindowTokenizer:
    return WindowTokenizer(marked_path, WINDOW, OVERLAP, MARKERS)


def marker_ids(path: Path) -> dict[Provenance, int]:
    vocabulary = Tokenizer.from_file(str(path)).get_vocab()
    return {provenance: vocabulary[marker] for provenance, marker in MARKERS.items()}


def test_each_window_says_where_its_text_is_from(
    marked: WindowTokenizer, marked_path: Path
) -> None:
    ids = marker_ids(marked_path)
    assert len({*ids.values()}) == len(Provenance)
    for provenance in Provenance:
        assert windows_of(marked, "xyzzy", provenance) == [[CLS, ids[provenance], WORD, SEP]]
        assert windows_of(marked, "", provenance) == [[CLS, ids[provenance], SEP]]
        several = windows_of(marked, "a " * 100, provenance)
        assert len(several) > 3
        assert {tuple(window[:2]) for window in several} == {(CLS, ids[provenance])}
        assert {len(window) for window in several} == {WINDOW}


def test_a_model_without_markers_is_not_told_where_a_text_is_from(
    tokenizer: WindowTokenizer,
) -> None:
    for provenance in Provenance:
        assert windows_of(tokenizer, "xyzzy", provenance) == [[CLS, WORD, SEP]]


@WRITTEN
def test_a_marker_that_a_client_writes_is_text(
    marked: WindowTokenizer, marked_path: Path, written: str
) -> None:
    ids = {*marker_ids(marked_path).values()}
    for marker in MARKERS.values():
        for spelling in (marker, marker.lower()):
            text = written.format(spelling, spelling)
            for window in windows_of(marked, text, Provenance.USER):
                assert not ids & {*window[2:]}


@given(text=st.lists(st.sampled_from([*MARKERS.values(), "[CLS]", "[SEP]", "a ", " ", "["])))
def test_no_mixture_of_markers_becomes_one(
    marked: WindowTokenizer, marked_path: Path, text: list[str]
) -> None:
    ids = {*marker_ids(marked_path).values(), CLS}
    for window in windows_of(marked, "".join(text), Provenance.DOCUMENT):
        assert not ids & {*window[2:-1]}


def test_a_marker_that_the_vocabulary_lacks_is_refused(path: Path) -> None:
    with pytest.raises(ModelError, match=r"tokenizer\.json: has no token '\[SYSTEM\]'"):
        WindowTokenizer(path, WINDOW, OVERLAP, MARKERS)


@pytest.mark.parametrize("word", ["xyzzy", "a", "##a"])
def test_a_marker_that_a_client_could_write_is_refused(marked_path: Path, word: str) -> None:
    markers = {**MARKERS, Provenance.USER: word}
    with pytest.raises(ModelError, match=f"a text can hold the marker '{word}'"):
        WindowTokenizer(marked_path, WINDOW, OVERLAP, markers)


def test_a_marker_that_is_no_special_token_is_refused(path: Path, tmp_path: Path) -> None:
    loose = Tokenizer.from_file(str(path))
    loose.add_tokens(list(MARKERS.values()))
    loose.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(ModelError, match=r"a text can hold the marker '\[SYSTEM\]'"):
        WindowTokenizer(tmp_path / "tokenizer.json", WINDOW, OVERLAP, MARKERS)


def test_a_marker_takes_a_place_in_the_window(marked_path: Path) -> None:
    WindowTokenizer(marked_path, 12, 8, MARKERS)
    with pytest.raises(ModelError, match="3 special tokens around a text, expected 1 to 2"):
        WindowTokenizer(marked_path, 11, 8, MARKERS)


@pytest.mark.parametrize("glued", ["\U0001f600", "\u2500\u2510", "\u0e2a", "\u4f60", "\u05d0"])
@pytest.mark.parametrize("written", ["{1}{0}", "{0}{1}", "a{0}{1}{0} b"])
def test_a_word_with_something_unknown_glued_to_it_is_read(
    tokenizer: WindowTokenizer, glued: str, written: str
) -> None:
    (window,) = windows_of(tokenizer, written.format(glued, "xyzzy"))
    assert WORD in window


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
    assert tokenizer.windows(said("a " * 50 * PIECE_CHARS), max_tokens=5_000) is None
    assert counter.pieces == 2


def test_a_text_that_nobody_wants_any_more_is_not_read(
    counting: tuple[WindowTokenizer, Counting],
) -> None:
    tokenizer, counter = counting
    cancellation = Cancellation()
    cancellation.cancel()
    assert tokenizer.windows(said(" " * 50 * PIECE_CHARS), PLENTY, cancellation) is None
    assert counter.pieces == 0


def test_unknown_letters_that_no_view_shows_otherwise_are_looked_for_once(
    counting: tuple[WindowTokenizer, Counting],
) -> None:
    tokenizer, counter = counting
    assert cut_of(tokenizer, "\u4f60\u597d " * 100).unread == IN_A_ROW
    assert counter.pieces == 2
    assert cut_of(tokenizer, "\uff46\uff55\uff4c\uff4c \u4f60\u597d").unread == 2
    assert counter.pieces == 2 + 3


def test_the_token_limit_is_met_exactly(tokenizer: WindowTokenizer) -> None:
    assert tokenizer.windows(said("a b c"), max_tokens=5) is not None
    assert tokenizer.windows(said("a b c"), max_tokens=4) is None


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
