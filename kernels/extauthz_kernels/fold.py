"""Rewrites of code points that a regular expression would do by backtracking, in one pass each."""

import numba
import numpy as np
from numpy.typing import NDArray

from extauthz_kernels._jit import kernel, read_only

#: What a code point is, as bits of the `kinds` table. Code points above the table are none of it.
SPACE, LETTER, ALNUM, WORD, LOOKALIKE, OTHER_SCRIPT = 1, 2, 4, 8, 16, 32
#: In the `become` table: the code point disappears.
DROP = 0xFFFFFFFF
#: The first of the 26 regional indicators.
_FIRST_FLAG = 0x1F1E6

_POINTS = read_only(numba.uint32)
_KINDS = read_only(numba.uint8)


@kernel(numba.int64(numba.uint32))
def letter_index(point: int) -> int:
    """1 to 26 for the letters of ASCII without regard to case, 0 for all else."""
    index = (point | 0x20) - 0x60
    return index if 1 <= index <= 26 and point < 0x80 else 0


@kernel(numba.boolean(_POINTS, _KINDS, numba.int64, numba.int64))
def _is(points: NDArray[np.uint32], kinds: NDArray[np.uint8], at: int, bits: int) -> bool:
    """Whether there is a code point at `at` and it has one of `bits`."""
    inside = at < points.shape[0] and points[at] < kinds.shape[0]
    return bool(inside and kinds[points[at]] & bits)


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


@kernel(
    numba.int64(_POINTS, _KINDS, numba.int8[:, ::1], numba.int64, numba.int64, numba.uint32[::1])
)
def join_symbols(
    points: NDArray[np.uint32],
    kinds: NDArray[np.uint8],
    pairs: NDArray[np.int8],
    shortest: int,
    readable: int,
    joined: NDArray[np.uint32],
) -> int:
    """Join what is spelled with symbols: "i-g-n-o-r-e a*l*l" becomes "ignore all".

    A run is at least `shortest` single ALNUM code points, one of them a LETTER, each up to three
    symbols from the next; white space ends a word of it, of which each has two or more. Symbols that
    differ are formulas and arguments more often than spelling: such a run must be readable.

    Args:
        points: (n,) uint32.
        kinds: (m,) uint8, bits of each code point.
        pairs: (27, 27) int8, half bits of evidence for a text in one letter after another.
        shortest: fewest singles that are spelling and not prose.
        readable: evidence from which on symbols may differ.
        joined: (n,) uint32, overwritten from the start.

    Returns:
        Number of code points written.
    """
    total = points.shape[0]
    count = 0
    position = 0
    alnum = False  # whether the code point before is
    while position < total:
        kind = kinds[points[position]] if points[position] < kinds.shape[0] else 0
        if alnum or not kind & ALNUM or _is(points, kinds, position + 1, ALNUM):
            joined[count] = points[position]
            count += 1
            position += 1
            alnum = bool(kind & ALNUM)
            continue
        singles = 0
        letters = 0
        evidence = 0
        before = 0
        symbol = 0
        mixed = False
        differ = False
        end = position  # behind the last single
        at = position
        while _is(points, kinds, at, ALNUM) and not _is(points, kinds, at + 1, ALNUM):
            singles += 1
            letters += 1 if _is(points, kinds, at, LETTER) else 0
            mixed |= differ
            letter = letter_index(points[at])
            evidence += int(pairs[before, letter])
            before = letter
            end = at + 1
            after = end
            while after < min(total, end + 4) and not _is(points, kinds, after, ALNUM | SPACE):
                differ |= points[after] != (symbol or points[end])
                symbol = int(points[after])
                after += 1
            if after == end:
                while after < min(total, end + 4) and _is(points, kinds, after, SPACE):
                    after += 1
                next_symbol = after + 1 < total and not _is(points, kinds, after + 1, ALNUM | SPACE)
                if after == end or not next_symbol:
                    break
                evidence += int(pairs[before, 0])
                before = 0
            elif after - end > 3:
                break
            at = after
        evidence += int(pairs[before, 0])
        spelled = singles >= shortest and letters > 0 and (not mixed or evidence >= readable)
        for index in range(position, end):
            if not spelled or _is(points, kinds, index, ALNUM | SPACE):
                joined[count] = points[index]
                count += 1
        position = end
        alnum = True
    return count


