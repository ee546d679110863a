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
_BACKSLASH = 0x5C
#: Half bits that speak for a run right behind one that was replaced.
_NEIGHBOUR = 10
#: Half bits from which on a run up to so long is a word, and is not tried.
_READABLE, _LONG = 8, 24
#: The signs of base64 are the digits from this one on. They stand between words and in paths too, as
#: line breaks do before prose: a run is tried from and up to them, in so many parts at most.
_SIGN, _PARTS = 62, 16
#: From here on a character takes three octets, of which chance makes a character in one of 256.
_THREE_OCTETS = 0x800

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
        weights: (4,) int64: for a letter or space (twice that for one from U+0800 on after
            another), for a digit, for any other character, and the least that a pair of letters can
            count.

    Returns:
        The evidence, at least 0; -1 if a character cannot be printed.
    """
    best = 0
    total = 0
    before = last = 0
    for at in range(count):
        point = points[at]
        letter = letter_index(point)
        if point < 32 and point not in (9, 10, 13):
            return _REJECTED
        if 0x7F <= point < 0xA0:
            return _REJECTED
        if letter > 0 or point == 32 or point >= 0xA0:
            total += weights[0] * (2 if min(point, last) >= _THREE_OCTETS else 1)
        elif 0x30 <= point <= 0x39:
            total += weights[1]
        else:
            total += weights[2]
        total = max(0, total + max(weights[3], int(pairs[before, letter])))
        best = max(best, total + max(0, int(pairs[letter, 0])))
        before = letter
        last = int(point)
    return best


@kernel(numba.int64(_POINTS, _TABLE, numba.int64, numba.int64, numba.int64, numba.uint32[::1]))
def _read(
    points: NDArray[np.uint32],
    values: NDArray[np.uint8],
    start: int,
    end: int,
    shape: int,
    said: NDArray[np.uint32],
) -> int:
    """Read the digits between `start` and `end` as UTF-8, or as UTF-16 of ASCII alone.

    Ends at the first octet that no text has, so that noise costs little. The last group may be
    incomplete, and the last character cut: what was glued behind it is no part of the text.

    Args:
        points: (n,) uint32.
        values: (128,) uint8, the value of each digit; those of base or more are passed over.
        start: first digit.
        end: behind the last one.
        shape: of a group, as base * 256 + digits * 16 + octets.
        said: (n,) uint32, overwritten from the start.

    Returns:
        Number of code points, all of which can be printed. If it is no text, -1 less the place of
        the last line break or sign of base64 up to which it is, of `start` if there is none.
    """
    base, size, width = shape >> 8, shape >> 4 & 15, shape & 15
    count = held = octets = 0
    point = least = more = 0  # of the character that is being read; so many octets are missing
    wide = False
    number = np.uint64(0)
    cut = start
    for at in range(start, end + 1):
        kept = width
        if at < end:
            value = values[points[at]] if points[at] < 128 else NONE
            if value >= base:
                if not wide and values[points[at - 1]] < base:
                    cut = at
                continue
            number = number * np.uint64(base) + np.uint64(value)
            held += 1
            if held < size:
                continue
        else:
            kept = held * width // size
            for _ in range(size - held):
                number = number * np.uint64(base) + np.uint64(base - 1)
        first = at - size + 1 if at < end else end - held
        for step in range(kept):
            if base == 64 and not wide:  # each octet is of two digits
                for digit in range(first + step, first + step + 2):
                    cut = digit if values[points[digit]] >= _SIGN else cut
            octet = int(np.int64(number >> np.uint64(8 * (width - 1 - step)))) & 0xFF
            octets += 1
            if octets == 2 and octet == 0 and more == 0:
                wide = True
                cut = start
            if wide and octets % 2 == 0:
                if octet != 0:
                    return _REJECTED - start
                continue
            if more > 0:
                if octet & 0xC0 != 0x80:
                    return _REJECTED - cut
                point = point << 6 | octet & 0x3F
                more -= 1
                if more > 0:
                    continue
                if point < least or point >= 0x110000 or 0xD800 <= point < 0xE000:
                    return _REJECTED - cut
            elif octet < 0x80:
                point = octet
            elif wide or octet < 0xC2 or octet >= 0xF5:
                return _REJECTED - cut
            else:
                more = 1 if octet < 0xE0 else 2 if octet < 0xF0 else 3
                least = 0x80 if more == 1 else 0x800 if more == 2 else 0x10000
                point = octet & 0x3F >> more
                continue
            if (point < 32 and point not in (9, 10, 13)) or 0x7F <= point < 0xA0:
                return _REJECTED - cut
            said[count] = point
            count += 1
        held = 0
        number = np.uint64(0)
    if (wide and (octets < 4 or octets % 2 == 1)) or (more > 0 and count == 0):
        return _REJECTED - start
    return count


@kernel(numba.int64(_POINTS, numba.int64, numba.int64, _PAIRS))
def _readable(points: NDArray[np.uint32], start: int, end: int, pairs: NDArray[np.int8]) -> int:
    """Half bits by which what stands between `start` and `end` reads better than chance.

    No word starts or ends at a digit: "d0" and "0d" are hexadecimal and no words of one letter.
    """
    reads = 0
    before = 0  # -1 is a digit
    for at in range(start, end):
        if points[at] not in (0x0A, 0x0D):  # of a wrapped run
            letter = -1 if 0x30 <= points[at] <= 0x39 else letter_index(points[at])
            if before >= 0 and letter >= 0:
                reads += int(pairs[before, letter])
            before = letter
    return max(0, reads + (int(pairs[before, 0]) if before >= 0 else 0))


@kernel(
    numba.int64(
        _POINTS, _TABLE, numba.int64, numba.int64, numba.int64, numba.int64, _PAIRS, _WEIGHTS,
        numba.int64, numba.uint32[::1],
    )
)  # fmt: skip
def _sense(
    points: NDArray[np.uint32],
    values: NDArray[np.uint8],
    start: int,
    end: int,
    digits: int,
    shape: int,
    pairs: NDArray[np.int8],
    weights: NDArray[np.int64],
    wanted: int,
    said: NDArray[np.uint32],
) -> int:
    """Read so many digits as `_read` does; 0 if they are text, but not by `wanted` half bits."""
    found = _read(points, values, start, end, shape, said)
    if found > 0:
        reads = _readable(points, start, end, pairs)
        is_word = reads >= _READABLE and digits <= _LONG
        if is_word or evidence(said, found, pairs, weights) - reads < wanted:
            return 0
    return found


@kernel(
    numba.int64(
        _POINTS, _TABLE, numba.int64, numba.int64, _PAIRS, _WEIGHTS, numba.int64,
        numba.uint32[::1], numba.uint32[::1],
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
    scratch: NDArray[np.uint32],
    decoded: NDArray[np.uint32],
) -> int:
    """Replace runs of an alphabet whose digits make octets: base64, base32, hex, binary, ascii85.

    A run may be wrapped over lines of whole groups. If it is no text, it is tried up to the last line
    break, or sign of base64, before the octet that no text has, if that is more than a word. If that
    makes no sense either, its lines are tried one by one, and a line of base64 behind its first sign.
    A run is tried in 16 parts at most.

    Args:
        points: (n,) uint32.
        values: (128,) uint8, the value of each digit; NONE for all else; SEPARATOR for padding.
        shape: base, digits and octets of a group, as base * 256 + digits * 16 + octets.
        shortest: digits that a run must have.
        pairs: (27, 27) int8, as `evidence` takes it.
        weights: (4,) int64, as `evidence` takes it.
        enough: evidence from which on a run is replaced. What speaks for the run as it stands is
            subtracted first.
        scratch: (n,) uint32: scratch.
        decoded: (n,) uint32, overwritten from the start.

    Returns:
        Number of code points written; n when nothing was replaced, and never more.
    """
    total = points.shape[0]
    base, size = shape >> 8, shape >> 4 & 15
    count = 0
    lines_until = 0  # up to here a wrapped run made no sense
    replaced_until = -2
    accepted_until = -2
    parts = parted_until = 0
    position = 0
    while position < total:
        # No run that is long enough starts before what is no digit.
        far = position + shortest - 1
        if far < total and not (points[far] < 128 and values[points[far]] < base):
            for at in range(position, far + 1):
                decoded[count] = points[at]
                count += 1
            position = far + 1
            continue
        if not (points[position] < 128 and values[points[position]] < base):
            decoded[count] = points[position]
            count += 1
            position += 1
            continue
        end = position
        digits = 0
        line = 0
        wrapped = False
        while end < total:
            if points[end] < 128 and values[points[end]] < base:
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
        if position >= parted_until:
            parts = 0
        wanted = enough if accepted_until != position - 1 else enough - _NEIGHBOUR
        until = end
        written = 0
        if digits >= shortest:
            written = _sense(
                points, values, position, end, digits, shape, pairs, weights, wanted, scratch
            )
        if written < 0 and parts < _PARTS:
            until = -1 - written
            digits = 0
            for at in range(position, until):
                digits += 1 if values[points[at]] < base else 0
            written = 0
            if digits > _LONG:
                written = _sense(
                    points, values, position, until, digits, shape, pairs, weights, wanted, scratch
                )
        if written > 0:
            if replaced_until == position - 1 and points[position - 1] == 0x0A:
                count -= 1  # the line break was only wrapping
            for at in range(written):
                decoded[count] = scratch[at]
                count += 1
            replaced_until = until if digits % size == 0 and digits >= _MIN_LINE else -2
            if until < end:
                parts += 1
                parted_until = end
            while until < total and points[until] < 128 and values[points[until]] == SEPARATOR:
                until += 1
            accepted_until = position = until
        elif wrapped:
            lines_until = end
        else:
            stop = position
            while base == 64 and stop < end and values[points[stop]] < _SIGN:
                stop += 1
            if base != 64 or parts >= _PARTS or stop == end:
                stop = end
            else:
                stop += 1
                parts += 1
                parted_until = end
            while position < stop:
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
    within = False  # whether the code point before is a digit
    while position < total:
        point = points[position]
        is_digit = point < 128 and digits[point] < base
        if within or not (is_digit or point == _BACKSLASH):
            decoded[count] = point
            count += 1
            position += 1
            within = is_digit
            continue
        found = 0
        end = position  # behind the last code
        at = position
        gap = False
        while at < total:
            if base == 16 and at + 1 < total and points[at] in (0x30, _BACKSLASH):
                at += 2 if points[at + 1] in (0x78, 0x58) else 0
            code = first
            length = 0
            while at < total and points[at] < 128 and digits[points[at]] < base and length <= most:
                code = code * base + int(digits[points[at]])
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
        else:
            stop = max(end, position + 1)
            while position < stop:
                decoded[count] = points[position]
                count += 1
                position += 1
        point = points[position - 1]
        within = point < 128 and digits[point] < base
    return count
