"""Ciphers that leave no mark but that letters follow one another as they never do in a text."""

import numba
import numpy as np
from numpy.typing import NDArray

from extauthz_kernels._jit import kernel, read_only

#: Bits of a cipher: looked for only in words with its own kind of symbols; looked for in words that
#: read well as they stand too.
SYMBOLS, ALWAYS = 1, 2
#: One odd word, a name or a number, costs a run no more than this, in half bits.
_MOST_LOST = -10
#: A run ends where it has lost so much.
_LOST = 24
#: Half bits from which on a word reads well as it stands.
_READABLE = 6
#: Words up to this length say little: they belong to the run beside which they stand.
_SHORT = 3
#: Words beside a run are part of it as far as the run is long, and at least so many characters.
_REACH = 64


@kernel(numba.boolean(numba.int32[:, ::1], numba.int64))
def _belongs(words: NDArray[np.int32], word: int) -> bool:
    """Whether a word beside a run says nothing against being part of it."""
    length = words[word, 1] - words[word, 0]
    return bool(words[word, 2] < 2 * length or length <= _SHORT)


@kernel(
    numba.int64(
        read_only(numba.uint32), numba.uint8[:, ::1], numba.int8[:, ::1], read_only(numba.uint8),
        numba.int8[:, ::1], read_only(numba.int64), numba.int32[::1], numba.int32[:, ::1],
        numba.int32[:, ::1], numba.int32[:, ::1],
    )
)  # fmt: skip
def cipher_runs(
    points: NDArray[np.uint32],
    letters: NDArray[np.uint8],
    steps: NDArray[np.int8],
    kinds: NDArray[np.uint8],
    pairs: NDArray[np.int8],
    enough: NDArray[np.int64],
    reads: NDArray[np.int32],
    words: NDArray[np.int32],
    sums: NDArray[np.int32],
    runs: NDArray[np.int32],
) -> int:
    """Find runs of words that read clearly better undone by one of some ciphers than as they stand.

    Each word counts for a cipher by the half bits by which it reads better, but never more than by
    how much better it reads than another language, which has half a bit less a letter; a running
    sum per cipher that never falls below zero finds the runs. None begins at a word that reads well.

    The first ciphers make letters of any ASCII, the others of letters alone: what these make of two
    letters in a row is in one row of a table, so that all of them are tried at once.

    Args:
        points: (n,) uint32.
        letters: (j, 128) uint8: what ASCII is, 1 to 26 for a letter, else 0: as it stands, and to
            each of the first j - 1 ciphers.
        steps: (729, k - j) int8: half bits for a letter after a letter under each other cipher, as
            they stand: row 27 * before + after.
        kinds: (k,) uint8, bits of each cipher. Entry 0, here and below, is no cipher.
        pairs: (27, 27) int8, half bits for a letter after a letter.
        enough: (k,) int64, half bits from which on a run is no coincidence.
        reads: (k - j,) int32: scratch.
        words: (n // 2 + 1, 3) int32: scratch.
        sums: (k, 4) int32: scratch.
        runs: (n // 2 + 1, 4) int32, overwritten: first word's start, last word's end, cipher and
            half bits of each, in order and apart from one another.

    Returns:
        Number of runs.
    """
    total = points.shape[0]
    ciphers = kinds.shape[0]
    first = letters.shape[0]
    sums[:] = 0
    count = 0
    active = 0
    word = 0
    at = 0
    while True:
        while at < total and (points[at] == 32 or 9 <= points[at] <= 13):
            at += 1
        start = at
        as_is = 0
        before = 0
        odd = False
        count_letters = 0
        symbols = 0
        while at < total and not (points[at] == 32 or 9 <= points[at] <= 13):
            point = points[at]
            letter = letters[0, point] if point < 128 else 0
            as_is += int(pairs[before, letter])
            if letter > 0:
                # A digit between letters, or three behind two, is how nobody writes a name.
                odd |= symbols > 0 and count_letters > 0
                count_letters += 1
                symbols = 0
            elif point < 128 and letters[1, point] > 0:
                symbols += 1
            else:
                symbols = 0
            before = letter
            at += 1
        odd |= symbols >= 3 and count_letters >= 2
        as_is += int(pairs[before, 0])
        last = at == start
        length = at - start
        if not last:
            words[word, 0] = start
            words[word, 1] = at
            words[word, 2] = -1 if odd else as_is
            word += 1
            if active == 0 and as_is >= 2 * length:
                continue
        unreadable = as_is < _READABLE and count_letters > 0
        doubtful = as_is < 2 * length
        bar = max(as_is, length) + 1
        if not last and (unreadable or doubtful):
            reads[:] = 0
            row = 0
            for index in range(start, at):
                point = points[index]
                letter = letters[0, point] if point < 128 else 0
                row = (row % 27) * 27 + int(letter)
                for cipher in range(ciphers - first):
                    reads[cipher] += steps[row, cipher]
            row = (row % 27) * 27
            for cipher in range(ciphers - first):
                reads[cipher] += steps[row, cipher]
        active = 0
        for cipher in range(1, ciphers):
            sum_ = sums[cipher, 0]
            wanted = not last and (unreadable or (doubtful and kinds[cipher] & ALWAYS))
            gain = -as_is - 1
            if kinds[cipher] & SYMBOLS:
                wanted = odd
                gain = min(as_is, 0) - 1
            if last:
                gain = -sum_
            elif wanted and cipher >= first:
                gain = max(reads[cipher - first] - bar, _MOST_LOST)
            elif wanted:
                found = 0
                before = 0
                for index in range(start, at):
                    point = points[index]
                    letter = letters[cipher, point] if point < 128 else 0
                    found += int(pairs[before, letter])
                    before = letter
                gain = max(found + int(pairs[before, 0]) - bar, _MOST_LOST)
            else:
                gain = max(gain, _MOST_LOST)
            if sum_ == 0 and (gain <= 0 or not doubtful):
                continue
            if sum_ == 0:
                sums[cipher, 2] = word - 1
            sum_ += gain
            if sum_ > sums[cipher, 1]:
                sums[cipher, 1] = sum_
                sums[cipher, 3] = word - 1
            if sum_ <= 0 or sum_ < sums[cipher, 1] - _LOST:
                if sums[cipher, 1] >= enough[cipher]:
                    # Of runs that overlap the likelier one stays.
                    while count > 0 and runs[count - 1, 1] >= sums[cipher, 2]:
                        if runs[count - 1, 3] >= sums[cipher, 1]:
                            break
                        count -= 1
                    if count == 0 or runs[count - 1, 1] < sums[cipher, 2]:
                        runs[count, 0] = sums[cipher, 2]
                        runs[count, 1] = sums[cipher, 3]
                        runs[count, 2] = cipher
                        runs[count, 3] = sums[cipher, 1]
                        count += 1
                sum_ = 0
                sums[cipher, 1] = 0
            sums[cipher, 0] = sum_
            active += 1 if sum_ > 0 else 0
        if last:
            break
    for run in range(count):
        least = runs[run - 1, 1] + 1 if run > 0 else 0
        most = runs[run + 1, 0] - 1 if run + 1 < count else word - 1
        begin, final = runs[run, 0], runs[run, 1]
        start, end = words[begin, 0], words[final, 1]
        reach = max(end - start, _REACH)
        while begin > least and _belongs(words, begin - 1):
            if start - words[begin - 1, 0] > reach:
                break
            begin -= 1
        while final < most and _belongs(words, final + 1):
            if words[final + 1, 1] - end > reach:
                break
            final += 1
        runs[run, 0] = begin
        runs[run, 1] = final
    for run in range(count):
        runs[run, 0] = words[runs[run, 0], 0]
        runs[run, 1] = words[runs[run, 1], 1]
    return count
