"""What a request carries that is not text: named, counted, and left to the policy."""

import binascii
import re
import string
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

import numpy as np


class Opaque(StrEnum):
    """A kind of content that no text classifier can read."""

    IMAGE = "image"
    AUDIO = "audio"
    VIDEO = "video"
    #: PDF, office files, archives: formats whose text needs a program of its own.
    DOCUMENT = "document"
    #: Bytes that are neither text nor any format we know.
    BINARY = "binary"
    #: Numbers that stand for words of a vocabulary we do not have.
    TOKEN_IDS = "token_ids"  # noqa: S105 - a name, no secret
    #: What the upstream kept from another request: a file, a conversation, a stored prompt.
    STORED = "stored"
    #: What the upstream will fetch itself: the URL of an image, a file, a tool server.
    REMOTE = "remote"


@dataclass(frozen=True, slots=True)
class Blob:
    """A leaf of a body that is bytes and not a string: an uploaded file, a tensor."""

    data: bytes


class Content(NamedTuple):
    """What bytes are: a text, a format, or both (a PDF of ASCII, whose text is not all it shows)."""

    text: str | None
    kind: Opaque | None


class Carried(NamedTuple):
    """What a string at a place for media carries.

    `shown` is the part of it that has to be read as it stands; the rest is `content`, decoded.
    """

    shown: str
    content: Content | None
    remote: bool


#: Fewer bytes than four token ids of 32 bits: a number, a flag. Nothing can be said in them.
MEANINGFUL_BYTES: Final = 16
#: What no upstream reads words in, unless it takes them for something else.
_MEDIA: Final = frozenset({Opaque.IMAGE, Opaque.AUDIO, Opaque.VIDEO})

#: First bytes of each format, from its specification. What a sender says about the format (a
#: MIME type, a file name) is a claim and is not looked at.
_MAGIC: Final[tuple[tuple[bytes, Opaque], ...]] = (
    (b"\x89PNG", Opaque.IMAGE),
    (b"\xff\xd8\xff", Opaque.IMAGE),  # JPEG
    (b"GIF8", Opaque.IMAGE),
    (b"II*\x00", Opaque.IMAGE),  # TIFF
    (b"MM\x00*", Opaque.IMAGE),
    (b"\x00\x00\x00\x0cJXL ", Opaque.IMAGE),
    (b"RIFF", Opaque.AUDIO),  # WAV
    (b"ID3", Opaque.AUDIO),
    (b"OggS", Opaque.AUDIO),
    (b"fLaC", Opaque.AUDIO),
    (b"\x1aE\xdf\xa3", Opaque.VIDEO),  # WebM, with or without pictures
    (b"PK\x03\x04", Opaque.DOCUMENT),  # ZIP, and the office formats in it
    (b"PK\x05\x06", Opaque.DOCUMENT),
    (b"\xd0\xcf\x11\xe0", Opaque.DOCUMENT),  # OLE
    (b"\x1f\x8b", Opaque.DOCUMENT),  # gzip
    (b"7z\xbc\xaf\x27\x1c", Opaque.DOCUMENT),
    (b"BZh", Opaque.DOCUMENT),
    (b"\xfd7zXZ\x00", Opaque.DOCUMENT),
    (b"\x28\xb5\x2f\xfd", Opaque.DOCUMENT),  # zstd
    (b"Rar!\x1a\x07", Opaque.DOCUMENT),
    (b"{\\rtf", Opaque.DOCUMENT),
    (b"%!PS", Opaque.DOCUMENT),
)
#: Too short, or too common in text, to mean anything there.
_WEAK_MAGIC: Final[tuple[tuple[bytes, Opaque], ...]] = (
    (b"BM", Opaque.IMAGE),
    *((b"\xff" + bytes([mpeg]), Opaque.AUDIO) for mpeg in (0xFB, 0xF3, 0xF2, 0xFA, 0xF1, 0xF9)),
)
_RIFF: Final = {b"WEBP": Opaque.IMAGE, b"AVI ": Opaque.VIDEO}
#: Brands of the ISO base media format (ISO/IEC 14496-12) that are not films.
_BRANDS: Final = {
    b"M4A ": Opaque.AUDIO, b"M4B ": Opaque.AUDIO, b"heic": Opaque.IMAGE, b"heix": Opaque.IMAGE,
    b"mif1": Opaque.IMAGE, b"msf1": Opaque.IMAGE, b"avif": Opaque.IMAGE, b"avis": Opaque.IMAGE,
}  # fmt: skip
#: Readers look for a PDF's header this far into the file (ISO 32000-1, annex H.3).
_PDF_HEADER_WITHIN: Final = 1024

