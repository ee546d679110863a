"""The same text as different readers see it. Each view is scored, and the worst counts.

A view never replaces the raw text: ext_authz cannot change what the model upstream will read.
"""

import re
import sys
import unicodedata
from itertools import groupby
from typing import Final

import numpy as np
from numpy.typing import NDArray

from extauthz_kernels import cap_runs

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
_FOLD: Final = str.maketrans(_LOOKALIKES, _LATIN)
_LOOKALIKE_WORD: Final = re.compile(
    rf"(?<![\w\u0300-\u036f])[\w\u0300-\u036f]*?[{_LOOKALIKES}][\w\u0300-\u036f]*+"
)
_GREEK_OR_CYRILLIC: Final = re.compile(r"[\d_\u0300-\u052f\u1f00-\u1fff]+")

#: Invisible code points: zero-width and soft hyphens, joiners, bidi controls, fillers, BOM,
#: invisible operators, variation selectors and the tag block; and marks that strike through.
_HIDDEN: Final = (
    0x00AD, 0x034F, 0x061C, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x3164, 0xFEFF, 0xFFA0,
    *range(0x0332, 0x0339), *range(0x180B, 0x1810), *range(0x200B, 0x2010),
    *range(0x202A, 0x202F), *range(0x2060, 0x2070), *range(0xFE00, 0xFE10),
    *range(0xFFF9, 0xFFFC), *range(0xE0000, 0xE0080), *range(0xE0100, 0xE01F0),
)  # fmt: skip
#: A tag character is invisible ASCII that models read: it is shown, not dropped.
_REVEAL: Final = dict.fromkeys(_HIDDEN, "") | {0xE0000 + c: chr(c) for c in range(0x20, 0x7F)}

#: Five or more letters or digits on their own: "i g n o r e" is spelling, "plan b c" is not.
_SPELLED: Final = re.compile(r"(?<!\S)[^\W_](?:\s++[^\W_](?!\S)){4,}+")
_WORD_GAP: Final = re.compile(r"\s{2,}")


def _combining_marks() -> NDArray[np.uint8]:
    """Table over all code points, 1 for those whose decomposition starts with a combining mark.

    Its own combining class is not enough: U+0F73, U+FF9E and a few more have none and decompose
    into marks.
    """
    table = np.zeros(sys.maxunicode + 1, np.uint8)
    for point in range(sys.maxunicode + 1):
        char = chr(point)
        if unicodedata.combining(char) or unicodedata.decomposition(char):
            first = unicodedata.normalize("NFKD", char)[0]
            table[point] = unicodedata.combining(first) > 0
    return table


_MARKS: Final = _combining_marks()


def views(text: str) -> list[tuple[str, str]]:
    """(name, text) of each view worth scoring; a view equal to the raw text is left out."""
    folded = normalise(text)
    return [(RAW, text)] if folded == text else [(RAW, text), (NORMALISED, folded)]


def normalise(text: str) -> str:
    """What a lenient reader sees: compatibility forms, lookalikes, hidden and spelled text folded.

    Total, idempotent, linear in the input, and at most 18 times its length (U+FDFA under NFKC).
    Words that are honest Greek or Cyrillic stay as they are.
    """
    for _ in range(_MAX_ROUNDS):
        before = text
        if not text.isascii():
            text = unicodedata.normalize("NFKC", _cap_marks(text.translate(_REVEAL)))
        text = _SPELLED.sub(_join_spelled, text)
        if text.isascii():
            break
        text = _LOOKALIKE_WORD.sub(_fold_word, text)
        if text == before:
            break
    return text


def _cap_marks(text: str) -> str:
    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    kept = np.empty_like(points)
    count = cap_runs(points, _MARKS, _MAX_MARKS, kept)
    if count == len(points):
        return text
    return kept[:count].tobytes().decode("utf-32-le", "surrogatepass")


def _join_spelled(run: re.Match[str]) -> str:
    """Letters a single space apart are a word: "i g n o r e  a l l" is "ignore all"."""
    if not any(char.isalpha() for char in run[0]):  # a row of digits is a table
        return run[0]
    groups = ["".join(group.split()) for group in _WORD_GAP.split(run[0])]
    words: list[str] = []
    for single, neighbours in groupby(groups, key=lambda group: len(group) == 1):
        words.append(("" if single else " ").join(neighbours))
    return " ".join(words)


def _fold_word(match: re.Match[str]) -> str:
    """Latin for a word of lookalikes, unless it is as good a word of Greek or Cyrillic."""
    word = match[0]
    folded = word.translate(_FOLD)
    disguised = len(word) >= _MIN_LOOKALIKE_WORD and folded.isascii()
    return word if _GREEK_OR_CYRILLIC.fullmatch(word) and not disguised else folded
