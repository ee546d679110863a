"""Ragged windows of token ids into one padded batch."""

import numba
import numpy as np
from numpy.typing import NDArray

from extauthz_kernels._jit import kernel, read_only

_SIGNATURE = numba.int64(
    read_only(numba.int32),
    read_only(numba.int64),
    numba.int64,
    numba.int64[:, ::1],
    numba.int64[:, ::1],
)


@kernel(_SIGNATURE)
def pack_windows(
    ids: NDArray[np.int32],
    offsets: NDArray[np.int64],
    pad_id: int,
    input_ids: NDArray[np.int64],
    attention_mask: NDArray[np.int64],
) -> int:
    """Write window `w`, `ids[offsets[w]:offsets[w + 1]]`, into row `w` and pad it on the right.

    Args:
        ids: (tokens,) int32, all windows one after the other.
        offsets: (windows + 1,) int64, ascending from 0.
        pad_id: token id for padding.
        input_ids: (windows, longest) int64, overwritten.
        attention_mask: (windows, longest) int64, overwritten: 1 for a token, 0 for padding.

    Returns:
        Number of real tokens written. Less than `offsets[windows]` if `longest` was too narrow.
    """
    written = 0
    width = input_ids.shape[1]
    for row in range(input_ids.shape[0]):
        start = offsets[row]
        length = min(offsets[row + 1] - start, width)
        written += length
        for column in range(length):
            input_ids[row, column] = ids[start + column]
            attention_mask[row, column] = 1
        for column in range(length, width):
            input_ids[row, column] = pad_id
            attention_mask[row, column] = 0
    return written
