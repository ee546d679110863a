"""KServe v2 over REST with raw tensors: a JSON header, then the bytes that it describes."""

from collections.abc import Iterator
from typing import Any, Final

from extauthz.core.body.json_text import parse
from extauthz.core.body.leaf import leaf
from extauthz.core.media import Tree
from extauthz.core.opaque import MEANINGFUL_BYTES, Blob
from extauthz.core.reasons import Failure

#: Each element of a tensor of strings is preceded by its length.
_LENGTH_BYTES: Final = 4
#: Strings that one tensor may hold. A batch is some hundreds.
_MAX_STRINGS: Final = 10_000


def read_tensors(body: bytes, header_length: str) -> Tree | Failure:
    """Read a request whose first `header_length` bytes are JSON; the tensors become its `data`.

    A tensor of BYTES is a list of its strings, any other a Blob. Fails as `parse` does, or with
    TENSOR_MALFORMED when a length does not add up.
    """
    if not (header_length.isascii() and header_length.isdigit() and len(header_length) < 10):
        return Failure.TENSOR_MALFORMED
    length = int(header_length)
    header = parse(body[:length]) if 0 < length <= len(body) else Failure.TENSOR_MALFORMED
    if isinstance(header, Failure):
        return header
    inputs = header.get("inputs") if isinstance(header, dict) else None
    return _place(inputs if isinstance(inputs, list) else [], body[length:]) or header


def _place(inputs: list[Any], raw: bytes) -> Failure | None:
    """Put the bytes of each tensor where its values would be, or say why they do not fit."""
    start = 0
    for tensor, size in _sizes(inputs):
        if size < 0 or start + size > len(raw) or "data" in tensor:
            return Failure.TENSOR_MALFORMED
        data = raw[start : start + size]
        values = length_prefixed(data) if tensor.get("datatype") == "BYTES" else Blob(data)
        if isinstance(values, Failure):
            return values
        tensor["data"] = values
        start += size
    return None if start == len(raw) else Failure.TENSOR_MALFORMED


def _sizes(inputs: list[Any]) -> Iterator[tuple[dict[str, Any], int]]:
    """Each tensor that is raw, and its bytes; -1 if the size is no size."""
    for tensor in inputs:
        parameters = tensor.get("parameters") if isinstance(tensor, dict) else None
        if isinstance(parameters, dict) and "binary_data_size" in parameters:
            size = parameters["binary_data_size"]
            yield tensor, size if type(size) is int else -1


def length_prefixed(data: bytes) -> list[Tree] | Failure:
    """Split into strings that are each preceded by four bytes of length.

    Behind them come, once more and together, the bytes of short ones that are no text.
    Fails with TENSOR_MALFORMED when they do not fit, BODY_TOO_COMPLEX when they are too many.
    """
    strings: list[Tree] = []
    start = 0
    while start < len(data):
        begin = start + _LENGTH_BYTES
        start = begin + int.from_bytes(data[start:begin], "little")
        if start > len(data):
            return Failure.TENSOR_MALFORMED
        if len(strings) == _MAX_STRINGS:
            return Failure.BODY_TOO_COMPLEX
        strings.append(leaf(data[begin:start]))
    return [*strings, *_together(strings)]


def _together(strings: list[Tree]) -> list[Blob]:
    """The bytes of strings that are too short to be accounted for one by one, if they are many.

    Token ids may be cut up by others among them that look like lengths.
    """
    blobs = (one[-1] if isinstance(one, list) else one for one in strings)
    short = [
        one.data for one in blobs if isinstance(one, Blob) and len(one.data) < MEANINGFUL_BYTES
    ]
    joined = b"".join(short)
    return [Blob(joined)] if len(joined) >= MEANINGFUL_BYTES else []
