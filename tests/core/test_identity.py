"""One principal for each request, in one spelling, or none; and nothing that a client can forge."""

import hashlib
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extauthz import policy_file
from extauthz.core.call import Call
from extauthz.core.identity import identified, identify, source_of
from extauthz.core.policy import Identity, IdentitySource
from extauthz.core.reasons import Failure
from tests import builders

NAMESPACE = "envoy.filters.http.jwt_authn"
MTLS = Identity(source=IdentitySource.MTLS)
SUB = Identity(source=IdentitySource.JWT, claim=("payload", "sub"))
KEY = Identity(source=IdentitySource.API_KEY, header="x-api-key")
BEARER = Identity(source=IdentitySource.API_KEY, header="authorization")
USER = Identity(source=IdentitySource.HEADER, header="x-user")
SOURCES = (MTLS, SUB, KEY, BEARER, USER)

#: Text as Envoy may pass it on, with what is likely to confuse.
VALUES = st.text(st.sampled_from("ab,!: \t\0é\x7f/=.-_AjwtkeyhdrBearer"), max_size=12)

NO_STRINGS: tuple[object, ...] = (7.0, True, [], ["alice"], {})


def caller(principal: str = "", metadata: Any = None, **headers: str) -> Call:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return builders.call(principal=principal, headers=sent, metadata=metadata or {})


def token(**payload: object) -> dict[str, object]:
    return {NAMESPACE: {"payload": payload}}


def digest(key: str) -> str:
    return "key:" + hashlib.sha256(key.encode()).hexdigest()


@pytest.mark.parametrize(
    ("call", "source", "principal"),
    [
        (caller("spiffe://example.org/app"), MTLS, "spiffe://example.org/app"),
        (caller("CN=app, O=example"), MTLS, "CN=app, O=example"),
        (caller(metadata=token(sub="auth0|alice")), SUB, "jwt:payload/sub:auth0|alice"),
        (caller(x_api_key="sk-1"), KEY, digest("sk-1")),
        (caller(x_api_key="Bearer sk-1"), KEY, digest("sk-1")),
        (caller(authorization="Bearer sk-1"), BEARER, digest("sk-1")),
        (caller(authorization="bEARER  sk-1"), BEARER, digest("sk-1")),
        (caller(authorization="sk-1"), BEARER, digest("sk-1")),
        (caller(x_user="alice@example.org"), USER, "header:x-user:alice@example.org"),
    ],
)
def test_each_source_names_the_principal_and_itself(
    call: Call, source: Identity, principal: str
) -> None:
    assert identify(call, (source,)) == principal
    assert source_of(principal) is source.source


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize(
    "call",
    [
        caller(),
        caller(x_user="", x_api_key="", authorization=""),
        caller(metadata={NAMESPACE: {}}),
        caller(metadata={NAMESPACE: {"payload": {"sub": None, "iss": "x"}}}),
        caller(metadata={"another.filter": {"payload": {"sub": "alice"}}}),
    ],
    ids=["nothing", "empty headers", "no token", "no claim", "another filter's"],
)
def test_who_shows_nothing_is_nobody(call: Call, source: Identity) -> None:
    assert identify(call, (source,)) == ""
    assert source_of("") is None


@pytest.mark.parametrize(
    ("call", "source"),
    [
        *((caller(x_user=value), USER) for value in ("a,b", "a,", ",", "al!ice", "al ice", "a\tb")),
        *((caller(x_user=value), USER) for value in ("é", "\ufffd", "a\0", "a\x7f", "a" * 256)),
        *((caller(x_api_key=value), KEY) for value in ("a,b", "a b", "k!", "é", "k" * 4097)),
        *((caller(authorization=value), BEARER) for value in ("Bearer", "Basic YTpi", "Bearer a b")),
        (caller(authorization="Bearer a,Bearer b"), BEARER),
        *((caller(principal), MTLS) for principal in ("jwt:payload/sub:alice", "header:x-user:a")),
        *((caller(principal), MTLS) for principal in (digest("k"), "spiffe://a!", "é", "a\nb")),
        (caller("s" * 2049), MTLS),
        *((caller(metadata=token(sub=value)), SUB) for value in NO_STRINGS),
        *((caller(metadata=token(sub=value)), SUB) for value in ("", "a b", "é", "a\n", "a" * 256)),
        (caller(metadata={NAMESPACE: {"payload": "alice"}}), SUB),
    ],
)  # fmt: skip
def test_what_could_be_read_as_someone_else_is_refused(call: Call, source: Identity) -> None:
    assert identify(call, (source,)) is Failure.IDENTITY_AMBIGUOUS


