"""The same text as different readers see it. Each view is scored, and the worst counts.

A view never replaces the raw text: ext_authz cannot change what the model upstream will read.
"""

import unicodedata
from collections.abc import Iterable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from extauthz_kernels import cap_runs, fold, fold_words, join_spelled, map_points

RAW: Final = "raw"
NORMALISED: Final = "normalised"

#: The stream-safe text format of UAX #15 allows 30 combining marks in a row.
_MAX_MARKS: Final = 30
#: One fold can make room for another: a mark composes with the letter that a lookalike became.
#: Three rounds have been enough for every text tried; the bound keeps the work linear.
_MAX_ROUNDS: Final = 6
#: Shorter words of Greek or Cyrillic lookalikes alone are everyday Russian ("с", "со", "ухо").
_MIN_LOOKALIKE_WORD: Final = 4

#: Cyrillic and Greek letters that look like Latin ones, as Unicode confusables (UTS #39) lists
#: them, then Latin letters of phonetic alphabets and small capitals.
_LOOKALIKES: Final = (
    "аеорсухіјѕԁԛԝһӏАВЕКМНОРСТХІЈЅԌαοριυντκωΑΒΕΖΗΙΚΜΝΟΡΤΥΧϲϳɡɑıɩᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘʀꜱᴛᴜᴠᴡʏᴢ"
)
_LATIN: Final = (
    "aeopcyxijsdqwhlABEKMHOPCTXIJSGaopiuvtkwABEZHIKMNOPTYXcjgaiiabcdefghijklmnoprstuvwyz"
)
#: Invisible code points: zero-width and soft hyphens, joiners, bidi controls, fillers, BOM,
#: invisible operators, variation selectors and the tag block; and marks that strike through.
_HIDDEN: Final = (
    0x00AD, 0x034F, 0x061C, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x3164, 0xFEFF, 0xFFA0,
    *range(0x0332, 0x0339), *range(0x180B, 0x1810), *range(0x200B, 0x2010),
    *range(0x202A, 0x202F), *range(0x2060, 0x2070), *range(0xFE00, 0xFE10),
    *range(0xFFF9, 0xFFFC), *range(0xE0000, 0xE0080), *range(0xE0100, 0xE01F0),
)  # fmt: skip
#: "i g n o r e" is spelling, "plan b c" is not.
_MIN_SPELLED: Final = 5
#: Honest text grows little under NFKC: a ligature is two or three letters, a squared word four.
_MAX_EXPANSION: Final = 2
_FREE_EXPANSION: Final = 4_096
#: Above the last letter that Unicode assigns (CJK extension H ends at U+323AF).
_ASSIGNED: Final = 0x32400


def _combining_marks() -> NDArray[np.uint8]:
    """1 for the code points whose decomposition starts with a combining mark.

    Its own combining class is not enough: U+0F73, U+FF9E and a few more have none and decompose
    into marks.
    """
    table = np.zeros(_ASSIGNED, np.uint8)
    for point, char in enumerate(map(chr, range(_ASSIGNED))):
        if unicodedata.combining(char) or unicodedata.decomposition(char):
            first = unicodedata.normalize("NFKD", char)[0]
            table[point] = unicodedata.combining(first) > 0
    return table


def _nfkc_lengths() -> NDArray[np.uint8]:
    """Characters that each code point becomes under NFKC; the last entry stands for all above."""
    lengths = [len(unicodedata.normalize("NFKC", chr(point))) for point in range(_ASSIGNED)]
    return np.array([*lengths[:-1], 1], np.uint8)


def _revealed() -> NDArray[np.uint32]:
    """What hidden code points become: nothing, or, for tag characters, the ASCII they stand for."""
    table = np.arange(0xE01F0, dtype=np.uint32)
    table[list(_HIDDEN)] = fold.DROP
    table[0xE0020:0xE007F] = np.arange(0x20, 0x7F)
    return table


def _kinds() -> NDArray[np.uint8]:
    """Bits of each code point, as the kernels read them."""
    table = np.zeros(_ASSIGNED, np.uint8)
    for point, char in enumerate(map(chr, range(_ASSIGNED))):
        table[point] = (
            fold.SPACE * char.isspace()
            | fold.LETTER * char.isalpha()
            | fold.ALNUM * char.isalnum()
            | fold.WORD * (char.isalnum() or char == "_" or 0x300 <= point <= 0x36F)
            | fold.OTHER_SCRIPT * (char.isdecimal() or char == "_")
        )
    for first, last in ((0x300, 0x52F), (0x1F00, 0x1FFF)):  # marks, Greek, Cyrillic
        table[first : last + 1] |= fold.OTHER_SCRIPT
    table[list(map(ord, _LOOKALIKES))] |= fold.LOOKALIKE
    return table


def _latin() -> NDArray[np.uint32]:
    table = np.arange(_ASSIGNED, dtype=np.uint32)
    table[list(map(ord, _LOOKALIKES))] = list(map(ord, _LATIN))
    return table


_MARKS: Final = _combining_marks()
_NFKC_LENGTHS: Final = _nfkc_lengths()
_REVEALED: Final = _revealed()
_KINDS: Final = _kinds()
_LATIN_TWINS: Final = _latin()


def views(text: str) -> list[tuple[str, str]]:
    """(name, text) of each view worth scoring; a view equal to the raw text is left out."""
    folded = normalise(text)
    return [(RAW, text)] if folded == text else [(RAW, text), (NORMALISED, folded)]


def grows_beyond_measure(texts: Iterable[str]) -> bool:
    """Whether NFKC could make more of the texts of a request than is worth looking at.

    8 MiB of U+FDFA, 18 characters each under NFKC, would take seconds and a gigabyte.
    """
    allowance = _FREE_EXPANSION
    for text in texts:
        if not text.isascii():
            points = np.minimum(_points(text), _ASSIGNED - 1)
            allowance += _MAX_EXPANSION * len(text) - int(_NFKC_LENGTHS[points].sum(dtype=np.int64))
    return allowance < 0


def normalise(text: str) -> str:
    """What a lenient reader sees: compatibility forms, lookalikes, hidden and spelled text folded.

    Total, idempotent, linear in the input and in what NFKC makes of it.
    Words that are honest Greek or Cyrillic stay as they are.
    """
    if text.isascii():
        return _join_spelled(text)
    for _ in range(_MAX_ROUNDS):
        before = text
        text = unicodedata.normalize("NFKC", _show_hidden(text))
        text = _fold_lookalikes(_join_spelled(text))
        if text == before:
            break
    return text


def _show_hidden(text: str) -> str:
    """Hidden characters shown or dropped, and runs of combining marks short enough for NFKC."""
    points = _points(text)
    kept = np.empty_like(points)
    shown = kept[: map_points(points, _REVEALED, kept)]
    capped = np.empty_like(shown)
    return _text(capped[: cap_runs(shown, _MARKS, _MAX_MARKS, capped)])


def _join_spelled(text: str) -> str:
    points = _points(text)
    joined = np.empty_like(points)
    count = join_spelled(points, _KINDS, _MIN_SPELLED, joined)
    return text if count == len(points) else _text(joined[:count])


def _fold_lookalikes(text: str) -> str:
    points = _points(text)
    folded = np.empty_like(points)
    rewritten = fold_words(points, _KINDS, _LATIN_TWINS, _MIN_LOOKALIKE_WORD, folded)
    return _text(folded) if rewritten else text


def _points(text: str) -> NDArray[np.uint32]:
    """Code points, (n,) uint32, lone surrogates included."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def _text(points: NDArray[np.uint32]) -> str:
    return points.tobytes().decode("utf-32-le", "surrogatepass")
