"""Who asks: only what Envoy verified or is known to have set, and one reading of it."""

import base64
import hashlib
import hmac
import json
from typing import Any

from tests.e2e.catalogue.case import HONEST, Case
from tests.e2e.catalogue.wire import Wire, chat

_ISSUER = "https://issuer.test"
_SECRET = bytes(range(32))
#: The key of the application that policy.yaml knows by its digest.
_APP_KEY = "sk-catalogue-0123456789"

AMBIGUOUS = "400 identity_ambiguous"
STRANGER = "403 route_denied"


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def jwt_authn() -> dict[str, Any]:
    """Envoy's filter that verifies tokens, where there is one, and hands their claims on."""
    key = {"kty": "oct", "alg": "HS256", "kid": "1", "k": _b64(_SECRET)}
    provider = {
        "issuer": _ISSUER,
        "local_jwks": {"inline_string": json.dumps({"keys": [key]})},
        "payload_in_metadata": "verified",
    }
    asks = {"requires_any": {"requirements": [{"provider_name": "test"}, {"allow_missing": {}}]}}
    kind = "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication"
    rules = [{"match": {"prefix": "/"}, "requires": asks}]
    return {
        "name": "envoy.filters.http.jwt_authn",
        "typed_config": {"@type": kind, "providers": {"test": provider}, "rules": rules},
    }


def _token(secret: bytes = _SECRET, **claims: Any) -> tuple[str, str]:
    parts = [{"alg": "HS256", "kid": "1", "typ": "JWT"}, {"iss": _ISSUER} | claims]
    text = ".".join(_b64(json.dumps(part).encode()) for part in parts)
    seal = hmac.digest(secret, text.encode(), hashlib.sha256)
    return ("authorization", f"Bearer {text}.{_b64(seal)}")


def _for(host: str, *headers: tuple[str, str]) -> Wire:
    return chat(HONEST, *headers, host=host)


def _tokens() -> list[Case]:
    host, alice = "jwt.test", _for("jwt.test", _token(sub="alice"))
    attacks = {
        "nobody": ((), STRANGER),
        "another-one": ((_token(sub="bob"),), STRANGER),
        "wrong-seal": ((_token(bytes(32), sub="alice"),), "401 -"),
        "not-signed": ((("authorization", _unsigned()),), "401 -"),
        "other-case": ((_token(sub="Alice"),), STRANGER),
        "a-list": ((_token(sub=["alice"]),), "401 -"),
        "a-number": ((_token(sub=7),), "401 -"),
        "a-blank": ((_token(sub="alice "),), AMBIGUOUS),
        "not-ascii": ((_token(sub="al\u0456ce"),), AMBIGUOUS),
        "colon-games": ((_token(sub="verified/sub:alice"),), STRANGER),
        "header-instead": ((("x-user", "alice"),), STRANGER),
        "header-with-the-principal": ((("x-user", "jwt:verified/sub:alice"),), STRANGER),
        "envoys-own-metadata-header": ((("x-jwt-payload", _b64(b'{"sub":"alice"}')),), STRANGER),
        "peer-certificate-header": ((("x-forwarded-client-cert", "URI=jwt:verified/sub:alice"),), STRANGER),
    }  # fmt: skip
    return [
        Case("A20", f"jwt-{name}", _for(host, *headers), expected, alice)
        for name, (headers, expected) in attacks.items()
    ]


def _unsigned() -> str:
    head = _b64(json.dumps({"alg": "none", "kid": "1"}).encode())
    return f"Bearer {head}.{_b64(json.dumps({'iss': _ISSUER, 'sub': 'alice'}).encode())}."


def _headers() -> list[Case]:
    host, twin = "header.test", _for("header.test", ("x-user", "alice"))
    attacks = {
        "repeated": ([("x-user", "alice"), ("x-user", "bob")], AMBIGUOUS),
        "repeated-alike": ([("x-user", "alice"), ("X-User", "alice")], AMBIGUOUS),
        "comma": ([("x-user", "alice,bob")], AMBIGUOUS),
        "blank-inside": ([("x-user", "alice bob")], AMBIGUOUS),
        "not-ascii": ([("x-user", "al\xffice")], AMBIGUOUS),
        "what-envoy-makes-of-that": ([("x-user", "al!ice")], AMBIGUOUS),
        "underscore": ([("x-user", "alice"), ("x_user", "bob")], "400 -"),
        "underscore-alone": ([("x_user", "alice")], "400 -"),
        "other-case": ([("x-user", "ALICE")], STRANGER),
        "longer": ([("x-user", "alice2")], STRANGER),
        "address-instead": ([("x-forwarded-for", "alice"), ("x-real-ip", "alice")], STRANGER),
        "nobody": ([], STRANGER),
    }  # fmt: skip
    return [
        Case("A20", f"header-{name}", _for(host, *headers), expected, twin)
        for name, (headers, expected) in attacks.items()
    ]


def _keys() -> list[Case]:
    host, twin = "key.test", _for("key.test", ("x-app-key", f"Bearer {_APP_KEY}"))
    attacks = {
        "another": ([("x-app-key", "sk-other-0123456789")], STRANGER),
        "twice": ([("x-app-key", _APP_KEY), ("x-app-key", _APP_KEY)], AMBIGUOUS),
        "its-digest": ([("x-app-key", hashlib.sha256(_APP_KEY.encode()).hexdigest())], STRANGER),
        "behind-a-token": ([("x-app-key", _APP_KEY), _token(sub="bob")], STRANGER),
        "nobody": ([], STRANGER),
    }
    bare = _for(host, ("x-app-key", _APP_KEY))
    return [
        *(Case("A20", f"key-{name}", _for(host, *headers), expected, twin) for name, (headers, expected) in attacks.items()),
        Case("A20", "key-without-bearer", bare, "200", twin),
    ]  # fmt: skip


def cases() -> list[Case]:
    """All of this subject."""
    return [*_tokens(), *_headers(), *_keys()]
