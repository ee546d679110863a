"""Vocabularies of the models upstream: what token ids say to them, and how many tokens a text is."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from tokenizers import Tokenizer

from extauthz.model.directory import ModelError


class Vocabularies:
    """For the models whose `tokenizer.json` is at hand."""

    def __init__(self, paths: Mapping[str, Path]) -> None:
        """Load one file per name of a model upstream. Raises ModelError when one cannot be read."""
        self._tokenizers: Final = {name: _load(path) for name, path in paths.items()}

    def text(self, model: str, ids: Sequence[int]) -> str | None:
        """What `ids` say to `model`, markers included; None if nobody knows or an id is no word.

        The name is the client's word, but the upstream takes the same word for its choice of model.
        """
        tokenizer = self._tokenizers.get(model)
        if tokenizer is None or any(one >= tokenizer.get_vocab_size() for one in ids):
            return None
        text: str = tokenizer.decode(list(ids), skip_special_tokens=False)
        return text

    def count(self, model: str, text: str) -> int | None:
        """Tokens of `text`, without markers around it; None if nobody knows."""
        tokenizer = self._tokenizers.get(model)
        if tokenizer is None:
            return None
        return len(tokenizer.encode(text, add_special_tokens=False).ids)


def _load(path: Path) -> Tokenizer:
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:
        msg = f"{path}: not a tokenizer: {error}"
        raise ModelError(msg) from error
