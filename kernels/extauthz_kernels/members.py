"""What parsers of JSON do not tell: the keys of every object, and integers that some of them round."""

import numba
import numpy as np
from numpy.typing import NDArray

from extauthz_kernels._jit import kernel, read_only

_QUOTE, _BACKSLASH, _COMMA, _COLON, _POINT = 0x22, 0x5C, 0x2C, 0x3A, 0x2E
_OPEN_OBJECT, _CLOSE_OBJECT, _OPEN_ARRAY, _CLOSE_ARRAY = 0x7B, 0x7D, 0x5B, 0x5D
_ZERO, _NINE, _PLUS, _MINUS, _EXPONENT = 0x30, 0x39, 0x2B, 0x2D, 0x65
_CAPITAL_A, _CAPITAL_Z, _TO_LOWER = 0x41, 0x5A, 0x20

#: A key is read as a number in base 257, modulo two primes below 2^31: no step leaves 64 bits.
_BASE = 257
_PRIME, _OTHER_PRIME = 2147483647, 2147483629
#: 2^64-1 and 2^63, without their last digits, and those digits.
_TENTH, _LAST = 1844674407370955161, 5
_TENTH_BELOW, _LAST_BELOW = 922337203685477580, 8
#: Stands for all that 63 bits cannot hold: one more digit is one too many.
_BRIM = 9_000_000_000_000_000_000


@kernel(
    numba.int64(
        read_only(numba.uint8),
        numba.int64[::1],
        numba.int32[:, ::1],
        numba.int64[::1],
        numba.int64[::1],
    )
)
def json_members(
    body: NDArray[np.uint8],
    owners: NDArray[np.int64],
    keys: NDArray[np.int32],
    digests: NDArray[np.int64],
    facts: NDArray[np.int64],
) -> int:
    """Find the keys of every object of a JSON text, or of several texts one after the other.

    Two plain keys of one object have the same digest if and, but for chance (2^-62), only if they
    are equal without regard to the case of ASCII letters. A key is plain without an escape and
    without a byte above 127. The text must be valid; if it is not, nothing is written out of bounds.

    Args:
        body: (bytes,) uint8.
        owners: (d,) int64, scratch; d is above the deepest nesting that `json_shape` measures.
        keys: (m, 4) int32, overwritten: number of the object, start and end of the key with its
            quotes, 0 if it is plain and 1 if not. A text has no more keys than colons.
        digests: (m,) int64, overwritten: of the object's number and the key.
        facts: (2,) int64, overwritten: how many keys are not plain, and how many integers are below
            -2^63 or above 2^64-1.

    Returns:
        Number of keys.
    """
    facts[:] = 0
    owners[0] = 0
    total = body.shape[0]
    count = 0
    objects = 0
    depth = 0
    before = _COLON
    position = 0
    while position < total:
        byte = body[position]
        start = position
        position += 1
        if byte == _QUOTE:
            plain = True
            while position < total and body[position] != _QUOTE:
                if body[position] == _BACKSLASH:
                    plain = False
                    position += 1
                elif body[position] > 127:
                    plain = False
                position += 1
            position = min(position + 1, total)
            if owners[depth] > 0 and before in (_OPEN_OBJECT, _COMMA):
                if count == keys.shape[0]:
                    return count
                if not plain:
                    facts[0] += 1
                digest = 1
                other = 1
                for index in range(start + 1, position - 1):
                    letter = int(body[index])
                    if _CAPITAL_A <= letter <= _CAPITAL_Z:
                        letter += _TO_LOWER
                    digest = (digest * _BASE + letter + 1) % _PRIME
                    other = (other * _BASE + letter + 1) % _OTHER_PRIME
                # The object's number in three digits of that base: the brim of 16 million is far.
                number = owners[depth]
                for _ in range(3):
                    digest = (digest * _BASE + number % _BASE) % _PRIME
                    other = (other * _BASE + number % _BASE) % _OTHER_PRIME
                    number //= _BASE
                keys[count, 0] = owners[depth]
                keys[count, 1] = start
                keys[count, 2] = position
                keys[count, 3] = 0 if plain else 1
                digests[count] = (digest << 31) | other
                count += 1
            before = _QUOTE
        elif byte in (_OPEN_OBJECT, _OPEN_ARRAY):
            depth += 1
            objects += 1
            owners[depth] = objects if byte == _OPEN_OBJECT else 0
            before = byte
        elif byte in (_CLOSE_OBJECT, _CLOSE_ARRAY):
            depth -= 1
            before = byte
            if depth < 0:
                return count
        elif byte in (_COMMA, _COLON):
            before = byte
        elif byte == _MINUS or _ZERO <= byte <= _NINE:
            tenth = _TENTH_BELOW if byte == _MINUS else _TENTH
            last = _LAST_BELOW if byte == _MINUS else _LAST
            value = 0 if byte == _MINUS else int(byte) - _ZERO
            large = False
            integer = True
            while position < total:
                byte = body[position]
                if _ZERO <= byte <= _NINE:
                    digit = int(byte) - _ZERO
                    large = large or value > tenth or (value == tenth and digit > last)
                    value = _BRIM if value >= _TENTH_BELOW else value * 10 + digit
                elif byte in (_POINT, _PLUS, _MINUS) or byte | _TO_LOWER == _EXPONENT:
                    integer = False
                else:
                    break
                position += 1
            if large and integer:
                facts[1] += 1
    return count
