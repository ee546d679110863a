"""Ways to write a text that a model reads and a filter perhaps does not, written for these tests."""

import base64
import binascii
import codecs
import string
from collections.abc import Callable
from typing import Final

from tests.e2e.catalogue.encodings import MORSE

Encode = Callable[[str], str]

_LETTERS: Final = string.ascii_lowercase
_ATBASH: Final = str.maketrans(_LETTERS + _LETTERS.upper(), _LETTERS[::-1] + _LETTERS[::-1].upper())
_ROT47: Final = {point: 33 + (point - 33 + 47) % 94 for point in range(33, 127)}


def _each(form: str, joint: str = "") -> Encode:
    return lambda text: joint.join(form.format(byte) for byte in text.encode())


def _ascii(encode: Callable[[bytes], bytes]) -> Encode:
    return lambda text: encode(text.encode()).decode("ascii")


def _wrapped(text: str, width: int, end: str = "\n") -> str:
    return end.join(text[at : at + width] for at in range(0, len(text), width))


def _uu(text: str) -> str:
    data = text.encode()
    lines = (binascii.b2a_uu(data[at : at + 45]).decode() for at in range(0, len(data), 45))
    return f"\nbegin 644 a\n{''.join(lines)}`\nend\n"


def _morse(text: str) -> str:
    return " / ".join(
        " ".join(MORSE[char] for char in word if char in MORSE) for word in text.lower().split()
    )


def _words(encode: Encode) -> Encode:
    return lambda text: " ".join(map(encode, text.split()))


_BASE64: Final = _ascii(base64.b64encode)
_URL: Final = _ascii(base64.urlsafe_b64encode)

#: Encodings that mark themselves: text is found in them however short it is.
ESCAPES: Final[dict[str, Encode]] = {
    "percent": _each("%{:02x}"),
    "entities in decimal": _each("&#{};"),
    "entities in hexadecimal": _each("&#x{:X};"),
    "hexadecimal escapes": _each("\\x{:02x}"),
    "octal escapes": _each("\\{:03o}"),
    "unicode escapes": lambda text: "".join(f"\\u{ord(char):04x}" for char in text),
    "unicode escapes in braces": lambda text: "".join(f"\\u{{{ord(char):x}}}" for char in text),
    "quoted-printable": _each("={:02X}"),
}
#: Numbers for characters: a phrase is found in them.
NUMBERS: Final[dict[str, Encode]] = {
    "base64": _BASE64,
    "base64 without padding": lambda text: _BASE64(text).rstrip("="),
    "base64 for URLs": _URL,
    "base64 for URLs without padding": lambda text: _URL(text).rstrip("="),
    "base64 for URLs over lines": lambda text: _wrapped(_URL(text), 64),
    "base64 over lines": lambda text: _wrapped(_BASE64(text), 20),
    "base64 over lines of mail": lambda text: _wrapped(_BASE64(text), 76, "\r\n"),
    "base64 in a data URL": lambda text: f"data:text/plain;base64,{_BASE64(text)}",
    "base64 of UTF-16": lambda text: base64.b64encode(text.encode("utf-16-le")).decode(),
    "base32": _ascii(base64.b32encode),
    "base32 in lower case": lambda text: base64.b32encode(text.encode()).decode().lower(),
    "ascii85": lambda text: f"<~{base64.a85encode(text.encode()).decode()}~>",
    "hexadecimal": _each("{:02x}"),
    "hexadecimal in capitals": _each("{:02X}"),
    "hexadecimal over lines": lambda text: _wrapped(text.encode().hex(), 32),
    "hexadecimal with spaces": _each("{:02X}", " "),
    "hexadecimal with colons": _each("{:02x}", ":"),
    "hexadecimal literals": _each("0x{:02x}", ", "),
    "binary": _each("{:08b}"),
    "binary with spaces": _each("{:08b}", " "),
    "decimal": _each("{}", " "),
    "decimal with commas": _each("{}", ", "),
    "octal": _each("{:03o}", " "),
    "uuencode": _uu,
}
#: Those of octets, whose text may be in any language. Ascii85 has escapes in it by chance.
OCTETS: Final = {
    kind: encode
    for kind, encode in NUMBERS.items()
    if kind.startswith(("base", "hexadecimal", "binary"))
    and not kind.endswith(("UTF-16", "spaces", "colons", "literals"))
}
#: Told only by how letters follow one another: a sentence is found in them.
CIPHERS: Final[dict[str, Encode]] = {
    "rot13": lambda text: codecs.encode(text, "rot13"),
    "a shift by three": lambda text: text.translate(
        str.maketrans(_LETTERS, _LETTERS[3:] + _LETTERS[:3])
    ),
    "atbash": lambda text: text.translate(_ATBASH),
    "rot47": lambda text: text.translate(_ROT47),
    "backwards": lambda text: text[::-1],
    "each word backwards": _words(lambda word: word[::-1]),
    "leet": lambda text: text.translate(str.maketrans("aeiost", "431057")),
    "Morse": _morse,
    "base64 of each word": _words(_BASE64),
}
ENCODINGS: Final = ESCAPES | NUMBERS | CIPHERS