@kernel(numba.void(numba.uint32[::1], numba.uint8[:, ::1]))
def fold_flags(points: NDArray[np.uint32], flags: NDArray[np.uint8]) -> None:
    """Write regional indicators as the letters they are, in place, but leave one flag or two.

    Args:
        points: (n,) uint32.
        flags: (26, 26) uint8, 1 where two letters are the code of a country.
    """
    total = points.shape[0]
    end = 0
    while end < total:
        start = end
        while end < total and _FIRST_FLAG <= points[end] < _FIRST_FLAG + 26:
            end += 1
        length = end - start
        honest = length in (2, 4)
        for at in range(start, end - 1, 2):
            if not flags[points[at] - _FIRST_FLAG, points[at + 1] - _FIRST_FLAG]:
                honest = False
        if not honest:
            for at in range(start, end):
                points[at] = points[at] - _FIRST_FLAG + 0x41
        end = max(end, start + 1)


@kernel(numba.int64(_POINTS, _KINDS, _POINTS, numba.int64, numba.uint32[::1]))
def turn_words(
    points: NDArray[np.uint32],
    kinds: NDArray[np.uint8],
    upright: NDArray[np.uint32],
    fewest: int,
    turned: NDArray[np.uint32],
) -> int:
    """Turn round what is written upside down, which is also back to front.

    A run of words is turned when every letter of it can be upside down and at least `fewest` have
    no other use.

    Args:
        points: (n,) uint32.
        kinds: (m,) uint8, bits of each code point.
        upright: (k,) uint32, the letter that each upside-down one is, or 0; the top bit marks those
            without another use.
        fewest: upside-down letters that are no coincidence.
        turned: (n,) uint32, overwritten.

    Returns:
        Number of runs turned.
    """
    total = points.shape[0]
    runs = 0
    position = 0
    certain = 0
    for at in range(total):
        turned[at] = points[at]
        certain += upright[points[at]] >> 31 if points[at] < upright.shape[0] else 0
    if certain < fewest:
        return 0
    while position < total:
        # Words of the run that starts here; `end` is behind the last whole one.
        end = position
        certain = 0
        at = position
        while at < total:
            word = at
            sure = 0
            while _is(points, kinds, at, WORD) and points[at] < upright.shape[0]:
                if upright[points[at]] == 0:
                    break
                sure += upright[points[at]] >> 31
                at += 1
            if _is(points, kinds, at, WORD):
                break
            if at > word:
                end = at
                certain += sure
            while at < total and not _is(points, kinds, at, WORD):
                at += 1
        if certain >= fewest:
            runs += 1
            for index in range(position, end):
                point = points[index]
                letter = upright[point] & 0x7FFFFFFF if point < upright.shape[0] else 0
                turned[position + end - 1 - index] = letter or point
            position = end
        at = max(at, position)
        while _is(points, kinds, at, WORD):  # the rest of the word that cannot be turned
            at += 1
        while position < at:
            turned[position] = points[position]
            position += 1
        if position < total and not _is(points, kinds, position, WORD):
            turned[position] = points[position]
            position += 1
    return runs


@kernel(numba.int64(_POINTS, _KINDS))
def longest_spelling(points: NDArray[np.uint32], kinds: NDArray[np.uint8]) -> int:
    """Longest run of words of one letter or digit each, however they are separated.

    Args:
        points: (n,) uint32.
        kinds: (m,) uint8, bits of each code point.

    Returns:
        How many there are; text with fewer than a spelled word needs has nothing to join.
    """
    longest = 0
    singles = 0
    length = 0
    for at in range(points.shape[0]):
        if _is(points, kinds, at, ALNUM):
            length += 1
            singles = 0 if length > 1 else singles
        else:
            if length == 1:
                singles += 1
                longest = max(longest, singles)
            length = 0
    return max(longest, singles + 1 if length == 1 else 0)
