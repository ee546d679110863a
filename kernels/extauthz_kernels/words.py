"""What two texts say, as streams of words, and where one says something that the other does not."""

import numba
import numpy as np
from numpy.typing import NDArray

from extauthz_kernels._jit import kernel, read_only

#: Bits of a code point in the `kinds` table of `word_stream`. Above the table, and with no bit, it
#: only separates words. INVISIBLE ones separate letters of an alphabet, but in CURSIVE scripts they
#: are spelling.
BODY, INVISIBLE, CURSIVE = 1, 2, 4
#: A stretch that two streams share is recognised from about twice this length on.
ANCHOR = 8
#: How far a resynchronisation may leap ahead, beside four times what it left behind.
_LEAP = 1_024
_GAP = 32

_POINTS = read_only(numba.uint32)


@kernel(
    numba.int64(_POINTS, read_only(numba.uint8), _POINTS, numba.uint32[::1], numba.int32[::1]),
)
def word_stream(
    points: NDArray[np.uint32],
    kinds: NDArray[np.uint8],
    plain: NDArray[np.uint32],
    stream: NDArray[np.uint32],
    origin: NDArray[np.int32],
) -> int:
    """Reduce a text to its words with one space between them.

    White space, punctuation and symbols are all the same, since no word depends on which of them
    it stands beside. So is a line break written as an escape: a backslash and n, r or t, unless a
    letter follows, to which the n would be glued.

    Args:
        points: (n,) uint32.
        kinds: (m,) uint8, bits of each code point.
        plain: (k,) uint32, the code point that stands for each; from k on each for itself.
        stream: (n,) uint32, overwritten from the start.
        origin: (n,) int32, overwritten: which of `points` each one in `stream` stands for.

    Returns:
        Number of code points in the stream.
    """
    total = points.shape[0]
    size = kinds.shape[0]
    count = 0
    at = 0
    while at < total:
        start = at
        kind = kinds[points[at]] if points[at] < size else 0
        at += 1
        separates = not kind & BODY
        if kind & INVISIBLE:
            while at < total and points[at] < size and kinds[points[at]] & INVISIBLE:
                at += 1
            before = kinds[points[start - 1]] if start > 0 and points[start - 1] < size else 0
            after = kinds[points[at]] if at < total and points[at] < size else 0
            separates = bool(before & BODY and after & BODY and not (before & after & CURSIVE))
            if not separates:
                continue
        elif points[start] == 0x5C and at < total and points[at] in (0x6E, 0x72, 0x74):
            glued = at + 1 < total and points[at + 1] < size and kinds[points[at + 1]] & BODY
            at += 0 if glued else 1
        if not separates:
            point = points[start]
            stream[count] = plain[point] if point < plain.shape[0] else point
        elif count > 0 and stream[count - 1] == _GAP:
            continue
        else:
            stream[count] = _GAP
        origin[count] = start
        count += 1
    return count


@kernel(numba.int64(_POINTS, numba.int64))
def _hash(points: NDArray[np.uint32], start: int) -> int:
    code = 0
    for at in range(start, start + ANCHOR):
        code = (code * 31 + points[at]) & 0xFFFFFFFFFFFF
    return code ^ (code >> 15)


@kernel(numba.boolean(_POINTS, numba.int64, _POINTS, numba.int64))
def _same(old: NDArray[np.uint32], here: int, new: NDArray[np.uint32], there: int) -> bool:
    step = 0
    while step < ANCHOR and old[here + step] == new[there + step]:
        step += 1
    return step == ANCHOR


@kernel(
    numba.int64(_POINTS, _POINTS, numba.int32[::1], numba.int32[::1], numba.int32[:, ::1]),
)
def changed_places(
    old: NDArray[np.uint32],
    new: NDArray[np.uint32],
    head: NDArray[np.int32],
    link: NDArray[np.int32],
    places: NDArray[np.int32],
) -> int:
    """Find where `new` differs from `old`: what is outside the places is there in `old` as it stands.

    Not the smallest difference but one found in linear time: every ANCHOR code points of `old` are
    indexed, and after a difference the walk goes on at the next of them that `new` has too.

    Args:
        old: (n,) uint32.
        new: (m,) uint32.
        head: (2^k,) int32, -1 everywhere: scratch.
        link: (n // ANCHOR,) int32: scratch.
        places: (m // ANCHOR + 2, 2) int32, overwritten: half-open ranges of `new`, in order. An
            empty one means that something of `old` is missing there.

    Returns:
        Number of places.
    """
    mask = head.shape[0] - 1
    for block in range(link.shape[0] - 1, -1, -1):
        code = _hash(old, block * ANCHOR) & mask
        link[block] = head[code]
        head[code] = block
    count = 0
    here = 0
    there = 0
    while there < new.shape[0]:
        while here < old.shape[0] and there < new.shape[0] and old[here] == new[there]:
            here += 1
            there += 1
        if there == new.shape[0]:
            break
        start = there
        while True:
            if there + ANCHOR > new.shape[0]:
                there = new.shape[0]
                here = old.shape[0]
                break
            code = _hash(new, there) & mask
            while head[code] >= 0 and head[code] * ANCHOR < here:
                head[code] = link[head[code]]
            anchor = head[code] * ANCHOR
            near = 0 <= anchor - here <= 4 * (there - start) + _LEAP
            if head[code] >= 0 and near and _same(old, anchor, new, there):
                # In repetitive text a later copy may show up first: the nearest is the right one.
                last = min(there + ANCHOR, new.shape[0] - ANCHOR + 1)
                for other in range(there + 1, last):
                    code = _hash(new, other) & mask
                    while head[code] >= 0 and head[code] * ANCHOR < here:
                        head[code] = link[head[code]]
                    nearer = 0 <= head[code] * ANCHOR < anchor
                    if nearer and _same(old, head[code] * ANCHOR, new, other):
                        anchor = head[code] * ANCHOR
                        there = other
                while there > start and anchor > here and old[anchor - 1] == new[there - 1]:
                    anchor -= 1
                    there -= 1
                here = anchor
                break
            there += 1
        places[count, 0] = start
        places[count, 1] = there
        count += 1
    if here < old.shape[0]:
        places[count, 0] = new.shape[0]
        places[count, 1] = new.shape[0]
        count += 1
    return count


@kernel(numba.int64(_POINTS, numba.int64, numba.int64, numba.uint32[::1]))
def long_words(
    points: NDArray[np.uint32], shortest: int, digits: int, kept: NDArray[np.uint32]
) -> int:
    """Keep the words that are longer than words are, with digits in them, a space behind each.

    Args:
        points: (n,) uint32.
        shortest: code points without white space that such a word has, at least.
        digits: digits of ASCII that it has, at least.
        kept: (n + 1,) uint32, overwritten from the start.

    Returns:
        Number of code points written.
    """
    total = points.shape[0]
    count = 0
    start = 0
    seen = 0
    for at in range(total + 1):
        if at < total and points[at] > 32:
            seen += 1 if 0x30 <= points[at] <= 0x39 else 0
            continue
        if at - start >= shortest and seen >= digits:
            for index in range(start, at):
                kept[count] = points[index]
                count += 1
            kept[count] = _GAP
            count += 1
        start = at + 1
        seen = 0
    return count
