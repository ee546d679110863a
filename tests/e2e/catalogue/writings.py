"""Ways to write one JSON body that mean the same to whoever reads it."""

import gzip
import json
import re
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

import brotli
import zstandard

from tests.e2e.catalogue.wire import Wire

_STRING: Final = re.compile(rb'"(?:[^"\\]|\\.)*"')


@dataclass(frozen=True, slots=True)
class Writing:
    """How a body is written, and the content-encoding that says so."""

    write: Callable[[bytes], bytes]
    label: str = ""

    def of(self, wire: Wire) -> Wire:
        """The same request, its body so written."""
        headers = (("content-encoding", self.label),) if self.label else ()
        return replace(wire, body=self.write(wire.body), headers=(*wire.headers, *headers))


def _reformatted(body: bytes) -> bytes:
    return json.dumps(json.loads(body), indent=3, ensure_ascii=False).encode()


def _escaped(body: bytes) -> bytes:
    """Every character inside a string as an escape."""
    return _STRING.sub(lambda found: _escape(json.loads(found[0])), body)


def _escape(text: str) -> bytes:
    units = struct.iter_unpack(">H", text.encode("utf-16-be"))
    return b'"%b"' % b"".join(b"\\u%04x" % unit for (unit,) in units)


def _reordered(body: bytes) -> bytes:
    return json.dumps(_turned(json.loads(body)), ensure_ascii=False).encode()


def _turned(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _turned(value[key]) for key in reversed(value)}
    return [_turned(member) for member in value] if isinstance(value, list) else value


def _padded(body: bytes) -> bytes:
    return b"\r\n " + body + b"\t\n"


def _zstd(body: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(body)


def _br_gzip(body: bytes) -> bytes:
    return gzip.compress(brotli.compress(body))


#: Read alike by every JSON parser, so read by us.
WRITINGS: Final[dict[str, Writing]] = {
    "reformatted": Writing(_reformatted),
    "escaped": Writing(_escaped),
    "reordered": Writing(_reordered),
    "padded": Writing(_padded),
    "gzip": Writing(gzip.compress, "gzip"),
    "deflate": Writing(zlib.compress, "deflate"),
    "br": Writing(brotli.compress, "br"),
    "zstd": Writing(_zstd, "zstd"),
    "br-gzip": Writing(_br_gzip, "br, gzip"),
}

#: Read by some parsers alone, so refused, whatever they say.
DISPUTED: Final[dict[str, Writing]] = {
    "utf-16": Writing(lambda body: body.decode().encode("utf-16")),
    "utf-8-mark": Writing(lambda body: b"\xef\xbb\xbf" + body),
}
