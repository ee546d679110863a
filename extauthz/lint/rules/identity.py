"""Whom a request comes from, and what of it the server is told."""

from collections.abc import Iterator
from typing import Final

import re2

from extauthz.lint.envoy_model import (
    API_KEYS,
    BASIC_AUTH,
    HEADER_MUTATION,
    JWT,
    Filter,
    Manager,
    is_local,
)
from extauthz.lint.estate import Check, Estate
from extauthz.lint.node import Node
from extauthz.lint.rule import Family, Fault, Options, Severity, rule

_CREDENTIALS: Final = ("authorization", "cookie")
#: Settings of filters that write a verified identity into a header.
_WRITERS: Final = {
    JWT: ("claim_to_headers", "forward_payload_header"),
    BASIC_AUTH: ("forward_username_header",),
    API_KEYS: ("forwarding.header",),
}
_GATEWAY_JWT: Final = "envoy.filters.http.jwt_authn"
_GATEWAY_CHECK: Final = "envoy.filters.http.ext_authz"


@rule(
    "L9",
    Severity.WARNING,
    fix="At the edge set use_remote_address: true and no trusted hops. Behind another proxy "
    "keep the hops and say in an ignore comment what keeps others from reaching Envoy.",
    families=(Family.ENVOY, Family.ISTIO, Family.GATEWAY),
)
def believed_client(estate: Estate, _: Options) -> Iterator[Fault]:
    """The client says where it comes from.

    Without use_remote_address the client's x-request-id and x-forwarded-for pass as they are.
    With trusted hops, whoever reaches Envoy directly chooses the address that counts. An empty
    internal_address_config trusts every private address.
    """
    for manager in estate.managers:
        yield from _believing(manager)
    for document in {id(document): document for document, _ in estate.providers}.values():
        hops = document.root.get("default_config.gateway_topology.num_trusted_proxies")
        if hops.number:
            yield Fault(hops, f"{hops.text} hops are trusted")
    for document in estate.of("ClientTrafficPolicy") if estate.secured else ():
        hops = document.root.get("spec.client_ip_detection.x_forwarded_for.num_trusted_hops")
        if hops.number:
            yield Fault(hops, f"{hops.text} hops are trusted")


def _believing(manager: Manager) -> Iterator[Fault]:
    at, address = manager.at, manager.listener.get("address")
    host = address.get("pipe.path").text or address.get("socket_address.address").text
    detected = at.get("original_ip_detection_extensions").present
    if not (at.get("use_remote_address").on or detected or is_local(host)):
        yield Fault(at.get("use_remote_address"), "use_remote_address is not true")
    if at.get("xff_num_trusted_hops").number:
        yield Fault(at.get("xff_num_trusted_hops"), "forwarding headers of clients are trusted")
    internal = at.get("internal_address_config")
    if internal.present and not list(internal.get("cidr_ranges").items()):
        yield Fault(internal, "every private address is internal")


@rule(
    "L10",
    Severity.ERROR,
    fix="Write or remove the header before ext_authz: jwt_authn with claim_to_headers or "
    "header_mutation first; in Envoy Gateway an EnvoyProxy filterOrder with jwt_authn "
    "before ext_authz. In Istio use the peer's principal. Name the headers your policy "
    "reads with --identity-header.",
    families=(Family.ENVOY, Family.ISTIO, Family.GATEWAY),
)
def forged_identity(estate: Estate, options: Options) -> Iterator[Fault]:
    """The client can write the identity that the check reads.

    A header that is written after the check is the client's own when the check reads it, so
    anyone picks a user, a budget and a policy. Istio and Envoy Gateway both run ext_authz before
    JWT authentication by default.
    """
    for manager in estate.managers:
        for place in (place for one in manager.after for place in _identity_written(one)):
            yield Fault(place, "this header is written after the check")
        yield from _unsettled(manager, options.identity_headers)
    yield from _late_in_istio(estate)
    yield from _late_in_gateway(estate)


def _unsettled(manager: Manager, headers: tuple[str, ...]) -> Iterator[Fault]:
    settled = _settled_early(manager).union(*map(_names_settled, manager.before))
    for name in headers:
        if name.lower() not in settled:
            yield Fault(manager.at.get("http_filters"), f"nothing writes or removes {name}")


def _late_in_istio(estate: Estate) -> Iterator[Fault]:
    for document in estate.of("RequestAuthentication") if estate.custom else ():
        for one in document.root.get("spec.jwt_rules").items():
            for name in ("output_claim_to_headers", "output_payload_to_header"):
                if one.get(name).present:
                    yield Fault(one.get(name), "Istio writes this header after the check")


def _late_in_gateway(estate: Estate) -> Iterator[Fault]:
    for document in () if _gateway_reorders(estate) else estate.secured:
        for provider in document.root.get("spec.jwt.providers").items():
            if provider.get("claim_to_headers").present:
                claims = provider.get("claim_to_headers")
                yield Fault(claims, "Envoy Gateway writes this header after the check")


def _identity_written(one: Filter) -> Iterator[Node]:
    """Where a filter is told to put the identity that it verified."""
    holders = [one.config]
    if one.type == JWT:
        holders = [provider for _, provider in one.config.get("providers").members()]
    for name in _WRITERS.get(one.type, ()):
        yield from (holder.get(name) for holder in holders if holder.get(name).present)


