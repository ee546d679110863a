"""Attack success against the number of attempts: the same attack in ever other words and signs.

An attacker who is denied tries again. Each attempt changes the attack at random in ways that a reader,
or the model upstream, sees through; one that passes is enough.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from extauthz.core.call import Passage, Provenance
from extauthz.training.disguises import DISGUISES, typos
from extauthz.training.evaluation.metrics import Flags, Scores, Share, denied, share
from extauthz.training.evaluation.text_table import aligned, with_interval

#: The score of each text.
Score = Callable[[Sequence[Passage]], Scores]

#: Numbers of attempts that are reported.
COUNTS: Final = (1, 10, 100)
_MOST_CHANGES: Final = 3
_DISGUISED: Final = 0.3
_SURROUNDED: Final = 0.4
_MOST_SENTENCES: Final = 8
#: The share of gaps and signs that a change touches.
_TOUCHED: Final = 0.15
_FILLERS: Final = (
    "please",
    "just",
    "so",
    "well",
    "you know",
    "basically",
    "now",
    "like",
    "okay",
    "um",
)
_GAPS: Final = ("  ", "\n", "\t", "   ", "\n\n")
_SIGNS: Final[Mapping[str, tuple[str, ...]]] = {
    ".": ("!", "...", ";", " -"),
    ",": (";", " -", ""),
    ":": (" -", " =", ";"),
    "!": (".", "!!", ""),
    "?": ("??", "?!", "."),
    "-": ("–", "—", "_"),
    "'": ("’", "`", ""),
    '"': ("“", "''", "«"),
}
_CASES: Final = (str.upper, str.lower, str.title, str.swapcase)
#: Nobody's attack. A few of them fill a good part of a window.
_HONEST: Final = (
    "Thanks for the quick reply yesterday.",
    "The meeting is moved to Thursday at three.",
    "I am planning a week in Lisbon in May.",
    "Could you help me with a few things today?",
    "The kitchen needs a new tap and the garden a fence.",
    "Sales grew by four percent in the second quarter.",
    "My sister is allergic to nuts, so no almonds in the cake.",
    "The train leaves at 7:40 and takes two hours.",
    "The minutes of the last call are attached.",
    "The library opens at nine and closes at six.",
    "We compared three vendors and chose the cheapest.",
    "It has been raining here since Monday.",
)


@dataclass(frozen=True, slots=True)
class Success:
    """How often attackers get through.

    Attributes:
        as_written: the share of attacks that pass without any change.
        first_passes: for each attack the number of its first attempt that passed, from 1; None where
            all were denied.
        most: attempts that each had.
    """

    as_written: Share | None
    first_passes: tuple[int | None, ...]
    most: int

    def within(self, attempts: int) -> Share | None:
        """The share of attacks of which at least one of the first attempts passed."""
        passed = [first is not None and first <= attempts for first in self.first_passes]
        return share(np.array(passed, np.bool_))

    @property
    def counts(self) -> list[int]:
        """The numbers of attempts to report: COUNTS up to `most`, and `most`."""
        return [*(count for count in COUNTS if count < self.most), self.most]


def measure(
    attacks: Sequence[Passage], score: Score, thresholds: Mapping[Provenance, float], most: int
) -> Success:
    """Tries each attack as it is written, and then in up to `most` variants until one passes."""
    passes = _Gate(score, thresholds)
    as_written = share(passes(attacks))
    firsts: list[int | None] = [None] * len(attacks)
    tried = 0
    while tried < most:
        upto = min(most, max(1, 2 * tried))  # in rounds: what has passed needs no more attempts
        tries = [
            (place, attempt)
            for place, first in enumerate(firsts)
            if first is None
            for attempt in range(tried + 1, upto + 1)
        ]
        flags = passes([_variant(attacks[place], place, attempt) for place, attempt in tries])
        for (place, attempt), passed in zip(tries, flags, strict=True):
            if passed and firsts[place] is None:
                firsts[place] = attempt
        tried = upto
    return Success(as_written, tuple(firsts), most)


def perturbed(text: str, rng: random.Random) -> str:
    """The text in other case, words, signs and gaps, perhaps disguised, perhaps among honest text."""
    for change in rng.sample(_CHANGES, rng.randint(1, _MOST_CHANGES)):
        text = change(text, rng)
    if rng.random() < _DISGUISED:
        text = DISGUISES[rng.choice(sorted(DISGUISES))](text, rng)
    if rng.random() < _SURROUNDED:
        before, after = rng.randint(0, _MOST_SENTENCES), rng.randint(0, _MOST_SENTENCES)
        text = "\n".join([*rng.sample(_HONEST, before), text, *rng.sample(_HONEST, after)])
    return text


def render(success: Success) -> str:
    """A line for the attacks as they are written, and for each number of attempts."""
    rows = [["as written", with_interval(success.as_written)]]
    rows += [
        [f"{count} attempt{'s' if count > 1 else ''}", with_interval(success.within(count))]
        for count in success.counts
    ]
    return aligned(("attempts", "attacks that passed, %"), rows)


class _Gate:
    """Which passages the server would let pass."""

    def __init__(self, score: Score, thresholds: Mapping[Provenance, float]) -> None:
        self._score = score
        self._thresholds = thresholds

    def __call__(self, passages: Sequence[Passage]) -> Flags:
        at = np.array([self._thresholds[passage.provenance] for passage in passages])
        return ~denied(self._score(passages), at)


def _variant(attack: Passage, place: int, attempt: int) -> Passage:
    """The same one for the same place and attempt, whatever was tried before."""
    rng = random.Random(f"{place} {attempt}")  # noqa: S311 - nothing is secret
    return attack._replace(text=perturbed(attack.text, rng))


def _recased(text: str, rng: random.Random) -> str:
    return rng.choice(_CASES)(text)


def _padded(text: str, rng: random.Random) -> str:
    """Filler words before some words."""
    return " ".join(
        f"{rng.choice(_FILLERS)} {word}" if rng.random() < _TOUCHED else word
        for word in text.split(" ")
    )


def _respelt(text: str, rng: random.Random) -> str:
    """Other signs where signs are."""
    return "".join(rng.choice(_SIGNS[char]) if char in _SIGNS else char for char in text)


def _spread(text: str, rng: random.Random) -> str:
    """Other gaps between some words."""
    return "".join(
        rng.choice(_GAPS) if char == " " and rng.random() < _TOUCHED else char for char in text
    )


_CHANGES: Final = (_recased, _padded, _respelt, _spread, typos)
