"""Overlapping windows over every token of a text. Nothing is ever cut off."""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

#: Characters handed to the tokenizer at once. Tokenizers tokenise everything before they
#: truncate (360 KB cost 160 ms), so text is cut first; 8,192 characters cost about 2 ms.
PIECE_CHARS: Final = 8_192
#: Characters per admitted token, on average over a request. Prose has 4 to 5, indented JSON 8; a
#: megabyte of endless words has few tokens and would hold up the tokenizer for everybody.
CHARS_PER_TOKEN: Final = 16
#: A cut is moved back to a better place when there is one within this many characters.
_SEARCH_CHARS: Final = 256
#: WordPiece makes one unknown token of a word of more than 100 characters, whatever is in it. Such
#: words are read in parts of so many characters, and a word of up to a third of it is whole in one.
_WORD_CHARS: Final = 90
#: Pictographs and lines; letters of other scripts than Latin. A tokenizer does not part them from a
#: word that they are glued to, and where it lacks one it reads nothing of the word.
_APART: Final = re.compile(
    r"[\u2190-\u2bff\U0001f000-\U0001fbff]+"
    r"|[\u0370-\u1dff\u1f00-\u1fff\u2c00-\ud7ff\uf900-\ufdff\ufe70-\uffef\U00010000-\U0001efff"
    r"\U0001fc00-\U0010ffff]+"
)


def pieces(text: str) -> Iterator[str]:
    """Cut `text` into pieces of at most PIECE_CHARS characters, between words where there are some.

    The pieces join to the text.
    """
    start = 0
    while len(text) - start > PIECE_CHARS:
        end = _last_gap(text, start + PIECE_CHARS)
        yield text[start:end]
        start = end
    if start < len(text):
        yield text[start:]


def _last_gap(text: str, end: int) -> int:
    """The last place before `end` behind white space, else behind punctuation, else `end`."""
    nearby = range(end, end - _SEARCH_CHARS, -1)
    spaces = (at for at in nearby if text[at - 1].isspace())
    marks = (at for at in nearby if not text[at - 1].isalnum())
    return next(spaces, None) or next(marks, end)


class Parts(NamedTuple):
    """A text in parts with blanks between them.

    `once` is as long and blank wherever a part repeats the end of the one before.
    """

    text: str
    once: str


def break_words(text: str) -> Parts:
    """`text` in parts that a tokenizer can read.

    Signs and letters of other scripts stand apart, and endless words are in overlapping pieces.
    """
    words = _APART.sub(r" \g<0> ", text).split()
    parts = [part for word in words for part in _parts(word)]
    once = (" " * again + part[again:] for part, again in parts)
    return Parts(" ".join(part for part, _ in parts), " ".join(once))


def _parts(word: str) -> list[tuple[str, int]]:
    """Parts of a word, and how many of its first characters each has from the one before."""
    if len(word) <= _WORD_CHARS:
        return [(word, 0)]
    again = _WORD_CHARS // 3
    starts = range(0, len(word) - again, _WORD_CHARS - again)
    return [(word[at : at + _WORD_CHARS], again if at else 0) for at in starts]


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
