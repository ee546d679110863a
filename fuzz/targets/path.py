"""Request targets: a path has one spelling, or none."""

from urllib.parse import quote, unquote

from extauthz.core.path import canonical_path
from extauthz.core.reasons import Failure
from fuzz.targets import require


def check(data: bytes) -> None:
    """Canonical paths are stable, and hold nothing that a router could read as another path."""
    target = data.decode("utf-8", "surrogateescape")
    path = canonical_path(target)
    if isinstance(path, Failure):
        require(path is Failure.PATH_AMBIGUOUS, "a path fails in one way only")
        return
    require(path.startswith("/"), "a path starts with a slash")
    require(canonical_path(quote(path)) == path, "a canonical path is one")
    require(unquote(path) == path, "nothing is left to decode")
    segments = path.split("/")
    require(not {".", ".."} & set(segments), "no dot segments")
    require("" not in segments[1:-1], "no empty segments")
