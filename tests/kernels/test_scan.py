"""Scans that must be cheap on hostile input."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extauthz_kernels import cap_runs, json_shape
from tests.reference import scan as reference

shape_kernels = pytest.mark.parametrize(
    "kernel", [json_shape, json_shape.py_func], ids=["jit", "py"]
)
cap_kernels = pytest.mark.parametrize("kernel", [cap_runs, cap_runs.py_func], ids=["jit", "py"])

bracketed = st.lists(st.sampled_from(list(b'[]{},"\\: a\xc3')), max_size=60).map(bytes)
json_values = st.recursive(
    st.none() | st.integers() | st.text('[]{},"\\a'),
    lambda inner: st.lists(inner) | st.dictionaries(st.text('[]{},"\\a'), inner),
    max_leaves=20,
)
MARKS = {3, 4, 9}
TABLE = np.array([point in MARKS for point in range(10)], np.uint8)
points = st.lists(st.integers(0, 12) | st.just(0x10FFFF), max_size=40)


def shape_of(body: bytes, kernel: Callable[..., int] = json_shape) -> tuple[int, int]:
    shape = np.full(2, 99, np.int64)
    deepest = kernel(np.frombuffer(body, np.uint8), shape)
    assert deepest == shape[0]
    return int(shape[0]), int(shape[1])


def capped(values: list[int], limit: int, kernel: Callable[..., int] = cap_runs) -> list[int]:
    code_points = np.array(values, np.uint32)
    kept = np.full_like(code_points, 99)
    return [int(point) for point in kept[: kernel(code_points, TABLE, limit, kept)]]


def depth_of(value: Any) -> int:
    members = value.values() if isinstance(value, dict) else value
    if not isinstance(value, dict | list):
        return 0
    return 1 + max(map(depth_of, members), default=0)


def members_of(value: Any) -> int:
    """Values that a parser builds below `value`."""
    if not isinstance(value, dict | list):
        return 0
    members = value.values() if isinstance(value, dict) else value
    return len(value) + sum(map(members_of, members))


@shape_kernels
@given(body=bracketed | st.binary(max_size=60))
def test_shape_of_any_bytes_equals_the_twin(kernel: Callable[..., int], body: bytes) -> None:
    assert shape_of(body, kernel) == reference.json_shape(body)


@given(value=json_values, indent=st.sampled_from([None, 1]))
def test_shape_of_valid_json_is_what_a_parser_builds(value: Any, indent: int | None) -> None:
    deepest, members = shape_of(json.dumps(value, indent=indent).encode())
    assert deepest == depth_of(value)
    assert members_of(value) <= members <= 2 * members_of(value) + 1


@given(value=json_values, rubbish=bracketed)
def test_nothing_after_it_hides_the_depth_that_a_parser_has_reached(
    value: Any, rubbish: bytes
) -> None:
    """A parser stops at the first error, so the text before it is valid as far as it goes."""
    assert shape_of(json.dumps(value).encode() + rubbish)[0] >= depth_of(value)


@cap_kernels
@given(values=points, limit=st.integers(0, 4))
def test_cap_equals_the_twin(kernel: Callable[..., int], values: list[int], limit: int) -> None:
    assert capped(values, limit, kernel) == reference.cap_runs(values, MARKS, limit)


@given(values=points, limit=st.integers(0, 4))
def test_cap_is_idempotent_and_loses_no_letter(values: list[int], limit: int) -> None:
    once = capped(values, limit)
    assert capped(once, limit) == once
    assert [p for p in once if p not in MARKS] == [p for p in values if p not in MARKS]
