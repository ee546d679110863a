"""Who asks: one principal for each request, from the first of the operator's sources that has one.

A principal says where it is from, so that no two sources can name the same one: `jwt:sub:alice`,
`key:9f86d0...`, `header:x-user:alice`. What the peer certificate says stays as Envoy gives it
(`spiffe://...`), and is refused if it looks like one of the others. A value that two readers could
take for two different ones is refused too: there is one spelling of each principal, or none.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import quote

from extauthz.core.call import Call
from extauthz.core.policy import Identity, IdentitySource
from extauthz.core.reasons import Failure

_PREFIX: Final[Mapping[IdentitySource, str]] = MappingProxyType(
    {
        IdentitySource.JWT: "jwt:",
        IdentitySource.API_KEY: "key:",
        IdentitySource.HEADER: "header:",
    }
)
_JWT_NAMESPACE: Final = Identity(source=IdentitySource.JWT).namespace

#: Printable ASCII. Not "!", which Envoy puts in the place of every byte that is not UTF-8, so that
#: `al\xffice` and `al\xfeice` would be one. A SPIFFE id has at most 2048 bytes (SPIFFE-ID 2.3).
_PEER: Final = re.compile(r"[ \"-~]{1,2048}")
#: Not "," either, with which Envoy joins repeated headers, and no white space.
_HEADER: Final = re.compile(r"[\"-+\--~]{1,255}")
#: RFC 6750 section 2.1: `Bearer`, in any case, and blanks before the token.
_KEY: Final = re.compile(r"(?:bearer +)?([\"-+\--~]{1,4096})", re.IGNORECASE)
_SCHEMES: Final = frozenset({"bearer", "basic", "digest", "negotiate"})
#: OpenID Connect Core 1.0 section 2: `sub` is at most 255 ASCII characters.
_CLAIM: Final = re.compile(r"[!-~]{1,255}")

#: Request headers that hold credentials.
_CREDENTIALS: Final = frozenset(
    {
        "authorization", "proxy-authorization", "cookie", "api-key", "x-api-key", "x-goog-api-key",
    }
)  # fmt: skip


def identify(call: Call, sources: Iterable[Identity]) -> str | Failure:
    """The principal of `call`; empty when no source has one, or IDENTITY_AMBIGUOUS.

    `call.principal` is still what Envoy says of the peer certificate. The first source that has a
    value wins, whatever later ones say.
    """
    for source in sources:
        found = _look(call, source)
        if found:
            return found
    return ""


def source_of(principal: str) -> IdentitySource | None:
    """Where a principal that `identify` returned is from; None for nobody."""
    for source, prefix in _PREFIX.items():
        if principal.startswith(prefix):
            return source
    return IdentitySource.MTLS if principal else None


def identified(
    call: Call, principal: str | Failure, tenant: str | Failure, sources: Iterable[Identity]
) -> Call:
    """`call` as the rest of us sees it: with its principal and tenant, and with no credential in it."""
    known = "" if isinstance(principal, Failure) else principal
    known_tenant = "" if isinstance(tenant, Failure) else tenant
    secret = _CREDENTIALS.union(
        one.header for one in sources if one.source is IdentitySource.API_KEY
    )
    headers = call.headers
    if not secret.isdisjoint(headers):
        headers = {name: "" if name in secret else value for name, value in headers.items()}
    elif known == call.principal and known_tenant == call.tenant:
        return call
    return replace(call, principal=known, tenant=known_tenant, headers=headers)


def _look(call: Call, source: Identity) -> str | Failure:
    match source.source:
        case IdentitySource.MTLS:
            return _peer(call.principal)
        case IdentitySource.JWT:
            return _claim(call.metadata.get(source.namespace), source)
        case IdentitySource.API_KEY:
            return _key(call.headers, source.header)
        case IdentitySource.HEADER:
            return _header(call.headers, source.header)


def _peer(principal: str) -> str | Failure:
    if not principal:
        return ""
    foreign = principal.startswith(tuple(_PREFIX.values()))
    return principal if _PEER.fullmatch(principal) and not foreign else Failure.IDENTITY_AMBIGUOUS


def _claim(claims: Any, source: Identity) -> str | Failure:  # noqa: ANN401 - JSON
    """The claim, if it is one string. A number arrives as a double, in which large ids are one."""
    for name in source.claim:
        if claims is None:
            return ""
        if not isinstance(claims, Mapping):
            return Failure.IDENTITY_AMBIGUOUS
        claims = claims.get(name)
    if claims is None:
        return ""
    if not isinstance(claims, str) or not _CLAIM.fullmatch(claims):
        return Failure.IDENTITY_AMBIGUOUS
    # "@" is quoted in the names, so a namespace is never one of them.
    namespace = () if source.namespace == _JWT_NAMESPACE else ("@" + quote(source.namespace, ""),)
    names = (*namespace, *(quote(name, "") for name in source.claim))
    return f"{_PREFIX[IdentitySource.JWT]}{'/'.join(names)}:{claims}"


def _key(headers: Mapping[str, str], name: str) -> str | Failure:
    """A digest of the key: the same one whether the key is sent bare or as a bearer token."""
    value = _value(headers, name)
    if not value or isinstance(value, Failure):
        return value
    token = _KEY.fullmatch(value)
    if token is None or token[1].lower() in _SCHEMES:
        return Failure.IDENTITY_AMBIGUOUS
    return _PREFIX[IdentitySource.API_KEY] + hashlib.sha256(token[1].encode()).hexdigest()


def _header(headers: Mapping[str, str], name: str) -> str | Failure:
    value = _value(headers, name)
    if not value or isinstance(value, Failure):
        return value
    if not _HEADER.fullmatch(value):
        return Failure.IDENTITY_AMBIGUOUS
    return f"{_PREFIX[IdentitySource.HEADER]}{name}:{value}"


def _value(headers: Mapping[str, str], name: str) -> str | Failure:
    """The value of a header. To many servers `x_user` is `x-user`, so none may be beside it."""
    folded = name.replace("_", "-")
    for other in headers:
        if other != name and other.replace("_", "-") == folded:
            return Failure.IDENTITY_AMBIGUOUS
    return headers.get(name, "")