_CONTROLS: Final = bytes({*range(32), 127} - set(b"\t\n\f\r"))
#: Text has next to none; a tensor of 32-bit token ids is half zeros, one of 64-bit ids mostly.
_MAX_CONTROL_SHARE: Final = 1 / 4

#: URL parsers drop what is in front: control characters and blanks.
_DATA_URL: Final = re.compile(r"[\x00-\x20]*+data:([^,]*+),", re.IGNORECASE)
_BASE64_URL: Final = re.compile(r";\s*base64\s*$", re.IGNORECASE)
_URL: Final = re.compile(r"\s*+(?:[a-z][a-z0-9+.-]*+:)?//", re.IGNORECASE)
_LOOSE_BASE64: Final = re.compile(rb"[A-Za-z0-9+/_\-=\s]*+")
#: Shorter ones may be a word or two, and are too short to say anything else.
_MEANT_DIGITS: Final = 24
_NOT_BASE64: Final = bytes({*range(256)} - {*string.ascii_letters.encode(), *b"0123456789+/"})
_FROM_URL_SAFE: Final = bytes.maketrans(b"-_", b"+/")
#: Values of hexadecimal digits, 16 for every other byte.
_DIGITS: Final = np.array(
    [int(chr(c), 16) if chr(c) in string.hexdigits else 16 for c in range(256)], np.uint8
)
#: Beginnings of data URLs in which no word is the sender's own.
_PLAIN_HEADS: Final = frozenset(
    f"data:{kind}/{name};base64,"
    for kind, names in (
        ("image", ("png", "jpeg", "jpg", "gif", "webp", "bmp", "tiff", "heic", "avif", "svg+xml")),
        ("audio", ("wav", "x-wav", "mp3", "mpeg", "mp4", "ogg", "flac", "webm")),
        ("video", ("mp4", "webm", "mpeg")),
        ("application", ("pdf", "json", "octet-stream")),
        ("text", ("plain", "html", "csv", "markdown")),
    )
    for name in names
)


#: No MIME type and no name of a file is longer.
_LONGEST_CLAIM: Final = 512
#: MIME types that are neither of media nor of just any bytes, and names of files that do not end
#: as those of media do.
_OF_WORDS: Final = re.compile(
    r"\s*(?!image/|audio/|video/|[a-z]+/octet-stream|application/(?:ogg|mp4))[\w.+-]+/[\w.+-]"
    r"|[^/]*\.(?!(?:png|jpe?g?|jfif|gif|webp|bmp|tiff?|heic|heif|avif|jxl|mp[34]|mpeg|mpga|m4[abv]|wave?"
    r"|web[ma]|og[gav]|opus|flac|aac|avi|mov|mkv)\s*\Z)\w+\s*\Z",
    re.IGNORECASE,
)


def identify(data: bytes) -> Content:
    """Whether bytes are text, a format we know by its first bytes, both, or BINARY."""
    text, kind = _text_of(data), _format_of(data)
    if text is None and kind is None:
        kind = next((weak for magic, weak in _WEAK_MAGIC if data.startswith(magic)), Opaque.BINARY)
    return Content(text, kind)


def carried(text: str) -> Carried:
    """What a string carries where media may stand: a data URL, base64, a URL, or plain words.

    Only strict base64 is left out of `shown`. Where a lenient decoder would find text or a known
    format in something else, that is in `content` as well.
    """
    joined = _without_line_breaks(text)  # as URL parsers read it
    url = _DATA_URL.match(joined)
    header, data = (url[1], joined[url.end() :]) if url else ("", joined)
    if url and not _BASE64_URL.search(header):
        return Carried(text, _news(_percent_decoded(data), text, header), remote=False)
    if joined == text and (decoded := _strict_base64(data)) is not None:
        shown = url[0] if url and url[0].lower() not in _PLAIN_HEADS else ""
        return Carried(shown, doubted(identify(decoded), [header]), remote=False)
    digits = _percent_decoded(data) if url else data.encode()
    claim = header if url or _is_loose_base64(digits) else None
    content = _news(_lenient_base64(digits), text, claim)
    return Carried(text, content, remote=_URL.match(joined) is not None)


