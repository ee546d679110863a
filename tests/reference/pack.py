"""Slow twin of `pack_windows`."""

from itertools import pairwise


def pack_windows(
    ids: list[int], offsets: list[int], pad_id: int, longest: int
) -> tuple[list[list[int]], list[list[int]]]:
    """(input_ids, attention_mask) of the windows `ids[offsets[w]:offsets[w + 1]]`."""
    windows = [ids[start:end] for start, end in pairwise(offsets)]
    return (
        [window + [pad_id] * (longest - len(window)) for window in windows],
        [[1] * len(window) + [0] * (longest - len(window)) for window in windows],
    )
