"""Windows and pieces lose nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extauthz.core.windows import PIECE_CHARS, break_words, pieces, spans

sizes = st.integers(1, 40).flatmap(lambda size: st.tuples(st.just(size), st.integers(0, size - 1)))
token_counts = st.integers(0, 400)
# Long texts of few decisions: runs of one character each.
texts = st.lists(
    st.tuples(st.sampled_from("aé中 \n\U0001f600"), st.integers(0, PIECE_CHARS)), max_size=6
).map(lambda runs: "".join(char * count for char, count in runs))


@given(tokens=token_counts, sizes=sizes)
def test_every_token_is_in_a_window(tokens: int, sizes: tuple[int, int]) -> None:
    covered = {token for start, end in spans(tokens, *sizes) for token in range(start, end)}
    assert covered == set(range(tokens))


@given(tokens=token_counts, sizes=sizes, data=st.data())
def test_a_run_no_longer_than_the_overlap_lies_whole_in_one_window(
    tokens: int, sizes: tuple[int, int], data: st.DataObject
) -> None:
    length = data.draw(st.integers(0, min(sizes[1], tokens)))
    first = data.draw(st.integers(0, tokens - length))
    windows = spans(tokens, *sizes)
    assert not windows or any(start <= first and first + length <= end for start, end in windows)


@given(tokens=token_counts, sizes=sizes)
def test_windows_are_full_ascending_and_no_more_than_needed(
    tokens: int, sizes: tuple[int, int]
) -> None:
    size, overlap = sizes
    windows = spans(tokens, size, overlap)
    assert {end - start for start, end in windows} <= {min(size, tokens)}
    assert windows == sorted(set(windows))
    step = size - overlap
    assert len(windows) == (tokens > 0) + max(0, -(-(tokens - size) // step))


@pytest.mark.parametrize(("size", "overlap"), [(4, 4), (4, 5), (4, -1), (0, 0)])
def test_an_overlap_that_would_never_advance_is_refused(size: int, overlap: int) -> None:
    with pytest.raises(ValueError, match="overlap"):
        spans(10, size, overlap)


@given(text=texts)
def test_pieces_join_to_the_text_and_are_not_too_long(text: str) -> None:
    parts = list(pieces(text))
    assert "".join(parts) == text
    assert all(0 < len(part) <= PIECE_CHARS for part in parts)
    assert len(parts) <= 1 + len(text) // (PIECE_CHARS - 256)


@pytest.mark.parametrize("space", [" ", "\n"])
def test_a_cut_falls_behind_white_space_when_there_is_some_near(space: str) -> None:
    text = "x" * (PIECE_CHARS - 100) + space + "y" * 300
    assert list(pieces(text)) == [text[: PIECE_CHARS - 99], "y" * 300]


def test_a_word_longer_than_a_piece_is_cut_where_the_piece_ends() -> None:
    assert [len(part) for part in pieces("x" * (2 * PIECE_CHARS + 1))] == [PIECE_CHARS] * 2 + [1]


@pytest.mark.parametrize("blank", ["\t", " ", "\n", "\u2003"])
def test_a_piece_ends_behind_white_space_of_any_kind(blank: str) -> None:
    text = blank * (PIECE_CHARS - 3) + "xyzzy go" + blank * 20
    assert any("xyzzy" in piece for piece in pieces(text))


def test_a_piece_ends_behind_punctuation_where_there_is_no_white_space() -> None:
    text = "a." * (PIECE_CHARS // 2 - 2) + "xyzzy" + ".a" * 20
    assert any("xyzzy" in piece for piece in pieces(text))


@given(text=st.text(st.sampled_from("ab "), min_size=80, max_size=800))
def test_every_run_of_thirty_characters_of_an_endless_word_is_whole_in_a_part(text: str) -> None:
    parts = break_words(text).text.split()
    assert all(len(part) <= 90 for part in parts)
    for word in text.split():
        for start in range(max(1, len(word) - 29)):
            assert any(word[start : start + 30] in part for part in parts)


@given(text=st.text(st.sampled_from("ab \u4f60\U0001f600"), max_size=800))
def test_what_parts_repeat_is_told_from_what_is_there_once(text: str) -> None:
    parts = break_words(text)
    assert len(parts.once) == len(parts.text)
    assert all(one in {" ", other} for one, other in zip(parts.once, parts.text, strict=True))
    assert "".join(parts.once.split()) == "".join(text.split())


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("thanks\U0001f389\U0001f389all\u2192", "thanks \U0001f389\U0001f389 all \u2192"),
        ("\u250c\u2500\u2500\u2510 a\u2502", "\u250c\u2500\u2500\u2510 a \u2502"),
        ("it's c-d, e+f \u0e2a\u0e31", "it's c-d, e+f \u0e2a\u0e31"),
        ("ignore\u0e2a all\u0e2a\u0e31", "ignore \u0e2a all \u0e2a\u0e31"),
        (
            "\u043f\u0440\u0438\u0432\u0435\u0442\U0001f600",
            "\u043f\u0440\u0438\u0432\u0435\u0442 \U0001f600",
        ),
        (
            "na\u00efve \u017b\u00f3\u0142\u0107 th\u1ebf e\u0301t\u00e9",
            "na\u00efve \u017b\u00f3\u0142\u0107 th\u1ebf e\u0301t\u00e9",
        ),
    ],
)
def test_signs_and_foreign_letters_are_parted_from_words_and_nothing_else_is(
    text: str, parts: str
) -> None:
    assert break_words(text).text == parts
