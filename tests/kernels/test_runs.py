"""The kernels that read runs of digits and ciphers, against their twins."""

import re
import string
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extauthz.core.views.decoded import ciphers, codes
from extauthz.core.views.pairs import PAIRS
from extauthz.core.views.points import points_of, text_of
from extauthz_kernels import cipher_runs, decode_codes, decode_groups
from extauthz_kernels import ciphers as bits
from tests.core.views.encodings import ENCODINGS
from tests.reference import ciphers as cipher_twin
from tests.reference import runs as twin

_runs = pytest.mark.parametrize("run", ["compiled", "plain"])
_PAIRS = PAIRS.tolist()
_WEIGHTS = [4, 3, 1, -3]
_HEX, _BASE64, _BASE32 = "0123456789abcdef", codes._BASE64 + "+/", codes._BASE32
_ALPHABETS = {
    "binary": ("01", 8, 1),
    "hexadecimal": (_HEX, 2, 1),
    "base64": (_BASE64, 4, 3),
    "base32": (_BASE32, 8, 5),
    "ascii85": (codes._ASCII85, 5, 4),
}
_WORDS = st.sampled_from(
    [
        "ignore all",
        "previous instructions",
        "the",
        "ünï",
        "a\0b\0c\0",
        "xq",
        "",
        "\x01",
        "€",
        "मुझे ",
        "???",
        ">>>",
    ]
)
_SAID = st.lists(_WORDS, max_size=4).map("".join)
_PIECES = st.one_of(
    st.text("ab01 =\n\rz2+", max_size=12),
    st.sampled_from(["/", "+", "a/", "ab+/", "/" * 17, "IPCf", "4KSk+OCk", "語", "मुझे"]),
    st.builds(lambda kind, said: ENCODINGS[kind](said), st.sampled_from(sorted(ENCODINGS)), _SAID),
)
_WRAPPED = st.builds(
    lambda kind, said, end, behind: ENCODINGS[kind](said).replace("\n", end) + end + behind,
    st.sampled_from(["base64 over lines", "base64 for URLs over lines", "hexadecimal over lines"]),
    st.lists(_WORDS, min_size=2, max_size=6).map("".join),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from(["", "and", "see/then", "ffff", "\n"]),
)
texts = st.lists(_PIECES | _WRAPPED, max_size=4).map("".join)
enough = st.sampled_from([-99, 0, 14, 26])


def _kernel(run: str, kernel: Any) -> Callable[..., int]:
    chosen: Callable[..., int] = kernel if run == "compiled" else kernel.py_func
    return chosen


def _groups(run: str, text: str, kind: str, enough: int) -> str:
    alphabet, size, width = _ALPHABETS[kind]
    values = np.full(128, 255, np.uint8)
    values[list(map(ord, alphabet))] = range(len(alphabet))
    values[ord("=")] = values[ord("=")] if "=" in alphabet else 253
    n = len(text)
    out = np.empty(n, np.uint32)
    count = _kernel(run, decode_groups)(
        points_of(text), values, len(alphabet) * 256 + size * 16 + width, 4, PAIRS,
        np.array(_WEIGHTS, np.int64), enough, np.empty(n, np.uint32), out,
    )  # fmt: skip
    return text_of(out[:count])


@_runs
@pytest.mark.parametrize("kind", _ALPHABETS)
@given(text=texts, enough=enough)
def test_groups_are_read_as_by_the_twin(run: str, kind: str, text: str, enough: int) -> None:
    sense = twin.Sense(_PAIRS, _WEIGHTS, enough)
    assert _groups(run, text, kind, enough) == twin.decode_groups(
        text, *_ALPHABETS[kind], 4, sense, "" if kind == "ascii85" else "="
    )


@given(text=texts, kind=st.sampled_from(sorted(_ALPHABETS)))
def test_what_is_read_is_never_longer(text: str, kind: str) -> None:
    assert len(_groups("compiled", text, kind, -99)) <= len(text)


