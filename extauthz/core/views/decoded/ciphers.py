"""Ciphers that give themselves away only by reading badly: shifted, mirrored, backwards, leet."""

import string
from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from extauthz.core.views.pairs import PAIRS
from extauthz.core.views.points import points_of
from extauthz_kernels import cipher_runs, ciphers

_LOWER: Final = string.ascii_lowercase


def _shifted(steps: int) -> str:
    return _LOWER[steps:] + _LOWER[:steps]


def _of_letters(replaced: str) -> dict[int, int]:
    return str.maketrans(_LOWER + _LOWER.upper(), replaced + replaced.upper())


_LEET: Final = str.maketrans("0134578@$!|29", "oieastbasilzg")
_ATBASH: Final = _of_letters(_LOWER[::-1])
_ROT13: Final = _of_letters(_shifted(13))
_ROT47: Final = {point: 33 + (point - 33 + 47) % 94 for point in range(33, 127)}


def _backwards(run: str) -> str:
    """As a whole, and each word on its own: nobody but the reader knows which was meant."""
    return f"{run[::-1]}\n{' '.join(word[::-1] for word in run.split(' '))}"


def _mapped_backwards(table: Mapping[int, int]) -> Callable[[str], str]:
    return lambda run: run[::-1].translate(table)


def _mapped(table: Mapping[int, int]) -> Callable[[str], str]:
    return lambda run: run.translate(table)


#: A way to undo a run, the half bits from which on a run of words is no coincidence, and the bits of
#: its kind. Of the shifts only ROT13 is common; the more ways there are to read a text, the more
#: must speak for one.
_Cipher = tuple[Callable[[str], str], int, int]
#: Those that make letters of signs too. The first is leet, as the kernel expects.
_OF_SIGNS: Final[tuple[tuple[Mapping[int, int], int, int], ...]] = (
    (_LEET, 12, ciphers.SYMBOLS),
    (_ROT47, 30, ciphers.ALWAYS),
)
#: Those of letters alone: what they make of each, and whether they are read backwards.
_OF_LETTERS: Final[tuple[tuple[Mapping[int, int], bool, int, int], ...]] = (
    ({}, True, 24, ciphers.ALWAYS),
    (_ATBASH, False, 24, 0),
    *(
        (_of_letters(_shifted(steps)), False, 20 if steps == 13 else 34, 0)
        for steps in range(1, 26)
    ),
    (_ROT13, True, 34, 0),
    (_ATBASH, True, 34, 0),
)
_CIPHERS: Final[tuple[_Cipher, ...]] = (
    *((_mapped(table), enough, kind) for table, enough, kind in _OF_SIGNS),
    (_backwards, *_OF_LETTERS[0][2:]),
    *(
        (_mapped_backwards(table) if backwards else _mapped(table), enough, kind)
        for table, backwards, enough, kind in _OF_LETTERS[1:]
    ),
)


def _index(char: str) -> int:
    """1 to 26 for a letter, 0 for what is none."""
    return _LOWER.find(char.lower()) + 1


def _letters() -> NDArray[np.uint8]:
    """(3, 128) uint8: the letter that ASCII is, as it stands and to each cipher of signs."""
    ascii_ = "".join(map(chr, range(128)))
    rows = [ascii_, *(ascii_.translate(table) for table, *_ in _OF_SIGNS)]
    return np.array([list(map(_index, row)) for row in rows], np.uint8)


def _steps() -> NDArray[np.int8]:
    """(729, k) int8: half bits for a letter after a letter under each cipher of letters."""
    columns = []
    for table, backwards, *_ in _OF_LETTERS:
        become = [0, *map(_index, _LOWER.translate(table))]
        pairs = PAIRS[np.ix_(become, become)]
        columns.append((pairs.T if backwards else pairs).ravel())
    return np.ascontiguousarray(np.stack(columns, axis=1))


_LETTERS: Final = _letters()
_STEPS: Final = _steps()
_KINDS: Final = np.array([0, *(kind for _, _, kind in _CIPHERS)], np.uint8)
_ENOUGH: Final = np.array([0, *(enough for _, enough, _ in _CIPHERS)], np.int64)


def decipher(text: str) -> str:
    """`text` with runs of words that read clearly better undone by a cipher undone."""
    n = len(text)
    runs, words = np.empty((n // 2 + 1, 4), np.int32), np.empty((n // 2 + 1, 3), np.int32)
    reads, sums = np.empty(len(_OF_LETTERS), np.int32), np.empty((len(_KINDS), 4), np.int32)
    count = cipher_runs(
        points_of(text), _LETTERS, _STEPS, _KINDS, PAIRS, _ENOUGH, reads, words, sums, runs
    )
    pieces: list[str] = []
    at = 0
    for start, end, cipher, _ in runs[:count].tolist():
        pieces += text[at:start], _CIPHERS[cipher - 1][0](text[start:end])
        at = end
    return "".join((*pieces, text[at:])) if count else text
