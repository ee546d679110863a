"""What a request carries that is not text: named, counted, and left to the policy."""

from dataclasses import dataclass
from enum import StrEnum


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
