"""Anything at all: every string leaf and key is the user's word, every media type is tried."""

from dataclasses import replace
from typing import Final

from extauthz.core.call import Provenance
from extauthz.core.dialects.dialect import TOKEN_IDS, Dialect
from extauthz.core.media import Media

#: Nobody said what the whole numbers in the arrays of an unknown body are, so from four on they
#: are taken for words. Names such as `shape` are the sender's to choose and excuse nothing; a
#: route whose numbers are known to be harmless says `uninspected: {token_ids: ignore}`.
UNKNOWN_JSON: Final = Dialect(
    name="unknown_json",
    accepts=frozenset(Media),
    labels={"*": Provenance.USER},
    places={"": replace(TOKEN_IDS, least=4)},
)
