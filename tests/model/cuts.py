"""Texts as a tokenizer cuts them, for the tests of windows and of unknown letters."""

from extauthz.core.call import Passage, Provenance
from extauthz.model.tokenizer import Cut, WindowTokenizer

WINDOW, OVERLAP = 32, 8
PAD, CLS, SEP, WORD = 0, 2, 3, 4
PLENTY = 10**9


def cut_of(tokenizer: WindowTokenizer, text: str, provenance: Provenance = Provenance.USER) -> Cut:
    cut = tokenizer.windows(Passage(provenance, text), PLENTY)
    assert cut is not None
    return cut
