"""What a lenient reader sees: compatibility forms, lookalikes, hidden and spelled text folded."""

import unicodedata
from collections.abc import Iterable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from extauthz.core.views.hidden import plain_flags
from extauthz.core.views.letters import FLAGS, HIDDEN, LATIN, LETTER_SIGNS, LOOKALIKES, UPRIGHT
from extauthz.core.views.pairs import PAIRS
from extauthz.core.views.points import ASSIGNED, points_of, text_of
from extauthz_kernels import (
    cap_runs,
    fold,
    fold_flags,
    fold_words,
    join_spelled,
    join_symbols,
    longest_spelling,
    map_points,
    turn_words,
)

#: The stream-safe text format of UAX #15 allows 30 combining marks in a row.
_MAX_MARKS: Final = 30
#: One fold can make room for another: a mark composes with the letter that a lookalike became.
#: Three rounds have been enough for every text tried; the bound keeps the work linear.
_MAX_ROUNDS: Final = 6
#: Shorter words of Greek or Cyrillic lookalikes alone are everyday Russian ("с", "со", "ухо").
_MIN_LOOKALIKE_WORD: Final = 4

#: "i g n o r e" is spelling, "plan b c" is not.
_MIN_SPELLED: Final = 5
#: Honest text grows little under NFKC: a ligature is two or three letters, a squared word four.
_MAX_EXPANSION: Final = 2
_FREE_EXPANSION: Final = 4_096
#: NFKC makes whole phrases of a few code points (U+FDFA, U+3316), 18 characters of one. None of
#: them is Latin: they are shown as a white square, so that nothing grows more than so many times.
_MAX_LENGTH: Final = 4
_WHITE_SQUARE: Final = 0x25A1
#: Marks, Greek, Cyrillic and Armenian; Cherokee; Greek extended; Lisu; Cherokee again.
_OTHER_SCRIPTS: Final = (
    (0x300, 0x58F), (0x13A0, 0x13FF), (0x1F00, 0x1FFF), (0xA4D0, 0xA4FF), (0xAB70, 0xABBF),
)  # fmt: skip
#: So many letters that only upside-down text has are not a phonetic symbol or two.
_MIN_TURNED: Final = 3
#: Half bits by which letters between mixed symbols must be likelier English than chance.
_MIN_READABLE: Final = 8


def _combining_marks() -> NDArray[np.uint8]:
    """1 for the code points whose decomposition starts with a combining mark.

    Its own combining class is not enough: U+0F73, U+FF9E and a few more have none and decompose
    into marks.
    """
    table = np.zeros(ASSIGNED, np.uint8)
    for point, char in enumerate(map(chr, range(ASSIGNED))):
        if unicodedata.combining(char) or unicodedata.decomposition(char):
            first = unicodedata.normalize("NFKD", char)[0]
            table[point] = unicodedata.combining(first) > 0
    return table


def _nfkc_lengths() -> NDArray[np.uint8]:
    """Characters that each code point becomes under NFKC; the last entry stands for all above."""
    lengths = [len(unicodedata.normalize("NFKC", chr(point))) for point in range(ASSIGNED)]
    return np.array([*lengths[:-1], 1], np.uint8)


def _revealed(lengths: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """What hidden code points become: nothing, or the ASCII that tag characters stand for.

    Letters drawn as signs become the letters, and phrases a white square.
    """
    table = np.arange(0xE01F0, dtype=np.uint32)
    table[:ASSIGNED][lengths > _MAX_LENGTH] = _WHITE_SQUARE
    table[list(HIDDEN)] = fold.DROP
    table[0xE0020:0xE007F] = np.arange(0x20, 0x7F)
    table[list(map(ord, LETTER_SIGNS))] = list(map(ord, LETTER_SIGNS.values()))
    return table


def _kinds() -> NDArray[np.uint8]:
    """Bits of each code point, as the kernels read them."""
    table = np.zeros(ASSIGNED, np.uint8)
    for point, char in enumerate(map(chr, range(ASSIGNED))):
        table[point] = (
            fold.SPACE * char.isspace()
            | fold.LETTER * char.isalpha()
            | fold.ALNUM * char.isalnum()
            | fold.WORD * (char.isalnum() or char == "_" or 0x300 <= point <= 0x36F)
            | fold.OTHER_SCRIPT * (char.isdecimal() or char == "_")
        )
    for first, last in _OTHER_SCRIPTS:
        table[first : last + 1] |= fold.OTHER_SCRIPT
    table[list(map(ord, LOOKALIKES))] |= fold.LOOKALIKE
    return table


def _latin() -> NDArray[np.uint32]:
    table = np.arange(ASSIGNED, dtype=np.uint32)
    table[list(map(ord, LOOKALIKES))] = list(map(ord, LATIN))
    return table


_MARKS: Final = _combining_marks()
_NFKC_LENGTHS: Final = _nfkc_lengths()
_REVEALED: Final = _revealed(_NFKC_LENGTHS)
_KINDS: Final = _kinds()
_LATIN_TWINS: Final = _latin()
_FIRST_FLAG: Final = 0x1F1E6


def grows_beyond_measure(texts: Iterable[str]) -> bool:
    """Whether NFKC could make more of the texts of a request than is worth looking at.

    Decoded text needs no such check: every encoding takes at least as many characters as NFKC
    can make of what it encodes.
    """
    allowance = _FREE_EXPANSION
    for text in texts:
        if not text.isascii():
            points = np.minimum(points_of(text), ASSIGNED - 1)
            allowance += _MAX_EXPANSION * len(text) - int(_NFKC_LENGTHS[points].sum(dtype=np.int64))
    return allowance < 0


def normalise(text: str) -> str:
    """What a lenient reader sees: compatibility forms, lookalikes, hidden and spelled text folded.

    Total, idempotent, linear, and no more than four times as long as the input.
    Words that are honest Greek or Cyrillic stay as they are, and so do flags.
    """
    for _ in range(_MAX_ROUNDS):
        before = text
        if not text.isascii():
            text = unicodedata.normalize("NFKC", _show_hidden(text))
        text = _join(text)
        if not text.isascii():
            text = _fold_lookalikes(text)
        if text == before:
            break
    return text


def _show_hidden(text: str) -> str:
    """Hidden characters shown or dropped, upside-down text turned, and short runs of marks."""
    points = points_of(plain_flags(text))
    kept = np.empty_like(points)
    shown = kept[: map_points(points, _REVEALED, kept)]
    turned = np.empty_like(shown)
    turn_words(shown, _KINDS, UPRIGHT, _MIN_TURNED, turned)
    if turned.max(initial=0) >= _FIRST_FLAG:
        fold_flags(turned, FLAGS)
    capped = np.empty_like(turned)
    return text_of(capped[: cap_runs(turned, _MARKS, _MAX_MARKS, capped)])


def _join(text: str) -> str:
    """Words spelled with white space or symbols between their letters, in one piece."""
    points = points_of(text)
    if longest_spelling(points, _KINDS) < _MIN_SPELLED:
        return text
    joined, again = np.empty_like(points), np.empty_like(points)
    spelled = join_spelled(points, _KINDS, _MIN_SPELLED, joined)
    count = join_symbols(joined[:spelled], _KINDS, PAIRS, _MIN_SPELLED, _MIN_READABLE, again)
    return text if count == len(points) else text_of(again[:count])


def _fold_lookalikes(text: str) -> str:
    points = points_of(text)
    folded = np.empty_like(points)
    rewritten = fold_words(points, _KINDS, _LATIN_TWINS, _MIN_LOOKALIKE_WORD, folded)
    return text_of(folded) if rewritten else text
