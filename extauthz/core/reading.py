"""A request into the texts to score and the facts about them: decode, extract, view. Pure, bounded."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, Protocol

from extauthz.core.body import read_body
from extauthz.core.budget.demand import Demand, demand, estimate
from extauthz.core.call import Call, Provenance, Segment
from extauthz.core.dialects import Dialect
from extauthz.core.extract import Coverage, Extraction, extract
from extauthz.core.findings import Detector, Finding
from extauthz.core.media import Tree
from extauthz.core.opaque import Opaque
from extauthz.core.policy import Action, Detect, Limits, Reaction, Rule
from extauthz.core.query import read_query
from extauthz.core.reasons import Failure
from extauthz.core.rules.search import find
from extauthz.core.rules.upgrade import is_upgrade
from extauthz.core.views import (
    JOINED,
    NORMALISED,
    RAW,
    grows_beyond_measure,
    hidden_channels,
    joined,
    normalise,
    views,
)
from extauthz.core.windows import CHARS_PER_TOKEN

#: Characters of all looks for each of the raw ones, beyond what any request may have.
_MOST_GROWTH: Final = 8
_FREE_GROWTH: Final = 4_096
_NO_DEMAND: Final = Demand()


class Vocabulary(Protocol):
    """What is known of the vocabularies of models upstream. None where that is nothing."""

    def text(self, model: str, ids: Sequence[int]) -> str | None:
        """What token ids say to the model of a name."""

    def count(self, model: str, text: str) -> int | None:
        """Tokens that a text is to it."""


class NoVocabulary:
    """Nothing is known of any model's vocabulary."""

    def text(self, _model: str, _ids: Sequence[int]) -> None:
        """Nobody knows what token ids say."""

    def count(self, _model: str, _text: str) -> None:
        """Nobody knows how many tokens a text is."""


NO_VOCABULARY: Final = NoVocabulary()


@dataclass(frozen=True, slots=True)
class Look:
    """One view of one segment: what is scored, on its own."""

    segment: Segment
    view: str
    text: str


@dataclass(frozen=True, slots=True)
class Reading:
    """Everything there is to know about a request before the classifier is asked.

    `stream`: the caller asked for its answer in pieces. `demand`: what it asks of the upstream.
    """

    looks: tuple[Look, ...]
    coverage: Coverage
    stream: bool
    findings: tuple[Finding, ...] = ()
    demand: Demand = _NO_DEMAND


def read(
    call: Call, path: str, dialect: Dialect, rule: Rule, vocabulary: Vocabulary = NO_VOCABULARY
) -> Reading | Failure:
    """Read `call`, whose canonical path is `path`, as `rule` wants it looked at.

    A rule that does not inspect has nothing looked at: only its demand is measured.

    Fails as `read_body` and `read_query` do, and with UPGRADE_UNREADABLE, HEADER_MISMATCH (a header
    repeats a member of the body and says something else), TOO_MANY_TOKENS (more texts or characters
    than the tokens allowed could be), or BODY_TOO_COMPLEX (a view would grow beyond measure).
    """
    opened = _open(call, dialect, rule.limits)
    if isinstance(opened, Failure):
        return opened
    body, query = opened
    extraction = extract(body, dialect, query)
    model = dialect.model_of(path, body)
    if Opaque.TOKEN_IDS in extraction.coverage.opaque:
        extraction = _spelled_out(extraction, model, vocabulary)
    segments, coverage, findings, _ = extraction
    if rule.action is Action.INSPECT and _is_too_much(segments, rule.limits):
        return Failure.TOO_MANY_TOKENS
    count = partial(vocabulary.count, model)
    tokens = estimate((segment.text for segment in segments), coverage, count)
    asked = demand(dialect, path, body, tokens)
    stream = dialect.wants_stream(path, body)
    if rule.action is not Action.INSPECT:
        return Reading((), coverage, stream, (), asked)
    if grows_beyond_measure(segment.text for segment in segments):
        return Failure.BODY_TOO_COMPLEX
    looks = tuple(_looks(segments, rule.detect))
    if _grew_beyond_measure(looks):
        return Failure.BODY_TOO_COMPLEX
    found = dict.fromkeys([*findings, *_found(looks, rule.detect)])
    return Reading(looks, coverage, stream, tuple(found), asked)


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


def _spelled_out(extraction: Extraction, model: str, vocabulary: Vocabulary) -> Extraction:
    """The extraction with the text of token ids, each array a segment, where a vocabulary is known."""
    given = [(ids, vocabulary.text(model, ids)) for ids in extraction.token_ids]
    read_ids = [(ids, text) for ids, text in given if text is not None]
    if not read_ids:
        return extraction
    coverage = extraction.coverage
    size = sum(len(text.encode()) for _, text in read_ids)
    opaque = Counter(coverage.opaque)
    opaque.subtract({Opaque.TOKEN_IDS: sum(len(ids) for ids, _ in read_ids)})
    return extraction._replace(
        segments=(
            *extraction.segments,
            *(Segment(Provenance.USER, "", text, (text,)) for _, text in read_ids if text),
        ),
        coverage=replace(
            coverage,
            total=coverage.total + size,
            scanned=coverage.scanned + size,
            opaque=dict(+opaque),
        ),
    )


def _is_too_much(segments: tuple[Segment, ...], limits: Limits) -> bool:
    """Whether there is more than the classifier may read, before any time is spent on views."""
    chars = sum(len(segment.text) for segment in segments)
    return len(segments) > limits.tokens or chars > CHARS_PER_TOKEN * limits.tokens


def _grew_beyond_measure(looks: tuple[Look, ...]) -> bool:
    """Whether there is more to look at than any honest request has: its texts three times."""
    raw = sum(len(look.text) for look in looks if look.view == RAW)
    return sum(len(look.text) for look in looks) > _MOST_GROWTH * raw + _FREE_GROWTH


def _looks(segments: tuple[Segment, ...], detect: Detect) -> Iterator[Look]:
    for segment in segments:
        for view, text in views(segment.text, detect.views):
            yield Look(segment, view, text)
    for provenance, across in joined(segments) if detect.views.joined else ():
        for view, text in views(across, detect.views):
            yield Look(Segment(provenance, "", text), JOINED if view == RAW else view, text)


def _found(looks: Iterable[Look], detect: Detect) -> Iterator[Finding]:
    for look in looks:
        # The normalised look leaves out what differs in typography only, and that a rule sees.
        if detect.views.normalised and look.view == RAW and not look.text.isascii():
            yield from find(look.segment, NORMALISED, normalise(look.text), detect)
        yield from find(look.segment, look.view, look.text, detect)
        # The normalised view shows what was hidden, so there is nothing hidden in it any more.
        if detect.hidden_text is not Reaction.IGNORE and look.view != NORMALISED:
            for channel in hidden_channels(look.text):
                yield Finding(Detector.HIDDEN_TEXT, look.segment.pointer, look.view, channel)
