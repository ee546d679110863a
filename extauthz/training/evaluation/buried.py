"""Attacks that are buried in long documents: a few lines of attack among pages that are honest.

Honest third-party texts (documents and tool results) are joined into documents of 8,000 to 32,000
characters, about 2,000 to 8,000 tokens, and an attack that third-party text carries is put before the
first of them, between two, or after the last. Each document is scored with its attack and without.

A document is denied for any one of its many texts, so false positives are far more than those of the
texts alone. One that is denied without its attack is mostly denied with it too, which is no merit: read
the recall beside the false positives.

A document is made of different texts, and a text is used again only when all others were. Where there
is too little, honest texts stand several times even in one document, and attacks in several documents:
the intervals, which take every document for a new one, are then too narrow. What users write is not
used, however little else there is.
"""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Final

import numpy as np

from extauthz.core.call import Passage, Provenance
from extauthz.training.evaluation.metrics import Scores, Share, denied, share
from extauthz.training.evaluation.sets import Placed
from extauthz.training.evaluation.text_table import aligned, with_interval
from extauthz.training.rows import THIRD_PARTY

#: The score of each text.
Score = Callable[[Sequence[Passage]], Scores]

#: Thirds of a document, by the honest characters before the attack.
THIRDS: Final = ("first third", "middle", "last third")
#: A blank line.
_GAP: Final = "\n\n"
#: Characters of an honest document.
_SHORTEST, _LONGEST = 8_000, 32_000
#: Of a text that documents are made of: a longer one would leave few places between texts.
_MOST_HONEST: Final = 4_000
#: Of an attack: a longer one is not buried, it is a good part of the document.
_MOST_ATTACK: Final = 1_500
_HEAD: Final = ("attack", "documents", "denied %")


@dataclass(frozen=True, slots=True)
class Buried:
    """What is denied of long documents. None is what could not be measured.

    Attributes:
        documents: honest ones; each was scored again with an attack in it, if there were attacks.
        texts: different honest texts that they are made of.
        attacks: different attacks that were buried in them.
        mean_length: characters of an honest document.
        recall: the share of documents with an attack that is denied.
        by_place: the same by the third of the document where the attack stands.
        false_positive_rate: the share of the same documents without an attack that is denied.
    """

    documents: int
    texts: int
    attacks: int
    mean_length: float | None
    recall: Share | None
    by_place: Mapping[str, Share | None]
    false_positive_rate: Share | None


def measure(
    placed: Sequence[Placed], score: Score, thresholds: Mapping[Provenance, float], number: int
) -> Buried:
    """Makes `number` documents of the rows, buries an attack in each, and scores both as documents.

    The same rows make the same documents, and a smaller number of them the first ones.
    """
    texts = _third_party(placed, 0, _MOST_HONEST)
    documents = list(islice(_documents(texts), number))
    buried = list(_with_attacks(documents, _third_party(placed, 1, _MOST_ATTACK)))
    honest = [_GAP.join(parts) for parts in documents]
    shown = [*honest, *(text for text, _, _ in buried)]
    scores = score([Passage(Provenance.DOCUMENT, text) for text in shown])
    flags = denied(scores, thresholds[Provenance.DOCUMENT])
    alarms, found = flags[: len(honest)], flags[len(honest) :]
    third = np.array([third for _, third, _ in buried], np.intp)
    return Buried(
        documents=len(honest),
        texts=len({text for parts in documents for text in parts}),
        attacks=len({attack for _, _, attack in buried}),
        mean_length=sum(map(len, honest)) / len(honest) if honest else None,
        recall=share(found),
        by_place={name: share(found[third == place]) for place, name in enumerate(THIRDS)},
        false_positive_rate=share(alarms),
    )


def render(found: Buried) -> str:
    """A line for all places of the attack, for each third, and for the documents without one."""
    shares = {"anywhere": found.recall, **found.by_place, "none": found.false_positive_rate}
    rows = [[name, f"{one.of if one else 0}", with_interval(one)] for name, one in shares.items()]
    return aligned(_HEAD, rows)


def _third_party(placed: Sequence[Placed], label: int, most_chars: int) -> list[str]:
    """The different third-party texts of a class that are no longer than that."""
    rows = (one.row for one in placed if one.row.label == label)
    texts = (row.text.strip() for row in rows if row.channel in THIRD_PARTY)
    return list(dict.fromkeys(text for text in texts if 0 < len(text) <= most_chars))


def _documents(texts: Sequence[str]) -> Iterator[list[str]]:
    """Without end, the texts of one document after another; none of no texts."""
    rng = random.Random("documents")  # noqa: S311 - nothing is secret
    unused: list[str] = []
    while texts:
        # The last text may go beyond the length that is wanted, and no document beyond the longest.
        wanted = rng.randint(_SHORTEST, _LONGEST - _MOST_HONEST - len(_GAP))
        parts: list[str] = []
        length = -len(_GAP)
        while length < wanted:
            if not unused:
                here = set(parts)
                unused = sorted(rng.sample(texts, len(texts)), key=lambda text: text not in here)
            parts.append(unused.pop())
            length += len(_GAP) + len(parts[-1])
        yield parts


def _with_attacks(
    documents: Sequence[Sequence[str]], attacks: Sequence[str]
) -> Iterator[tuple[str, int, str]]:
    """Each document with an attack in it, the third where it stands, and the attack."""
    rng = random.Random("attacks")  # noqa: S311 - nothing is secret
    shuffled = cycle(rng.sample(attacks, len(attacks)))
    for parts, attack in zip(documents, shuffled, strict=False):
        place = rng.randint(0, len(parts))
        before, after = parts[:place], parts[place:]
        third = len(THIRDS) * len(_GAP.join(before)) // len(_GAP.join(parts))
        yield _GAP.join([*before, attack, *after]), min(third, len(THIRDS) - 1), attack
