"""Text into token ids, and ids into windows the model can read."""

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from extauthz.core.cancellation import Cancellation
from extauthz.core.windows import break_words, pieces, spans
from extauthz.model.directory import ModelError


class WindowTokenizer:
    """Cuts any text into windows with the model's own special tokens around each.

    Special tokens in the text are text: `[SEP]` from a client never ends a segment.
    """

    def __init__(self, path: Path, window: int, overlap: int) -> None:
        """Load `tokenizer.json`. Its truncation and padding settings are ignored: nothing is cut.

        Raises ModelError when it cannot be read or its special tokens leave no room for text.
        """
        try:
            tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:
            msg = f"{path}: not a tokenizer: {error}"
            raise ModelError(msg) from error
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self._tokenizer: Final = tokenizer
        self._prefix, self._suffix = _special_tokens(tokenizer)
        tokenizer.encode_special_tokens = True
        # WordPiece and Unigram models name theirs; byte-level ones know every byte.
        self._unknown: Final = tokenizer.token_to_id(
            getattr(tokenizer.model, "unk_token", "") or ""
        )
        specials = len(self._prefix) + len(self._suffix)
        self._size = window - specials
        self._overlap = overlap
        # Without special tokens the window of an empty text would be empty: models give NaN.
        if specials == 0 or self._size <= overlap:
            most = window - overlap - 1
            msg = f"{path}: {specials} special tokens around a text, expected 1 to {most}"
            raise ModelError(msg)

    def windows(
        self, text: str, max_tokens: int, cancellation: Cancellation | None = None
    ) -> tuple[list[NDArray[np.int32]], int] | None:
        """Windows of `text`, each (length,) int32, and the tokens the model reads for them.

        Special tokens and overlaps count: a thousand one-letter messages are a thousand windows.
        None as soon as there are more than `max_tokens` or the text is not wanted any more: the
        rest is not even tokenized.
        """
        ids: list[int] = []
        for piece in pieces(text):
            if cancellation is not None and cancellation.cancelled:
                return None
            ids += self._ids(piece)
            if len(ids) > max_tokens:
                return None
        # Text of which nothing is left (control characters) is still one, empty, window.
        cuts = spans(len(ids), self._size, self._overlap) or [(0, 0)]
        flat = np.array(ids, np.int32)
        windows = [np.concatenate([self._prefix, flat[a:b], self._suffix]) for a, b in cuts]
        tokens = sum(map(len, windows))
        return (windows, tokens) if tokens <= max_tokens else None

    def _ids(self, piece: str) -> list[int]:
        """Ids of a piece. An unknown token may be an endless word, which then is read in parts."""
        ids: list[int] = self._tokenizer.encode(piece, add_special_tokens=False).ids
        if self._unknown in ids:
            ids = self._tokenizer.encode(break_words(piece), add_special_tokens=False).ids
        return ids


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
