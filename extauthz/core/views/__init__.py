"""The same text as different readers see it. Each view is scored, and the worst counts.

A view never replaces the raw text: ext_authz cannot change what the model upstream will read.
"""

from typing import Final

from extauthz.core import policy
from extauthz.core.views.decoded import decode
from extauthz.core.views.excerpts import excerpt
from extauthz.core.views.hidden import CHANNELS, hidden_channels
from extauthz.core.views.joined import joined
from extauthz.core.views.normalised import grows_beyond_measure, normalise

__all__ = [
    "CHANNELS",
    "DECODED",
    "JOINED",
    "NORMALISED",
    "RAW",
    "grows_beyond_measure",
    "hidden_channels",
    "joined",
    "normalise",
    "views",
]

RAW: Final = "raw"
NORMALISED: Final = "normalised"
DECODED: Final = "decoded"
JOINED: Final = "joined"
_ALL: Final = policy.Views()
#: Fewer characters stand for no word in any disguise.
_SHORTEST: Final = 4


def views(text: str, wanted: policy.Views = _ALL) -> list[tuple[str, str]]:
    """(name, text) of each view worth scoring: the raw text, and what other views add to it."""
    found = [(RAW, text)]
    if len(text) < _SHORTEST or not (wanted.normalised or wanted.decoded):
        return found
    plain = normalise(text)
    if wanted.normalised and (added := excerpt(text, plain)):
        found.append((NORMALISED, added))
    if wanted.decoded and (added := excerpt(plain, decode(text, plain))):
        found.append((DECODED, added))
    return found
