"""A request body into the texts to score: parse, extract, show in every view. Pure and bounded."""

from dataclasses import dataclass

from extauthz.core.body import read_body
from extauthz.core.call import Call, Segment
from extauthz.core.dialects import Dialect
from extauthz.core.extract import Coverage, extract
from extauthz.core.findings import Finding
from extauthz.core.media import Media
from extauthz.core.policy import Rule
from extauthz.core.reasons import Failure
from extauthz.core.views import grows_beyond_measure, views


@dataclass(frozen=True, slots=True)
class Look:
    """One view of one segment: what is scored, on its own."""

    segment: Segment
    view: str
    text: str


@dataclass(frozen=True, slots=True)
class Reading:
    """Everything there is to score in a body. `stream`: the caller asked for server-sent events."""

    looks: tuple[Look, ...]
    coverage: Coverage
    stream: bool
    findings: tuple[Finding, ...] = ()


def read(call: Call, dialect: Dialect, rule: Rule) -> Reading | Failure:
    """Read the body of `call`.

    Fails as `read_body` does, with TOO_MANY_TOKENS when there are more texts than tokens may be, or
    with BODY_TOO_COMPLEX when the texts would grow beyond measure in a view.
    """
    body = read_body(call, frozenset({Media.JSON}), rule.limits.body_bytes)
    if isinstance(body, Failure):
        return body
    segments, coverage, findings = extract(body, dialect)
    if len(segments) > rule.limits.tokens:
        return Failure.TOO_MANY_TOKENS
    if grows_beyond_measure(segment.text for segment in segments):
        return Failure.BODY_TOO_COMPLEX
    looks = tuple(
        Look(segment, view, text) for segment in segments for view, text in views(segment.text)
    )
    stream = isinstance(body, dict) and body.get("stream") is True
    return Reading(looks, coverage, stream, findings)
