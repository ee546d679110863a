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


#: Each cipher's letters, the bits of its kind, the half bits from which on a run of words is no
#: coincidence, and how a run is undone. The first is leet, as the kernel expects. Of the shifts
#: only ROT13 is common; the more ways there are to read a text, the more must speak for one.
_CIPHERS: Final[tuple[tuple[Mapping[int, int], int, int, Callable[[str], str]], ...]] = (
    (_LEET, ciphers.SYMBOLS, 12, _mapped(_LEET)),
    ({}, ciphers.BACKWARDS | ciphers.ALWAYS, 24, _backwards),
    (_ATBASH, 0, 24, _mapped(_ATBASH)),
    (_ROT47, ciphers.ALWAYS, 30, _mapped(_ROT47)),
    *(
        (table, 0, 20 if steps == 13 else 34, _mapped(table))
        for steps, table in ((steps, _of_letters(_shifted(steps))) for steps in range(1, 26))
    ),
    *((table, ciphers.BACKWARDS, 34, _mapped_backwards(table)) for table in (_ROT13, _ATBASH)),
)


def _letters() -> NDArray[np.uint8]:
    """(k, 128) uint8: the letter, 1 to 26, that each cipher makes of each character of ASCII."""
    ascii_ = "".join(map(chr, range(128)))
    rows = [ascii_, *(ascii_.translate(table) for table, *_ in _CIPHERS)]
    return np.array([[_LOWER.find(char.lower()) + 1 for char in row] for row in rows], np.uint8)


_LETTERS: Final = _letters()
_KINDS: Final = np.array([0, *(kind for _, kind, _, _ in _CIPHERS)], np.uint8)
_ENOUGH: Final = np.array([0, *(enough for _, _, enough, _ in _CIPHERS)], np.int64)


def decipher(text: str) -> str:
    """`text` with runs of words that read clearly better undone by a cipher undone."""
    n = len(text)
    runs, words = np.empty((n // 2 + 1, 4), np.int32), np.empty((n // 2 + 1, 3), np.int32)
    sums = np.empty((len(_KINDS), 4), np.int32)
    count = cipher_runs(points_of(text), _LETTERS, _KINDS, PAIRS, _ENOUGH, words, sums, runs)
    pieces: list[str] = []
    at = 0
    for start, end, cipher, _ in runs[:count].tolist():
        pieces += text[at:start], _CIPHERS[cipher - 1][3](text[start:end])
        at = end
    return "".join((*pieces, text[at:])) if count else text
