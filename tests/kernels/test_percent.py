"""Percent escapes, undone strictly."""

from collections.abc import Callable
from urllib.parse import quote_plus

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extauthz_kernels import percent_decode
from tests.reference import percent as reference

kernels = pytest.mark.parametrize(
    "kernel", [percent_decode, percent_decode.py_func], ids=["jit", "py"]
)
escapes = st.lists(st.sampled_from(list(b"%%%09aAfFgG+; ~\x7f\x1f\xff")), max_size=12).map(bytes)


def decoded(encoded: bytes, kernel: Callable[..., int]) -> bytes | None:
    out = np.full(len(encoded), 99, np.uint8)
    count = kernel(np.frombuffer(encoded, np.uint8), out)
    return None if count < 0 else out[:count].tobytes()


@kernels
@given(encoded=escapes | st.binary(max_size=12))
def test_any_bytes_are_decoded_as_the_twin_does(kernel: Callable[..., int], encoded: bytes) -> None:
    assert decoded(encoded, kernel) == reference.percent_decode(encoded)


@kernels
@given(text=st.text(max_size=12))
def test_what_an_encoder_wrote_comes_back(kernel: Callable[..., int], text: str) -> None:
    assert decoded(quote_plus(text).encode(), kernel) == text.encode()
