"""Body decoding: any bytes under any headers, in any of the formats."""

from extauthz.core.body import read_body
from extauthz.core.media import Media
from extauthz.core.reasons import Failure
from fuzz.requests import MAX_BYTES, request, size
from fuzz.targets import require

#: A gRPC field can be read in several ways, and each reading is kept.
_MAX_COPIES = 10


def check(data: bytes) -> None:
    """A tree or a failure, never an exception, and never more than the limit allows."""
    call = request(data)
    tree = read_body(call, frozenset(Media), MAX_BYTES)
    if not isinstance(tree, Failure):
        require(size(tree) <= _MAX_COPIES * MAX_BYTES, "what is read is bounded by the limit")
    small = read_body(call, frozenset(Media), len(call.body) // 2)
    require(not call.body or small is not None, "a body over the limit is not an empty one")
    again = read_body(call, frozenset(Media), MAX_BYTES)
    require(repr(again) == repr(tree), "the same bytes are read alike")
