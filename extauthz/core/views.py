"""The same text as different readers see it. Each view is scored, and the worst counts.

A view never replaces the raw text: ext_authz cannot change what the model upstream will read.
"""

import unicodedata
from typing import Final

import numpy as np
from extauthz_kernels import cap_runs
from numpy.typing import NDArray

RAW: Final = "raw"
NORMALISED: Final = "normalised"

#: The stream-safe text format of UAX #15 allows 30 combining marks in a row.
_MAX_MARKS: Final = 30
#: "i g n o r e" is spelling; "a b" or "plan b c" is not.
_MIN_SPELLED_LETTERS: Final = 5

#: Cyrillic and Greek letters that look like Latin ones; Unicode confusables (UTS #39) lists them.
_LOOKALIKES: Final = dict(
    zip(
        "аеорсухіјѕԁԛԝһӏАВЕКМНОРСТХІЈЅԌαοριυντκωΑΒΕΖΗΙΚΜΝΟΡΤΥΧϲϳɡɑıɩʏᴀᴄᴅᴇɪᴏᴘᴠᴡᴢ",
        "aeopcyxijsdqwhlABEKMHOPCTXIJSGaopiuvtkwABEZHIKMNOPTYXcjgaiiyacdeiopvwz",
        strict=True,
    )
)
#: Invisible code points: zero-width and soft hyphens, joiners, bidi controls, fillers, BOM,
#: invisible operators, variation selectors and the tag block.
_INVISIBLE: Final = (
    0x00AD, 0x034F, 0x061C, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x3164, 0xFEFF, 0xFFA0,
    *range(0x180B, 0x1810), *range(0x200B, 0x2010), *range(0x202A, 0x202F),
    *range(0x2060, 0x2070), *range(0xFE00, 0xFE10), *range(0xFFF9, 0xFFFC),
    *range(0xE0000, 0xE0080), *range(0xE0100, 0xE01F0),
)  # fmt: skip
_FOLD: Final = str.maketrans(_LOOKALIKES) | dict.fromkeys(_INVISIBLE, "")


def _combining_marks() -> NDArray[np.uint8]:
    """Table over code points below 0x1E95B, the last that has a combining class, plus one."""
    return np.array([unicodedata.combining(chr(c)) > 0 for c in range(0x1E95B)], dtype=np.uint8)


_MARKS: Final = _combining_marks()


def views(text: str) -> list[tuple[str, str]]:
    """(name, text) of each view worth scoring; a view equal to the raw text is left out."""
    folded = normalise(text)
    return [(RAW, text)] if folded == text else [(RAW, text), (NORMALISED, folded)]


def normalise(text: str) -> str:
    """What a lenient reader sees: compatibility forms, lookalikes and invisible characters folded.

    Total, linear in the input, and at most 18 times its length (U+FDFA under NFKC).
    """
    if not text.isascii():
        text = unicodedata.normalize("NFKC", _cap_marks(text)).translate(_FOLD)
    return _join_spelled(text)


def _cap_marks(text: str) -> str:
    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    kept = np.empty_like(points)
    count = cap_runs(points, _MARKS, _MAX_MARKS, kept)
    if count == len(points):
        return text
    return kept[:count].tobytes().decode("utf-32-le", "surrogatepass")


def _join_spelled(text: str) -> str:
    """Join runs of single characters between spaces: "i g n o r e  a l l" is "ignore all"."""
    words = text.split(" ")
    if len(words) < _MIN_SPELLED_LETTERS:
        return text
    joined: list[str] = []
    run: list[str] = []
    for word in [*words, ""]:
        if len(word) == 1:
            run.append(word)
            continue
        joined += ["".join(run)] if len(run) >= _MIN_SPELLED_LETTERS else run
        run = []
        joined.append(word)
    return " ".join(joined[:-1])
