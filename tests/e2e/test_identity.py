"""Through a real Envoy: who asks is what a certificate or a signed token says, and nothing else."""

import base64
import json
import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from msgspec import structs

from extauthz.core.policy import Identity, IdentitySource
from extauthz.demo.client import Answer, send
from extauthz.demo.upstream import Upstream
from extauthz.model.directory import ModelDirectory
from extauthz.model.session import Session
from tests.e2e.conftest import chat
from tests.e2e.running import Change, Filter, Gateway, ext_authz, scorer
from tests.transport.certificates import Authority

NAMESPACE = "envoy.filters.http.jwt_authn"
SOURCES = (
    Identity(source=IdentitySource.MTLS),
    Identity(source=IdentitySource.JWT, claim=("payload", "sub")),
    Identity(source=IdentitySource.API_KEY, header="authorization"),
)
ISSUER = ec.generate_private_key(ec.SECP256R1())


@pytest.fixture(scope="module")
def filter_(model: ModelDirectory) -> Iterator[Filter]:
    """Our filter under a policy that looks for certificates, then tokens, then keys."""
    session = Session(model, "cpu", 1)
    with Filter("h2corn", lambda: scorer(model, session)) as running:
        authorizer = running.authorizer
        authorizer.serve(structs.replace(authorizer.policy, identity=SOURCES))
        yield running


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _number(value: int) -> str:
    return _b64(value.to_bytes(32, "big"))


def _verify_tokens(config: dict[str, Any]) -> None:
    """Envoy verifies the token of a request that has one, hands on its claims, and keeps it here."""
    public = ISSUER.public_key().public_numbers()
    key = {"kty": "EC", "crv": "P-256", "alg": "ES256"}
    key |= {"x": _number(public.x), "y": _number(public.y)}
    provider = {
        "issuer": "https://issuer.test",
        "local_jwks": {"inline_string": json.dumps({"keys": [key]})},
        "payload_in_metadata": "payload",
    }
    asks = {"requires_any": {"requirements": [{"provider_name": "a"}, {"allow_missing": {}}]}}
    kind = "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication"
    rules = [{"match": {"prefix": "/"}, "requires": asks}]
    typed = {"@type": kind, "providers": {"a": provider}, "rules": rules}
    listener = config["static_resources"]["listeners"][0]
    filters = listener["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"]
    ext_authz(config)["metadata_context_namespaces"] = [NAMESPACE]
    filters.insert(0, {"name": NAMESPACE, "typed_config": typed})


def _token(subject: object, key: ec.EllipticCurvePrivateKey | None = ISSUER) -> str:
    header = {"alg": "ES256" if key else "none"}
    claims = {"iss": "https://issuer.test", "sub": subject}
    text = ".".join(_b64(json.dumps(part).encode()) for part in (header, claims))
    if key is None:
        return f"{text}."
    pair = decode_dss_signature(key.sign(text.encode(), ec.ECDSA(SHA256())))
    return f"{text}.{_b64(b''.join(one.to_bytes(32, 'big') for one in pair))}"


@pytest.fixture(scope="module")
def tokens(
    filter_: Filter, upstream: Upstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("tokens")
    with Gateway(folder, upstream, [filter_.address], _verify_tokens) as running:
        yield running


def _ask(gateway: Gateway, *headers: tuple[str, str]) -> Answer:
    return gateway.send(replace(chat(), headers=headers))


def test_the_claim_of_a_signed_token_is_the_principal(tokens: Gateway, filter_: Filter) -> None:
    answer = _ask(tokens, ("authorization", f"Bearer {_token('alice')}"))

    assert answer.status == 200
    assert filter_.observed[-1].call.principal == "jwt:payload/sub:alice"


@pytest.mark.parametrize(
    "token",
    [_token("alice", None), _token("alice", ec.generate_private_key(ec.SECP256R1()))],
    ids=["not signed", "signed by another"],
)
def test_a_token_that_nobody_vouches_for_stops_at_envoy(
    tokens: Gateway, filter_: Filter, token: str
) -> None:
    asked = len(filter_.checks)

    assert _ask(tokens, ("authorization", f"Bearer {token}")).status == 401
    assert len(filter_.checks) == asked


def test_no_header_stands_in_for_a_token(tokens: Gateway, filter_: Filter) -> None:
    claims = _b64(b'{"payload":{"sub":"alice"}}')
    names = ("x-jwt-payload", "x-jwt-claim-sub", "x-envoy-jwt-payload", "x-forwarded-client-cert")

    answer = _ask(tokens, *((name, claims) for name in names), ("x-user", "alice"))

    assert answer.status == 200
    assert filter_.observed[-1].call.principal == ""


def test_neither_tokens_nor_keys_reach_us_as_we_ship_it(tokens: Gateway, filter_: Filter) -> None:
    token = _token("alice")

    _ask(tokens, ("authorization", f"Bearer {token}"), ("x-api-key", "sesame"))

    assert token.encode() not in filter_.checks[-1]
    assert b"sesame" not in filter_.checks[-1]


def _terminate_tls(authority: Authority, *, verify: bool) -> Change:
    tls = authority.tls()
    certificate = {"filename": str(tls.certificate)}
    server = {"certificate_chain": certificate, "private_key": {"filename": str(tls.key)}}
    common: dict[str, Any] = {"tls_certificates": [server]}
    if verify:
        common["validation_context"] = {"trusted_ca": {"filename": str(tls.client_ca)}}
    kind = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext"
    context = {"@type": kind, "require_client_certificate": True, "common_tls_context": common}

    def change(config: dict[str, Any]) -> None:
        chain = config["static_resources"]["listeners"][0]["filter_chains"][0]
        chain["transport_socket"] = {
            "name": "envoy.transport_sockets.tls",
            "typed_config": context,
        }

    return change


def _send(
    gateway: Gateway, folder: Path, server: Authority, client: Authority, *uris: str
) -> Answer:
    key, certificate = client.client(*uris)
    both = folder / "client.both"
    both.write_bytes(key + certificate)
    context = ssl.create_default_context(cadata=server.root.decode())
    context.load_cert_chain(both)
    return send(gateway.address, chat(), context)


def test_a_verified_certificate_names_the_peer_by_its_first_uri_and_never_another_kind(
    stack: ExitStack, filter_: Filter, authority: Authority, upstream: Upstream, tmp_path: Path
) -> None:
    change = _terminate_tls(authority, verify=True)
    gateway = stack.enter_context(Gateway(tmp_path, upstream, [filter_.address], change))

    def principal(*uris: str) -> tuple[int, str]:
        answer = _send(gateway, tmp_path, authority, authority, *uris)
        return answer.status, filter_.observed[-1].call.principal

    assert principal("spiffe://a/one", "spiffe://a/two") == (200, "spiffe://a/one")
    assert principal() == (200, "client")  # its DNS name
    assert principal("jwt:payload/sub:alice") == (400, "")


def test_a_certificate_that_envoy_did_not_verify_names_nobody(
    stack: ExitStack,
    filter_: Filter,
    authority: Authority,
    upstream: Upstream,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    change = _terminate_tls(authority, verify=False)
    gateway = stack.enter_context(Gateway(tmp_path, upstream, [filter_.address], change))
    stranger = Authority(tmp_path_factory.mktemp("stranger"))

    answer = _send(gateway, tmp_path, authority, stranger, "spiffe://a/one")

    assert (answer.status, filter_.observed[-1].call.principal) == (200, "")
