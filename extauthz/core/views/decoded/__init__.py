"""What a text says once it is decoded, in place, as often as it takes up to a depth.

Each step replaces what it can read and leaves the rest, so that a sentence of which one word is
encoded stays a sentence. What later steps find is shown behind it, with its surroundings.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from extauthz.core.views.decoded.ciphers import decipher
from extauthz.core.views.decoded.codes import decode_numbers, unpacked
from extauthz.core.views.decoded.escapes import unescaped
from extauthz.core.views.excerpts import excerpt, surroundings
from extauthz.core.views.hidden import invisible, revealed
from extauthz.core.views.normalised import normalise
from extauthz.core.views.points import points_of, text_of
from extauthz_kernels import long_words, map_points, visual_order

#: Encodings within one another that are undone; each round takes what is outermost.
DEPTH: Final = 3
_MIN_ENCODED: Final = 24
_MIN_DIGITS: Final = 4
#: Characters shown beside what a cipher over an encoding hid: those of words that it hid too.
_BESIDE: Final = 48
_OVERRIDE: Final = "\u202e"


def _rot13() -> NDArray[np.uint32]:
    """(128,) uint32: what ASCII becomes."""
    table = np.arange(128, dtype=np.uint32)
    for first in map(ord, "aA"):
        table[first : first + 26] = np.roll(table[first : first + 26], -13)
    return table


_ROT13: Final = _rot13()


def decode(text: str, plain: str) -> str:
    """`text` with all that is encoded in it decoded; `plain`, its normalised form, if nothing is.

    What was hidden in it, or reads otherwise in visual order, is decoded too. What a cipher hid is
    shown behind the text: it may be a name, or a word that reads like a cipher of another.
    """
    shown = plain if text.isascii() else normalise(_visual(revealed(text)))
    found = _peeled(shown)
    twisted = _under_ciphers(shown)
    if found != shown:
        twisted += _under_ciphers(surroundings(shown, found, _BESIDE))
    if twisted:
        found += f"\n{_peeled(twisted)}"
    # What is encoded would be taken for a cipher: so ciphers come last.
    said = decipher(found)
    if said != found and (added := excerpt(found, said)):
        found += f"\n{_peeled(normalise(added))}"
    return found


def _peeled(text: str) -> str:
    """`text` with what is encoded in it decoded, in place where that is most of it, else behind it.

    Only what a round changed is looked at in the next. Invisible characters that were encoded
    themselves stay behind it too, for whoever looks for them.
    """
    found = [text]
    channels: list[str] = []
    for _ in range(DEPTH):
        peeled = unpacked(decode_numbers(unescaped(text)))
        if peeled == text:
            break
        if not peeled.isascii():
            channels += filter(None, [invisible(peeled)])
            peeled = revealed(peeled)
        peeled = normalise(peeled)
        found[-1:] = [peeled] if text == found[-1] else [found[-1], peeled]
        text = surroundings(text, peeled)
    return "\n".join(found + channels)


def _under_ciphers(text: str) -> str:
    r"""What can be decoded of long words once every letter is turned or all is read backwards.

    A cipher over an encoding ("\h0069" is ROT13 of "\u0069") leaves no letters to judge it by.
    """
    points = points_of(text)
    kept = np.empty(len(points) + 1, np.uint32)
    words = kept[: long_words(points, _MIN_ENCODED, _MIN_DIGITS, kept)]
    turned = np.empty_like(words)
    map_points(words, _ROT13, turned)
    found = []
    given = text_of(words)
    for twisted in (text_of(turned), given[::-1]):
        peeled = decode_numbers(unescaped(twisted))
        if twisted not in {given, peeled}:
            found.append(surroundings(twisted, peeled, _BESIDE))
    return "\n".join(found)


def _visual(text: str) -> str:
    """What a reader sees of text after a right-to-left override: it runs backwards to its end."""
    if _OVERRIDE not in text:
        return text
    points = points_of(text)
    shown = np.empty_like(points)
    return text_of(shown[: visual_order(points, shown)])
