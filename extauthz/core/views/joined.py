"""What texts say across their joints: a payload split over parts, messages, turns or tools."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Final

from extauthz.core.call import Provenance, Segment

#: Characters shown on each side of a joint: between texts of one provenance, between others, and
#: between the parts of a text. A chat of ordinary turns costs less than half as much again.
_RADIUS: Final = 64
_OTHER_RADIUS: Final = 40
_PART_RADIUS: Final = 32
#: A longest text: joints are packed, so that each does not cost a window of the model.
_PACKED: Final = 2_048

_Pieces = Sequence[tuple[Provenance, str]]


def joined(segments: Sequence[Segment]) -> list[tuple[Provenance, str]]:
    """(provenance, text) of what stands across the joints of `segments`, packed into few texts.

    Segments are joined in document order, and again those of one provenance with others between;
    the parts of a segment among themselves. Each joint is shown with a space in it and, if letters
    or digits meet there, without one. Pieces shorter than the radius chain on to the next, so that a
    payload in many small ones is whole. A joint between different provenances counts as the user's.
    """
    chains: list[tuple[Provenance, str]] = []
    everything = [(one.provenance, one.text) for one in segments]
    mixed = len({whose for whose, _ in everything}) > 1
    chains += _chains(everything, _OTHER_RADIUS if mixed else _RADIUS)
    for provenance in Provenance:
        own = [pair for pair in everything if pair[0] is provenance]
        if len(own) > 1 and mixed:
            chains += _chains(own, _RADIUS)
    for one in segments:
        chains += _chains([(one.provenance, part) for part in one.parts], _PART_RADIUS)
    return list(_packed(chains))


def _chains(pieces: _Pieces, radius: int) -> Iterator[tuple[Provenance, str]]:
    """The texts across the joints of consecutive pieces, with those of short pieces run together."""
    chain: list[str] = []
    whose: set[Provenance] = set()
    for (left_whose, left), (right_whose, right) in pairwise(pieces):
        if not chain:
            chain, whose = [left[-radius:]], {left_whose}
        whose.add(right_whose)
        if len(right) <= radius:
            chain.append(right)
            continue
        chain.append(right[:radius])
        yield from _shown(chain, whose)
        chain = []
    if chain:
        yield from _shown(chain, whose)


def _shown(chain: Sequence[str], whose: set[Provenance]) -> Iterator[tuple[Provenance, str]]:
    """A chain with spaces in its joints, and without where that makes other words."""
    owner = next(iter(whose)) if len(whose) == 1 else Provenance.USER
    yield owner, " ".join(chain)
    if any(_meet(left, right) for left, right in pairwise(chain)):
        yield owner, "".join(_glued(chain))


def _meet(left: str, right: str) -> bool:
    return left[-1:].isalnum() and right[:1].isalnum()


def _glued(chain: Sequence[str]) -> Iterator[str]:
    yield chain[0]
    for left, right in pairwise(chain):
        yield right if _meet(left, right) else f" {right}"


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
