"""Keys and integers of a JSON text, without building it."""

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from extauthz_kernels import json_members, json_shape
from tests.reference import members as reference

kernels = pytest.mark.parametrize("kernel", [json_members, json_members.py_func], ids=["jit", "py"])

KEYS = st.text('aA,:{["\\é', max_size=3)
EDGES = [10**k + d for k in (0, 18, 19, 20) for d in (-1, 0, 1)] + [
    sign * (2**power + off) for power in (63, 64) for off in (-1, 0, 1) for sign in (1, -1)
]
values = st.recursive(
    st.none() | st.sampled_from(EDGES) | st.integers() | st.floats(allow_nan=False) | KEYS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=20,
)
almost_json = st.lists(st.sampled_from(list(b'[]{},"\\: a1-.e\xc3')), max_size=60).map(bytes)

Found = tuple[list[tuple[int, bytes]], list[int], int, int]


def members(body: bytes, kernel: Callable[..., int] = json_members) -> Found:
    """((object, written key) of each key, their digests, keys not plain, large integers)."""
    text = np.frombuffer(body, np.uint8)
    shape = np.zeros(2, np.int64)
    json_shape(text, shape)
    owners, facts = np.empty(shape[0] + 1, np.int64), np.empty(2, np.int64)
    colons = body.count(b":")
    keys, digests = np.empty((colons, 4), np.int32), np.empty(colons, np.int64)
    count = kernel(text, owners, keys, digests, facts)
    assert count <= colons
    assert facts[0] == keys[:count, 3].sum()
    spans = [(int(owner), body[start:end]) for owner, start, end, _ in keys[:count]]
    return spans, [int(digest) for digest in digests[:count]], int(facts[0]), int(facts[1])


@kernels
@given(value=values, indent=st.sampled_from([None, 1]), ascii_only=st.booleans())
def test_the_keys_of_each_object_are_those_that_a_parser_sees(
    kernel: Callable[..., int], value: Any, indent: int | None, ascii_only: bool
) -> None:
    body = json.dumps(value, indent=indent, ensure_ascii=ascii_only).encode()
    spans, _, odd, large = members(body, kernel)
    by_object: dict[int, list[str]] = {}
    for owner, key in spans:
        by_object.setdefault(owner, []).append(json.loads(key))
    expected = [keys for keys in reference.objects_of(body) if keys]
    assert Counter(map(tuple, by_object.values())) == Counter(map(tuple, expected))
    assert odd == sum(b"\\" in key or not key.isascii() for _, key in spans)
    assert large == reference.large_integers(body)


@kernels
@given(
    names=st.lists(st.text("abAB", max_size=3), max_size=6),
    more=st.lists(st.text("abAB", max_size=3), max_size=6),
)
def test_digests_are_equal_for_keys_of_one_object_that_differ_in_case_alone(
    kernel: Callable[..., int], names: list[str], more: list[str]
) -> None:
    def written(keys: list[str]) -> str:
        return "{" + ",".join(f'"{key}":1' for key in keys) + "}"

    spans, digests, _, _ = members(f"[{written(names)},{written(more)}]".encode(), kernel)
    folded = [(owner, key.lower()) for owner, key in spans]
    assert len(spans) == len(names) + len(more)
    assert [digests.index(digest) for digest in digests] == [folded.index(key) for key in folded]


@pytest.mark.parametrize("keys", [100_000])
def test_no_two_of_many_keys_in_many_objects_share_a_digest(keys: int) -> None:
    objects = b",".join(b'{"%x":1,"k":2}' % (number * 7919) for number in range(keys // 2))
    _, digests, _, _ = members(b"[" + objects + b"]")
    assert len(set(digests)) == len(digests) == keys


@kernels
@given(body=almost_json | st.binary(max_size=60))
@example(body=b'{"a" "b" "c"')
@example(body=b'{"a","b","c":')
@example(body=b"]" * 60)
@example(body=b'{"\\')
def test_any_bytes_stay_within_the_bounds_that_their_shape_sets(
    kernel: Callable[..., int], body: bytes
) -> None:
    spans, _, _, _ = members(body, kernel)
    assert all(key.startswith(b'"') for _, key in spans)