def _names_settled(one: Filter) -> Iterator[str]:
    """Headers that a filter writes itself or removes."""
    for place in _identity_written(one):
        yield place.text.lower()
        yield from (claim.get("header_name").text.lower() for claim in place.items())
    if one.type == HEADER_MUTATION:
        yield from _mutated(one.config.get("mutations.request_mutations"))


def _settled_early(manager: Manager) -> set[str]:
    early = manager.at.get("early_header_mutation_extensions").items()
    return {name for one in early for name in _mutated(one.get("typed_config").get("mutations"))}


def _mutated(mutations: Node) -> Iterator[str]:
    """Headers of which nothing is left that the client wrote."""
    for one in mutations.items():
        yield one.get("remove").text.lower()
        if one.get("append.append_action").text == "OVERWRITE_IF_EXISTS_OR_ADD":
            yield one.get("append.header.key").text.lower()


def _gateway_reorders(estate: Estate) -> bool:
    """Whether an EnvoyProxy puts JWT authentication before the check."""
    orders = [
        one
        for document in estate.of("EnvoyProxy")
        for one in document.root.get("spec.filter_order").items()
    ]
    return any(
        (one.get("name").text, one.get("before").text) == (_GATEWAY_JWT, _GATEWAY_CHECK)
        or (one.get("name").text, one.get("after").text) == (_GATEWAY_CHECK, _GATEWAY_JWT)
        for one in orders
    )


@rule(
    "L13",
    Severity.WARNING,
    fix="Set encode_raw_headers: true where a header is an identity.",
    families=(Family.ENVOY,),
)
def joined_identities(estate: Estate, options: Options) -> Iterator[Fault]:
    """Several identities look like one.

    Unless encode_raw_headers is true, `alice` and `bob` in two headers arrive as the one value
    `alice,bob`, and a byte that is not UTF-8 as `!`, so that different identities share a bucket.
    """
    for check in estate.checks:
        before = check.manager.before if check.manager else []
        used = options.identity_headers or any(list(_identity_written(one)) for one in before)
        if check.in_envoys_words and used and not check.at.get("encode_raw_headers").on:
            yield Fault(check.at.get("encode_raw_headers"), "repeated headers arrive joined")


@rule(
    "L14",
    Severity.WARNING,
    fix="Set common_http_protocol_options.headers_with_underscores_action: REJECT_REQUEST; "
    "leave Envoy Gateway's default.",
    families=(Family.ENVOY, Family.GATEWAY),
)
def underscores(estate: Estate, _: Options) -> Iterator[Fault]:
    """x_user and x-user are one header to many servers.

    Envoy passes a header with underscores by default. A filter that strips or checks x-user does
    not see x_user, which many upstreams read as the same.
    """
    for manager in estate.managers:
        name = "common_http_protocol_options.headers_with_underscores_action"
        if manager.at.get(name).text not in {"REJECT_REQUEST", "DROP_HEADER"}:
            yield Fault(manager.at.get(name), "headers with underscores pass")
    for document in estate.of("ClientTrafficPolicy") if estate.secured else ():
        action = document.root.get("spec.headers.with_underscores_action")
        if action.text == "Allow":
            yield Fault(action, "headers with underscores pass")


@rule(
    "L19",
    Severity.WARNING,
    fix="Name authorization and cookie in disallowed_headers, or list what the check needs in "
    "allowed_headers (headersToExtAuth).",
    families=(Family.ENVOY, Family.ISTIO, Family.GATEWAY),
)
def sent_credentials(estate: Estate, _: Options) -> Iterator[Fault]:
    """Credentials are sent to the check.

    Authorization and Cookie reach the server in clear by default. What it does not get, no log,
    trace or core dump of it can leak.
    """
    for check in (one for one in estate.checks if one.screens):
        listed = check.get("allowed_headers")
        if check.in_envoys_words:
            yield from _leaking(check)
        elif listed is not None:
            sent = [name for name in listed.texts() if name.lower() in _CREDENTIALS]
            if sent or not listed.present:
                yield Fault(listed, f"{' and '.join(sent) or 'every header'} is sent")


def _leaking(check: Check) -> Iterator[Fault]:
    allowed, not_ = check.at.get("allowed_headers"), check.at.get("disallowed_headers")
    sent = [
        name
        for name in _CREDENTIALS
        if (not allowed.present or _matches(allowed, name)) and not _matches(not_, name)
    ]
    if sent:
        yield Fault(not_, f"{' and '.join(sent)} is sent")


def _matches(matchers: Node, name: str) -> bool:
    return any(_matches_one(one, name) for one in matchers.get("patterns").items())


def _matches_one(matcher: Node, name: str) -> bool:
    texts = {kind: value.text.lower() for kind, value in matcher.members()}
    pattern = matcher.get("safe_regex.regex").text
    return (
        texts.get("exact") == name
        or bool(texts.get("prefix") and name.startswith(texts["prefix"]))
        or bool(texts.get("suffix") and name.endswith(texts["suffix"]))
        or bool(texts.get("contains") and texts["contains"] in name)
        or bool(pattern and _fully(pattern, name))
    )


def _fully(pattern: str, name: str) -> bool:
    try:
        return re2.fullmatch(pattern, name) is not None
    except re2.error:
        return False
