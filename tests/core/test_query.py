"""Names and values of a query string."""

from urllib.parse import parse_qsl, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extauthz.core.query import MAX_PAIRS, read_query
from extauthz.core.reasons import Failure

READ = {
    "/v1/chat": [],
    "/v1/chat?": [],
    "/a?alt=sse&key=x": [("alt", "sse"), ("key", "x")],
    "/a?q=a+b%20c": [("q", "a b c")],
    "/a?q=caf%C3%A9": [("q", "café")],
    "/a?q=1&q=2": [("q", "1"), ("q", "2")],
    "/a?flag&=v&&a=b=c": [("flag", ""), ("", "v"), ("a", "b=c")],
    "/a?b?c=d": [("b?c", "d")],
    "/a?q=%2561": [("q", "%61")],
    "/a?q=%26%3d%3B%23": [("q", "&=;#")],
    "/a?q=%00": [("q", "\0")],
}
MALFORMED = {
    "an escape cut short": "/a?q=%4",
    "an escape that is none": "/a?q=%zz",
    "a percent sign": "/a?q=100%",
    "bytes that are no UTF-8": "/a?q=%ff",
    "an overlong slash": "/a?q=%c0%af",
    "a surrogate": "/a?q=%ed%a0%80",
    "a semicolon, which separates for some": "/a?a=1;b=2",
    "a raw character beyond ASCII": "/a?q=é",
    "a raw lone surrogate": "/a?q=\ud800",
    "a control character": "/a?q=\x01",
    "a raw line feed": "/a?q=a\nb",
    "more pairs than servers read": "/a?" + "a&" * MAX_PAIRS + "a",
}


@pytest.mark.parametrize(("target", "pairs"), READ.items())
def test_a_query_is_decoded_once(target: str, pairs: list[tuple[str, str]]) -> None:
    assert read_query(target) == pairs


@pytest.mark.parametrize("target", MALFORMED.values(), ids=MALFORMED)
def test_a_query_that_servers_read_differently_is_refused(target: str) -> None:
    assert read_query(target) is Failure.QUERY_MALFORMED


@given(pairs=st.lists(st.tuples(st.text(max_size=4), st.text(max_size=4)), max_size=5))
def test_what_an_encoder_wrote_comes_back(pairs: list[tuple[str, str]]) -> None:
    assert read_query("/?" + urlencode(pairs)) == pairs


@given(query=st.text(st.sampled_from("ab=&+%;#?é0 "), max_size=12))
def test_what_is_read_is_read_alike_by_another_reader(query: str) -> None:
    found = read_query("/?" + query)
    if not isinstance(found, Failure):
        other = parse_qsl(query, keep_blank_values=True, errors="strict")
        assert found == other
