"""Text into token ids, and ids into windows the model can read."""

import unicodedata
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from extauthz.core.call import Passage, Provenance
from extauthz.core.cancellation import Cancellation
from extauthz.core.rules.unreadable import IN_A_ROW, PASSING
from extauthz.core.views import normalise
from extauthz.core.views.points import ASSIGNED, points_of
from extauthz.core.windows import break_words, pieces, spans
from extauthz.model.directory import ModelDirectory, ModelError

#: What published vocabularies call the token of all that they do not have.
_UNKNOWN: Final = ("<unk>", "[UNK]")
#: How often a text is looked through for names of special tokens: a space in one may leave another.
_ROUNDS: Final = 3
#: What a code point is where letters are counted.
_OTHER, _LETTER, _MARK = range(3)
_BLANK: Final = ord(" ")
_NO_MARKERS: Final[Mapping[Provenance, str]] = MappingProxyType({})


def _kinds() -> NDArray[np.uint8]:
    """The kind of each code point, (ASSIGNED,) uint8; nothing is a letter above them."""
    table = np.full(ASSIGNED, _OTHER, np.uint8)
    for point, char in enumerate(map(chr, range(ASSIGNED))):
        if char.isalpha():
            table[point] = _LETTER
        elif unicodedata.category(char).startswith("M"):
            table[point] = _MARK
    return table


_KINDS: Final = _kinds()


class Cut(NamedTuple):
    """A text as the model reads it.

    Attributes:
        windows: token ids, each (length,) int32, special tokens included.
        tokens: how many there are, overlaps included.
        unread: the most letters that the vocabulary does not have, in no writing that the normalised
            view sees through, among any IN_A_ROW of a piece, or among all where it has fewer. Those
            on the two sides of a cut between pieces are not added up: there are few cuts, thousands
            of characters apart, and a run across one can be twice as long as elsewhere at most.
    """

    windows: list[NDArray[np.int32]]
    tokens: int
    unread: int


class WindowTokenizer:
    """Cuts any text into windows with the model's own special tokens around each.

    Special tokens in the text are text: `[SEP]` from a client never ends a segment.
    """

    def __init__(
        self, path: Path, window: int, overlap: int, markers: Mapping[Provenance, str] = _NO_MARKERS
    ) -> None:
        """Load `tokenizer.json`. Its truncation and padding settings are ignored: nothing is cut.

        Args:
            path: the file.
            window: tokens of a window, special tokens and marker included.
            overlap: tokens that neighbouring windows share.
            markers: the token that stands before a text of each provenance, if the model knows any.

        Raises ModelError when it cannot be read, lacks a marker, or leaves no room for text.
        """
        try:
            tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:
            msg = f"{path}: not a tokenizer: {error}"
            raise ModelError(msg) from error
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self._tokenizer: Final = tokenizer
        before, self._suffix = _special_tokens(tokenizer)
        tokenizer.encode_special_tokens = True
        # Byte-level vocabularies have every byte, and no token for anything else.
        self._unknown: Final = _unknown(tokenizer)
        self._special: Final = _special_ids(tokenizer) - {self._unknown}
        self._prefixes: Final = {
            provenance: np.append(before, _marker(tokenizer, path, markers[provenance]))
            if markers
            else before
            for provenance in Provenance
        }
        specials = len(before) + len(self._suffix) + bool(markers)
        self._size = window - specials
        self._overlap = overlap
        # Without special tokens the window of an empty text would be empty: models give NaN.
        if specials == 0 or self._size <= overlap:
            most = window - overlap - 1
            msg = f"{path}: {specials} special tokens around a text, expected 1 to {most}"
            raise ModelError(msg)

    def windows(
        self, passage: Passage, max_tokens: int, cancellation: Cancellation | None = None
    ) -> Cut | None:
        """Windows of a text, and what the model reads for them.

        Special tokens and overlaps count: a thousand one-letter messages are a thousand windows.
        None as soon as there are more than `max_tokens` or the text is not wanted any more: the
        rest is not even tokenized.
        """
        ids: list[int] = []
        unread = 0
        for piece in pieces(passage.text):
            if cancellation is not None and cancellation.cancelled:
                return None
            piece_ids, piece_unread = self._ids(piece)
            ids += piece_ids
            unread = max(unread, piece_unread)
            if len(ids) > max_tokens:
                return None
        # Text of which nothing is left (control characters) is still one, empty, window.
        cuts = spans(len(ids), self._size, self._overlap) or [(0, 0)]
        flat = np.array(ids, np.int32)
        prefix = self._prefixes[passage.provenance]
        windows = [np.concatenate([prefix, flat[a:b], self._suffix]) for a, b in cuts]
        tokens = sum(map(len, windows))
        return Cut(windows, tokens, unread) if tokens <= max_tokens else None

    def _ids(self, piece: str) -> tuple[list[int], int]:
        """Ids of a piece, and the most unknown letters of it in a row.

        An unknown token may be an endless word or one with an emoji at its end: such are read in
        parts. Letters in disguise are not counted where the normalised view reads them; one that reads
        only some of them excuses none.
        """
        ids: list[int] = self._tokenizer.encode(piece, add_special_tokens=False).ids
        if not self._special.isdisjoint(ids):
            piece, ids = self._spelled(piece)
        if self._unknown not in ids:
            return ids, 0
        ids, unread = self._parted(piece)
        if unread and (plain := normalise(piece)) != piece:
            left = self._parted(plain)[1]
            unread = left if left < PASSING else unread
        return ids, unread

    def _spelled(self, piece: str) -> tuple[str, list[int]]:
        """`piece` with a space in each name of a special token, and its ids.

        Vocabularies of SentencePiece have those names among the words: what a client wrote would be
        read as the token itself.
        """
        encoding = self._tokenizer.encode(piece, add_special_tokens=False)
        for _ in range(_ROUNDS):
            spans_of = zip(encoding.ids, encoding.offsets, strict=True)
            cuts = [0, *(start + 1 for one, (start, _) in spans_of if one in self._special), None]
            piece = " ".join(piece[start:end] for start, end in pairwise(cuts))
            encoding = self._tokenizer.encode(piece, add_special_tokens=False)
        return piece, encoding.ids

    def _parted(self, piece: str) -> tuple[list[int], int]:
        """Ids of a piece in parts, and the most letters in a row that are unknown all the same."""
        parts = break_words(piece)
        encoding = self._tokenizer.encode(parts.text, add_special_tokens=False)
        spans_of = zip(encoding.ids, encoding.offsets, strict=True)
        unknown = [span for one, span in spans_of if one == self._unknown]
        return encoding.ids, _most_unread(parts.once, unknown) if unknown else 0


