"""New texts out of the given ones: payloads in documents, attacks in chatter, words in disguise.

Each kind of attack has honest twins made in the same way, so that a seam, a wrapper or a disguise is no
sign of anything. Everything follows from the rows and the seed.
"""

import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from extauthz.core.call import Provenance
from extauthz.core.views import RAW, views
from extauthz.training.corpus import PAYLOAD
from extauthz.training.disguises import ENCODED, LEGIBLE
from extauthz.training.rows import THIRD_PARTY, Row

#: Characters around a payload that is planted. A window of 256 tokens holds some 1,000.
_CARRIER_CHARS: Final = (80, 900)
#: A longer attack would fill the window, and leave no document around it.
_MOST_PAYLOAD_CHARS: Final = 450
#: The share of planted documents that a user pastes.
_PASTED: Final = 0.15
#: The share of attacks that follow the honest request they share a turn with: most do.
_TAIL: Final = 0.7
#: Where an attack is one too, whoever was attacked first: a client may write any role of its request.
_ATTACKS_MOVE_TO: Final = (
    Provenance.SYSTEM,
    Provenance.ASSISTANT,
    Provenance.TOOL_DEFINITION,
    Provenance.DOCUMENT,
)
#: Where honest texts are honest too. A user's task is out of place in a document.
_HONEST_MOVE_TO: Final = (
    Provenance.SYSTEM,
    Provenance.ASSISTANT,
    Provenance.TOOL_DEFINITION,
    Provenance.USER,
)
#: How a payload is set apart from the text it stands in, if at all. The first ones are the likeliest.
_WRAPPERS: Final = (
    " {} ",
    "\n{}\n",
    " {} ",
    "\n\n{}\n\n",
    "\n- {}\n",
    "\n> {}\n",
    " ({}) ",
    "\n<!-- {} -->\n",
    "\n/* {} */\n",
    "\n# {}\n",
    '", "note": "{}", "status": "',
    "\\n{}\\n",
    "\n***\n{}\n***\n",
    " [{}] ",
    "\n| {} |\n",
    '<p style="display:none">{}</p>',
    "\nP.S. {}\n",
    '"{}"',
)
#: What a user wants done with a text.
_TASKS: Final = (
    "Summarize the following text:\n\n{}",
    "Translate this to French: {}",
    "{}\n\nWhat is the main point of this text?",
    "Rewrite this more politely:\n{}",
    "Here is what I got so far:\n{}\nCan you check it?",
    "Context: {}\n\nAnswer the question using only the context.",
    "Fix the grammar. {}",
    "Classify the sentiment of this message.\n\n{}",
    "hi, {}",
    "{} thanks!",
)


@dataclass(frozen=True, slots=True)
class Mix:
    """How many texts of each kind are composed for one epoch."""

    planted: int = 5_000
    spliced: int = 4_500
    embedded: int = 2_000
    chattered: int = 2_500
    moved: int = 2_000
    disguised: int = 3_000


