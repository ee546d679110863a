"""A request body into the texts to score: parse, extract, show in every view. Pure and bounded."""

from dataclasses import dataclass

from extauthz.core.body import read_body
from extauthz.core.call import Call, Segment
from extauthz.core.dialects import Dialect
from extauthz.core.extract import Coverage, extract
from extauthz.core.policy import Limits
from extauthz.core.reasons import Failure
from extauthz.core.views import views


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


def read(call: Call, dialect: Dialect, limits: Limits) -> Reading | Failure:
    """Read the body of `call`.

    Fails as `read_body` does, or with BODY_TOO_COMPLEX when a text would grow beyond measure in a
    view.
    """
    body = read_body(call, limits.body_bytes)
    if isinstance(body, Failure):
        return body
    segments, coverage = extract(body, dialect)
    looks: list[Look] = []
    for segment in segments:
        shown = views(segment.text)
        if isinstance(shown, Failure):
            return shown
        looks += [Look(segment, view, text) for view, text in shown]
    stream = isinstance(body, dict) and body.get("stream") is True
    return Reading(tuple(looks), coverage, stream)
