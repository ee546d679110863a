"""What we scan of a body, and what other parsers read in it. The one must hold the other."""

import json
from collections.abc import Callable
from typing import Any, Final

import msgspec
import orjson

from extauthz.core.call import Call
from extauthz.core.dialects import dialect_for
from extauthz.core.policy import Rule
from extauthz.core.reading import read
from extauthz.core.reasons import Failure

_PATH: Final = "/v1/chat/completions"
_HEADERS: Final = {"content-type": "application/json"}


class _Pairs(list[tuple[str, Any]]):
    """An object with every member that is written."""


def _every_pair(body: bytes) -> object:
    return json.loads(body.decode(), object_pairs_hook=_Pairs)


#: What reads a body. Each raises for what it refuses. `every pair` stands for readers that take the
#: first of two equal keys, or merge them, or compare names without regard to case.
PARSERS: Final[dict[str, Callable[[bytes], object]]] = {
    "json, bytes": json.loads,
    "json, str": lambda body: json.loads(body.decode()),
    "orjson": orjson.loads,
    "msgspec": msgspec.json.decode,
}
EVERY_PAIR: Final = {"every pair": _every_pair}


def scanned(body: bytes) -> frozenset[str] | Failure:
    """Every text that we look at in a chat request with this body, or why it is denied."""
    call = Call(method="POST", path=_PATH, body=body, headers=_HEADERS)
    dialect = dialect_for(_PATH)
    reading = read(call, _PATH, dialect, Rule())
    if isinstance(reading, Failure):
        return reading
    if not reading.coverage.complete:
        raise RuntimeError(body)
    parts = {part for look in reading.looks for part in look.segment.parts}
    return dialect.vocabulary | parts | {""}


def texts(value: object) -> set[str]:
    """Every key and every string of a parsed body."""
    found: set[str] = set()
    waiting = [value]
    while waiting:
        node = waiting.pop()
        if isinstance(node, str):
            found.add(node)
        elif isinstance(node, dict):
            found.update(node)
            waiting += node.values()
        elif isinstance(node, _Pairs):
            found.update(key for key, _ in node)
            waiting += (member for _, member in node)
        elif isinstance(node, list):
            waiting += node
    return found


def understood(parse: Callable[[bytes], object], body: bytes) -> set[str] | None:
    """What a parser reads in a body; None if it refuses it."""
    try:
        return texts(parse(body))
    except (ValueError, RuntimeError, msgspec.DecodeError):
        return None


def fault(
    body: bytes, parsers: dict[str, Callable[[bytes], object]] | None = None
) -> tuple[str, str] | None:
    """(kind, parser) of the first thing wrong with letting this body pass, if anything is."""
    seen = scanned(body)
    if isinstance(seen, Failure):
        return None
    for name, parse in ((parsers or PARSERS) | EVERY_PAIR).items():
        if (read_there := understood(parse, body)) is None:
            return "too lenient", name
        if not read_there <= seen:
            return "disagreement", name
    return None
