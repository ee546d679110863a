"""Names and values as URLs and forms write them (application/x-www-form-urlencoded)."""

from typing import Final

import numpy as np

from extauthz.core.reasons import Failure
from extauthz_kernels import percent_decode

#: Pairs of a query or a form: 15 µs each. Django, PHP and Node's qs take 1,000.
MAX_PAIRS: Final = 500


def read_query(target: str) -> list[tuple[str, str]] | Failure:
    """Read the names and values behind the first question mark of a request target.

    They are decoded once: percent escapes to strict UTF-8, plus to space. What is encoded twice
    still has escapes in it then, which the decoded view of a text undoes. Fails with
    QUERY_MALFORMED (a bad escape, no UTF-8, a raw semicolon or control character, more than 500
    pairs).
    """
    pairs = read_pairs(target.partition("?")[2].encode("utf-8", "surrogatepass"))
    return Failure.QUERY_MALFORMED if pairs is None else pairs


def read_pairs(encoded: bytes) -> list[tuple[str, str]] | None:
    """Read `name=value` pairs separated by `&`; None if servers might not read them alike.

    Empty pairs are none; a pair without `=` has an empty value.
    """
    if encoded.count(b"&") >= MAX_PAIRS:
        return None
    try:
        return [
            (_decode(name), _decode(value))
            for name, _, value in (pair.partition(b"=") for pair in encoded.split(b"&") if pair)
        ]
    except ValueError:
        return None


def _decode(part: bytes) -> str:
    """`part` as text. Raises ValueError for a bad escape and for what is no UTF-8."""
    decoded = np.empty(len(part), np.uint8)
    count = percent_decode(np.frombuffer(part, np.uint8), decoded)
    if count < 0:
        raise ValueError
    return decoded[:count].tobytes().decode("utf-8")
