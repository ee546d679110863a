"""Text written as numbers or as signs for letters: base64 to binary, character codes, Morse, uuencode."""

import binascii
import string
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from extauthz.core.views.pairs import PAIRS
from extauthz.core.views.points import points_of, text_of
from extauthz_kernels import decode_codes, decode_groups, runs

#: Half bits, as `evidence` takes them. That octets can be printed at all says much; that numbers
#: stand for letters rather than for signs says less, since people write lists of numbers.
_OF_OCTETS: Final = np.array([4, 3, 1, -3], np.int64)
_OF_CODES: Final = np.array([2, 2, -1, -2], np.int64)
_OF_MORSE: Final = np.array([0, 0, -6, -4], np.int64)
#: Half bits from which on it is no coincidence. A long text has thousands of words to try.
_ENOUGH: Final = 26
_ENOUGH_CODES: Final = 24
_HEX: Final = string.digits + "abcdef"
_BASE64: Final = string.ascii_uppercase + string.ascii_lowercase + string.digits
_BASE32: Final = string.ascii_uppercase + "234567"
_ASCII85: Final = "".join(map(chr, range(33, 118)))


def _values(alphabet: str, padding: str = "", gaps: str = "") -> NDArray[np.uint8]:
    """(128,) uint8: value of each digit; lower-case letters count as upper-case ones if they are free."""
    table = np.full(128, runs.NONE, np.uint8)
    for value, digit in enumerate(alphabet):
        for char in {digit, digit.lower(), digit.upper()}:
            if char == digit or char not in alphabet:
                table[ord(char)] = value
    table[list(map(ord, padding))] = runs.SEPARATOR
    table[list(map(ord, gaps))] = runs.WORD_GAP
    return table


def _both_alphabets() -> NDArray[np.uint8]:
    """(128,) uint8: value of each digit of base64, as mail and as URLs write it."""
    table = _values(_BASE64 + "+/", "=")
    table[[ord("-"), ord("_")]] = table[[ord("+"), ord("/")]]
    return table


@dataclass(frozen=True, slots=True)
class _Groups:
    """An encoding of octets: so many digits of an alphabet make so many octets."""

    values: NDArray[np.uint8]
    base: int
    digits: int
    octets: int
    shortest: int = 4
    #: Without one of these in a text nothing is found that other alphabets would not find.
    signs: str = ""

    def decode(self, points: NDArray[np.uint32]) -> NDArray[np.uint32]:
        n = len(points)
        decoded = np.empty(n, np.uint32)
        shape = self.base * 256 + self.digits * 16 + self.octets
        count = decode_groups(
            points, self.values, shape, self.shortest, PAIRS, _OF_OCTETS, _ENOUGH,
            np.empty(n, np.uint32), decoded,
        )  # fmt: skip
        return decoded[:count]


@dataclass(frozen=True, slots=True)
class _Codes:
    """Numbers between separators, each one character."""

    digits: NDArray[np.uint8]
    base: int
    fewest: int
    most: int
    meaning: NDArray[np.uint32]
    first: int = 0
    signs: str = ""
    weights: NDArray[np.int64] = field(default_factory=lambda: _OF_CODES)

    def decode(self, points: NDArray[np.uint32]) -> NDArray[np.uint32]:
        n = len(points)
        decoded = np.empty(n, np.uint32)
        shape = self.base * 256 + self.fewest * 16 + self.most
        count = decode_codes(
            points, self.digits, shape, self.first, self.meaning, PAIRS, self.weights,
            _ENOUGH_CODES, np.empty(2 * n + 2, np.uint32), decoded,
        )  # fmt: skip
        return decoded[:count]


def _ascii() -> NDArray[np.uint32]:
    """(128,) uint32: the characters of ASCII that are text."""
    table = np.arange(128, dtype=np.uint32)
    table[[point for point in range(32) if point not in {9, 10, 13}]] = 0
    table[127] = 0
    return table


_MORSE: Final = (
    "a.- b-... c-.-. d-.. e. f..-. g--. h.... i.. j.--- k-.- l.-.. m-- n-. o--- p.--. q--.- r.-. "
    "s... t- u..- v...- w.-- x-..- y-.-- z--.. 0----- 1.---- 2..--- 3...-- 4....- 5..... 6-.... "
    "7--... 8---.. 9----."
)


def _morse() -> NDArray[np.uint32]:
    """(64,) uint32: the letter of each code, read as binary behind a leading one."""
    table = np.zeros(64, np.uint32)
    for code in _MORSE.split():
        table[int("1" + code[1:].replace(".", "0").replace("-", "1"), 2)] = ord(code[0])
    return table


_GAPS: Final = " ,;:-\n\t|"
_ASCII: Final = _ascii()
#: How each kind of run is decoded, in the order in which they are tried.
_KINDS: Final[tuple[_Codes | _Groups, ...]] = (
    _Codes(_values("01", _GAPS), 2, 7, 8, _ASCII, 0, "", _OF_OCTETS),
    _Codes(_values(_HEX, _GAPS), 16, 2, 2, _ASCII),
    _Codes(_values(string.digits, _GAPS), 10, 2, 3, _ASCII),
    _Codes(_values("01234567", _GAPS), 8, 2, 3, _ASCII),
    _Codes(_values(".-", " \n\t", "/"), 2, 1, 5, _morse(), 1, "", _OF_MORSE),
    _Groups(_values("01"), 2, 8, 1, 24),
    _Groups(_values(_HEX), 16, 2, 1, 8),
    # That with signs first: between two of them stands only a piece.
    _Groups(_both_alphabets(), 64, 4, 3, 4, "+/-_"),
    _Groups(_values(_BASE64, "="), 64, 4, 3),
    # After those of base64, whose long runs hold short ones of these letters.
    _Groups(_values(_BASE32, "="), 32, 8, 5, 8),
    _Groups(_values(_ASCII85), 85, 5, 4, 8),
)


def decode_numbers(text: str) -> str:
    """`text` with runs of digits of some base replaced by the text that they stand for."""
    points = given = points_of(text)
    for kind in _KINDS:
        if _may_have(text, kind.signs):
            points = kind.decode(points)
    return text if len(points) == len(given) else text_of(points)


def _may_have(text: str, signs: str) -> bool:
    return not signs or any(sign in text for sign in signs)


def unpacked(text: str) -> str:
    """`text` with the lines of uuencoded files replaced by what they stand for."""
    if "begin " not in text:
        return text
    return "".join(map(_uu_line, text.splitlines(keepends=True)))


def _uu_line(line: str) -> str:
    """What a line says if its first character is the number of octets in it."""
    packed = line.rstrip()
    octets = ord(packed[0]) - 32 if packed else 0
    if not (0 < octets <= 45 and packed.isascii() and len(packed) <= 1 + (octets + 2) // 3 * 4):
        return line
    try:
        said = binascii.a2b_uu(packed.encode()).decode()
    except ValueError:
        return line
    return said if len(packed) > octets and said.isprintable() else line
