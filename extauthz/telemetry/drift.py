"""How far the scores of live texts are from those that thresholds were measured on.

The population stability index: 0 where both are spread alike; by custom, above 0.1 is worth a look and
above 0.25 a new calibration. It says that texts have changed and not why: a new application, another
language, and an attack all look like that.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import log
from typing import Final, NamedTuple

from extauthz.core.call import Provenance
from extauthz.core.decision import Scored
from extauthz.core.views import JOINED, RAW

#: Texts that are compared: the last ones of a provenance.
RECENT: Final = 2_000
#: With fewer texts the index is mostly chance: 0.02 for twelve bins and this many.
ENOUGH: Final = 500
#: Below, a calibration tells two or three kinds of scores apart, and nothing of how they are spread.
_FEWEST_BINS: Final = 4
#: The index counts so many texts more, spread as honest ones are: an empty bin is no infinity.
_PRIOR: Final = 10


class Spread(NamedTuple):
    """How the scores of honest texts are spread.

    Attributes:
        edges: where one bin ends and the next begins, rising.
        shares: of honest texts in each bin, one more than edges; none is 0.
    """

    edges: tuple[float, ...]
    shares: tuple[float, ...]


def spread(rates: Sequence[float], thresholds: Sequence[float], texts: int) -> Spread | None:
    """What a column of a calibration says of honest scores. None where that is too little.

    Args:
        rates: shares of honest texts, falling.
        thresholds: that such shares reach, rising.
        texts: from which they were measured. Rates below one in that many were not seen.
    """
    # Of rates with one threshold the lowest counts: no more than that reached it.
    reached = {
        threshold: rate
        for rate, threshold in zip(rates, thresholds, strict=True)
        if rate * texts >= 1
    }
    if len(reached) + 1 < _FEWEST_BINS:
        return None
    beyond = [1.0, *reached.values(), 0.0]
    return Spread(tuple(reached), tuple(one - next_one for one, next_one in pairwise(beyond)))


def stability_index(counts: Sequence[int], shares: Sequence[float]) -> float:
    """How far `counts` in bins are from the `shares` that are expected in them, 0 or more."""
    total = sum(counts) + _PRIOR
    found = ((count + _PRIOR * share) / total for count, share in zip(counts, shares, strict=True))
    return sum((one - share) * log(one / share) for one, share in zip(found, shares, strict=True))


class Drift:
    """The scores of the last texts of one provenance, beside those of honest ones."""

    def __init__(self, honest: Spread) -> None:
        """Begin with no text."""
        self._honest: Final = honest
        self._recent: Final[deque[int]] = deque()
        self._counts: Final = [0] * len(honest.shares)

    def saw(self, score: float) -> None:
        """One more text, with the score of its worst view."""
        if len(self._recent) == RECENT:
            self._counts[self._recent.popleft()] -= 1
        place = bisect_right(self._honest.edges, score)
        self._recent.append(place)
        self._counts[place] += 1

    def index(self) -> float:
        """`stability_index` of the last texts; 0 until there are ENOUGH."""
        if len(self._recent) < ENOUGH:
            return 0.0
        return stability_index(self._counts, self._honest.shares)


def worst_of_each_text(scored: Sequence[Scored]) -> Iterator[tuple[Provenance, float]]:
    """Where each text is from, and its highest score over all views, as a calibration measures it.

    `scored` is in the order of reading: the raw view of a text, its other views, and at the end what
    was joined across texts, which is no text of anybody's.
    """
    views: list[Scored] = []
    for one in scored:
        if one.view in {RAW, JOINED}:
            yield from _worst(views)
            views = []
        if one.view == JOINED:
            return
        views.append(one)
    yield from _worst(views)


def _worst(views: Sequence[Scored]) -> Iterator[tuple[Provenance, float]]:
    if views:
        yield views[0].provenance, max(view.score for view in views)
