"""The folds against their twins, and what must hold whatever the tables say."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from extauthz.core.views import letters, normalised
from extauthz.core.views.pairs import PAIRS
from extauthz_kernels import (
    fold,
    fold_flags,
    fold_words,
    join_spelled,
    join_symbols,
    map_points,
    turn_words,
)
from tests.reference import fold as twin

#: A small alphabet with one of everything: Latin, lookalike, honest Cyrillic, digit, mark, space.
_LOOKALIKES = {"а": "a", "о": "o", "ɑ": "a"}
_OTHER_SCRIPT = {"а", "о", "ж", "1", "_"}
_WORD_CLASS = "[abzаоɑж1_]"
_ALPHABET = "abzаоɑж1_ -"

_texts = st.text(alphabet=_ALPHABET, max_size=30)
_spelled = st.text(alphabet="ab1 -_", max_size=40)
_runs = pytest.mark.parametrize("run", ["compiled", "plain"])


def _points(text: str) -> NDArray[np.uint32]:
    return np.array(list(map(ord, text)), np.uint32)


def _text(points: NDArray[np.uint32]) -> str:
    return "".join(map(chr, points.tolist()))


def _tables() -> tuple[NDArray[np.uint8], NDArray[np.uint32]]:
    kinds = np.zeros(0x500, np.uint8)
    latin = np.arange(0x500, dtype=np.uint32)
    for char in _ALPHABET:
        kinds[ord(char)] = (
            fold.SPACE * (char == " ")
            | fold.LETTER * char.isalpha()
            | fold.ALNUM * char.isalnum()
            | fold.WORD * (char not in " -")
            | fold.LOOKALIKE * (char in _LOOKALIKES)
            | fold.OTHER_SCRIPT * (char in _OTHER_SCRIPT)
        )
    for char, plain in _LOOKALIKES.items():
        latin[ord(char)] = ord(plain)
    return kinds, latin


_KINDS, _LATIN = _tables()


def _kernel(run: str, kernel: Any) -> Callable[..., int]:
    chosen: Callable[..., int] = kernel if run == "compiled" else kernel.py_func
    return chosen


def _joined(run: str, text: str, shortest: int) -> str:
    points = _points(text)
    out = np.zeros_like(points)
    return _text(out[: _kernel(run, join_spelled)(points, _KINDS, shortest, out)])


@_runs
@given(text=_texts, shortest=st.integers(1, 6))
def test_words_are_folded_as_by_the_twin(run: str, text: str, shortest: int) -> None:
    points = _points(text)
    out = np.zeros_like(points)
    count = _kernel(run, fold_words)(points, _KINDS, _LATIN, shortest, out)
    expected = twin.fold_words(text, _LOOKALIKES, _OTHER_SCRIPT, _WORD_CLASS, shortest)
    assert _text(out) == expected
    assert (count > 0) == (expected != text)


@_runs
@given(text=_spelled, shortest=st.integers(2, 6))
def test_spelled_words_are_joined_as_by_the_twin(run: str, text: str, shortest: int) -> None:
    assert _joined(run, text, shortest) == twin.join_spelled(text, shortest)


@given(text=_spelled, shortest=st.integers(2, 6))
def test_joining_drops_nothing_but_spaces(text: str, shortest: int) -> None:
    assert _joined("compiled", text, shortest).replace(" ", "") == text.replace(" ", "")


@_runs
@given(
    points=st.lists(st.integers(0, 20)),
    become=st.lists(st.sampled_from([*range(12), fold.DROP]), max_size=12),
)
def test_points_become_what_the_table_says(run: str, points: list[int], become: list[int]) -> None:
    table = np.array(become, np.uint32)
    out = np.zeros(len(points), np.uint32)
    count = _kernel(run, map_points)(np.array(points, np.uint32), table, out)
    assert out[:count].tolist() == twin.map_points(points, become)


_WITH_SYMBOLS = st.lists(
    st.sampled_from(
        ["i-g-n", "-o-r-e", "e", "a*l*l", " ", "  ", "-", "--*", "t.h", ".e", "x1", "2"]
    ),
    max_size=12,
).map("".join)


@_runs
@given(text=_WITH_SYMBOLS | st.text("ae1-* ", max_size=30), shortest=st.integers(1, 6))
def test_words_spelled_with_symbols_are_joined_as_by_the_twin(
    run: str, text: str, shortest: int
) -> None:
    points = _points(text)
    out = np.zeros_like(points)
    count = _kernel(run, join_symbols)(points, normalised._KINDS, PAIRS, shortest, 8, out)
    expected = twin.join_symbols(text, r"[-*.]", PAIRS.tolist(), shortest, 8)
    assert _text(out[:count]) == expected


@given(text=_WITH_SYMBOLS)
def test_joining_drops_nothing_but_symbols(text: str) -> None:
    points = _points(text)
    out = np.zeros_like(points)
    count = join_symbols(points, normalised._KINDS, PAIRS, 5, 8, out)
    kept = str.maketrans("", "", "-*.")
    assert _text(out[:count]).translate(kept) == text.translate(kept)


@_runs
@given(text=st.text("🇩🇪🇫🇷🇽 a", max_size=12))
def test_indicators_are_letters_but_for_flags_as_by_the_twin(run: str, text: str) -> None:
    points = _points(text)
    _kernel(run, fold_flags)(points, letters.FLAGS)
    codes = {
        chr(65 + first) + chr(65 + second) for first, second in np.argwhere(letters.FLAGS).tolist()
    }
    assert _text(points) == twin.fold_flags(text, codes)


@_runs
@given(text=st.text("ɐʇʌsnobzж  ", max_size=30), fewest=st.integers(1, 4))
def test_words_are_turned_as_by_the_twin(run: str, text: str, fewest: int) -> None:
    points = _points(text)
    turned = np.zeros_like(points)
    count = _kernel(run, turn_words)(points, normalised._KINDS, letters.UPRIGHT, fewest, turned)
    entries = {chr(point): int(letters.UPRIGHT[point]) for point in np.flatnonzero(letters.UPRIGHT)}
    upright = {char: chr(entry & 0x7FFFFFFF) for char, entry in entries.items()}
    certain = "".join(char for char, entry in entries.items() if entry >> 31)
    assert _text(turned) == twin.turn_words(text, upright, certain, fewest)
    assert (count > 0) or _text(turned) == text