@pytest.mark.parametrize("source", [KEY, USER])
@pytest.mark.parametrize("beside", [True, False])
def test_a_header_that_differs_in_underscores_alone_is_refused(
    source: Identity, beside: bool
) -> None:
    forged = {source.header.replace("-", "_"): "bob"}
    call = builders.call(headers=forged | ({source.header: "alice"} if beside else {}))

    assert identify(call, (source,)) is Failure.IDENTITY_AMBIGUOUS


def test_the_first_source_that_has_one_wins_and_later_ones_are_not_asked() -> None:
    both = caller("spiffe://a/bob", x_user="alice,eve")

    assert identify(both, (SUB, MTLS, USER)) == "spiffe://a/bob"
    assert identify(both, (USER, MTLS)) is Failure.IDENTITY_AMBIGUOUS
    assert identify(both, (SUB, KEY)) == ""


def test_claims_of_the_same_value_are_told_apart_by_their_names() -> None:
    names = [("sub",), ("email",), ("a", "b"), ("a/b",), ("a:b",), ("@x", "sub"), ("x", "sub")]
    claims: dict[str, Any] = {"sub": "v", "email": "v", "a": {"b": "v"}, "a/b": "v", "a:b": "v"}
    claims |= {"@x": {"sub": "v"}, "x": {"sub": "v"}}
    call = caller(metadata={NAMESPACE: claims, "x": claims})
    sources = [Identity(source=IdentitySource.JWT, claim=name) for name in names]
    sources.append(Identity(source=IdentitySource.JWT, namespace="x", claim=("sub",)))

    found = [identify(call, (source,)) for source in sources]

    assert "jwt:@x/sub:v" in found
    assert len(set(found)) == len(sources)


@given(VALUES, VALUES, VALUES, VALUES)
def test_no_source_can_produce_what_another_does(
    peer: str, claim: str, key: str, user: str
) -> None:
    call = caller(peer, token(sub=claim), x_api_key=key, x_user=user)
    found = [identify(call, (source,)) for source in (MTLS, SUB, KEY, USER)]
    named = [one for one in found if one and not isinstance(one, Failure)]

    assert len(set(named)) == len(named)
    for source, principal in zip((MTLS, SUB, KEY, USER), found, strict=True):
        if principal and not isinstance(principal, Failure):
            assert source_of(principal) is source.source
            assert re.fullmatch("[ -~]+", principal)


@given(VALUES, VALUES)
def test_two_header_values_are_one_principal_only_if_they_are_equal(left: str, right: str) -> None:
    first, second = (identify(caller(x_user=value), (USER,)) for value in (left, right))

    if first == second and first and not isinstance(first, Failure):
        assert left == right


@given(st.dictionaries(st.sampled_from(["X", "x-user", "x_user", "x-users", "a"]), VALUES))
def test_no_header_changes_who_a_certificate_or_a_token_names(headers: dict[str, str]) -> None:
    call = builders.call(headers=headers, principal="spiffe://a/b", metadata=token(sub="alice"))

    assert identify(call, (MTLS, USER)) == "spiffe://a/b"
    assert identify(call, (SUB, USER)) == "jwt:payload/sub:alice"


def test_who_was_identified_is_in_the_call_and_credentials_no_longer_are() -> None:
    own = Identity(source=IdentitySource.API_KEY, header="x-team-key")
    call = caller(authorization="Bearer s", cookie="s", x_team_key="s", accept="*/*")

    seen = identified(call, "jwt:sub:alice", "jwt:org:blue", (own,))

    assert (seen.principal, seen.tenant) == ("jwt:sub:alice", "jwt:org:blue")
    assert seen.headers == {"authorization": "", "cookie": "", "x-team-key": "", "accept": "*/*"}


def test_headers_without_credentials_are_not_copied() -> None:
    call = caller(accept="*/*")

    assert identified(call, "", "", ()) is call
    assert identified(call, "jwt:sub:alice", "", ()).headers is call.headers
    assert identified(call, "", "jwt:org:blue", ()).headers is call.headers


@pytest.mark.parametrize("unclear", ["principal", "tenant"])
def test_who_is_unclear_is_nobody_in_the_call(unclear: str) -> None:
    found: dict[str, str | Failure] = {"principal": "a", "tenant": "b"}
    found[unclear] = Failure.IDENTITY_AMBIGUOUS

    seen = identified(caller("spiffe://a/b"), found["principal"], found["tenant"], ())

    assert getattr(seen, unclear) == ""
    assert {seen.principal, seen.tenant} < {"a", "b", ""}


def test_the_documented_sources_are_a_policys(tmp_path: Path) -> None:
    document = Path(__file__).parents[2] / "docs" / "identity.md"
    (example,) = re.findall(r"```yaml\n(.*?)```", document.read_text(), re.DOTALL)
    path = tmp_path / "policy.yaml"
    path.write_text(f"version: 1\n{example}default: {{action: inspect}}\n")

    assert policy_file.load(path).identity == (MTLS, SUB, KEY, USER)
