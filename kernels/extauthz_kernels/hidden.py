"""Channels of invisible code points, told from the joiners and selectors of honest text."""

import numba
import numpy as np
from numpy.typing import NDArray

from extauthz_kernels._jit import kernel, read_only

#: What an invisible code point can be part of, in a table of kinds.
TAG, SELECTOR, OPERATOR, ZERO_WIDTH = 1, 2, 3, 4
#: Variation selectors 17 to 256, which only Han characters have.
_IDEOGRAPHIC = 0xE0100
#: From the first on, text runs right to left, up to the second or the end of the line.
_OVERRIDE, _POP, _LINE_FEED = 0x202E, 0x202C, 0x0A

_POINTS = read_only(numba.uint32)
_KINDS = read_only(numba.uint8)


@kernel(numba.void(_POINTS, _KINDS, read_only(numba.int64), numba.int64[::1]))
def survey_hidden(
    points: NDArray[np.uint32],
    kinds: NDArray[np.uint8],
    fewest: NDArray[np.int64],
    counts: NDArray[np.int64],
) -> None:
    """Count the runs of each channel, in one pass.

    A selector alone is honest behind a Han character if it is ideographic, and else behind anything
    visible. Zero-width characters are bits when they stand in a row and are of two kinds or more.

    Args:
        points: (n,) uint32.
        kinds: (m,) uint8, the channel of each code point, 0 for none.
        fewest: (4,) int64, code points that make a run of each channel.
        counts: (4,) int64, overwritten.
    """
    counts[:] = 0
    total = points.shape[0]
    at = 0
    while at < total:
        point = points[at]
        kind = kinds[point] if point < kinds.shape[0] else 0
        if kind == 0:
            at += 1
            continue
        start = at
        differ = False
        while at < total and points[at] < kinds.shape[0] and kinds[points[at]] == kind:
            differ |= points[at] != point
            at += 1
        length = at - start
        before = points[start - 1] if start > 0 else np.uint32(0)
        if kind == SELECTOR and length == 1:
            han = (
                0x2E80 <= before < 0xA000
                or 0xF900 <= before < 0xFB00
                or 0x20000 <= before < 0x32400
            )
            if before <= 32 or (point >= _IDEOGRAPHIC and not han):
                length = 2
        elif kind == ZERO_WIDTH and not differ:
            length = 0
        if length >= fewest[kind - 1]:
            counts[kind - 1] += 1


@kernel(numba.int64(_POINTS, _KINDS, numba.int64, numba.uint32[::1]))
def hidden_runs(
    points: NDArray[np.uint32], kinds: NDArray[np.uint8], kind: int, said: NDArray[np.uint32]
) -> int:
    """Read what one channel says: selectors as octets, the others as bits of octets.

    The first code point of a channel stands for 0, as the first bit of ASCII is.

    Args:
        points: (n,) uint32.
        kinds: (m,) uint8, the channel of each code point.
        kind: SELECTOR, OPERATOR or ZERO_WIDTH.
        said: (n,) uint32, overwritten from the start.

    Returns:
        Number of characters written.
    """
    count = 0
    zero = np.uint32(0)
    bits = 0
    octet = 0
    for at in range(points.shape[0]):
        point = points[at]
        if point >= kinds.shape[0] or kinds[point] != kind:
            bits = octet = 0
            continue
        if kind == SELECTOR:
            octet = point - 0xE0100 + 16 if point >= _IDEOGRAPHIC else point - 0xFE00
            bits = 8
        else:
            if zero == 0:
                zero = point  # ASCII begins with a 0
            octet = octet << 1 | (point != zero)
            bits += 1
        if bits == 8:
            if 32 <= octet < 127 or octet in (9, 10, 13):
                said[count] = octet
                count += 1
            bits = octet = 0
    return count


@kernel(numba.int64(_POINTS, numba.uint32[::1]))
def visual_order(points: NDArray[np.uint32], shown: NDArray[np.uint32]) -> int:
    """Write what a reader sees of text after a right-to-left override: it runs backwards.

    Up to where the override is popped, the line ends, or the next override.

    Args:
        points: (n,) uint32.
        shown: (n,) uint32, overwritten from the start: without the overrides.

    Returns:
        Number of code points written.
    """
    total = points.shape[0]
    count = 0
    at = 0
    while at < total:
        if points[at] != _OVERRIDE:
            shown[count] = points[at]
            count += 1
            at += 1
            continue
        start = at + 1
        at = start
        while at < total and points[at] not in (_OVERRIDE, _POP, _LINE_FEED):
            at += 1
        for back in range(at - 1, start - 1, -1):
            shown[count] = points[back]
            count += 1
    return count
