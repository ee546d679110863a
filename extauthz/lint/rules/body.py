"""Whether the server sees the body that the upstream gets."""

from collections.abc import Iterator
from typing import Final

from extauthz.lint.envoy_model import DECOMPRESSOR, PER_ROUTE, Filter, Route, typed
from extauthz.lint.estate import Check, Estate
from extauthz.lint.node import Node
from extauthz.lint.rule import Family, Fault, Options, Severity, rule

#: Room for headers and attributes around the body in one CheckRequest.
HEADROOM_BYTES: Final = 1024 * 1024


@rule(
    "L2",
    Severity.ERROR,
    fix="Send the body, with allow_partial_message: false and a limit as large as your longest "
    "prompt. What is larger is answered 413 and goes nowhere.",
    families=(Family.ENVOY, Family.ISTIO, Family.GATEWAY),
)
def unchecked_text(estate: Estate, _: Options) -> Iterator[Fault]:
    """Text passes that nobody checked.

    With allow_partial_message the server sees the first max_request_bytes and the upstream gets
    everything: 2,000,000 bytes passed after 8,192 of them were checked. Without a body setting
    the server sees no text at all.
    """
    for check in estate.checks:
        body = check.get("with_request_body")
        if body is not None and not body.present and check.screens:
            yield from _without_body(check, body)
    for partial in _body_settings(estate, "allow_partial_message"):
        if partial.on:
            yield Fault(partial, "the rest of a larger body is not checked")
    for settings in (one for manager in estate.managers for one in manager.check_settings):
        if settings.get("disable_request_body_buffering").on:
            yield Fault(
                settings.get("disable_request_body_buffering"), "no body is sent on this route"
            )


@rule(
    "L3",
    Severity.ERROR,
    fix="Set pack_as_bytes: true beside max_request_bytes. (Envoy Gateway cannot.)",
    families=(Family.ENVOY, Family.ISTIO),
)
def replaced_bytes(estate: Estate, _: Options) -> Iterator[Fault]:
    """The server sees other bytes than the upstream.

    Unless pack_as_bytes is true, Envoy replaces every byte that is not UTF-8 by `!`: a compressed
    body or one in UTF-16 is checked as something else than what is forwarded.
    """
    for pack in _body_settings(estate, "pack_as_bytes"):
        if not pack.on:
            yield Fault(pack, "bytes that are not UTF-8 arrive as `!`")


@rule(
    "L4",
    Severity.ERROR,
    fix="Keep max_request_bytes at least 1 MiB below the server's limit (`extauthz serve "
    "--max-message-bytes`, 9 MiB by default; tell `lint` with the same flag).",
    families=(Family.ENVOY, Family.ISTIO, Family.GATEWAY),
)
def above_the_receive_limit(estate: Estate, options: Options) -> Iterator[Fault]:
    """A large body stops the check itself.

    A message above the server's receive limit is refused before any code of it runs: 5 MiB
    against a limit of 4 MiB was 403 with failure_mode_allow: false, and passed unchecked and
    unseen with true.
    """
    most = options.max_message_bytes - HEADROOM_BYTES
    for limit in _body_settings(estate, "max_request_bytes"):
        if (limit.number or 0) > most:
            yield Fault(limit, f"{limit.text} bytes; the server takes {most} and their headers")


@rule(
    "L17",
    Severity.ERROR,
    fix="Place the decompressor before ext_authz, or switch its request direction off.",
    families=(Family.ENVOY, Family.ISTIO),
)
def decompressed_afterwards(estate: Estate, _: Options) -> Iterator[Fault]:
    """The check sees the compressed body, the upstream the plain one.

    A decompressor that runs after ext_authz lets the server see compressed bytes only, which
    extauthz must refuse or decode with limits of its own; the upstream gets what it never saw.
    """
    later = [one for manager in estate.managers for one in manager.after]
    if estate.checks or estate.custom:
        later += [Filter(patch.value) for patch in estate.patches if patch.before_router]
    for one in later:
        if one.type == DECOMPRESSOR and _for_requests(one.config):
            yield Fault(one.at, "requests are decompressed after the check")


def _for_requests(decompressor: Node) -> bool:
    enabled = decompressor.get("request_direction_config.common_config.enabled.default_value")
    return enabled.on or not enabled.present


def _body_settings(estate: Estate, name: str) -> Iterator[Node]:
    """One setting of each place that sends a body, single routes included."""
    for check in estate.checks:
        body, setting = check.get("with_request_body"), check.get(name)
        if body is not None and body.present and setting is not None:
            yield setting
    for settings in (one for manager in estate.managers for one in manager.check_settings):
        if settings.get("with_request_body").present:
            yield settings.get(f"with_request_body.{name}")


def _without_body(check: Check, body: Node) -> Iterator[Fault]:
    """Routes that do not ask for the body themselves where the filter does not."""
    routes = check.manager.routes if check.manager else []
    silent = [route for route in routes if not _asks_for_body(route)]
    if len(silent) == len(routes):
        yield Fault(body, "the body is not sent to the check")
        return
    for route in silent:
        if route.cluster and not route.harmless:
            yield Fault(route.at, "the body is not sent on this route")


def _asks_for_body(route: Route) -> bool:
    settings = [
        typed(value).config.get("check_settings.with_request_body")
        for scope in route.scopes
        for _, value in scope.get("typed_per_filter_config").members()
        if typed(value).type == PER_ROUTE
    ]
    return any(one.present for one in settings)
