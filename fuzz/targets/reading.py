"""The whole way from a request to the texts that are scored."""

from extauthz.core.dialects import dialect_for
from extauthz.core.path import canonical_path
from extauthz.core.policy import Limits, Rule
from extauthz.core.reading import Reading, read
from fuzz.requests import MAX_BYTES, request
from fuzz.targets import require

_RULE = Rule(limits=Limits(body_bytes=MAX_BYTES))
_MAX_VIEWS = 16


def check(data: bytes) -> None:
    """Whatever is read is accounted for to the last byte, and looked at in its raw form."""
    call = request(data)
    path = canonical_path(call.path)
    reading = read(call, path, dialect_for(path), _RULE)
    if not isinstance(reading, Reading):
        return
    require(reading.coverage.complete, "scanned and exempt bytes are all there are")
    raw = [look for look in reading.looks if look.view == "raw"]
    require(all(look.text == look.segment.text for look in raw), "the raw view is the text")
    segments = {id(look.segment): look.segment for look in raw}.values()
    scanned = sum(len(part.encode()) for segment in segments for part in segment.parts)
    require(scanned >= reading.coverage.scanned, "what counts as scanned is in a segment")
    require(len(reading.looks) <= _MAX_VIEWS * max(1, len(segments)), "a text has few views")
