"""Protobuf without its schema: every reading that some schema could make of the bytes."""

from collections.abc import Iterator
from typing import Final

from extauthz.core.body.leaf import leaf
from extauthz.core.body.tensors import length_prefixed
from extauthz.core.media import Tree
from extauthz.core.opaque import MEANINGFUL_BYTES, Blob
from extauthz.core.reasons import Failure

#: Messages in messages. Protobuf's own parsers stop at 100; a real request has six.
_MAX_DEPTH: Final = 32
#: Fields read in all readings of a body together: 4 µs each. A ModelInfer of 1,000 strings has 1,000.
_MAX_FIELDS: Final = 2500
#: Leaves may hold this many times the bytes of the body, since each has several readings.
_MAX_COPIES: Final = 8
#: A short body may nest more than a long one: copies of this many bytes cost nothing.
_FREE_BYTES: Final = 64 * 1024

_VARINT, _FIXED64, _BYTES, _GROUP, _END_GROUP, _FIXED32 = range(6)
_WIDTH: Final = {_FIXED64: 8, _FIXED32: 4}
_MAX_VARINT_BYTES: Final = 10
#: Protobuf's parsers read no deeper.
_MAX_OPEN_GROUPS: Final = 100
_MAX_NUMBER: Final = 2**29 - 1


class NoMessageError(ValueError):
    """The bytes are no protobuf message."""


class TooComplexError(ValueError):
    """There are more readings than we care to make."""


class Walk:
    """One walk over the messages of a body, with what it may still cost.

    Bytes are left out for their other readings, unless these have `_unsaid` bytes in numbers: a text
    can be written so that each eight of its letters are a number.
    """

    def __init__(self, body_bytes: int) -> None:
        self._fields = _MAX_FIELDS
        self._unsaid = 0
        self._bytes = _MAX_COPIES * max(body_bytes, _FREE_BYTES)

    def message(self, data: bytes, depth: int = 0) -> dict[str, Tree]:
        """Read a message into a dict from field number to the list of its values.

        A value is an int or, where it is length-delimited, a list of its readings if there are
        several: a text, a message, the strings of a tensor. Groups are taken apart: their fields
        stand beside the others. Raises NoMessageError, or TooComplexError.
        """
        if depth > _MAX_DEPTH:
            raise TooComplexError
        fields: dict[str, list[Tree]] = {}
        for number, value in _fields(data):
            self._spend(1, 0)
            if value is not None:
                values = fields.setdefault(str(number), [])
                if isinstance(value, int):
                    self._unsaid += (value.bit_length() + 7) // 8
                values.append(value if isinstance(value, int) else self._readings(value, depth))
        return {**fields}

    def _readings(self, data: bytes, depth: int) -> Tree:
        plain = leaf(data)
        if not data:
            return plain
        self._spend(0, len(data))
        before = self._unsaid
        others = self._as_message(data, depth)
        unsaid = self._unsaid - before if others else len(data)
        if strings := self._as_strings(data):
            others, unsaid = [*others, *strings], 0
        self._unsaid = before
        if not isinstance(plain, Blob) or not others or unsaid >= MEANINGFUL_BYTES:
            return [plain, *others] if others else plain
        self._unsaid += unsaid
        return others[0] if len(others) == 1 else others

    def _as_message(self, data: bytes, depth: int) -> list[Tree]:
        try:
            return [self.message(data, depth + 1)]
        except NoMessageError:
            return []

    def _as_strings(self, data: bytes) -> list[Tree]:
        """KServe's raw_input_contents: strings with four bytes of length before each."""
        strings = length_prefixed(data)
        if strings is Failure.BODY_TOO_COMPLEX:
            raise TooComplexError
        if isinstance(strings, Failure):
            return []
        self._spend(len(strings), len(data))
        return [strings]

    def _spend(self, fields: int, copied: int) -> None:
        self._fields -= fields
        self._bytes -= copied
        if self._fields < 0 or self._bytes < 0:
            raise TooComplexError


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes | None]]:
    """Number and value of each field; None where a group opens, whose fields follow.

    Raises NoMessageError where the bytes are no message.
    """
    groups: list[int] = []
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, kind = tag >> 3, tag & 7
        if not 1 <= number <= _MAX_NUMBER or len(groups) > _MAX_OPEN_GROUPS:
            raise NoMessageError
        if kind == _GROUP:
            groups.append(number)
            yield number, None
        elif kind == _END_GROUP:
            if not groups or groups.pop() != number:
                raise NoMessageError
        else:
            value, at = _value(data, at, kind)
            yield number, value
    if groups:
        raise NoMessageError


def _value(data: bytes, at: int, kind: int) -> tuple[int | bytes, int]:
    """The value at `at`, and where it ends."""
    if kind == _VARINT:
        return _varint(data, at)
    if kind != _BYTES and kind not in _WIDTH:
        raise NoMessageError
    size, start = _varint(data, at) if kind == _BYTES else (_WIDTH[kind], at)
    content, end = data[start : start + size], start + size
    if end > len(data):
        raise NoMessageError
    return content if kind == _BYTES else int.from_bytes(content, "little"), end


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """The number at `at`, and where it ends."""
    value = 0
    for index, byte in enumerate(data[at : at + _MAX_VARINT_BYTES]):
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return value, at + index + 1
    raise NoMessageError
