"""Forms and query strings: every name and value that the standard library finds is kept."""

from urllib.parse import parse_qsl

from extauthz.core.body.form import read_form
from extauthz.core.body.leaf import subtree
from extauthz.core.query import read_query
from extauthz.core.reasons import Failure
from fuzz.requests import texts
from fuzz.targets import require


def check(data: bytes) -> None:
    """Read as a form and as a query; what both readers accept they read alike."""
    form = read_form(data)
    if not isinstance(form, Failure):
        pairs = parse_qsl(data.decode("latin-1"), keep_blank_values=True, encoding="utf-8")
        _same([text for pair in pairs for text in pair], texts(form))
    target = "/a?" + data.decode("utf-8", "surrogateescape")
    query = read_query(target)
    if not isinstance(query, Failure):
        pairs = parse_qsl(target.partition("?")[2], keep_blank_values=True)
        require(query == pairs, "a query is the pairs that the standard library reads")


def _same(theirs: list[str], ours: list[str]) -> None:
    """A value that is JSON may be there as what it says."""
    for text in {*theirs} - {*ours}:
        tree = subtree(text.encode("utf-8", "replace"))
        said = set() if isinstance(tree, Failure) else {*texts(tree)}
        require(text not in said and said <= {*ours}, "a form holds what others read in it")