def doubted(content: Content, claims: Iterable[object]) -> Content:
    """`content`, but BINARY if it looks like a medium where one of `claims` says that it is none.

    A claim (a MIME type, the name of a file) is believed only in so far as the upstream may go by it
    and read text, whatever the bytes begin with: text in Latin-1 may begin with "BM", as a picture.
    """
    if content.text is None and content.kind in _MEDIA and any(map(_is_of_words, claims)):
        return content._replace(kind=Opaque.BINARY)
    return content


def _is_of_words(claim: object) -> bool:
    if not isinstance(claim, str):
        return False
    return len(claim) > _LONGEST_CLAIM or _OF_WORDS.match(claim) is not None


def _news(data: bytes, text: str, claim: str | None) -> Content | None:
    """The content of `data` where it says more than `text` does, which is read anyway.

    Plain words, too, are base64 of bytes of no format: those count only where there is a `claim`.
    """
    content = doubted(identify(data), [claim]) if data else None
    if content is None or (content.text and content.text in text):
        return None
    return None if claim is None and content.kind is Opaque.BINARY else content


def _is_loose_base64(text: bytes) -> bool:
    """Whether it is base64 to decoders that skip blanks and miss no padding, and long enough."""
    return len(text) >= _MEANT_DIGITS and _LOOSE_BASE64.fullmatch(text) is not None


def _without_line_breaks(text: str) -> str:
    """Three replacements: `translate` takes a second for some megabytes beyond ASCII."""
    return text.replace("\n", "").replace("\r", "").replace("\t", "")


def _strict_base64(text: str) -> bytes | None:
    """The bytes, if there are any and nobody could decode this differently. Base64url counts too."""
    standard = text.replace("-", "+").replace("_", "/")
    try:
        return binascii.a2b_base64(standard, strict_mode=True) or None
    except (binascii.Error, ValueError):
        return None


def _lenient_base64(data: bytes) -> bytes:
    """What decoders make of it that skip foreign characters and add what padding is missing."""
    letters = data.translate(_FROM_URL_SAFE, _NOT_BASE64.translate(None, b"-_"))
    usable = letters[: len(letters) - (len(letters) % 4 == 1)]
    return binascii.a2b_base64(usable + b"=" * (-len(usable) % 4))


def _percent_decoded(text: str) -> bytes:
    """`urllib.parse.unquote_to_bytes`, which would take 76 times the size of the text in memory."""
    data = np.frombuffer(text.encode(), np.uint8)
    values = _DIGITS[data]
    escapes = (data[:-2] == ord("%")) & (values[1:-1] < 16) & (values[2:] < 16)
    starts = np.flatnonzero(escapes)
    decoded, kept = data.copy(), np.ones(len(data), np.bool_)
    decoded[starts] = values[starts + 1] * 16 + values[starts + 2]
    kept[starts + 1] = kept[starts + 2] = False
    return decoded[kept].tobytes()


def _text_of(data: bytes) -> str | None:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return None
    controls = len(data) - len(data.translate(None, _CONTROLS))
    return text if controls <= _MAX_CONTROL_SHARE * len(data) else None


def _format_of(data: bytes) -> Opaque | None:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return None  # UTF-16, in which "ftyp" may be two letters
    if data.startswith(b"RIFF") and data[8:12] in _RIFF:
        return _RIFF[data[8:12]]
    if data[4:8] == b"ftyp":
        return _BRANDS.get(data[8:12], Opaque.VIDEO)
    if b"%PDF-" in data[:_PDF_HEADER_WITHIN]:
        return Opaque.DOCUMENT
    return next((kind for magic, kind in _MAGIC if data.startswith(magic)), None)
