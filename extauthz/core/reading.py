"""A request into the texts to score and the facts about them: decode, extract, view. Pure, bounded."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from extauthz.core.body import read_body
from extauthz.core.call import Call, Segment
from extauthz.core.dialects import Dialect
from extauthz.core.extract import Coverage, extract
from extauthz.core.findings import Finding
from extauthz.core.media import Tree
from extauthz.core.policy import Detect, Limits, Rule
from extauthz.core.query import read_query
from extauthz.core.reasons import Failure
from extauthz.core.rules.search import find
from extauthz.core.rules.upgrade import is_upgrade
from extauthz.core.views import grows_beyond_measure, views

#: Characters per admitted token, on average over a request. Prose has 4 to 5, indented JSON 8. What
#: has more is refused before any time is spent on its views.
_CHARS_PER_TOKEN: Final = 16


@dataclass(frozen=True, slots=True)
class Look:
    """One view of one segment: what is scored, on its own."""

    segment: Segment
    view: str
    text: str


@dataclass(frozen=True, slots=True)
class Reading:
    """Everything there is to know about a request before the classifier is asked.

    `stream`: the caller asked for its answer in pieces.
    """

    looks: tuple[Look, ...]
    coverage: Coverage
    stream: bool
    findings: tuple[Finding, ...] = ()


def read(call: Call, path: str, dialect: Dialect, rule: Rule) -> Reading | Failure:
    """Read `call`, whose canonical path is `path`, as `rule` wants it looked at.

    Fails as `read_body` and `read_query` do, and with UPGRADE_UNREADABLE, HEADER_MISMATCH (a header
    repeats a member of the body and says something else), TOO_MANY_TOKENS (more texts or characters
    than the tokens allowed could be), or BODY_TOO_COMPLEX (a view would grow beyond measure).
    """
    opened = _open(call, dialect, rule.limits)
    if isinstance(opened, Failure):
        return opened
    body, query = opened
    segments, coverage, findings = extract(body, dialect, query)
    if _is_too_much(segments, rule.limits):
        return Failure.TOO_MANY_TOKENS
    if grows_beyond_measure(segment.text for segment in segments):
        return Failure.BODY_TOO_COMPLEX
    looks = tuple(_looks(segments, rule.detect))
    found = dict.fromkeys([*findings, *_found(looks, rule.detect)])
    return Reading(looks, coverage, dialect.wants_stream(path, body), tuple(found))


def _open(call: Call, dialect: Dialect, limits: Limits) -> tuple[Tree, list[str]] | Failure:
    """The body, and the names and values of the query."""
    if is_upgrade(call):
        return Failure.UPGRADE_UNREADABLE
    query = read_query(call.path)
    if isinstance(query, Failure):
        return query
    body = read_body(call, dialect.accepts, limits.body_bytes)
    if isinstance(body, Failure):
        return body
    if dialect.contradicts(call.headers, body):
        return Failure.HEADER_MISMATCH
    return body, [text for pair in query for text in pair]


def _is_too_much(segments: tuple[Segment, ...], limits: Limits) -> bool:
    chars = sum(len(segment.text) for segment in segments)
    return len(segments) > limits.tokens or chars > _CHARS_PER_TOKEN * limits.tokens


def _looks(segments: tuple[Segment, ...], detect: Detect) -> Iterator[Look]:
    for segment in segments:
        for view, text in views(segment.text, detect.views):
            yield Look(segment, view, text)


def _found(looks: Iterable[Look], detect: Detect) -> Iterator[Finding]:
    for look in looks:
        yield from find(look.segment, look.view, look.text, detect)
