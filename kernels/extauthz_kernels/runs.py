"""Text written as numbers: runs of an alphabet, or of codes between separators, read in place.

A run becomes what it stands for if that is text: strict UTF-8, nothing that cannot be printed, and
enough evidence that it is no coincidence.
"""

import numba
import numpy as np
from numpy.typing import NDArray

from extauthz_kernels._jit import kernel, read_only
from extauthz_kernels.fold import letter_index

#: In a table of digits: separates codes, separates words, is neither.
SEPARATOR, WORD_GAP, NONE = 253, 254, 255
#: A line of a wrapped encoding has at least so many symbols.
_MIN_LINE = 16
#: Between two codes stand at most so many separators ("0x69,  0x67").
_MAX_GAP = 4
_REJECTED = -1
#: Half bits that speak for a run right behind one that was replaced.
_NEIGHBOUR = 10
#: Half bits from which on a run up to so long is a word, and is not tried.
_READABLE, _LONG = 8, 24

_POINTS = read_only(numba.uint32)
_TABLE = read_only(numba.uint8)
_PAIRS = numba.int8[:, ::1]
_WEIGHTS = read_only(numba.int64)


@kernel(numba.int64(numba.uint32[::1], numba.int64, _PAIRS, _WEIGHTS))
def evidence(
    points: NDArray[np.uint32], count: int, pairs: NDArray[np.int8], weights: NDArray[np.int64]
) -> int:
    """Half bits by which the best stretch of a text is likelier English, or a code, than chance.

    Args:
        points: (n,) uint32, of which `count` are looked at.
        count: how many.
        pairs: (27, 27) int8, half bits for a letter after a letter.
        weights: (4,) int64: for a letter or space, for a digit, for any other character, and the
            least that a pair of letters can count.

    Returns:
        The evidence, at least 0; -1 if a character cannot be printed.
    """
    best = 0
    total = 0
    before = 0
    for at in range(count):
        point = points[at]
        letter = letter_index(point)
        if point < 32 and point not in (9, 10, 13):
            return _REJECTED
        if 0x7F <= point < 0xA0:
            return _REJECTED
        if letter > 0 or point == 32 or point >= 0xA0:
            total += weights[0]
        elif 0x30 <= point <= 0x39:
            total += weights[1]
        else:
            total += weights[2]
        total = max(0, total + max(weights[3], int(pairs[before, letter])))
        best = max(best, total + max(0, int(pairs[letter, 0])))
        before = letter
    return best


@kernel(numba.int64(numba.uint8[::1], numba.int64, numba.uint32[::1]))
def _utf8(octets: NDArray[np.uint8], count: int, points: NDArray[np.uint32]) -> int:
    """Read strict UTF-8, or UTF-16 of ASCII alone. Number of code points, -1 if it is neither."""
    wide = count >= 4
    at = 1
    while wide and at < count:
        wide = octets[at] == 0
        at += 2
    found = 0
    at = 0
    while at < count:
        lead = octets[at]
        if lead < 0x80:
            length = 2 if wide else 1
            point = int(lead)
        elif 0xC2 <= lead < 0xE0:
            length = 2
            point = lead & 0x1F
        elif 0xE0 <= lead < 0xF0:
            length = 3
            point = lead & 0x0F
        elif 0xF0 <= lead < 0xF5:
            length = 4
            point = lead & 0x07
        else:
            return _REJECTED
        if at + length > count:
            # The last character may be cut: what was glued behind it is no part of the text.
            return found if lead >= 0x80 and found > 0 else _REJECTED
        if lead >= 0x80:
            for step in range(1, length):
                if octets[at + step] & 0xC0 != 0x80:
                    return _REJECTED
                point = point << 6 | octets[at + step] & 0x3F
            if point >= 0x110000 or 0xD800 <= point < 0xE000:
                return _REJECTED
            if point < 0x80 or (length == 3 and point < 0x800) or (length == 4 and point < 0x10000):
                return _REJECTED
        points[found] = point
        found += 1
        at += length
    return found


