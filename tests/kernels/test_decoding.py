"""The kernels that decode, against their twins and the standard library."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from extauthz.core.views import excerpts, hidden, normalised
from extauthz.core.views.decoded import escapes
from extauthz.core.views.pairs import PAIRS
from extauthz_kernels import (
    changed_places,
    hidden_runs,
    long_words,
    longest_spelling,
    runs,
    survey_hidden,
    unescape,
    visual_order,
    word_stream,
)
from extauthz_kernels import hidden as channel
from tests.reference import decoding as twin

_runs = pytest.mark.parametrize("run", ["compiled", "plain"])
_WEIGHTS = np.array([4, 3, 1, -3], np.int64)
small = st.text("ab ", max_size=60)
printable = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40)


def _points(text: str) -> NDArray[np.uint32]:
    return np.array(list(map(ord, text)), np.uint32)


def _text(points: NDArray[np.uint32]) -> str:
    return "".join(map(chr, points.tolist()))


def _kernel(run: str, kernel: Any) -> Callable[..., int]:
    chosen: Callable[..., int] = kernel if run == "compiled" else kernel.py_func
    return chosen


@_runs
@given(text=st.text("%06a9 xg", max_size=40))
def test_escapes_are_read_as_by_the_twin(run: str, text: str) -> None:
    plain = np.empty(len(text), np.uint32)
    found = np.empty(1, np.int64)
    count = _kernel(run, unescape)(
        _points(text), escapes._NAMES, escapes._CHARACTERS, escapes._TEX, found, plain
    )
    assert _text(plain[:count]) == twin.unescape(text)


@_runs
@given(text=printable | st.text("ab é€語", max_size=12))
def test_evidence_is_that_of_the_best_stretch(run: str, text: str) -> None:
    found = _kernel(run, runs.evidence)(_points(text), len(text), PAIRS, _WEIGHTS)
    assert found == twin.evidence(text, PAIRS.tolist(), _WEIGHTS.tolist())


@given(text=printable)
def test_what_cannot_be_printed_has_no_evidence(text: str) -> None:
    assert runs.evidence(_points(f"{text}\x07"), len(text) + 1, PAIRS, _WEIGHTS) == -1


@_runs
@given(text=st.text("ab1 -_.", max_size=40))
def test_the_longest_spelling_is_that_of_the_twin(run: str, text: str) -> None:
    found = _kernel(run, longest_spelling)(_points(text), normalised._KINDS)
    assert found == twin.longest_spelling(text)


@_runs
@given(text=st.text("abé1 -_.,\n…", max_size=40))
def test_words_are_streamed_as_by_the_twin(run: str, text: str) -> None:
    points = _points(text)
    stream, origin = np.empty_like(points), np.empty(len(points), np.int32)
    count = _kernel(run, word_stream)(points, excerpts._KINDS, excerpts._PLAIN, stream, origin)
    assert _text(stream[:count]) == twin.word_stream(text)
    assert (np.diff(origin[:count]) > 0).all()


@_runs
@given(old=small, new=small)
def test_outside_the_places_both_texts_are_the_same(run: str, old: str, new: str) -> None:
    blocks = len(old) // 8
    places = np.empty((len(new) // 8 + 2, 2), np.int32)
    head = np.full(64, -1, np.int32)
    count = _kernel(run, changed_places)(
        _points(old), _points(new), head, np.empty(blocks, np.int32), places
    )
    at = here = 0
    for start, end in [*places[:count].tolist(), (len(new), len(new))]:
        kept = new[at:start]
        assert at <= start <= end
        assert old.find(kept, here) >= 0
        here = old.find(kept, here) + len(kept)
        at = end
    assert (count == 0) == (old == new)


@_runs
@given(text=st.text("a\u200b\u200c\u2062\u2064\U000e0041", max_size=40))
def test_channels_are_counted_as_by_the_twin(run: str, text: str) -> None:
    counts = np.empty(4, np.int64)
    fewest = np.array([1, 2, 8, 3], np.int64)
    _kernel(run, survey_hidden)(_points(text), hidden._KINDS, fewest, counts)
    kinds = {"\u200b": 4, "\u200c": 4, "\u2062": 3, "\u2064": 3, "\U000e0041": 1}
    assert counts.tolist() == twin.hidden_counts(text, kinds, fewest.tolist())


@_runs
@given(text=printable)
def test_selectors_say_their_octets(run: str, text: str) -> None:
    written = "".join(chr(0xE0100 + ord(char) - 16) for char in text)
    said = np.empty(len(text), np.uint32)
    count = _kernel(run, hidden_runs)(_points(written), hidden._KINDS, channel.SELECTOR, said)
    assert _text(said[:count]) == text


@_runs
@given(text=st.text("a1 \n-", max_size=60), shortest=st.integers(1, 9), digits=st.integers(0, 4))
def test_long_words_are_those_of_the_twin(run: str, text: str, shortest: int, digits: int) -> None:
    kept = np.empty(len(text) + 1, np.uint32)
    count = _kernel(run, long_words)(_points(text), shortest, digits, kept)
    assert _text(kept[:count]) == twin.long_words(text, shortest, digits)


@_runs
@given(text=st.text("abc\u202e\u202c\n", max_size=40))
def test_text_is_put_in_visual_order_as_by_the_twin(run: str, text: str) -> None:
    shown = np.empty(len(text), np.uint32)
    count = _kernel(run, visual_order)(_points(text), shown)
    assert _text(shown[:count]) == twin.visual_order(text)
