"""Every request path has one spelling, or is refused."""

import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from extauthz.core.path import canonical_path
from extauthz.core.reasons import Failure
from tests import builders

#: What a client can put in front of /v1/chat/completions, or behind /v1/models, to be taken for
#: another route by one of two servers: each was tried against a real Envoy.
AMBIGUOUS = [
    "/health/../v1/chat/completions",
    "/health/%2e%2e/v1/chat/completions",
    "/health/.%2E/v1/chat/completions",
    "/health/..%2fv1/chat/completions",
    "/health%2f..%2fv1/chat/completions",
    "/health/%252e%252e/v1/chat/completions",
    "/health/..;/v1/chat/completions",
    "/v1/models;/../chat/completions",
    "/health/..\\v1/chat/completions",
    "/health/%5c../v1/chat/completions",
    "//v1/chat/completions",
    "/v1//chat/completions",
    "/v1/./chat/completions",
    "/v1/chat/completions/.",
    "/v1/chat/completions%00",
    "/v1/chat/completions%0d%0aHost:%20x",
    "/v1/chat/completions%3fx",
    "/v1/chat/completions%23x",
    "/v1/models#/../chat/completions",
    "/v1/chat/completions%",
    "/v1/chat/completions%zz",
    "/v1/%c0%ae%c0%ae/chat",
    "/v1/%ff",
    "/v1/\ud800",
    "v1/chat/completions",
    "http://api.example.com/v1/chat/completions",
]
any_text = st.text(st.characters(exclude_categories=()))
targets = st.text(st.sampled_from("/.%25eEfF?#;\\ab*~ \x00é\ud800"))


@pytest.mark.parametrize("target", AMBIGUOUS)
def test_a_path_that_two_servers_read_differently_is_refused(target: str) -> None:
    assert canonical_path(target) is Failure.PATH_AMBIGUOUS


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/v1/chat/completions", "/v1/chat/completions"),
        ("/v1/chat/completions?model=a/../b", "/v1/chat/completions"),
        ("/v1/chat/completions/", "/v1/chat/completions/"),
        ("/v1/%63hat/completions", "/v1/chat/completions"),
        ("/v1/models/gpt-4o%20mini", "/v1/models/gpt-4o mini"),
        ("/v1/models/caf%C3%A9", "/v1/models/café"),
        ("/v1/models/..a", "/v1/models/..a"),
        ("/V1/Models", "/V1/Models"),
        ("/", "/"),
        ("", "/"),
        ("*", "/"),
        ("?x", "/"),
    ],
)
def test_a_clear_path_loses_its_query_and_one_level_of_escapes(target: str, path: str) -> None:
    assert canonical_path(target) == path


@given(any_text | targets)
@example("/a%3Fb")
@example("\ud800")
def test_any_text_has_one_spelling_or_is_refused(target: str) -> None:
    path = canonical_path(target)
    assert path is Failure.PATH_AMBIGUOUS or canonical_path(path) == path


@given(any_text | targets)
def test_a_path_is_rooted_and_has_no_empty_or_dot_segment(target: str) -> None:
    path = canonical_path(target)
    if not isinstance(path, Failure):
        root, *segments = path.split("/")
        assert root == ""
        assert not {".", ".."} & set(segments)
        assert "" not in segments[:-1]


@given(st.sets(st.integers(0, 19)))
def test_escaped_letters_match_the_rule_for_the_plain_path(positions: set[int]) -> None:
    plain = "/v1/chat/completions"
    spelled = "".join(
        f"%{ord(char):02x}" if index in positions and char in string.ascii_letters else char
        for index, char in enumerate(plain)
    )
    rule = builders.rule(match={"paths": [plain]})
    path = canonical_path(spelled)
    assert isinstance(path, str)
    assert rule.match.holds(builders.call(path=spelled), "", path)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/chat/completions%20",
        "/v1/chat./x",
        "/v1/%20chat",
        "/v1/ｃhat",
        "/v1/chat．",
        "/v1/a\u2024b",
    ],
)
def test_spellings_that_servers_trim_or_fold_are_ambiguous(path: str) -> None:
    assert canonical_path(path) is Failure.PATH_AMBIGUOUS
