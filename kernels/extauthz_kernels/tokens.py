"""How many tokens a text is to a language model, near enough to charge for it before it is sent."""

import numba
import numpy as np
from numpy.typing import NDArray

from extauthz_kernels._jit import kernel, read_only

#: Costs are in so many parts of a token. They are printed by `benchmarks/token_estimate.py --fit
#: --translations DIR` and fitted to 3 % above the geometric mean of what cl100k_base and o200k_base
#: make of the project's seeds and sources, Python's standard library and headers, chance, and the
#: translations in Django 5.2.
UNIT = 32
#: A capital after a capital, and after a small letter.
SHOUT, HUMP = 2, 13
#: White space with a line break; the same right after signs; more than one space or tab after it; a
#: space that no word follows; each 16 characters of it; a line break after a space, or CR after LF.
BREAK, ENDING, INDENT, LONE, WIDE, TURN = 48, 20, 19, 30, 32, 17
_WIDE_RUN = 16
#: Up to three digits, whatever they are: so both vocabularies cut numbers.
GROUP, _DIGITS = 33, 3
#: From the 11th letter of a word on, each costs at least so much. Common pairs cost nothing, but
#: what repeats them is no word: "thethethe" takes 0.33 a letter, "ationation" 0.2.
LATE, LEAST = 10, 8


def _table(*rows: str) -> NDArray[np.int64]:
    """Rows of costs that are digits of base 36; before them one column of zeros."""
    return np.array([[0, *(int(digit, 36) for digit in row)] for row in rows])


def _of_signs(*rows: str) -> NDArray[np.int64]:
    """Costs of the signs of ASCII in their order; control characters cost a token."""
    signs = [sign for sign in range(33, 127) if not chr(sign).isalnum()]
    table = np.full((len(rows), 128), UNIT)
    table[:, signs] = _table(*rows)[:, 1:]
    return table


