"""KServe's REST protocol with raw tensors behind the JSON."""

import json
import struct
from typing import Any

import pytest

from extauthz.core.body.tensors import length_prefixed, read_tensors
from extauthz.core.opaque import Blob
from extauthz.core.reasons import Failure


def strings(*texts: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(text)) + text for text in texts)


def tensor(size: Any, datatype: str = "BYTES", **more: Any) -> dict[str, Any]:
    return {"name": "t", "datatype": datatype, "parameters": {"binary_data_size": size}, **more}


def read(inputs: Any, raw: bytes, header_length: str | None = None) -> Any:
    header = json.dumps({"inputs": inputs}).encode()
    return read_tensors(header + raw, header_length or str(len(header)))


def test_the_strings_of_a_tensor_become_its_data() -> None:
    raw = strings(b"first", "zweité".encode(), b"", b"\xff")
    found = read([tensor(len(raw))], raw)
    assert found["inputs"][0]["data"] == ["first", "zweité", "", Blob(b"\xff")]


def test_short_bytes_are_bytes_together() -> None:
    """Token ids may be cut up by others among them that look like lengths."""
    ids = struct.pack("<8i", 12, 29900, 1234, 5678, 12, 900, 4567, 22222)
    assert length_prefixed(ids) == [Blob(ids[4:16]), Blob(ids[20:]), Blob(ids[4:16] + ids[20:])]
    assert length_prefixed(strings(b"\xff" * 5, b"words", b"\xfe" * 5))[2:] == [Blob(b"\xfe" * 5)]
    assert length_prefixed(strings(b"\0" * 8, b"\0" * 8))[2:] == [Blob(bytes(16))]


def test_tensors_stand_one_after_the_other() -> None:
    text, numbers = strings(b"text"), struct.pack("<2f", 1.5, 2.5)
    plain = {"name": "p", "datatype": "BYTES", "data": ["plain"]}
    found = read([tensor(8, "FP32"), plain, tensor(len(text))], numbers + text)
    assert [t["data"] for t in found["inputs"]] == [Blob(numbers), ["plain"], ["text"]]


def test_a_header_that_is_all_there_is_will_do() -> None:
    assert read([{"name": "p"}], b"") == {"inputs": [{"name": "p"}]}


REFUSED: dict[str, tuple[Any, bytes, str | None]] = {
    "bytes of no tensor": ([], b"x", None),
    "bytes behind the last tensor": ([tensor(4, "FP32")], b"12345", None),
    "a tensor that is cut": ([tensor(4, "FP32")], b"123", None),
    "a string that is cut": ([tensor(8)], strings(b"12345")[:8], None),
    "a length that is cut": ([tensor(2)], b"\0\0", None),
    "data twice": ([tensor(4, "FP32", data=[1])], b"1234", None),
    "a negative size": ([tensor(-1)], b"", None),
    "a size that is true": ([tensor(True)], b"x", None),
    "a size that is a string": ([tensor("4")], b"1234", None),
    "no inputs": (None, b"x", None),
    "a header of nothing": ([], b"", "0"),
    "a header beyond the body": ([], b"", "9999"),
    "a length that is none": ([], b"", "-1"),
    "a length in other digits": ([], b"", "１４"),
    "a length of a thousand digits": ([], b"", "1" * 1000),
}


@pytest.mark.parametrize(("inputs", "raw", "length"), REFUSED.values(), ids=REFUSED)
def test_lengths_that_do_not_add_up_are_malformed(
    inputs: Any, raw: bytes, length: str | None
) -> None:
    assert read(inputs, raw, length) is Failure.TENSOR_MALFORMED


def test_the_json_is_read_strictly() -> None:
    assert read_tensors(b'{"a":1,"A":2}', "13") is Failure.BODY_DUPLICATE_KEY
    assert read_tensors(b'{"inputs":[]}', "12") is Failure.BODY_MALFORMED
    assert read_tensors(b"[]x", "2") is Failure.TENSOR_MALFORMED


def test_millions_of_empty_strings_are_refused() -> None:
    assert length_prefixed(bytes(4 * 2**20)) is Failure.BODY_TOO_COMPLEX
