"""Texts as arrays of code points, which is what the kernels read and write."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

#: Above the last letter that Unicode assigns (CJK extension H ends at U+323AF).
ASSIGNED: Final = 0x32400


def points_of(text: str) -> NDArray[np.uint32]:
    """Code points, (n,) uint32, lone surrogates included."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def text_of(points: NDArray[np.uint32]) -> str:
    """The text of (n,) uint32 code points."""
    return points.tobytes().decode("utf-32-le", "surrogatepass")