#: A letter after a letter: the row is the one before, 0 for none, then a to z regardless of case,
#: U+00C0 to U+00FF, U+0100 to U+027F; the column is the letter, from a on.
PAIRS = _table(
    "qpmhoiqhjspthnpnzpjjulgrlpzx",
    "m600zu20dn2532z1z0704esv0xjn",
    "avzz0ztz60u00m8czb0z0mjz0wzz",
    "9zaz8zzc1p00tx29z300fvzx06e8",
    "fzz06zrzj0qk0w8oei8fohzzn2yw",
    "2c00e2qaeoy715f02002ng205o0u",
    "pzzzj1zz0zz0ni3qt6800wzztp60",
    "vzow0n9vcz0lgv60z0c9ezzznzpy",
    "7gwz0zzbaut5a71zz2z0hvzzzym0",
    "o7009080sntc30010p01zazhzo5x",
    "anz42zczdziwz0dyzx0e0iqzzzzz",
    "d0z56b50dzzs07tzzzapxvtzlwzz",
    "7zx000zw5l36c50q5o0059zz0zzz",
    "80i30bzz7ztk1mc4yu0xvwex6zuz",
    "ax0050043v52gwcdz600e5znlxjq",
    "c000900p5w0i0000z0000a030nzt",
    "000049s0cz70i970z4004iqz2yvz",
    "ztozzfzqwzzltzzzzuqj00tzzzxf",
    "9050050z7x0i40560000bhjz0qpo",
    "ezl00g028zqyuipqy8020z0z89zx",
    "jof02ky05zi07zd0z07klz2z0wzu",
    "084d0i0s0zl000y0z000jqzgzwz8",
    "cdd50jbz6g8tzz5zz5qznzzqzz1z",
    "hpzl0zz20zb0z00uy26cvzzkzzhj",
    "0f0zhixt0vqozzz6ztz0qzz9zz04",
    "bppzxfhznzzz0t00zz03zuzzew1x",
    "kz230zzzzzz0d2ngzzjjgm0abpgj",
    "62081n0qzzrg404o4ha5zf20048q",
    "zl07le5bzzha07z0hqzztzjd4009",
)
#: A sign with a letter after it and no space before; the first of other signs; one after another
#: sign; one after its like, which is what 200 of them take.
SIGNS = _of_signs(
    "zx0p0rk00zz060b0oa00qr5exq0z00oq",
    "zngnsmqpxkrvrprhszgwtgzjzukrrxqk",
    "z8zzzz888mz8jif8bkzxzz8kcz8z8z8z",
    "3b081gb880161103241466g8g61gg8g1",
)
#: Where a script starts, what its first character in a row costs, and what each after that.
SCRIPTS = (
    (0x0080, 28, 18),  # signs of Latin-1
    (0x0280, 64, 63),  # phonetic letters
    (0x0300, 66, 62),  # combining marks
    (0x0370, 22, 22),  # Greek
    (0x0400, 35, 9),  # Cyrillic
    (0x0460, 64, 26),  # Cyrillic of few languages
    (0x0530, 49, 28),  # Armenian
    (0x0590, 28, 23),  # Hebrew
    (0x0600, 6, 23),  # Arabic
    (0x0700, 78, 78),  # Syriac to Samaritan
    (0x0900, 28, 22),  # Devanagari
    (0x0980, 29, 25),  # Bengali
    (0x0A00, 37, 40),  # Gurmukhi
    (0x0A80, 50, 50),  # Gujarati
    (0x0B00, 71, 71),  # Oriya
    (0x0B80, 64, 21),  # Tamil
    (0x0C00, 44, 32),  # Telugu
    (0x0C80, 49, 29),  # Kannada
    (0x0D00, 54, 25),  # Malayalam
    (0x0D80, 56, 56),  # Sinhala
    (0x0E00, 23, 19),  # Thai
    (0x0E80, 69, 69),  # Lao
    (0x0F00, 72, 72),  # Tibetan
    (0x1000, 87, 31),  # Myanmar
    (0x10A0, 47, 28),  # Georgian
    (0x1100, 95, 95),  # Hangul, letter by letter
    (0x1200, 74, 85),  # Ethiopic
    (0x1380, 95, 95),  # Cherokee to runes
    (0x1780, 44, 32),  # Khmer
    (0x1800, 88, 96),  # Mongolian and others
    (0x1E00, 11, 90),  # Latin of Vietnamese
    (0x1F00, 83, 83),  # ancient Greek
    (0x2000, 35, 36),  # punctuation
    (0x2070, 61, 67),  # superscripts, currencies
    (0x2100, 62, 63),  # letterlike, numbers
    (0x2190, 16, 71),  # arrows
    (0x2200, 85, 81),  # mathematics
    (0x2400, 79, 79),  # pictures, enclosed letters
    (0x2500, 61, 61),  # frames
    (0x25A0, 56, 60),  # shapes
    (0x2600, 32, 30),  # pictographs
    (0x27C0, 93, 89),  # Braille and others
    (0x3000, 40, 38),  # punctuation of CJK
    (0x3040, 54, 15),  # Hiragana
    (0x30A0, 45, 15),  # Katakana
    (0x3100, 106, 106),  # rare CJK
    (0x4E00, 24, 32),  # Han
    (0xA000, 95, 95),  # Yi and others
    (0xAC00, 77, 10),  # Hangul
    (0xD7A0, 95, 94),  # surrogates, private, compatible
    (0xFE00, 64, 61),  # variation selectors
    (0xFE10, 76, 76),  # forms of CJK and Arabic
    (0xFF00, 31, 53),  # full and half width
    (0xFFF0, 33, 33),  # U+FFFD and its like
    (0x10000, 126, 126),  # beyond 16 bits
    (0x1D400, 93, 93),  # letters of mathematics
    (0x1D800, 111, 111),  # and again
    (0x1F000, 127, 82),  # emoji
    (0x1FB00, 96, 96),  # and again
)

_NOTHING, _WORD, _WHITE, _DIGIT, _SIGN, _SCRIPT = range(6)
#: What each character of ASCII is, and which letter.
_KINDS = np.full(128, _SIGN)
_KINDS[[9, 10, 13, 32]] = _WHITE
_KINDS[48:58] = _DIGIT
_KINDS[65:91] = _KINDS[97:123] = _WORD
_LETTERS = np.zeros(128, np.int64)
_LETTERS[65:91] = _LETTERS[97:123] = range(1, 27)
_LATIN_1, _BEYOND = 27, 28
_NEW_LINE, _RETURN, _SPACE, _TAB = 10, 13, 32, 9
#: The number of the script of each 16 code points. Above U+1FFFF all are of the last one.
_SCRIPT_OF = np.repeat(
    np.arange(len(SCRIPTS)),
    np.diff([0, *(start >> 4 for start, _, _ in SCRIPTS[1:]), 0x20000 >> 4]),
)
_FIRST = np.array([first for _, first, _ in SCRIPTS])
_FOLLOWING = np.array([following for _, _, following in SCRIPTS])
_UNREADABLE = 0xFFFD


@kernel(numba.int64(numba.int64, numba.int64))
def _latin(lead: int, second: int) -> int:
    """Which column of the table of pairs is for a Latin letter of two bytes; 0 if they are none."""
    if not 0xC3 <= lead <= 0xC9 or second >> 6 != 2:
        return 0
    return _LATIN_1 if lead == 0xC3 else _BEYOND


