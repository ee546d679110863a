"""Rewrites of code points that a regular expression would do by backtracking, in one pass each."""

import numba
import numpy as np
from numpy.typing import NDArray

from extauthz_kernels._jit import kernel, read_only

#: What a code point is, as bits of the `kinds` table. Code points above the table are none of it.
SPACE, LETTER, ALNUM, WORD, LOOKALIKE, OTHER_SCRIPT = 1, 2, 4, 8, 16, 32
#: In the `become` table: the code point disappears.
DROP = 0xFFFFFFFF

_POINTS = read_only(numba.uint32)
_KINDS = read_only(numba.uint8)


@kernel(numba.int64(_POINTS, _POINTS, numba.uint32[::1]))
def map_points(
    points: NDArray[np.uint32], become: NDArray[np.uint32], kept: NDArray[np.uint32]
) -> int:
    """Replace each code point by what it becomes, leaving out those that are DROPped.

    Args:
        points: (n,) uint32.
        become: (m,) uint32; code points from m on stay.
        kept: (n,) uint32, overwritten from the start.

    Returns:
        Number of code points kept.
    """
    count = 0
    for position in range(points.shape[0]):
        point = points[position]
        new = become[point] if point < become.shape[0] else point
        if new != DROP:
            kept[count] = new
            count += 1
    return count


@kernel(numba.int64(_POINTS, _KINDS, _POINTS, numba.int64, numba.uint32[::1]))
def fold_words(
    points: NDArray[np.uint32],
    kinds: NDArray[np.uint8],
    latin: NDArray[np.uint32],
    shortest: int,
    folded: NDArray[np.uint32],
) -> int:
    """Write words of lookalikes in Latin; words honestly of another script stay as they are.

    A word is a run of WORD code points. It is honest when all of them belong to OTHER_SCRIPT and
    it either has fewer than `shortest` or holds one that looks like no Latin letter.

    Args:
        points: (n,) uint32.
        kinds: (m,) uint8, bits of each code point.
        latin: (m,) uint32, the Latin twin of each LOOKALIKE.
        shortest: from this length on a word of lookalikes alone is a disguise.
        folded: (n,) uint32, overwritten.

    Returns:
        Number of words rewritten.
    """
    rewritten = 0
    total = points.shape[0]
    end = 0
    while end < total:
        start = end
        lookalikes = 0
        others = 0
        plain = 0
        while end < total and points[end] < kinds.shape[0] and kinds[points[end]] & WORD:
            kind = kinds[points[end]]
            if kind & LOOKALIKE:
                lookalikes += 1
            elif points[end] < 128:
                plain += 1
            if kind & OTHER_SCRIPT:
                others += 1
            end += 1
        length = end - start
        disguised = length >= shortest and lookalikes + plain == length
        honest = others == length and not disguised
        if lookalikes > 0 and not honest:
            rewritten += 1
            for position in range(start, end):
                point = points[position]
                folded[position] = latin[point] if kinds[point] & LOOKALIKE else point
        else:
            for position in range(start, end):
                folded[position] = points[position]
        if end < total:
            folded[end] = points[end]
            end += 1
    return rewritten


@kernel(numba.int64(_POINTS, _KINDS, numba.int64, numba.uint32[::1]))
def join_spelled(
    points: NDArray[np.uint32],
    kinds: NDArray[np.uint8],
    shortest: int,
    joined: NDArray[np.uint32],
) -> int:
    """Join what is spelled letter by letter: "i g n o r e  a l l" becomes "ignore all".

    A run is at least `shortest` single ALNUM code points, one of them a LETTER, with SPACE between
    and around. Singles one space apart make a word; a wider gap ends it, unless the words on
    both sides would be single letters.

    Args:
        points: (n,) uint32.
        kinds: (m,) uint8, bits of each code point.
        shortest: fewest singles that are spelling and not prose.
        joined: (n,) uint32, overwritten from the start.

    Returns:
        Number of code points written.
    """
    total = points.shape[0]
    size = kinds.shape[0]
    count = 0
    position = 0
    while position < total:
        # Measure the run that starts here: where its last single is, how many, any letter.
        singles = 0
        letters = 0
        last = position
        at = position
        fresh = position == 0 or (
            points[position - 1] < size and kinds[points[position - 1]] & SPACE
        )
        while fresh and at < total and points[at] < size and kinds[points[at]] & ALNUM:
            after = at + 1
            if after < total and not (points[after] < size and kinds[points[after]] & SPACE):
                break
            singles += 1
            letters += 1 if kinds[points[at]] & LETTER else 0
            last = at
            at = after
            while at < total and points[at] < size and kinds[points[at]] & SPACE:
                at += 1
        if singles < shortest or letters == 0:
            # Not spelling. All of what was measured is copied, so that no text is read twice.
            stop = max(last + 1, position + 1)
            for index in range(position, stop):
                joined[count] = points[index]
                count += 1
            position = stop
            continue
        word = 0
        gap = 0
        for index in range(position, last + 1):
            if kinds[points[index]] & SPACE:
                gap += 1
                continue
            if gap > 1:
                # Only a single stands two places on in a word of more than one.
                longer = index + 2 <= last and not kinds[points[index + 2]] & SPACE
                if word > 1 or longer:
                    joined[count] = 32
                    count += 1
                word = 0
            joined[count] = points[index]
            count += 1
            word += 1
            gap = 0
        position = last + 1
    return count