@kernel(numba.int64(_POINTS, _TABLE, numba.int64, numba.int64, numba.int64, numba.uint8[::1]))
def _digits(
    points: NDArray[np.uint32],
    values: NDArray[np.uint8],
    start: int,
    end: int,
    shape: int,
    octets: NDArray[np.uint8],
) -> int:
    """Octets that the digits between `start` and `end` are, a last incomplete group included.

    `shape` is base, digits and octets of a group, as base * 256 + digits * 16 + octets.
    """
    base, size, width = shape >> 8, shape >> 4 & 15, shape & 15
    count = 0
    held = 0
    number = np.uint64(0)
    for at in range(start, end + size):
        if at < end:
            value = values[points[at]] if points[at] < 128 else NONE
            if value >= base:
                continue
        elif held == 0:
            break
        else:
            value = base - 1
        number = number * np.uint64(base) + np.uint64(value)
        held += 1 if at < end else 16
        if (held & 15) + (held >> 4) == size:
            kept = width if held == size else (held & 15) * width // size
            for step in range(kept):
                octets[count] = (number >> np.uint64(8 * (width - 1 - step))) & np.uint64(0xFF)
                count += 1
            held = 0
            number = np.uint64(0)
    return count


@kernel(
    numba.int64(
        _POINTS, _TABLE, numba.int64, numba.int64, _PAIRS, _WEIGHTS, numba.int64,
        numba.uint8[::1], numba.uint32[::1], numba.uint32[::1],
    )
)  # fmt: skip
def decode_groups(
    points: NDArray[np.uint32],
    values: NDArray[np.uint8],
    shape: int,
    shortest: int,
    pairs: NDArray[np.int8],
    weights: NDArray[np.int64],
    enough: int,
    octets: NDArray[np.uint8],
    scratch: NDArray[np.uint32],
    decoded: NDArray[np.uint32],
) -> int:
    """Replace runs of an alphabet whose digits make octets: base64, base32, hex, binary, ascii85.

    A run may be wrapped over lines of whole groups. If it makes no sense as a whole, its lines are
    tried one by one.

    Args:
        points: (n,) uint32.
        values: (128,) uint8, the value of each digit; NONE for all else; SEPARATOR for padding.
        shape: base, digits and octets of a group, as base * 256 + digits * 16 + octets.
        shortest: digits that a run must have.
        pairs: (27, 27) int8, as `evidence` takes it.
        weights: (4,) int64, as `evidence` takes it.
        enough: evidence from which on a run is replaced. What speaks for the run as it stands is
            subtracted first.
        octets: (n,) uint8: scratch.
        scratch: (n,) uint32: scratch.
        decoded: (n,) uint32, overwritten from the start.

    Returns:
        Number of code points written; n when nothing was replaced, and never more.
    """
    total = points.shape[0]
    base, size = shape >> 8, shape >> 4 & 15
    count = 0
    lines_until = 0  # up to here a wrapped run made no sense
    replaced_until = -1
    accepted_until = -1
    position = 0
    while position < total:
        if not (points[position] < 128 and values[points[position]] < base):
            decoded[count] = points[position]
            count += 1
            position += 1
            continue
        end = position
        digits = 0
        line = 0
        reads = 0
        before = 0
        wrapped = False
        while end < total:
            if points[end] < 128 and values[points[end]] < base:
                letter = letter_index(points[end])
                reads += int(pairs[before, letter])
                before = letter
                digits += 1
                line += 1
                end += 1
                continue
            after = end + 1 if points[end] == 0x0A else end
            if points[end] == 0x0D and end + 1 < total and points[end + 1] == 0x0A:
                after = end + 2
            goes_on = after < total and points[after] < 128 and values[points[after]] < base
            whole = line >= _MIN_LINE and digits % size == 0
            if after == end or not goes_on or not whole or end < lines_until:
                break
            end = after
            line = 0
            wrapped = True
        written = 0
        reads = max(0, reads + int(pairs[before, 0]))
        wanted = enough if accepted_until != position - 1 else enough - _NEIGHBOUR
        if digits >= shortest and (reads < _READABLE or digits > _LONG):
            found = _utf8(octets, _digits(points, values, position, end, shape, octets), scratch)
            if found > 0 and evidence(scratch, found, pairs, weights) - reads >= wanted:
                written = found
        if written > 0:
            if replaced_until == position - 1 and points[position - 1] == 0x0A:
                count -= 1  # the line break was only wrapping
            for at in range(written):
                decoded[count] = scratch[at]
                count += 1
            replaced_until = end if digits % size == 0 and digits >= _MIN_LINE else -1
            while end < total and points[end] < 128 and values[points[end]] == SEPARATOR:
                end += 1
            accepted_until = position = end
        elif wrapped:
            lines_until = end
        else:
            while position < end:
                decoded[count] = points[position]
                count += 1
                position += 1
    return count


