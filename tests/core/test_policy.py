"""Which rule a call falls under."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extauthz.core.call import Call, Provenance
from extauthz.core.findings import Detector, Finding
from extauthz.core.opaque import Opaque
from extauthz.core.path import canonical_path
from extauthz.core.policy import Policy, Reaction, canonical_host
from tests import builders


def policy(*matches: dict[str, Any]) -> Policy:
    """Routes named 0, 1, ... with these matches."""
    routes = [builders.rule(name=str(i), match=match) for i, match in enumerate(matches)]
    return Policy(digest="", routes=tuple(routes), default=builders.rule())


def matched(match: dict[str, Any], call: Call) -> bool:
    path = canonical_path(call.path)
    assert isinstance(path, str)
    return policy(match).match(call, path).name == "0"


@pytest.mark.parametrize(
    ("authority", "host"),
    [
        ("api.example.com", "api.example.com"),
        ("api.example.com:8443", "api.example.com"),
        ("API.Example.COM", "api.example.com"),
        ("api.example.com.", "api.example.com"),
        ("api.example.com.:443", "api.example.com"),
        ("10.0.0.7:80", "10.0.0.7"),
        ("[2001:DB8::7]:8443", "[2001:db8::7]"),
        ("[2001:db8::7]", "[2001:db8::7]"),
        ("", ""),
        (":80", ""),
    ],
)
def test_a_host_has_one_spelling(authority: str, host: str) -> None:
    assert canonical_host(authority) == host


@pytest.mark.parametrize(
    ("pattern", "host", "holds"),
    [
        ("api.example.com", "api.example.com", True),
        ("api.example.com", "API.example.com.:443", True),
        ("api.example.com", "example.com", False),
        ("api.example.com", "x.api.example.com", False),
        ("api.example.com", "api.example.com.evil.test", False),
        ("*.example.com", "api.example.com", True),
        ("*.example.com", "a.b.example.com:80", True),
        ("*.example.com", "example.com", False),
        ("*.example.com", "evilexample.com", False),
        ("*.example.com", "api.example.com.evil.test", False),
        ("[2001:db8::7]", "[2001:DB8::7]:8443", True),
        ("[2001:db8::7]", "[2001:db8::8]:8443", False),
        ("api.example.com", "", False),
        ("*.example.com", "", False),
    ],
)
def test_a_rule_is_for_a_host_or_for_those_below_it(pattern: str, host: str, holds: bool) -> None:
    assert matched({"hosts": [pattern]}, builders.call(host=host)) is holds


@pytest.mark.parametrize(
    ("match", "path", "holds"),
    [
        ({"paths": ["/v1/models"]}, "/v1/models", True),
        ({"paths": ["/v1/models"]}, "/v1/models?limit=2", True),
        ({"paths": ["/v1/models"]}, "/v1/models/", False),
        ({"paths": ["/v1/models"]}, "/v1/models/x", False),
        ({"paths": ["/v1/models"]}, "/v1/Models", False),
        ({"path_prefixes": ["/v1/models"]}, "/v1/models", True),
        ({"path_prefixes": ["/v1/models"]}, "/v1/models/", True),
        ({"path_prefixes": ["/v1/models"]}, "/v1/models/x/y", True),
        ({"path_prefixes": ["/v1/models"]}, "/v1/modelsX", False),
        ({"path_prefixes": ["/v1/models"]}, "/v1/models-evil/chat", False),
        ({"path_prefixes": ["/v1/models"]}, "/v1", False),
        ({"path_prefixes": ["/v1/models"]}, "/x/v1/models", False),
        ({"path_prefixes": ["/v1/models/"]}, "/v1/models/x", True),
        ({"path_prefixes": ["/v1/models/"]}, "/v1/modelsX", False),
        ({"path_prefixes": ["/"]}, "/", True),
        ({"path_prefixes": ["/"]}, "/anything", True),
        ({"paths": ["/a"], "path_prefixes": ["/b"]}, "/a", True),
        ({"paths": ["/a"], "path_prefixes": ["/b"]}, "/b/x", True),
        ({"paths": ["/a"], "path_prefixes": ["/b"]}, "/a/x", False),
    ],
)
def test_a_rule_is_for_a_path_or_for_whole_segments_below_it(
    match: dict[str, Any], path: str, holds: bool
) -> None:
    assert matched(match, builders.call(path=path)) is holds


@pytest.mark.parametrize(
    ("methods", "method", "holds"),
    [
        (["GET", "HEAD"], "HEAD", True),
        (["GET"], "POST", False),
        (["GET"], "get", True),
        ([], "BREW", True),
    ],
)
def test_a_rule_is_for_its_methods(methods: list[str], method: str, holds: bool) -> None:
    assert matched({"methods": methods}, builders.call(method=method)) is holds


@pytest.mark.parametrize(
    ("principal", "holds"),
    [
        ("spiffe://example.com/app", True),
        ("spiffe://example.com/app2", False),
        ("spiffe://example.com/APP", False),
        ("", False),
    ],
)
def test_a_rule_is_for_its_principals_letter_by_letter(principal: str, holds: bool) -> None:
    match = {"principals": ["spiffe://example.com/app"]}
    assert matched(match, builders.call(principal=principal)) is holds


@pytest.mark.parametrize(
    ("context", "holds"),
    [
        ({"tier": "gold", "team": "x"}, True),
        ({"tier": "gold", "team": "x", "more": "1"}, True),
        ({"tier": "gold"}, False),
        ({"tier": "gold", "team": "y"}, False),
        ({}, False),
    ],
)
def test_a_rule_is_for_routes_that_carry_its_whole_context(
    context: dict[str, str], holds: bool
) -> None:
    match = {"context": {"tier": "gold", "team": "x"}}
    assert matched(match, builders.call(context=context)) is holds


@pytest.mark.parametrize(
    ("detect", "thresholds"),
    [
        ({"prompt_injection": {"thresholds": {"user": 0.25}}}, {Provenance.USER: 0.25}),
        ({"prompt_injection": {}}, {}),
        ({"prompt_injection": None}, {}),
    ],
)
def test_a_rule_knows_the_thresholds_it_sets_itself(
    detect: dict[str, Any], thresholds: dict[Provenance, float]
) -> None:
    assert builders.rule(detect=detect).thresholds == thresholds


@pytest.mark.parametrize(
    ("detect", "rate"),
    [
        ({"prompt_injection": {"false_positive_rate": 0.001}}, 0.001),
        ({"prompt_injection": {}}, None),
        ({"prompt_injection": None}, None),
        ({}, None),
    ],
)
def test_a_rule_knows_the_rate_of_false_positives_that_it_asks_for(
    detect: dict[str, Any], rate: float | None
) -> None:
    assert builders.rule(detect=detect).false_positive_rate == rate


@pytest.mark.parametrize(
    ("key", "detector"),
    [
        ("hidden_text", Detector.HIDDEN_TEXT),
        ("special_tokens", Detector.SPECIAL_TOKENS),
        ("role_lookalikes", Detector.ROLE_LOOKALIKES),
        ("chat_template", Detector.CHAT_TEMPLATE),
        ("unreadable", Detector.UNREADABLE),
    ],
)
@pytest.mark.parametrize("reaction", list(Reaction))
def test_each_detector_has_its_own_reaction(
    key: str, detector: Detector, reaction: Reaction
) -> None:
    changed, plain = builders.rule(detect={key: reaction}).detect, builders.rule().detect
    assert changed.on_finding(Finding(detector, "", "raw")) is reaction
    for other in set(Detector) - {detector}:
        finding = Finding(other, "", "raw")
        assert changed.on_finding(finding) is plain.on_finding(finding)


def test_many_turns_and_each_pattern_list_have_reactions_of_their_own() -> None:
    lists = [
        {"name": "a", "regex": ["a"], "reaction": "flag"},
        {"name": "b", "regex": ["b"]},
    ]
    detect = builders.rule(detect={"patterns": lists, "many_shot": {"reaction": "deny"}}).detect
    assert detect.on_finding(Finding(Detector.MANY_SHOT, "", "raw")) is Reaction.DENY
    assert detect.on_finding(Finding(Detector.PATTERN, "", "raw", "a")) is Reaction.FLAG
    assert detect.on_finding(Finding(Detector.PATTERN, "", "raw", "b")) is Reaction.DENY
    assert detect.on_finding(Finding(Detector.PATTERN, "", "raw", "gone")) is Reaction.DENY


@pytest.mark.parametrize("kind", list(Opaque))
def test_what_cannot_be_read_has_the_reaction_that_is_set(kind: Opaque) -> None:
    for reaction in Reaction:
        detect = builders.rule(detect={"uninspected": {kind: reaction}}).detect
        assert detect.on_opaque(kind) is reaction
    assert builders.rule().detect.on_opaque(kind) is not Reaction.IGNORE


WHOLE = {
    "hosts": ["api.example.com"],
    "paths": ["/v1/chat/completions"],
    "methods": ["POST"],
    "principals": ["spiffe://example.com/app"],
    "context": {"tier": "gold"},
}


@pytest.mark.parametrize(
    ("change", "holds"),
    [
        ({}, True),
        ({"host": "other.test"}, False),
        ({"path": "/v1/messages"}, False),
        ({"method": "GET"}, False),
        ({"principal": "spiffe://example.com/other"}, False),
        ({"context": {}}, False),
    ],
)
def test_every_kind_of_condition_must_hold(change: dict[str, Any], holds: bool) -> None:
    call = builders.call(**{"context": {"tier": "gold"}} | change)
    assert matched(WHOLE, call) is holds


def test_the_first_rule_that_holds_decides() -> None:
    routes = policy({"paths": ["/a"]}, {"path_prefixes": ["/"]}, {"paths": ["/b"]})
    assert routes.match(builders.call(), "/a").name == "0"
    assert routes.match(builders.call(), "/b").name == "1"


def test_a_call_that_no_route_is_for_falls_under_the_default() -> None:
    assert policy({"paths": ["/a"]}).match(builders.call(), "/b").name == "default"
    assert policy().match(builders.call(), "/b").name == "default"


calls = st.builds(
    Call,
    method=st.text(max_size=5),
    host=st.text(st.sampled_from("[]:.*abcİ\ud800"), max_size=9),
    principal=st.text(max_size=5),
    context=st.dictionaries(st.text(max_size=2), st.text(max_size=2)),
)
matches = st.fixed_dictionaries(
    {},
    optional={
        "hosts": st.lists(st.sampled_from(["a", "*.a", "b.a"])),
        "paths": st.lists(st.sampled_from(["/a", "/a/b"])),
        "path_prefixes": st.lists(st.sampled_from(["/", "/a"])),
        "methods": st.lists(st.sampled_from(["GET", "POST"])),
        "context": st.dictionaries(st.text(max_size=2), st.text(max_size=2)),
    },
)


@given(st.lists(matches, max_size=4), calls, st.sampled_from(["/", "/a", "/a/b", "/ab", "x", ""]))
def test_every_call_falls_under_exactly_the_first_rule_that_holds(
    several: list[dict[str, Any]], call: Call, path: str
) -> None:
    host = canonical_host(call.host)
    whole = policy(*several)
    holding = [rule for rule in whole.routes if rule.match.holds(call, host, path)]
    assert whole.match(call, path) is (holding[0] if holding else whole.default)


@given(st.text(st.sampled_from("[]:.*aBcİK\ud800")))
def test_the_spelling_of_a_host_does_not_change_when_read_again(authority: str) -> None:
    host = canonical_host(authority)
    assert canonical_host(host) == host


def test_a_method_in_lower_case_is_no_way_around_a_rule() -> None:
    found = policy({"methods": ["POST"]}).match(builders.call(method="post"), "/")
    assert found.name == "0"


@pytest.mark.parametrize("host", ["a@api.example.com", " api.example.com", "api.example.com/x"])
def test_what_is_no_host_matches_none(host: str) -> None:
    assert canonical_host(host) == ""
