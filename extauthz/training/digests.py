"""sha256 of files, and the refusal of one that is not what was pinned."""

import hashlib
from pathlib import Path


class DigestError(RuntimeError):
    """A file's bytes are not the pinned ones."""


def sha256_of(path: Path) -> str:
    """The file's sha256 in lower-case hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def verify_sha256(path: Path, expected: str) -> None:
    """Raises `DigestError` unless the file's bytes are the expected ones."""
    actual = sha256_of(path)
    if actual != expected:
        raise DigestError(f"{path.name}: sha256 is {actual}, expected {expected}")