@kernel(
    numba.int64(
        _POINTS, _TABLE, numba.int64, numba.int64, _POINTS, _PAIRS, _WEIGHTS, numba.int64,
        numba.uint32[::1], numba.uint32[::1],
    )
)  # fmt: skip
def decode_codes(
    points: NDArray[np.uint32],
    digits: NDArray[np.uint8],
    shape: int,
    first: int,
    meaning: NDArray[np.uint32],
    pairs: NDArray[np.int8],
    weights: NDArray[np.int64],
    enough: int,
    scratch: NDArray[np.uint32],
    decoded: NDArray[np.uint32],
) -> int:
    """Replace runs of codes between separators: "105 103 110", "0x69,0x67", "01101001", Morse.

    Args:
        points: (n,) uint32.
        digits: (128,) uint8, the value of each digit; SEPARATOR, WORD_GAP (a space is meant) or NONE.
        shape: base, fewest and most digits of a code, as base * 256 + fewest * 16 + most.
        first: where counting starts: 1 makes ".-" and ".." different from "-" and ".".
        meaning: (m,) uint32, the character of each code, 0 where it is none.
        pairs: (27, 27) int8, as `evidence` takes it.
        weights: (4,) int64, as `evidence` takes it.
        enough: evidence from which on a run is replaced.
        scratch: (n,) uint32: scratch.
        decoded: (n,) uint32, overwritten from the start.

    Returns:
        Number of code points written; n when nothing was replaced, and never more.
    """
    total = points.shape[0]
    base, fewest, most = shape >> 8, shape >> 4 & 15, shape & 15
    count = 0
    position = 0
    while position < total:
        found = 0
        end = position  # behind the last code
        at = position
        gap = False
        fresh = position == 0 or points[position - 1] >= 128 or digits[points[position - 1]] >= base
        while fresh and at < total:
            if base == 16 and at + 1 < total and points[at] in (0x30, 0x5C):
                at += 2 if points[at + 1] in (0x78, 0x58) else 0
            code = first
            length = 0
            while at < total and points[at] < 128 and digits[points[at]] < base and length <= most:
                code = code * base + digits[points[at]]
                length += 1
                at += 1
            known = code < meaning.shape[0] and meaning[code] > 0
            inside = at < total and letter_index(points[at]) > 0
            if not known or inside or length < fewest or length > most:
                break
            if gap:
                scratch[found] = 32
                found += 1
            scratch[found] = meaning[code]
            found += 1
            end = at
            gap = False
            spaces = 0
            while at < min(total, end + _MAX_GAP) and points[at] < 128:
                kind = digits[points[at]]
                if kind not in (SEPARATOR, WORD_GAP):
                    break
                spaces += 1 if points[at] == 32 else 0
                gap |= kind == WORD_GAP or (first == 1 and spaces > 1)
                at += 1
            if at == end:
                break
        sense = found >= 3 and evidence(scratch, found, pairs, weights) >= enough
        if sense:
            for index in range(found):
                decoded[count] = scratch[index]
                count += 1
            position = end
            continue
        stop = max(end, position + 1)
        while position < stop:
            decoded[count] = points[position]
            count += 1
            position += 1
    return count


@kernel(numba.void(_POINTS, numba.int64[::1]))
def survey(points: NDArray[np.uint32], longest: NDArray[np.int64]) -> None:
    """Measure what a text may be encoded in, so that nothing else is looked for.

    Args:
        points: (n,) uint32.
        longest: (5,) int64, overwritten: longest runs of binary, hexadecimal and base32 digits (upper
            case or with a digit), of two- or three-digit codes, and of words of dots and dashes.
    """
    longest[:] = 0
    binary = hexadecimal = base32 = code = codes = sign = signs = 0
    lower = digit = False
    for at in range(points.shape[0] + 1):
        point = int(points[at]) if at < points.shape[0] else 32
        is_digit = 0x30 <= point <= 0x39
        letter = letter_index(point)
        binary = binary + 1 if point in (0x30, 0x31) else 0
        hexadecimal = hexadecimal + 1 if is_digit or 1 <= letter <= 6 else 0
        if letter > 0 or 0x32 <= point <= 0x37:
            lower |= point >= 0x61
            digit |= is_digit
            base32 += 1
        else:
            if digit or not lower:
                longest[2] = max(longest[2], base32)
            base32 = 0
            lower = digit = False
        if letter > 0 or is_digit:
            code += 1
            if letter > 6 and letter != 24:  # x, of 0x69
                code = 100
        elif code > 0:
            codes = codes + 1 if 2 <= code <= 4 else 0
            longest[3] = max(longest[3], codes)
            code = 0
        if point in (0x2D, 0x2E):
            sign += 1
        elif letter > 0 or is_digit:
            sign = signs = 0
        elif sign > 0:
            signs += 1
            longest[4] = max(longest[4], signs)
            sign = 0
        longest[0] = max(longest[0], binary)
        longest[1] = max(longest[1], hexadecimal)
