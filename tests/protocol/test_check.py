"""CheckRequest bytes are read without surprises, and no answer allows by accident."""

from collections.abc import Mapping
from itertools import product

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from extauthz.core.call import Call
from extauthz.core.decision import Decision, Signals, Verdict, decide
from extauthz.core.dialects import KNOWN, UNKNOWN_JSON
from extauthz.core.extract import Coverage
from extauthz.core.policy import Action, DenyShape, Mutate, OnFailure, Rule
from extauthz.core.reasons import Failure, Reason
from extauthz.core.refusals import Denial, denial
from extauthz.protocol import check
from extauthz.protocol._pb.check_pb2 import AttributeContext, CheckRequest, CheckResponse
from extauthz.protocol._pb.core_pb2 import HeaderMap, HeaderValue, StatusCode
from tests import as_envoy, builders

DIALECTS = (*KNOWN, UNKNOWN_JSON)
STATUSES = [code for code in StatusCode.values() if code >= 200]
PRINTABLE = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=8)
NAMES = st.text("abcdefghij-", min_size=1, max_size=8)
HEADERS = st.dictionaries(NAMES, PRINTABLE, max_size=3)
MUTATES = st.builds(
    Mutate,
    set_headers=HEADERS,
    remove_headers=st.lists(NAMES, max_size=2).map(tuple),
    set_query=HEADERS,
    remove_query=st.lists(NAMES, max_size=2).map(tuple),
    response_headers=HEADERS,
)
RULES = st.builds(
    Rule,
    name=NAMES,
    action=st.sampled_from(Action),
    on_failure=st.sampled_from(OnFailure),
    deny_as=st.sampled_from(DenyShape),
    shadow=st.booleans(),
    mutate=st.none() | MUTATES,
)
SCORED = st.builds(builders.scored, st.sampled_from([0.0, 0.4999, 0.5, 1.0, float("nan")]))
SIGNALS = st.builds(
    Signals,
    failure=st.none() | st.sampled_from(Failure),
    scored=st.lists(SCORED, max_size=3).map(tuple),
    coverage=st.sampled_from([Coverage(), Coverage(9, 9), Coverage(9, 4, {"vocabulary": 4})]),
    dialect=st.sampled_from(DIALECTS),
    stream=st.booleans(),
)
DECIDED = st.builds(decide, RULES, SIGNALS, HEADERS)
#: Any combination of fields, also those that `decide` never returns.
HAND_MADE = st.builds(
    Decision,
    verdict=st.sampled_from(Verdict),
    reason=st.sampled_from(Reason),
    rule=NAMES,
    denial=st.none() | st.builds(Denial, st.sampled_from(STATUSES), HEADERS, st.just(b"no")),
    shadowed=st.none() | st.sampled_from(Verdict),
    mutate=MUTATES,
    removed_headers=st.lists(NAMES, max_size=2).map(tuple),
)
METADATA: st.SearchStrategy[Mapping[str, str | float | bool]] = st.dictionaries(
    NAMES, PRINTABLE | st.floats() | st.booleans(), max_size=3
)


def asked(**http: object) -> bytes:
    """CheckRequest bytes with only the given fields of the HTTP request, beside method and path."""
    fields: dict[str, object] = {"method": "GET", "path": "/"}
    request = AttributeContext.HttpRequest(**fields | http)  # type: ignore[arg-type]
    attributes = AttributeContext(request=AttributeContext.Request(http=request))
    return CheckRequest(attributes=attributes).SerializeToString()


def read(message: bytes) -> Call:
    """The call in a message that must be readable."""
    call = check.read(message)
    assert isinstance(call, Call)
    return call


