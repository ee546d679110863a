"""Only what a view adds to what was looked at before, with some of the text around it.

A view costs the model's time, and a long text in which one word was encoded is honest elsewhere.
Texts are compared as streams of words, so that typography (a no-break space, an ellipsis, a
full-width comma, a joiner inside an emoji) is no difference: it can hide no word.
"""

import re
import unicodedata
from typing import Final

import numpy as np
from numpy.typing import NDArray

from extauthz.core.views.points import ASSIGNED, points_of
from extauthz_kernels import changed_places, word_stream, words

#: Characters shown on both sides of a difference: no shorter phrase is lost at the edge of one.
CONTEXT: Final = 256
#: An edge is moved outwards by at most so much to stand between two words.
_WORD: Final = 32
_SPACE: Final = re.compile(r"\s")
_LAST_SPACE: Final = re.compile(r"\s\S*\Z")
#: Excerpts that are so large a share of the view are not worth the cuts.
_MOST: Final = 0.8
#: Scripts in which invisible joiners and variation selectors are spelling: Arabic to Myanmar,
#: Hangul jamo, Khmer and Mongolian, Tai scripts, Chinese, Japanese and Korean, presentation forms.
_CURSIVE: Final = (
    (0x590, 0x10A0), (0x1100, 0x1200), (0x1780, 0x18B0), (0x1950, 0x1AB0), (0x2E80, 0xABFF),
    (0xAC00, 0xD7B0), (0xF900, 0xFB00), (0xFB1D, 0xFE00), (0xFE70, 0xFEFF), (0x20000, ASSIGNED),
)  # fmt: skip


def _kinds() -> NDArray[np.uint8]:
    table = np.zeros(0xE01F0, np.uint8)
    for first, last in _CURSIVE:
        table[first:last] |= words.CURSIVE
    for point, char in enumerate(map(chr, range(len(table)))):
        category = unicodedata.category(char)
        selector = unicodedata.name(char, "").startswith(("VARIATION SEL", "MONGOLIAN FREE VAR"))
        if category in {"Cf", "Me"} or selector or point == 0x034F:
            table[point] = words.INVISIBLE
        elif category[0] == "M":
            # A reader of the script needs no marks, and NFKC writes them in another order.
            table[point] |= words.INVISIBLE if table[point] else words.BODY
        elif char.isalnum():
            table[point] |= words.BODY
    return table


def _plain() -> NDArray[np.uint32]:
    """What is the same to a reader: raised and circled digits, and letters with marks of a script."""
    table = np.arange(0x10000, dtype=np.uint32)
    for point, char in enumerate(map(chr, range(len(table)))):
        shown = unicodedata.normalize("NFKD", char)
        if char.isdigit() and shown in "0123456789":
            table[point] = ord(shown)
        elif _KINDS[point] & words.CURSIVE and len(shown) > 1:
            bases = [part for part in shown if not unicodedata.category(part).startswith("M")]
            table[point] = ord(bases[0]) if len(bases) == 1 else point
    return table


_KINDS: Final = _kinds()
_PLAIN: Final = _plain()


def excerpt(seen: str, view: str) -> str:
    """The parts of `view` that say what `seen` does not say; empty if there are none.

    A phrase of up to CONTEXT characters is in the excerpt if it is in the view and not in `seen`,
    white space and punctuation taken as spaces.
    """
    if seen == view:
        return ""
    old, _ = _stream(seen)
    new, origin = _stream(view)
    if len(old) == len(new) and (old == new).all():
        return ""
    return _cut(view, origin, _places(old, new))


def surroundings(seen: str, view: str, context: int = CONTEXT) -> str:
    """The parts of `view` that are not so in `seen`, typography included, with some text around."""
    new = points_of(view)
    places = _places(points_of(seen), new)
    return _cut(view, np.arange(len(new), dtype=np.int32), places, context)


def _stream(text: str) -> tuple[NDArray[np.uint32], NDArray[np.int32]]:
    points = points_of(text)
    stream, origin = np.empty_like(points), np.empty(len(points), np.int32)
    count = word_stream(points, _KINDS, _PLAIN, stream, origin)
    return stream[:count], origin[:count]


def _places(old: NDArray[np.uint32], new: NDArray[np.uint32]) -> NDArray[np.int32]:
    blocks = len(old) // words.ANCHOR
    places = np.empty((len(new) // words.ANCHOR + 2, 2), np.int32)
    head = np.full(1 << max(4, (2 * blocks).bit_length()), -1, np.int32)
    return places[: changed_places(old, new, head, np.empty(blocks, np.int32), places)]


def _cut(
    view: str, origin: NDArray[np.int32], places: NDArray[np.int32], context: int = CONTEXT
) -> str:
    """The places and their contexts, those that touch in one piece, each piece on its own line."""
    offsets = np.append(origin, len(view))
    starts = offsets[places[:, 0]] - context
    ends = offsets[places[:, 1]] + context
    apart = starts[1:] > ends[:-1] + 2 * _WORD
    firsts, lasts = starts[np.append(True, apart)], ends[np.append(apart, True)]
    pieces = [
        view[_back(view, int(first)) : _forth(view, int(last))]
        for first, last in zip(firsts, lasts, strict=True)
    ]
    return view if sum(map(len, pieces)) >= _MOST * len(view) else "\n".join(pieces)


def _back(view: str, start: int) -> int:
    """The nearest start of a word at or before `start`, if there is one close."""
    if start <= 0:
        return 0
    gap = _LAST_SPACE.search(view, max(0, start - _WORD), start)
    return gap.start() + 1 if gap else start


def _forth(view: str, end: int) -> int:
    if end >= len(view):
        return len(view)
    gap = _SPACE.search(view, end, end + _WORD)
    return gap.start() if gap else end
