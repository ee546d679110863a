"""Overlapping windows over every token of a text. Nothing is ever cut off."""

from collections.abc import Iterator
from typing import Final

#: Characters handed to the tokenizer at once. Tokenizers tokenise everything before they
#: truncate (360 KB cost 160 ms), so text is cut first; 8,192 characters cost about 2 ms.
PIECE_CHARS: Final = 8_192
#: A cut is moved back to white space when there is some within this many characters.
_SEARCH_CHARS: Final = 256


def pieces(text: str) -> Iterator[str]:
    """Cut `text` into pieces of at most PIECE_CHARS characters, at white space where there is some.

    The pieces join to the text.
    """
    start = 0
    while len(text) - start > PIECE_CHARS:
        end = start + PIECE_CHARS
        space = max(
            text.rfind(" ", end - _SEARCH_CHARS, end),
            text.rfind("\n", end - _SEARCH_CHARS, end),
        )
        end = end if space < 0 else space + 1
        yield text[start:end]
        start = end
    if start < len(text):
        yield text[start:]


def spans(tokens: int, size: int, overlap: int) -> list[tuple[int, int]]:
    """Half-open (start, end) windows of at most `size` tokens that cover `tokens` tokens.

    Neighbours share `overlap` tokens, so every run of at most `overlap` tokens lies whole in one.
    The last window is moved back rather than left short: a short tail would hide its context.
    """
    if not 0 <= overlap < size:
        msg = f"overlap must be in [0, {size}), got {overlap}"
        raise ValueError(msg)
    if tokens <= size:
        return [(0, tokens)] if tokens else []
    starts = list(range(0, tokens - size, size - overlap))
    return [(start, start + size) for start in [*starts, tokens - size]]