@kernel(numba.int64(numba.int64, numba.int64, numba.int64, numba.int64))
def _character(lead: int, second: int, third: int, fourth: int) -> int:
    """The code point that four bytes begin with, times 8, and its bytes; U+FFFD and 1 if with none."""
    unreadable = _UNREADABLE << 3 | 1
    if not 0xC2 <= lead <= 0xF4 or second >> 6 != 2:
        return unreadable
    if lead < 0xE0:
        return ((lead & 0x1F) << 6 | second & 0x3F) << 3 | 2
    point = (lead & 0x0F) << 6 | second & 0x3F
    if third >> 6 != 2:
        return unreadable
    point = point << 6 | third & 0x3F
    if lead < 0xF0:
        return point << 3 | 3 if point >= 0x800 else unreadable
    if fourth >> 6 != 2:
        return unreadable
    point = point << 6 | fourth & 0x3F
    return point << 3 | 4 if 0x10000 <= point < 0x110000 else unreadable


@kernel(numba.int64(read_only(numba.uint8)))
def estimate_tokens(text: NDArray[np.uint8]) -> int:
    """Estimate how many tokens a text is, without a vocabulary and in one pass.

    A text is cut where tokenizers cut it before they look anything up: into words of Latin letters,
    white space, numbers, signs, and runs of one other script. A word costs by its pairs of letters,
    so that what no language writes, base64 for one, costs more than what English does. A space
    before a word or a sign is part of it. What is fitted to several vocabularies is exact for none:
    they agree on English and code, and differ by a factor of two or three on some scripts.

    Args:
        text: (bytes,) uint8. Read as UTF-8; a byte that is part of no character counts as U+FFFD.

    Returns:
        The tokens: 0 for no text, else at least 1 and at most the number of bytes.
    """
    total = text.shape[0]
    spent = 0
    before = _NOTHING
    script = 0
    position = 0
    while position < total:
        start = position
        byte = text[position]
        second = int(text[position + 1]) if position + 1 < total else 0
        kind = _WORD if _latin(byte, second) > 0 else _SCRIPT
        if byte < 0x80:
            kind = int(_KINDS[byte])
        if kind == _WORD:
            row = 0
            length = 0
            capital = False
            while position < total:
                byte = text[position]
                column = _LETTERS[byte] if byte < 0x80 else 0
                if 0xC3 <= byte <= 0xC9 and position + 1 < total:
                    column = _latin(byte, text[position + 1])
                if column == 0:
                    break
                cost = PAIRS[row, column]
                spent += cost if length < LATE else max(LEAST, cost)
                is_capital = byte < 0x60  # the first byte of the others is above
                if is_capital and length > 0:
                    spent += SHOUT if capital else HUMP
                capital = is_capital
                row = column
                length += 1
                position += 1 if byte < 0x80 else 2
        elif kind == _WHITE:
            tail = start
            while position < total and text[position] < 0x80 and _KINDS[text[position]] == _WHITE:
                byte = text[position]
                if byte in (_NEW_LINE, _RETURN):
                    last = text[position - 1] if position > start else _NEW_LINE
                    if last in (_SPACE, _TAB) or (byte == _RETURN and last == _NEW_LINE):
                        spent += TURN if position > start else 0
                    tail = position + 1
                position += 1
            if tail > start:
                at_once = text[start] in (_NEW_LINE, _RETURN)
                spent += ENDING if before == _SIGN and at_once else BREAK
            if position > tail + 1:
                spent += INDENT
            alone = position == total or (
                text[position] < 0x80 and _KINDS[text[position]] == _DIGIT
            )
            if position > tail and alone:
                spent += LONE
            spent += (position - start) // _WIDE_RUN * WIDE
        elif kind == _DIGIT:
            while position < total and text[position] < 0x80 and _KINDS[text[position]] == _DIGIT:
                position += 1
            spent += (position - start + _DIGITS - 1) // _DIGITS * GROUP
        elif kind == _SIGN:
            spaced = start > 0 and text[start - 1] in (_SPACE, _TAB)
            leads = second < 0x80 and _LETTERS[second] > 0
            position += 1
            if leads and not spaced:
                spent += SIGNS[0, byte]
            else:
                spent += SIGNS[1, byte]
            while position < total and text[position] < 0x80 and _KINDS[text[position]] == _SIGN:
                spent += SIGNS[3 if text[position] == text[position - 1] else 2, text[position]]
                position += 1
        else:
            third = text[position + 2] if position + 2 < total else 0
            fourth = text[position + 3] if position + 3 < total else 0
            character = _character(byte, second, third, fourth)
            now = _SCRIPT_OF[min(character >> 7, _SCRIPT_OF.shape[0] - 1)]
            spent += _FOLLOWING[now] if before == _SCRIPT and now == script else _FIRST[now]
            script = now
            position += character & 7
        before = kind
    return int(min(total, max(1, (spent + UNIT - 1) // UNIT)))
