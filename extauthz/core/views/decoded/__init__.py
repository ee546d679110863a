"""What a text says once it is decoded, in place, as often as it takes up to a depth.

Each step replaces what it can read and leaves the rest, so that a sentence of which one word is
encoded stays a sentence. No step makes a text longer, but that what is written backwards is shown
both as a whole and word by word.
"""

from collections.abc import Callable
from typing import Final

from extauthz.core.views.decoded.ciphers import decipher
from extauthz.core.views.decoded.codes import decode_numbers, unpacked
from extauthz.core.views.decoded.escapes import unescaped
from extauthz.core.views.excerpts import excerpt
from extauthz.core.views.hidden import hidden_channels, revealed
from extauthz.core.views.normalised import normalise

#: Encodings within one another that are undone; each round takes what is outermost.
DEPTH: Final = 3
_MIN_ENCODED: Final = 24
_MIN_DIGITS: Final = 4
_OVERRIDE, _POP = "\u202e", "\u202c"
_BACKWARDS: Final = slice(None, None, -1)


def decode(text: str, plain: str) -> str:
    """`text` with all that is encoded in it decoded; `plain`, its normalised form, if nothing is.

    What was hidden in it, or reads otherwise in visual order, is decoded too. What a cipher hid is
    shown behind the text: it may be a name, or a word that reads like a cipher of another.
    """
    shown = plain if text.isascii() else normalise(_visual(revealed(text)))
    found = _peeled(shown + _under_ciphers(shown))
    if found != shown:
        found += _under_ciphers(found)
    # What is encoded would be taken for a cipher: so ciphers come last.
    said = decipher(found)
    if said != found and (added := excerpt(found, normalise(said))):
        found += f"\n{_peeled(added)}"
    return found


def _peeled(text: str) -> str:
    """`text` with what is encoded in it decoded, normalised after each round.

    Invisible characters that were encoded themselves stay behind it, for whoever looks for them.
    """
    channels = ""
    for _ in range(DEPTH):
        peeled = unpacked(decode_numbers(unescaped(text)))
        if peeled == text:
            break
        if not peeled.isascii():
            channels += f"\n{peeled}" if hidden_channels(peeled) else ""
            peeled = revealed(peeled)
        text = normalise(peeled)
    return text + channels


def _under_ciphers(text: str) -> str:
    r"""What can be decoded of long words once every letter is turned or all is read backwards.

    A cipher over an encoding ("\h0069" is ROT13 of "\u0069") leaves no letters to judge it by.
    """
    words = " ".join(filter(_may_be_encoded, text.split()))
    found = ""
    for twist in _TWISTS if words else ():
        twisted = twist(words)
        peeled = decode_numbers(unescaped(twisted))
        if peeled != twisted and (added := excerpt(twisted, peeled)):
            found += f"\n{added}"
    return found


def _may_be_encoded(word: str) -> bool:
    """Whether it is longer than words are, with digits in it."""
    return len(word) >= _MIN_ENCODED and sum(map(str.isdigit, word)) >= _MIN_DIGITS


def _rot13(text: str) -> str:
    return text.translate(_ROT13)


_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz"
_ROT13: Final = str.maketrans(
    _LETTERS + _LETTERS.upper(),
    _LETTERS[13:] + _LETTERS[:13] + (_LETTERS[13:] + _LETTERS[:13]).upper(),
)
_TWISTS: Final[tuple[Callable[[str], str], ...]] = (_rot13, lambda text: text[_BACKWARDS])


def _visual(text: str) -> str:
    """What a reader sees of text after a right-to-left override: it runs backwards to its end."""
    if _OVERRIDE not in text:
        return text
    first, *rest = text.split(_OVERRIDE)
    return first + "".join(map(_turned, rest))


def _turned(text: str) -> str:
    end = min((at for at in (text.find(_POP), text.find("\n")) if at >= 0), default=len(text))
    return text[:end][_BACKWARDS] + text[end:]
