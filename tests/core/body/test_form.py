"""Forms: names and values, none of them lost."""

from typing import Any
from urllib.parse import quote_plus, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extauthz.core.body.form import read_form
from extauthz.core.body.json_text import MAX_MEMBERS
from extauthz.core.reasons import Failure

VALUES: dict[str, Any] = {
    "plain text": "plain text",
    '{"a": [1]}': {"a": [1]},
    ' ["a"]': ["a"],
    '"quoted"': "quoted",
    '"A cat" in the style of': '"A cat" in the style of',
    "[INST] hello": "[INST] hello",
    '{"a":1}\n{"a":2}': [{"a": 1}, {"a": 2}],
    "": "",
    "12": "12",
}
REFUSED = {
    "an escape that is none": (b"a=%4", Failure.FORM_MALFORMED),
    "no UTF-8": (b"a=%ff", Failure.FORM_MALFORMED),
    "raw UTF-8": ("a=é".encode(), Failure.FORM_MALFORMED),
    "a semicolon": (b"a=1;b=2", Failure.FORM_MALFORMED),
    "a raw newline": (b"a=1\r\n", Failure.FORM_MALFORMED),
    "more pairs than servers read": (b"a=1&" * 500 + b"a=1", Failure.FORM_MALFORMED),
    "another charset": (b"_charset_=utf-7&a=b", Failure.FORM_MALFORMED),
    "a duplicate key in a value": (
        b"a=" + quote_plus('{"k":1,"K":2}').encode(),
        Failure.BODY_DUPLICATE_KEY,
    ),
    "a deep value": (b"a=" + b"[" * 65 + b"]" * 65, Failure.BODY_TOO_COMPLEX),
    "many members in all": (
        b"&".join([b"a=[" + b"1," * (MAX_MEMBERS // 9) + b"1]"] * 10),
        Failure.BODY_TOO_COMPLEX,
    ),
}


@pytest.mark.parametrize(("text", "value"), VALUES.items())
def test_a_value_is_text_or_the_json_that_it_is(text: str, value: Any) -> None:
    assert read_form(urlencode({"n": text}).encode()) == [{"name": "n", "value": value}]


@pytest.mark.parametrize(("body", "failure"), REFUSED.values(), ids=REFUSED)
def test_a_form_that_servers_read_differently_is_refused(body: bytes, failure: Failure) -> None:
    assert read_form(body) is failure


def test_a_form_may_say_that_it_is_utf_8() -> None:
    assert read_form(b"_charset_=UTF-8") == [{"name": "_charset_", "value": "UTF-8"}]


@given(pairs=st.lists(st.tuples(st.text("ab[]é", max_size=4), st.text("ab é&=", max_size=4))))
def test_every_name_and_value_is_there_in_order(pairs: list[tuple[str, str]]) -> None:
    fields = [{"name": name, "value": value} for name, value in pairs]
    assert read_form(urlencode(pairs).encode()) == fields
