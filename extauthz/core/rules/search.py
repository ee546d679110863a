"""One view of one text through every deterministic rule."""

from collections.abc import Iterator
from typing import Final

from extauthz.core.call import Provenance, Segment
from extauthz.core.findings import Detector, Finding
from extauthz.core.policy import Detect, Reaction
from extauthz.core.rules.linear import encode
from extauthz.core.rules.special_tokens import find_special_tokens
from extauthz.core.rules.turns import UNNAMED, more_turns_than, speakers

#: Who speaks in a text anyway. A turn of one's own imitates nobody.
_SPEAKER: Final = {
    Provenance.SYSTEM: "system",
    Provenance.USER: "user",
    Provenance.ASSISTANT: "assistant",
    Provenance.TOOL_RESULT: "tool",
}


def find(segment: Segment, view: str, text: str, detect: Detect) -> Iterator[Finding]:
    """What `detect` looks for in `text`, which is `segment` in one of its views.

    A detector whose reaction is `ignore` does not run. Findings have names: of a family of special
    tokens, of the imitated speaker, of a pattern list. Total, and linear in the text.
    """
    utf8 = encode(text)
    for detector, name in _found(utf8, segment.provenance, detect):
        yield Finding(detector, segment.pointer, view, name)
    yield from _patterns(segment, view, text, detect)


def _patterns(segment: Segment, view: str, text: str, detect: Detect) -> Iterator[Finding]:
    """The pattern lists of `detect` that occur in `text`, which is `segment` in one of its views."""
    if detect.patterns:
        for name in sorted(detect.pattern_set.find(encode(text))):
            yield Finding(Detector.PATTERN, segment.pointer, view, name)


def _found(utf8: bytes, provenance: Provenance, detect: Detect) -> Iterator[tuple[Detector, str]]:
    if detect.special_tokens is not Reaction.IGNORE:
        for family in sorted(find_special_tokens(utf8)):
            yield Detector.SPECIAL_TOKENS, family
    yield from _turns(utf8, provenance, detect)


def _turns(utf8: bytes, provenance: Provenance, detect: Detect) -> Iterator[tuple[Detector, str]]:
    lookalikes = detect.role_lookalikes is not Reaction.IGNORE
    many_shot = detect.many_shot.reaction is not Reaction.IGNORE
    found = speakers(utf8) if lookalikes or many_shot else frozenset()
    if lookalikes:
        for speaker in sorted(found - {UNNAMED, _SPEAKER.get(provenance)}):
            yield Detector.ROLE_LOOKALIKES, speaker
    if many_shot and found and more_turns_than(utf8, detect.many_shot.turns):
        yield Detector.MANY_SHOT, ""
