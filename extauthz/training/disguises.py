"""Ways in which people hide words. Training shows the model what the views make of them again."""

import base64
import codecs
import random
from collections.abc import Callable
from typing import Final
from urllib.parse import quote

_LEET: Final = str.maketrans("aeiost", "431057")
_LOOKALIKES: Final = str.maketrans("aceopxyiAEOPCTX", "асеорхуіАЕОРСТХ")
_FULLWIDTH: Final = {code: code + 0xFEE0 for code in range(0x21, 0x7F)}
_ZERO_WIDTH: Final = ("\u200b", "\u200c", "\u2060")


def mixed_case(text: str, rng: random.Random) -> str:
    """Capitals at random."""
    return "".join(char.upper() if rng.random() < 0.5 else char.lower() for char in text)


def spaced(text: str, _rng: random.Random) -> str:
    """A space between letters, three between words."""
    return "   ".join(" ".join(word) for word in text.split())


def leet(text: str, _rng: random.Random) -> str:
    """Digits for letters."""
    return text.lower().translate(_LEET)


def lookalikes(text: str, _rng: random.Random) -> str:
    """Cyrillic letters for the Latin ones they look like."""
    return text.translate(_LOOKALIKES)


def fullwidth(text: str, _rng: random.Random) -> str:
    """The wide letters of East Asian typography."""
    return text.translate(_FULLWIDTH)


def zero_width(text: str, rng: random.Random) -> str:
    """Invisible characters inside words."""
    return "".join(
        char + rng.choice(_ZERO_WIDTH) if char.isalpha() and rng.random() < 0.3 else char
        for char in text
    )


def typos(text: str, rng: random.Random) -> str:
    """Neighbouring letters swapped, dropped or doubled, in one word of four."""
    return " ".join(
        _mistyped(word, rng) if rng.random() < 0.25 else word for word in text.split(" ")
    )


def base64_of(text: str, _rng: random.Random) -> str:
    """Base64 of its UTF-8."""
    return base64.b64encode(text.encode()).decode()


def hexadecimal(text: str, _rng: random.Random) -> str:
    """Hexadecimal digits of its UTF-8."""
    return text.encode().hex()


def rot13(text: str, _rng: random.Random) -> str:
    """Every letter thirteen places on."""
    return codecs.encode(text, "rot13")


def percent(text: str, _rng: random.Random) -> str:
    """Percent-encoded, as in a URL."""
    return quote(text, safe="")


def backwards(text: str, _rng: random.Random) -> str:
    """Last letter first."""
    return text[::-1]


Disguise = Callable[[str, random.Random], str]
#: The words are still there for a reader: also the disguised text itself is what it was.
LEGIBLE: Final[dict[str, Disguise]] = {
    "mixed case": mixed_case,
    "spaced": spaced,
    "leet": leet,
    "lookalikes": lookalikes,
    "fullwidth": fullwidth,
    "zero width": zero_width,
    "typos": typos,
}
#: Only the decoded view has words. The raw text says nothing to the classifier, and is no example.
ENCODED: Final[dict[str, Disguise]] = {
    "base64": base64_of,
    "hexadecimal": hexadecimal,
    "rot13": rot13,
    "percent": percent,
    "backwards": backwards,
}
DISGUISES: Final = {**LEGIBLE, **ENCODED}


def _mistyped(word: str, rng: random.Random) -> str:
    if len(word) < 4:
        return word
    at = rng.randrange(1, len(word) - 2)
    match rng.randrange(3):
        case 0:
            return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
        case 1:
            return word[:at] + word[at + 1 :]
        case _:
            return word[:at] + word[at] + word[at:]
