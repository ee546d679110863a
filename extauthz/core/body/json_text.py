"""JSON, read strictly: a value only where every common parser would read the same value."""

from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from extauthz.core.reasons import Failure
from extauthz_kernels import json_members, json_shape

#: What an upstream may be made to build is bounded before we build it. No real request is
#: deeper than a dozen levels; parsers give up between 200 and 1,024.
MAX_DEPTH: Final = 64
#: `[[],[],...]` costs 27 times its size in memory once parsed. A 2 MB agent conversation has
#: some 20,000 members, an embedding of token ids more.
MAX_MEMBERS: Final = 200_000
#: Keys of one document: a key costs a parser four times what an element does. Lines are parsed one
#: by one, so that nobody waits long for any of them.
MAX_KEYS: Final = 50_000
#: Arrays around arrays cost 43 times their text. In a long body they may be two bytes in five.
_LONG_BYTES: Final = 64 * 1024
_MAX_OPENERS: Final = 0.4

#: An escape costs a parser up to 13 ns, and the event loop waits for all of them. So many are
#: more text than the default limit of tokens lets pass.
_MAX_ESCAPES: Final = 2**19

_BYTE_ORDER_MARKS: Final = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff")
_LINE_SPACE: Final = b" \t\r"
#: How msgspec says that a number overflows to infinity, or that its digits are too many.
_OUT_OF_RANGE: Final = ("Number out of range", "Integer value out of range")

Json = dict[str, Any] | list[Any] | str | int | float | bool | None


def parse(body: bytes) -> Json | Failure:
    """Parse one JSON document.

    Only what all parsers read alike: strict UTF-8 without BOM, no lone surrogate, NaN or infinity,
    no integer outside [-2^63, 2^64-1] (some round it), no two keys of an object that are equal
    after unescaping and case-folding (some take the first, some the last, Go's either).
    """
    found = _read([body], body, MAX_KEYS)
    return found if isinstance(found, Failure) else found[0]


def parse_lines(body: bytes) -> list[Json] | Failure:
    """Parse one JSON document a line, each as strictly as `parse` does. Empty lines are none."""
    if body.count(b"\n") > MAX_MEMBERS:
        return Failure.BODY_TOO_COMPLEX
    lines = [line for line in body.split(b"\n") if line.strip(_LINE_SPACE)]
    return _read(lines, body, MAX_MEMBERS)


def measure(body: bytes) -> tuple[int, int]:
    """(deepest nesting, members) of what a parser would build from `body`, valid or not."""
    shape = np.zeros(2, np.int64)
    json_shape(np.frombuffer(body, np.uint8), shape)
    return int(shape[0]), int(shape[1])


def fold(key: str) -> str:
    """The form in which keys are compared: equal for all that any server takes for one key.

    Go matches by simple folding, Java by upper and then lower case: dotless and dotted i are both
    an i to it. This is at least as coarse as either.
    """
    dotted = key.replace("\u0130", "i").replace("i\u0307", "i")
    return dotted.upper().casefold().upper().casefold()


def _read(documents: list[bytes], body: bytes, max_keys: int) -> list[Json] | Failure:
    """Parse `documents`, which are all there is in `body`."""
    if body.startswith(_BYTE_ORDER_MARKS):
        return Failure.BODY_BYTE_ORDER_MARK
    depth, members = measure(body)
    if depth > MAX_DEPTH or members + len(documents) > MAX_MEMBERS or _is_all_syntax(body):
        return Failure.BODY_TOO_COMPLEX
    found = _find_keys(body, depth, max_keys + 1)
    if len(found.digests) > max_keys:
        return Failure.BODY_TOO_COMPLEX
    try:
        values: list[Json] = [msgspec.json.decode(document) for document in documents]
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return _why_not(body, str(error))
    if found.large_integers:
        return Failure.BODY_NUMBER_TOO_LARGE
    return Failure.BODY_DUPLICATE_KEY if _has_duplicates(body, found) else values


def _is_all_syntax(body: bytes) -> bool:
    """Whether there is little but brackets or escapes in a long body."""
    openers = body.count(b"[") + body.count(b"{")
    crowded = len(body) > _LONG_BYTES and openers > _MAX_OPENERS * len(body)
    return crowded or body.count(b"\\") > _MAX_ESCAPES


def _why_not(body: bytes, error: str) -> Failure:
    if error.startswith(_OUT_OF_RANGE):
        return Failure.BODY_NUMBER_TOO_LARGE
    # The first character of JSON is ASCII: a NUL in or behind it is UTF-16 or UTF-32 (RFC 4627).
    if 0 in body[:2]:
        return Failure.BODY_NOT_UTF8
    try:
        body.decode("utf-8")
    except UnicodeDecodeError:
        return Failure.BODY_NOT_UTF8
    return Failure.BODY_MALFORMED


class _Found(NamedTuple):
    """What `json_members` finds."""

    keys: NDArray[np.int32]
    digests: NDArray[np.int64]
    odd_keys: int
    large_integers: int


def _find_keys(body: bytes, depth: int, most: int) -> _Found:
    """The first `most` keys of a text that is no deeper than `depth`."""
    most = min(body.count(b":"), most)
    owners, facts = np.empty(depth + 1, np.int64), np.empty(2, np.int64)
    keys, digests = np.empty((most, 4), np.int32), np.empty(most, np.int64)
    count = json_members(np.frombuffer(body, np.uint8), owners, keys, digests, facts)
    return _Found(keys[:count], digests[:count], int(facts[0]), int(facts[1]))


def _has_duplicates(body: bytes, found: _Found) -> bool:
    if _has_twins(found.digests):
        return True
    return found.odd_keys > 0 and _has_twins(_folded(body, found.keys))


def _folded(body: bytes, keys: NDArray[np.int32]) -> NDArray[np.int64]:
    """Digests, after unescaping and folding, of the keys of objects whose keys are not all plain."""
    odd = np.isin(keys[:, 0], keys[keys[:, 3] == 1, 0])
    rows = map(np.ndarray.tolist, keys[odd])
    return np.fromiter(
        (
            hash((owner, fold(msgspec.json.decode(body[start:end]))))
            for owner, start, end, _ in rows
        ),
        np.int64,
    )


def _has_twins(digests: NDArray[np.int64]) -> bool:
    ordered = np.sort(digests)
    return bool((ordered[1:] == ordered[:-1]).any())
