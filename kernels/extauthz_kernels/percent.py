"""What forms and query strings are written in (application/x-www-form-urlencoded)."""

import numba
import numpy as np
from numpy.typing import NDArray

from extauthz_kernels._jit import kernel, read_only

_PERCENT, _PLUS, _SPACE, _TILDE, _SEMICOLON = 0x25, 0x2B, 0x20, 0x7E, 0x3B
_ZERO, _NINE, _SMALL_A, _SMALL_F, _TO_LOWER = 0x30, 0x39, 0x61, 0x66, 0x20


@kernel(numba.int64(read_only(numba.uint8), numba.uint8[::1]))
def percent_decode(encoded: NDArray[np.uint8], decoded: NDArray[np.uint8]) -> int:
    """Undo percent escapes, and plus for space, strictly.

    Args:
        encoded: (n,) uint8.
        decoded: (n,) uint8, overwritten from the start.

    Returns:
        Number of bytes written; -1 if there is an escape that is none, a byte that is no printable
        ASCII, or a semicolon, which separates pairs for some servers.
    """
    total = encoded.shape[0]
    count = 0
    position = 0
    while position < total:
        byte = int(encoded[position])
        position += 1
        if byte < _SPACE or byte > _TILDE or byte == _SEMICOLON:
            return -1
        if byte == _PLUS:
            byte = _SPACE
        elif byte == _PERCENT:
            if position + 2 > total:
                return -1
            byte = 0
            for _ in range(2):
                digit = int(encoded[position])
                position += 1
                letter = digit | _TO_LOWER
                if _ZERO <= digit <= _NINE:
                    byte = byte * 16 + digit - _ZERO
                elif _SMALL_A <= letter <= _SMALL_F:
                    byte = byte * 16 + letter - _SMALL_A + 10
                else:
                    return -1
        decoded[count] = byte
        count += 1
    return count
