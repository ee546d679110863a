"""Windows of token ids in a padded batch."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from extauthz_kernels import pack_windows
from tests.reference import pack as reference

PAD = -7
ragged = st.lists(st.lists(st.integers(0, 2**31 - 1), max_size=9), max_size=8)
either = pytest.mark.parametrize("kernel", [pack_windows, pack_windows.py_func], ids=["jit", "py"])

Packed = tuple[NDArray[np.int64], NDArray[np.int64], int]


def pack(kernel: Callable[..., int], windows: list[list[int]], longest: int) -> Packed:
    """Into arrays full of rubbish, because the batcher reuses them."""
    ids = np.array([token for window in windows for token in window], np.int32)
    offsets = np.cumsum([0, *map(len, windows)], dtype=np.int64)
    input_ids = np.full((len(windows), longest), 99, np.int64)
    mask = np.full((len(windows), longest), 99, np.int64)
    return input_ids, mask, kernel(ids, offsets, PAD, input_ids, mask)


@either
@given(windows=ragged, spare=st.integers(0, 3))
def test_equals_the_twin(kernel: Callable[..., int], windows: list[list[int]], spare: int) -> None:
    longest = max(map(len, windows), default=0) + spare
    input_ids, mask, written = pack(kernel, windows, longest)
    flat = [token for window in windows for token in window]
    offsets = [0, *np.cumsum([len(window) for window in windows], dtype=int).tolist()]
    expected = reference.pack_windows(flat, offsets, PAD, longest)
    assert (input_ids.tolist(), mask.tolist()) == expected
    assert written == len(flat)


@given(windows=ragged)
def test_every_token_is_in_its_place_and_only_padding_is_beside_it(
    windows: list[list[int]],
) -> None:
    input_ids, mask, written = pack(pack_windows, windows, max(map(len, windows), default=0))
    assert mask.sum() == written == sum(map(len, windows))
    for row, window in enumerate(windows):
        assert input_ids[row, : len(window)].tolist() == window
        assert mask[row].tolist() == sorted(mask[row].tolist(), reverse=True)
    assert set(input_ids[mask == 0].tolist()) <= {PAD}


@either
def test_tokens_that_did_not_fit_are_not_counted(kernel: Callable[..., int]) -> None:
    input_ids, mask, written = pack(kernel, [[1, 2, 3], [4]], longest=2)
    assert input_ids.tolist() == [[1, 2], [4, PAD]]
    assert written == mask.sum() == 3


def test_read_only_ids_are_accepted() -> None:
    ids = np.frombuffer(np.arange(3, dtype=np.int32).tobytes(), np.int32)
    out = np.zeros((1, 3), np.int64)
    assert pack_windows(ids, np.array([0, 3], np.int64), PAD, out, out.copy()) == 3
    assert out.tolist() == [[0, 1, 2]]
