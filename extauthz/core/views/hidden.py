"""Text in characters that nobody can see: channels that no honest text uses, and what they say."""

import re
from typing import Final

import numpy as np
from numpy.typing import NDArray

from extauthz.core.views.points import points_of, text_of
from extauthz_kernels import hidden, hidden_runs, survey_hidden

#: The closed list of names, in the order of the kernel's counts.
CHANNELS: Final = ("tag_block", "variation_selectors", "sneaky_bits", "zero_width_binary")
#: Tag characters that no emoji explains, and selectors in a row, of which emoji and Han characters
#: have one. Two bits or three occur by mistake, a byte does not: honest text joins letters, so that
#: a letter stands between two joiners, and an editor's leftovers are of one kind.
_FEWEST: Final = np.array([1, 2, 8, 8], np.int64)


def _kinds() -> NDArray[np.uint8]:
    """(0xE01F0,) uint8: which channel each code point can be part of."""
    table = np.zeros(0xE01F0, np.uint8)
    table[0xE0000:0xE0080] = hidden.TAG
    table[0xFE00:0xFE10] = hidden.SELECTOR
    table[0xE0100:0xE01F0] = hidden.SELECTOR
    table[[0x2061, 0x2062, 0x2063, 0x2064]] = hidden.OPERATOR
    table[[0x200B, 0x200C, 0x200D, 0x2060, 0xFEFF, 0x200E, 0x200F, 0x180E]] = hidden.ZERO_WIDTH
    return table


_KINDS: Final = _kinds()
_RUNS: Final = re.compile(
    "[\U000e0000-\U000e007f]+|[\ufe00-\ufe0f\U000e0100-\U000e01ef]{2,}"
    "|[\u2061-\u2064]{8,}|[\u200b-\u200f\u2060\ufeff\u180e]{8,}"
)
_FLAG: Final = "\U0001f3f4"
#: The flags of England, Scotland and Wales: the only ones that are made of tags. Any other region
#: would let five letters a flag through.
_FLAGS: Final = tuple(
    _FLAG + "".join(chr(0xE0000 + ord(char)) for char in region) + "\U000e007f"
    for region in ("gbeng", "gbsct", "gbwls")
)


def plain_flags(text: str) -> str:
    """`text` with the flags that are made of tags without their tags."""
    if _FLAG in text:
        for flag in _FLAGS:
            text = text.replace(flag, _FLAG)
    return text


def hidden_channels(text: str) -> tuple[str, ...]:
    """Names of the channels that `text` uses, out of CHANNELS; none for honest text of any language.

    Flags of regions, families of emoji, Persian, Hindi and Khmer joiners, Mongolian and ideographic
    variants and invisible operators of formulas are honest.
    """
    if text.isascii():
        return ()
    counts = np.empty(4, np.int64)
    survey_hidden(points_of(plain_flags(text)), _KINDS, _FEWEST, counts)
    return tuple(name for name, count in zip(CHANNELS, counts.tolist(), strict=True) if count)


def invisible(text: str) -> str:
    """What the channels of `text` are made of, without what can be seen; empty if it uses none."""
    return " ".join(_RUNS.findall(text)) if hidden_channels(text) else ""


def revealed(text: str) -> str:
    """`text` with what selectors and invisible bits say behind it. Tags need no more than folding."""
    if text.isascii() or not set(hidden_channels(text)) - {"tag_block"}:
        return text
    points = points_of(text)
    said = np.empty(len(points), np.uint32)
    found = [text]
    for kind in (hidden.SELECTOR, hidden.OPERATOR, hidden.ZERO_WIDTH):
        count = hidden_runs(points, _KINDS, kind, said)
        if count:
            found.append(text_of(said[:count]))
    return "\n".join(found)