def tokenizer_of(directory: ModelDirectory) -> WindowTokenizer:
    """The tokenizer of a verified model directory. Raises ModelError."""
    return WindowTokenizer(
        directory.tokenizer, directory.window, directory.overlap, directory.markers
    )


def _most_unread(text: str, unknown: list[tuple[int, int]]) -> int:
    """The most letters in the unknown spans of `text`, half-open, among any IN_A_ROW of its letters.

    A mark on a letter is one too where it is unknown, because a token for it parts the letters of a
    word. A known one is not: a tokenizer may drop it, and then it would only thin out the others.
    """
    points = points_of(text)
    kinds = _KINDS[np.minimum(points, ASSIGNED - 1)]
    edges = np.zeros(len(points) + 1, np.int32)
    spans_of = np.array(unknown)
    np.add.at(edges, spans_of[:, 0], 1)
    np.add.at(edges, spans_of[:, 1], -1)
    places = np.where((kinds == _MARK) | (points == _BLANK), 0, np.arange(len(points)))
    on_letter = kinds[np.maximum.accumulate(places)] == _LETTER
    unread = (np.cumsum(edges[:-1]) > 0) & on_letter & (kinds != _OTHER)
    row = unread[(kinds == _LETTER) | unread]
    total = np.concatenate([[0], np.cumsum(row)])
    return int(np.max(total[IN_A_ROW:] - total[:-IN_A_ROW], initial=total[min(len(row), IN_A_ROW)]))


def _unknown(tokenizer: Tokenizer) -> int | None:
    """The id that stands for what is not in the vocabulary. Unigram models do not name theirs."""
    names = (getattr(tokenizer.model, "unk_token", None), *_UNKNOWN)
    ids = (tokenizer.token_to_id(name) for name in names if name)
    return next((one for one in ids if one is not None), None)


def _special_ids(tokenizer: Tokenizer) -> frozenset[int]:
    added = tokenizer.get_added_tokens_decoder().items()
    return frozenset(one for one, token in added if token.special)


def _marker(tokenizer: Tokenizer, path: Path, token: str) -> np.int32:
    """The id of a marker, which no text may have. Expects that special tokens in a text are text."""
    found = tokenizer.token_to_id(token)
    if found is None:
        msg = f"{path}: has no token {token!r}, which guard.json names as a marker"
        raise ModelError(msg)
    if found in tokenizer.encode(f"{token} a{token}a", add_special_tokens=False).ids:
        msg = f"{path}: a text can hold the marker {token!r}, expected a special token"
        raise ModelError(msg)
    return np.int32(found)


def _special_tokens(
    tokenizer: Tokenizer,
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """What the tokenizer puts before and after a text."""
    bare = tokenizer.encode("a", add_special_tokens=False).ids
    full = tokenizer.encode("a", add_special_tokens=True).ids
    at = (i for i in range(len(full)) if full[i : i + len(bare)] == bare)
    before = next(at, 0)
    after = full[before + len(bare) :]
    return np.array(full[:before], np.int32), np.array(after, np.int32)
