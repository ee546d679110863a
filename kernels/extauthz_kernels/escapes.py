"""Characters written as escapes, of whatever language, in one pass."""

import numba
import numpy as np
from numpy.typing import NDArray

from extauthz_kernels._jit import kernel, read_only
from extauthz_kernels.fold import letter_index

_AMPERSAND, _PERCENT, _BACKSLASH, _EQUALS, _HASH, _SEMICOLON = 0x26, 0x25, 0x5C, 0x3D, 0x23, 0x3B
_LINE_FEED, _CARRIAGE_RETURN = 0x0A, 0x0D
#: The longest name that is looked up: "&CounterClockwiseContourIntegral;".
_MAX_NAME = 32
#: Start and factor of the FNV-1a hash.
HASH_START, HASH_FACTOR = 0xCBF29CE484222325, 0x100000001B3

_POINTS = read_only(numba.uint32)


@kernel(numba.int64(_POINTS, numba.int64, numba.int64, numba.int64))
def _number(points: NDArray[np.uint32], start: int, length: int, base: int) -> int:
    """The number that `length` digits from `start` are, -1 if they are none."""
    if length == 0 or start + length > points.shape[0]:
        return -1
    value = 0
    for at in range(start, start + length):
        point = points[at]
        if 0x30 <= point <= 0x39:
            digit = int(point) - 0x30
        else:
            digit = 9 + letter_index(point)
            if digit == 9:
                return -1
        if digit >= base or value > 0x110000:
            return -1
        value = value * base + digit
    return value


@kernel(numba.uint64(_POINTS, numba.int64, numba.int64))
def _hash(points: NDArray[np.uint32], start: int, end: int) -> int:
    code = np.uint64(HASH_START)
    for at in range(start, end):
        code = (code ^ np.uint64(points[at])) * np.uint64(HASH_FACTOR)
    return code  # type: ignore[return-value]  # Numba makes an int of it


@kernel(numba.int64(read_only(numba.uint64), numba.uint64))
def _find(hashes: NDArray[np.uint64], code: int) -> int:
    """Index of `code` in the sorted `hashes`, -1 if it is not there."""
    low, high = 0, hashes.shape[0]
    while low < high:
        middle = (low + high) // 2
        if hashes[middle] < code:
            low = middle + 1
        else:
            high = middle
    return low if low < hashes.shape[0] and hashes[low] == code else -1


@kernel(numba.int64(_POINTS, numba.int64, numba.boolean, numba.int64[::1]))
def _octet(points: NDArray[np.uint32], at: int, alone: bool, found: NDArray[np.int64]) -> int:
    r"""The octet written at `at` as %69, \x69, \151 or =69, -1 if there is none.

    `found[0]` becomes where it ends. An equals sign is an escape beside another one, or between
    letters, for one of them: a=10 and ?id=41 are none.
    """
    total = points.shape[0]
    if at + 2 >= total:
        return -1
    found[0] = at + 3
    if points[at] == _PERCENT:
        return _number(points, at + 1, 2, 16)
    if points[at] == _BACKSLASH and points[at + 1] in (0x78, 0x58):
        found[0] = at + 4
        return _number(points, at + 2, 2, 16)
    if points[at] == _BACKSLASH and 0x30 <= points[at + 1] <= 0x33:
        found[0] = at + 4
        return _number(points, at + 1, 3, 8)
    if points[at] == _EQUALS:
        value = _number(points, at + 1, 2, 16)
        if not alone:
            return value
        beside = (
            at + 5 < total and points[at + 3] == _EQUALS and _number(points, at + 4, 2, 16) >= 0
        )
        within = at > 0 and at + 3 < total and letter_index(points[at - 1]) > 0
        within = within and letter_index(points[at + 3]) > 0 and letter_index(value) > 0
        return value if value >= 0 and (beside or within) else -1
    return -1