class Composer:
    """Composes epoch after epoch from the same rows, each time other texts."""

    def __init__(self, rows: Sequence[Row], seed: int) -> None:
        """Sort the rows by what they can be used for."""
        self._rng = random.Random(seed)  # noqa: S311 - nothing is secret
        attacks = [row for row in rows if row.label == 1]
        honest = [row for row in rows if row.label == 0]
        self._payloads = _Sources(
            [
                row
                for row in attacks
                if len(row.text) <= _MOST_PAYLOAD_CHARS
                and (row.kind.endswith(PAYLOAD) or row.channel is Provenance.USER)
            ]
        )
        self._carriers = _Sources([row for row in honest if row.channel in THIRD_PARTY])
        self._asks = _Sources([row for row in honest if row.channel is Provenance.USER])
        self._said = _Sources([row for row in attacks if row.channel is Provenance.USER])
        self._any = (_Sources(honest), _Sources(attacks))

    def epoch(self, mix: Mix) -> list[Row]:
        """The composed texts of one epoch; none of a kind whose parts are missing."""
        kinds = (
            (mix.planted, self._planted, (self._payloads, self._carriers)),
            (mix.spliced, self._spliced, (self._carriers,)),
            (mix.embedded, self._embedded, (self._said, self._asks)),
            (mix.chattered, self._chattered, (self._asks,)),
            (mix.moved, self._moved, (self._said, self._any[0])),
        )
        made = [make() for count, make, needs in kinds if all(needs) for _ in range(count)]
        return [*made, *self._disguised(mix.disguised)]

    def _planted(self) -> Row:
        """A payload in a piece of a document."""
        carrier, payload = self._carriers.draw(self._rng), self._payloads.draw(self._rng)
        if payload.lang != "en" and self._rng.random() < 0.7:
            carrier = self._carriers.draw(self._rng, payload.lang)
        text = self._inserted(self._piece(carrier.text), payload.text)
        return self._handed(replace(carrier, text=text, label=1, kind="planted"))

    def _spliced(self) -> Row:
        """The honest twin: a sentence of one document in a piece of another."""
        carrier, other = self._carriers.draw(self._rng), self._carriers.draw(self._rng)
        start = self._rng.randrange(max(1, len(other.text) - 120))
        words = other.text[start : start + self._rng.randint(30, 250)].split()[1:-1]
        text = self._inserted(self._piece(carrier.text), " ".join(words))
        return self._handed(replace(carrier, text=text, kind="spliced"))

    def _handed(self, row: Row) -> Row:
        """A document as its own text, or pasted by a user into a task."""
        if self._rng.random() < _PASTED:
            task = self._rng.choice(_TASKS).replace("{}", row.text)
            row = replace(row, text=task, channel=Provenance.USER)
        return replace(row, source="composed")

    def _embedded(self) -> Row:
        """A user's attack before, after or inside an honest request."""
        attack, ask = self._said.draw(self._rng), self._asks.draw(self._rng)
        text = self._beside(attack.text[:1_000], ask.text[:600])
        return replace(attack, text=text, kind="embedded", source="composed")

    def _chattered(self) -> Row:
        """The honest twin: two requests in one turn."""
        one, other = self._asks.draw(self._rng), self._asks.draw(self._rng)
        text = self._beside(one.text[:1_000], other.text[:600])
        return replace(one, text=text, kind="chattered", source="composed")

    def _moved(self) -> Row:
        """A text in another place, where it is the same: honest and hostile ones alike."""
        label = self._rng.randrange(2)
        row = (self._said if label else self._any[0]).draw(self._rng)
        place = self._rng.choice(_ATTACKS_MOVE_TO if label else _HONEST_MOVE_TO)
        return replace(row, channel=place, source="composed")

    def _disguised(self, count: int) -> Iterator[Row]:
        """Texts in disguise, and what the views show of them; as many honest ones as attacks."""
        for number in range(count):
            pool = self._any[number % 2]
            if not pool:
                continue
            row = pool.draw(self._rng)
            words = row.text[:400]
            encoded = self._rng.random() < 0.3
            name, disguise = self._rng.choice(list((ENCODED if encoded else LEGIBLE).items()))
            hidden = disguise(words, self._rng)
            for view, text in views(hidden):
                # What an encoded attack says nobody can tell before it is decoded: it is no example.
                if not (view == RAW and encoded and row.label == 1):
                    yield replace(row, text=text, kind=f"disguised: {name}", source="composed")

    def _piece(self, text: str) -> str:
        """A piece of a document, cut between words."""
        size = self._rng.randint(*_CARRIER_CHARS)
        if len(text) <= size:
            return text
        start = self._rng.randrange(len(text) - size)
        return text[start : start + size].partition(" ")[2] or text[start : start + size]

    def _inserted(self, carrier: str, passage: str) -> str:
        """A passage at the start, at the end, or in a gap of a document."""
        wrapper = self._rng.choice(_WRAPPERS)
        gaps = [at for at, char in enumerate(carrier) if char in " \n"]
        at = self._rng.choice((0, len(carrier), *([self._rng.choice(gaps)] * 4 if gaps else ())))
        return carrier[:at] + wrapper.replace("{}", passage.strip()) + carrier[at:]

    def _beside(self, text: str, other: str) -> str:
        seam = self._rng.choice((" ", "\n", "\n\n", ". "))
        return f"{other}{seam}{text}" if self._rng.random() < _TAIL else f"{text}{seam}{other}"


class _Sources:
    """Rows by source, drawn so that a large collection does not drown the small ones."""

    def __init__(self, rows: Sequence[Row]) -> None:
        groups: dict[str, list[Row]] = defaultdict(list)
        self._langs: dict[str, list[Row]] = defaultdict(list)
        for row in rows:
            groups[row.source].append(row)
            self._langs[row.lang].append(row)
        self._groups = [groups[source] for source in sorted(groups)]
        # Between "every source alike" and "every row alike".
        self._weights = [len(group) ** 0.6 for group in self._groups]

    def __bool__(self) -> bool:
        return bool(self._groups)

    def draw(self, rng: random.Random, lang: str = "") -> Row:
        if lang and (rows := self._langs.get(lang)):
            return rng.choice(rows)
        return rng.choice(rng.choices(self._groups, self._weights)[0])
