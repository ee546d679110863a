"""The kernels that decode, against their twins and the standard library."""

import base64
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from extauthz.core.views import excerpts, hidden, normalised
from extauthz.core.views.decoded import codes, escapes
from extauthz.core.views.pairs import PAIRS
from extauthz_kernels import (
    changed_places,
    decode_groups,
    hidden_runs,
    longest_spelling,
    runs,
    survey_hidden,
    unescape,
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
@given(text=printable)
def test_evidence_is_that_of_the_best_stretch(run: str, text: str) -> None:
    found = _kernel(run, runs.evidence)(_points(text), len(text), PAIRS, _WEIGHTS)
    assert found == twin.evidence(text, PAIRS.tolist(), _WEIGHTS.tolist())


@given(text=printable)
def test_what_cannot_be_printed_has_no_evidence(text: str) -> None:
    assert runs.evidence(_points(f"{text}\x07"), len(text) + 1, PAIRS, _WEIGHTS) == -1


@_runs
@pytest.mark.parametrize(
    ("alphabet", "shape", "encode"),
    [
        ("0123456789abcdef", (16, 2, 1), bytes.hex),
        (codes._BASE64 + "+/", (64, 4, 3), lambda data: base64.b64encode(data).decode()),
        (codes._BASE32, (32, 8, 5), lambda data: base64.b32encode(data).decode()),
        (codes._ASCII85, (85, 5, 4), lambda data: base64.a85encode(data).decode()),
    ],
    ids=["hexadecimal", "base64", "base32", "ascii85"],
)
@given(data=st.text(max_size=30))
def test_groups_are_decoded_as_by_the_standard_library(
    run: str, alphabet: str, shape: tuple[int, int, int], encode: Callable[[bytes], str], data: str
) -> None:
    if not data.isprintable() or "z" in (text := encode(data.encode())) or not text:
        return
    n = len(text)
    out = np.empty(n, np.uint32)
    scratch = np.empty(n + 8, np.uint32)
    base, digits, octets = shape
    weights = np.array([99, 99, 99, 0], np.int64)
    count = _kernel(run, decode_groups)(
        _points(text), codes._values(alphabet, "="), base * 256 + digits * 16 + octets, 1, PAIRS,
        weights, -999, scratch, out,
    )  # fmt: skip
    if n > 24 and "\x00" not in data:
        assert _text(out[:count]) == data


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
