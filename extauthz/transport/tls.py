"""SPIFFE identities of verified client certificates."""

import ssl
from collections.abc import Iterator
from functools import lru_cache

# DER tags (X.690) and the one object identifier that a certificate is read for (RFC 5280).
_EXTENSIONS = 0xA3
_URI_NAME = 0x86
_SUBJECT_ALT_NAME = bytes.fromhex("551d11")


def _elements(der: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and content of each DER element of `der`, one after another."""
    position = 0
    while position < len(der):
        tag, length = der[position], der[position + 1]
        position += 2
        if length >= 0x80:
            size = length & 0x7F
            length = int.from_bytes(der[position : position + size])
            position += size
        content = der[position : position + length]
        if len(content) != length:
            raise ValueError("DER element is cut short")
        yield tag, content
        position += length


def _first(der: bytes) -> bytes:
    return next(_elements(der))[1]


def uri_names(certificate: str) -> tuple[str, ...]:
    """URI subject alternative names of a PEM certificate whose signature is already verified."""
    to_be_signed = _first(_first(ssl.PEM_cert_to_DER_cert(certificate)))
    for tag, content in _elements(to_be_signed):
        if tag == _EXTENSIONS:
            return tuple(_uris(_first(content)))
    return ()


def _uris(extensions: bytes) -> Iterator[str]:
    for _, extension in _elements(extensions):
        (_, identifier), *_, (_, value) = _elements(extension)
        if identifier == _SUBJECT_ALT_NAME:
            yield from (
                name.decode("ascii") for tag, name in _elements(_first(value)) if tag == _URI_NAME
            )


@lru_cache(maxsize=256)
def admits(spiffe_ids: tuple[str, ...], certificate: str) -> bool:
    """Whether the certificate's identity is listed. An SVID has exactly one URI name."""
    try:
        names = uri_names(certificate)
    except (ValueError, IndexError, StopIteration):
        return False
    return len(names) == 1 and names[0] in spiffe_ids