@settings(suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no fault of ours
@given(DECIDED | HAND_MADE, METADATA)
def test_an_answer_allows_exactly_when_the_decision_does_and_carries_no_denial(
    decision: Decision, metadata: Mapping[str, str | float | bool]
) -> None:
    answer = check.write(decision, metadata)

    assert answer
    response = CheckResponse.FromString(answer)
    kind = response.WhichOneof("http_response")
    if decision.verdict in {Verdict.ALLOW, Verdict.MUTATE} and decision.denial is None:
        assert (response.status.code, kind) == (0, "ok_response")
        return
    assert response.status.code != 0
    assert kind == ("error_response" if decision.verdict is Verdict.ERROR else "denied_response")
    refused = response.error_response if kind == "error_response" else response.denied_response
    assert refused.status.code in STATUSES


@pytest.mark.parametrize("verdict", [Verdict.DENY, Verdict.ERROR])
def test_a_denial_that_was_forgotten_is_a_403(verdict: Verdict) -> None:
    response = CheckResponse.FromString(check.write(Decision(verdict, Reason.CLEAN, "r"), {}))

    assert response.status.code != 0
    assert {response.denied_response.status.code, response.error_response.status.code} == {0, 403}


def test_envoy_knows_the_status_of_every_refusal() -> None:
    refusals = [
        denial(shape, reason, dialect, stream=stream)
        for shape, reason, dialect, stream in product(DenyShape, Reason, DIALECTS, (False, True))
    ]

    assert {refusal.status for refusal in refusals} <= set(STATUSES)
    for refusal in refusals:
        decision = Decision(Verdict.DENY, Reason.CLEAN, "r", denial=refusal)
        response = CheckResponse.FromString(check.write(decision, {})).denied_response
        assert response.status.code == refusal.status
        assert as_envoy.written(response.headers) == refusal.headers
        assert response.body.encode() == refusal.body


def test_a_rules_changes_overwrite_and_the_clients_forgeries_are_removed() -> None:
    change = {
        "set_headers": {"x-tenant": "blue"},
        "remove_headers": ["cookie"],
        "set_query": {"v": "2"},
        "remove_query": ["debug"],
        "response_headers": {"x-screened": "yes"},
    }
    forged = {"x-extauthz-verdict": "allow", "x-envoy-auth-partial-body": "false", "accept": "*/*"}
    decision = decide(builders.rule(mutate=change), builders.signals(0.1), forged)

    response = CheckResponse.FromString(check.write(decision, {})).ok_response

    assert as_envoy.written(response.headers) == {"x-tenant": "blue"}
    assert as_envoy.written(response.response_headers_to_add) == {"x-screened": "yes"}
    assert list(response.headers_to_remove) == [
        "cookie",
        "x-extauthz-verdict",
        "x-envoy-auth-partial-body",
    ]
    assert [(one.key, one.value) for one in response.query_parameters_to_set] == [("v", "2")]
    assert list(response.query_parameters_to_remove) == ["debug"]


@pytest.mark.parametrize("value", ["a\r\nset-cookie: b", "a\nb", "a\rb", "a\0b", "\x7f", "é"])
@pytest.mark.parametrize("side", ["set_headers", "response_headers"])
def test_a_header_value_that_could_split_a_message_is_never_written(side: str, value: str) -> None:
    rule = builders.rule(mutate={side: {"x-a": value}})
    decision = decide(rule, builders.signals(0.1), {})

    with pytest.raises(ValueError, match="printable ASCII") as caught:
        check.write(decision, {})
    assert value not in str(caught.value)


@pytest.mark.parametrize("as_text", [False, True])
def test_everything_that_envoy_tells_is_read(as_text: bool) -> None:
    claims = {"sub": "alice", "n": 7.0, "ok": True, "none": None, "roles": ["a", {"b": []}]}
    metadata = {"envoy.filters.http.jwt_authn": {"payload": claims}, "other": {}}
    body = '{"a":"é"}'.encode()
    call = builders.call(context={"tenant": "blue"}, metadata=metadata, body=body)

    assert check.read(as_envoy.ask(call, as_text=as_text)) == call


def test_the_raw_body_counts_where_both_forms_are_there() -> None:
    assert read(asked(body="text", raw_body=b"\xff")).body == b"\xff"


def test_raw_headers_are_lower_case_and_repeated_ones_are_joined_in_order() -> None:
    headers = [
        HeaderValue(key="Accept", value="a"),
        HeaderValue(key="x-note", raw_value="é".encode()),
        HeaderValue(key="accept", raw_value=b"b"),
        HeaderValue(key="x-bytes", raw_value=b"\xff\xfe"),
        HeaderValue(key="x-empty"),
    ]

    call = read(asked(header_map=HeaderMap(headers=headers)))

    assert call.headers == {"accept": "a,b", "x-note": "é", "x-bytes": "��", "x-empty": ""}


@pytest.mark.parametrize(
    "message",
    [b"", asked(method=""), asked(path=""), b"\xff", asked(path="/x" * 40)[:-3]],
    ids=["nothing", "no method", "no path", "no protobuf", "cut short"],
)
def test_what_is_no_check_of_an_http_request_is_named_malformed(message: bytes) -> None:
    assert check.read(message) is Failure.CHECK_MALFORMED


def test_metadata_beyond_its_bound_makes_the_check_malformed() -> None:
    long = as_envoy.ask(builders.call(metadata={"jwt": {"a": "x" * 70_000}}))

    assert check.read(long) is Failure.CHECK_MALFORMED


@pytest.mark.parametrize("field", ["path", "host", "body", "id", "method"])
def test_a_string_that_is_no_utf8_makes_the_check_malformed(field: str) -> None:
    message = asked(**{field: "@@@@"}).replace(b"@@@@", b"@\xff\xc0@")

    assert check.read(message) is Failure.CHECK_MALFORMED


@given(st.binary(max_size=64))
def test_no_bytes_raise(message: bytes) -> None:
    assert isinstance(check.read(message), Call | Failure)


@given(st.data())
def test_a_damaged_check_never_raises(data: st.DataObject) -> None:
    message = bytearray(as_envoy.ask(builders.call(context={"tenant": "blue"})))
    for _ in range(data.draw(st.integers(1, 4))):
        message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))

    found = check.read(bytes(message))

    assert isinstance(found, Call) or found is Failure.CHECK_MALFORMED
