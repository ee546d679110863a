"""Slow twins of the scans."""

import re
from itertools import accumulate, groupby, islice

_STRING = re.compile(rb'"(?:\\.|[^"\\])*(?:"|\\?\Z)', re.DOTALL)
_STEP = {b"[": 1, b"{": 1, b"]": -1, b"}": -1}


def json_shape(body: bytes) -> tuple[int, int]:
    """(deepest nesting, opened containers plus commas) of what is outside the strings of `body`."""
    outside = [bytes([byte]) for byte in _STRING.sub(b"", body)]
    depths = accumulate((_STEP.get(byte, 0) for byte in outside), initial=0)
    return max(depths), sum(byte in {b"[", b"{", b","} for byte in outside)


def cap_runs(points: list[int], marks: set[int], limit: int) -> list[int]:
    """`points` with at most `limit` of each run of `marks`."""
    kept: list[int] = []
    for is_mark, run in groupby(points, key=marks.__contains__):
        kept += islice(run, limit if is_mark else None)
    return kept
