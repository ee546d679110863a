"""Views: total, bounded, and folded text stays as it is."""

from extauthz.core.views import RAW, grows_beyond_measure, normalise, views
from fuzz.targets import require

#: Three views of decoded text, nested, and one of everything joined; each is at most the text or,
#: under NFKC, 18 times a character that `grows_beyond_measure` counts.
_MAX_TIMES, _FREE = 24, 16_384


def check(data: bytes) -> None:
    """Every text has views, of which the first is the text itself."""
    text = data.decode("utf-8", "replace")
    if grows_beyond_measure([text]):
        return
    found = views(text)
    require(found[0] == (RAW, text), "the raw view is the text")
    names = [name for name, _ in found]
    require(len(set(names)) == len(names), "each view is there once")
    made = sum(len(view) for _, view in found)
    require(made <= _MAX_TIMES * len(text) + _FREE, "views are bounded by the text")
    folded = normalise(text)
    require(normalise(folded) == folded, "what is folded stays")
