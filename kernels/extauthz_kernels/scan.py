"""Scans over bytes and code points that must be cheap on hostile input."""

import numba
import numpy as np
from numpy.typing import NDArray

from extauthz_kernels._jit import kernel, read_only

_QUOTE, _BACKSLASH, _COMMA = 0x22, 0x5C, 0x2C
_OPEN_OBJECT, _CLOSE_OBJECT, _OPEN_ARRAY, _CLOSE_ARRAY = 0x7B, 0x7D, 0x5B, 0x5D


@kernel(numba.int64(read_only(numba.uint8), numba.int64[::1]))
def json_shape(body: NDArray[np.uint8], shape: NDArray[np.int64]) -> int:
    """Measure how deep and how many-membered a JSON text is, before anything is built from it.

    Brackets and commas inside strings do not count. The text need not be valid: the parser
    decides that; this only bounds what the parser may be made to build.

    Args:
        body: (bytes,) uint8.
        shape: (2,) int64, overwritten: deepest nesting, number of opened containers plus commas.

    Returns:
        The deepest nesting.
    """
    depth = 0
    deepest = 0
    members = 0
    in_string = False
    escaped = False
    for position in range(body.shape[0]):
        byte = body[position]
        if in_string:
            if escaped:
                escaped = False
            elif byte == _BACKSLASH:
                escaped = True
            elif byte == _QUOTE:
                in_string = False
        elif byte == _QUOTE:
            in_string = True
        elif byte in (_OPEN_OBJECT, _OPEN_ARRAY):
            depth += 1
            members += 1
            deepest = max(deepest, depth)
        elif byte in (_CLOSE_OBJECT, _CLOSE_ARRAY):
            depth -= 1
        elif byte == _COMMA:
            members += 1
    shape[0] = deepest
    shape[1] = members
    return deepest


@kernel(
    numba.int64(read_only(numba.uint32), read_only(numba.uint8), numba.int64, numba.uint32[::1])
)
def cap_runs(
    code_points: NDArray[np.uint32],
    marked: NDArray[np.uint8],
    limit: int,
    kept: NDArray[np.uint32],
) -> int:
    """Copy code points, dropping those of a marked run beyond its first `limit`.

    Unicode normalisation reorders a run of combining marks in quadratic time: 64k marks take
    seconds. Capped at 30 (the stream-safe format of UAX #15) it is linear.

    Args:
        code_points: (n,) uint32.
        marked: (m,) uint8, 1 for the code points that are marks; those above m are not.
        limit: longest run of marks to keep.
        kept: (n,) uint32, overwritten from the start.

    Returns:
        Number of code points kept.
    """
    count = 0
    run = 0
    for position in range(code_points.shape[0]):
        point = code_points[position]
        run = run + 1 if point < marked.shape[0] and marked[point] == 1 else 0
        if run <= limit:
            kept[count] = point
            count += 1
    return count