@kernel(
    numba.int64(
        _POINTS, read_only(numba.uint64), _POINTS, read_only(numba.uint64), numba.int64[::1],
        numba.uint32[::1],
    )
)  # fmt: skip
def unescape(
    points: NDArray[np.uint32],
    names: NDArray[np.uint64],
    characters: NDArray[np.uint32],
    commands: NDArray[np.uint64],
    found: NDArray[np.int64],
    plain: NDArray[np.uint32],
) -> int:
    r"""Replace escapes by what they stand for, once: %69, \x69, \151, =69, \u0069, \n, &#105;, &amp;.

    Octets must be strict UTF-8 together; those that are not, and controls, stay as they are.

    Args:
        points: (n,) uint32.
        names: (m,) uint64, sorted FNV-1a hashes of the names of entities.
        characters: (m,) uint32, the character of each name.
        commands: (k,) uint64, sorted FNV-1a hashes of the TeX commands that begin with n, r or t.
        found: (1,) int64: scratch.
        plain: (n,) uint32, overwritten from the start.

    Returns:
        Number of code points written.
    """
    total = points.shape[0]
    count = 0
    at = 0
    beside = -1  # where an escaped octet ended
    while at < total:
        point = points[at]
        end = at
        value = -1
        if point in (_PERCENT, _BACKSLASH, _EQUALS):
            value = _octet(points, at, beside != at, found)
            if value >= 0:
                end = found[0]
                beside = end
                more = 0
                if 0xC2 <= value < 0xF5:
                    more = 1 if value < 0xE0 else 2 if value < 0xF0 else 3
                    value &= 0x3F >> more
                elif value >= 0x80:
                    value = -1
                for _ in range(more):
                    octet = _octet(points, end, False, found)
                    if value < 0 or octet < 0x80 or octet >= 0xC0:
                        value = -1
                        break
                    value = value << 6 | octet & 0x3F
                    end = found[0]
                if (more == 2 and value < 0x800) or (more == 3 and value < 0x10000):
                    value = -1
                if value >= 0:
                    beside = end
        if value < 0 and point == _BACKSLASH and at + 1 < total:
            kind = points[at + 1]
            end = at + 2
            if kind in (0x75, 0x55):  # u
                if end < total and points[end] == 0x7B:
                    stop = end + 1
                    while stop < min(total, end + 9) and points[stop] != 0x7D:
                        stop += 1
                    value = _number(points, end + 1, stop - end - 1, 16)
                    end = stop + 1
                else:
                    width = 8 if kind == 0x55 and _number(points, end, 8, 16) >= 0 else 4
                    value = _number(points, end, width, 16)
                    end += width
                    low = -1
                    if 0xD800 <= value < 0xDC00 and end + 1 < total and points[end] == _BACKSLASH:
                        low = _number(points, end + 2, 4, 16)
                    if 0xDC00 <= low < 0xE000:
                        value = 0x10000 + ((value - 0xD800) << 10) + low - 0xDC00
                        end += 6
            elif kind in (0x6E, 0x72, 0x74):  # n, r, t
                stop = end
                while stop < min(total, end + _MAX_NAME) and letter_index(points[stop]) > 0:
                    stop += 1
                if _find(commands, _hash(points, at + 1, stop)) < 0:
                    value = 0x0A if kind == 0x6E else 0x0D if kind == 0x72 else 0x09
            elif kind in (0x22, 0x27, 0x2F, _BACKSLASH):
                value = int(kind)
        elif value < 0 and point == _AMPERSAND and at + 2 < total:
            stop = at + 1
            while stop < min(total, at + _MAX_NAME) and points[stop] != _SEMICOLON:
                digit = 0x30 <= points[stop] <= 0x39
                if letter_index(points[stop]) == 0 and points[stop] != _HASH and not digit:
                    break
                stop += 1
            closed = stop < total and points[stop] == _SEMICOLON
            end = stop + 1 if closed else stop
            if points[at + 1] != _HASH:
                index = _find(names, _hash(points, at + 1, stop)) if closed else -1
                value = int(characters[index]) if index >= 0 else -1
            elif points[at + 2] in (0x78, 0x58):
                value = _number(points, at + 3, stop - at - 3, 16)
            else:
                value = _number(points, at + 2, stop - at - 2, 10)
        elif value < 0 and point == _EQUALS and 0 < at < total - 1:
            after = at + 1
            after += 1 if points[after] == _CARRIAGE_RETURN else 0
            breaks = after + 1 < total and points[after] == _LINE_FEED
            if breaks and letter_index(points[at - 1]) > 0 and letter_index(points[after + 1]) > 0:
                at = after + 1
                continue
        printable = value >= 32 or value in (9, 10, 13)
        if printable and value < 0x110000 and not 0xD800 <= value < 0xE000 and value != 0x7F:
            plain[count] = value
            at = end
        else:
            plain[count] = point
            at += 1
        count += 1
    return count