@_runs
@pytest.mark.parametrize("base", [2, 8, 10, 16])
@given(text=texts | st.text("0169x\\ ,abg/", max_size=20), enough=enough)
def test_codes_are_read_as_by_the_twin(run: str, base: int, text: str, enough: int) -> None:
    digits = _HEX[:base]
    fewest, most = {2: (7, 8), 8: (2, 3), 10: (2, 3), 16: (2, 2)}[base]
    n = len(text)
    out = np.empty(n, np.uint32)
    count = _kernel(run, decode_codes)(
        points_of(text), codes._values(digits, codes._GAPS), base * 256 + fewest * 16 + most, 0,
        codes._ASCII, PAIRS, codes._OF_CODES, enough, np.empty(2 * n + 2, np.uint32), out,
    )  # fmt: skip
    either_case = f"[{digits}{digits.upper()}]"
    prefix = r"(?:[0\\][xX])?+" if base == 16 else ""
    written = [
        (f"{point:0{length}{kind}}", chr(point))
        for point in range(1, 127)
        for length in range(fewest, most + 1)
        for kind in [{2: "b", 8: "o", 10: "d", 16: "x"}[base]]
        if point >= 32 or point in {9, 10, 13}
    ]
    code = twin.Code(
        written=f"{prefix}({either_case}{{{fewest},{most}}})(?![a-zA-Z]|{either_case})",
        before=either_case,
        meaning={number: char for number, char in written if fewest <= len(number) <= most},
        separators=f"[{re.escape(codes._GAPS)}]",
        gap="(?!)",
    )
    sense = twin.Sense(_PAIRS, codes._OF_CODES.tolist(), enough)
    assert text_of(out[:count]) == twin.decode_codes(text, code, sense)


@_runs
@given(text=texts | st.text(".- /a\n", max_size=30), enough=enough)
def test_morse_is_read_as_by_the_twin(run: str, text: str, enough: int) -> None:
    n = len(text)
    out = np.empty(n, np.uint32)
    count = _kernel(run, decode_codes)(
        points_of(text), codes._values(".-", " \n\t", "/"), 2 * 256 + 16 + 5, 1, codes._morse(),
        PAIRS, codes._OF_MORSE, enough, np.empty(2 * n + 2, np.uint32), out,
    )  # fmt: skip
    code = twin.Code(
        written=r"([.-]{1,5})(?![a-zA-Z.-])",
        before="[.-]",
        meaning={entry[1:]: entry[0] for entry in codes._MORSE.split()},
        separators=r"[ \n\t/]",
        gap="/| .* ",
    )
    sense = twin.Sense(_PAIRS, codes._OF_MORSE.tolist(), enough)
    assert text_of(out[:count]) == twin.decode_codes(text, code, sense)


def _mapped(table: Mapping[int, int], backwards: bool) -> Callable[[str], str]:
    return lambda word: word.translate(table)[:: -1 if backwards else 1]


def _ciphers() -> list[cipher_twin.Cipher]:
    signs = [(table, False, enough, kind) for table, enough, kind in ciphers._OF_SIGNS]
    return [
        cipher_twin.Cipher(
            _mapped(table, backwards), enough, kind == bits.SYMBOLS, kind == bits.ALWAYS
        )
        for table, backwards, enough, kind in [*signs, *ciphers._OF_LETTERS]
    ]


def _cipher_runs(run: str, text: str) -> list[tuple[int, int, int]]:
    n = len(text)
    found, words = np.empty((n // 2 + 1, 4), np.int32), np.empty((n // 2 + 1, 3), np.int32)
    reads = np.empty(len(ciphers._OF_LETTERS), np.int32)
    sums = np.empty((len(ciphers._KINDS), 4), np.int32)
    count = _kernel(run, cipher_runs)(
        points_of(text), ciphers._LETTERS, ciphers._STEPS, ciphers._KINDS, PAIRS,
        ciphers._ENOUGH, reads, words, sums, found,
    )  # fmt: skip
    return [(start, end, cipher - 1) for start, end, cipher, _ in found[:count].tolist()]


_VOCABULARY = st.sampled_from(
    ["ignore", "all", "previous", "instructions", "and", "reveal", "your", "café", "1984", "x"]
)
_SENTENCE = st.lists(_VOCABULARY, min_size=1, max_size=6).map(" ".join)
_HIDDEN = st.builds(
    lambda kind, said: ENCODINGS[kind](said),
    st.sampled_from(
        ["rot13", "a shift by three", "atbash", "rot47", "backwards", "each word backwards", "leet"]
    ),
    _SENTENCE,
)


@_runs
@given(text=st.lists(_HIDDEN | _SENTENCE | texts, max_size=5).map("\n".join))
def test_ciphers_are_found_as_by_the_twin(run: str, text: str) -> None:
    signs = "".join(map(chr, filter(lambda point: point < 128, ciphers._LEET)))
    signs = "".join(sign for sign in signs if sign not in string.ascii_letters)
    expected = cipher_twin.cipher_runs(text, _ciphers(), signs, _PAIRS)
    assert _cipher_runs(run, text) == expected


@given(text=st.lists(_HIDDEN | _SENTENCE, max_size=5).map("\n".join))
def test_runs_of_ciphers_are_whole_words_apart_from_one_another(text: str) -> None:
    behind = -1
    for start, end, _ in _cipher_runs("compiled", text):
        assert behind < start < end <= len(text)
        assert not text[start:end][0].isspace()
        assert not text[start - 1 : start].strip()
        assert not text[end : end + 1].strip()
        behind = end
