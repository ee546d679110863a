"""What texts say across their joints: a payload split over parts, messages, turns or tools."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Final

from extauthz.core.call import Provenance, Segment

#: Characters shown on each side of a joint: with a space in it, and without (one word is looked for
#: there, and most of its message stands in the message's own text).
_RADIUS: Final = 48
_GLUED_RADIUS: Final = 32
#: Where a text ends like this and the next begins anew, each says by itself what it says. Shorter
#: ones are fragments, whatever they end with.
_ENDS: Final = (".", "!", "?", "…", "。", "！", "？", "।", "؟", "۔")
_FRAGMENT: Final = 24
#: A longest text: joints are packed, so that each does not cost a window of the model.
_PACKED: Final = 2_048

_Pieces = Sequence[tuple[Provenance, str]]


def joined(segments: Sequence[Segment]) -> list[tuple[Provenance, str]]:
    """(provenance, text) of what stands across the joints of `segments`, packed into few texts.

    Segments are joined in document order, and again those of one provenance with others between;
    the parts of a segment among themselves. Each joint is shown with a space in it and, if letters
    or digits meet there, without one. Pieces shorter than the radius chain on to the next, so that a
    payload in many small ones is whole. A joint between different provenances counts as the user's.
    Nothing is shown where a sentence ends and another begins, nor across loose strings (the segment
    without a pointer), which nobody puts beside a message.
    """
    return list(_packed(_texts(segments)))


def _texts(segments: Sequence[Segment]) -> Iterator[tuple[Provenance, str]]:
    everything = [(one.provenance, one.text) for one in segments if one.pointer]
    mixed = len({whose for whose, _ in everything}) > 1
    rows = [everything]
    if mixed:
        rows += [[one for one in everything if one[0] is provenance] for provenance in Provenance]
    for row in rows:
        for whose, chain in _chains(row, _RADIUS):
            yield whose, " ".join(chain)
    # With white space between, the parts of a segment stand in its own text already.
    for row in rows:
        for whose, chain in _chains(row, _GLUED_RADIUS):
            yield from _glued(whose, chain, _meet)
    for one in segments:
        parts = [(one.provenance, part) for part in one.parts]
        for whose, chain in _chains(parts, _GLUED_RADIUS):
            yield from _glued(whose, chain, _meet_in_a_word)


def _chains(pieces: _Pieces, radius: int) -> Iterator[tuple[Provenance, list[str]]]:
    """The texts across the joints of consecutive pieces, with those of short pieces run together."""
    chain: list[str] = []
    whose: set[Provenance] = set()
    for (left_whose, left), (right_whose, right) in pairwise(pieces):
        if not _is_closed(left, right):
            chain = chain or [left[-radius:]]
            chain.append(right[:radius])
            whose |= {left_whose, right_whose}
            if len(right) <= radius:
                continue
        if chain:
            yield _owner(whose), chain
            chain, whose = [], set()
    if chain:
        yield _owner(whose), chain


def _owner(whose: set[Provenance]) -> Provenance:
    return next(iter(whose)) if len(whose) == 1 else Provenance.USER


def _is_closed(left: str, right: str) -> bool:
    """Whether no reader would read on from one text into the next."""
    return (
        min(len(left), len(right)) > _FRAGMENT
        and left.rstrip().endswith(_ENDS)
        and not right.lstrip()[:1].islower()
    )


def _meet(left: str, right: str) -> bool:
    return left[-1:].isalnum() and right[:1].isalnum()


def _meet_in_a_word(left: str, right: str) -> bool:
    """As letters of one word do, and not as an id and a sentence, or two names."""
    return (
        left[-1:].isalpha()
        and right[:1].isalpha()
        and not (left[-1:].islower() and right[:1].isupper())
    )


def _glued(
    whose: Provenance, chain: Sequence[str], meet: Callable[[str, str], bool]
) -> Iterator[tuple[Provenance, str]]:
    """The chain without spaces where its texts meet, if some do: it has other words then."""
    meeting = [meet(left, right) for left, right in pairwise(chain)]
    if any(meeting):
        gaps = ["" if met else " " for met in meeting]
        yield whose, chain[0] + "".join(map("".join, zip(gaps, chain[1:], strict=True)))


def _packed(chains: Iterable[tuple[Provenance, str]]) -> Iterator[tuple[Provenance, str]]:
    """The chains of each provenance in texts of about _PACKED characters, one chain a line."""
    held: dict[Provenance, list[str]] = {}
    for whose, chain in dict.fromkeys(chains):
        lines = held.setdefault(whose, [])
        if lines and sum(map(len, lines)) + len(chain) > _PACKED:
            yield whose, "\n".join(lines)
            lines.clear()
        lines.append(chain)
    for whose, lines in held.items():
        yield whose, "\n".join(lines)
