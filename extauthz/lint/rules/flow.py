"""What happens to a request after the check, and frames that no check sees."""

from collections.abc import Iterator
from typing import Final

from extauthz.lint.envoy_model import EXT_PROC, LUA, REWRITERS, TRANSFORM, Filter, Manager, typed
from extauthz.lint.estate import Estate
from extauthz.lint.node import Node
from extauthz.lint.rule import Family, Fault, Options, Severity, rule

_TRANSFORMS: Final = "request_transformation"
_TUNNELS: Final = frozenset({"websocket", "connect", "connect-udp"})


@rule(
    "L6",
    Severity.ERROR,
    fix="Configure no upgrade of type websocket or CONNECT. In Istio add an AuthorizationPolicy "
    "DENY on request.headers[upgrade]; in Envoy Gateway a BackendTrafficPolicy with a "
    "requestBuffer, which switches upgrades off.",
    families=(Family.ENVOY, Family.ISTIO, Family.GATEWAY),
)
def tunnels(estate: Estate, _: Options) -> Iterator[Fault]:
    """A tunnel opens behind the check.

    A WebSocket or CONNECT request is checked once, at its handshake, with 0 bytes of body; the
    frames that follow reached the upstream and were never seen. Istio and Envoy Gateway allow
    WebSocket unless they are told otherwise.
    """
    for manager in estate.managers:
        yield from _upgrades(manager.at)
        for route in manager.routes:
            yield from _upgrades(route.at.get("route"))
    for patch in estate.patches if estate.checks or estate.custom else ():
        yield from _upgrades(typed(patch.value.get("typed_config")).config)
        yield from _upgrades(patch.value.get("route"))
    policies = [document.root for document in estate.of("AuthorizationPolicy")]
    for document in () if any(map(_denies_upgrades, policies)) else estate.custom:
        yield Fault(document.root.get("spec.action"), "no policy denies upgrades")
    yield from _gateway_upgrades(estate)


def _upgrades(place: Node) -> Iterator[Fault]:
    for upgrade in place.get("upgrade_configs").items():
        enabled = upgrade.get("enabled")
        if _is_tunnel(upgrade.get("upgrade_type")) and (enabled.on or not enabled.present):
            yield Fault(upgrade.get("upgrade_type"), f"{upgrade.get('upgrade_type').text} upgrades")


def _is_tunnel(kind: Node) -> bool:
    return kind.text.lower() in _TUNNELS


def _denies_upgrades(policy: Node) -> bool:
    keys = [
        when.get("key").text.lower()
        for rule_ in policy.get("spec.rules").items()
        for when in rule_.get("when").items()
    ]
    return policy.get("spec.action").text == "DENY" and "request.headers[upgrade]" in keys


def _gateway_upgrades(estate: Estate) -> Iterator[Fault]:
    specs = [document.root.get("spec") for document in estate.of("BackendTrafficPolicy")]
    if not estate.secured:
        return
    for upgrade in (one for spec in specs for one in spec.get("http_upgrade").items()):
        if _is_tunnel(upgrade.get("type")):
            yield Fault(upgrade.get("type"), f"{upgrade.get('type').text} upgrades")
    if not any(map(_settles_upgrades, specs)):
        for policy in estate.secured:
            yield Fault(policy.root.get("spec.ext_auth"), "WebSocket is allowed by default")


def _settles_upgrades(spec: Node) -> bool:
    buffer = spec.get("request_buffer")
    buffered = buffer.present and buffer.get("mode").text in {"", "BufferAndLimit"}
    return buffered or bool(list(spec.get("http_upgrade").items()))


@rule(
    "L16",
    Severity.ERROR,
    fix="Move it before ext_authz. An ext_proc for responses may stay: request_header_mode: "
    "SKIP, request_body_mode: NONE, no allow_mode_override. A Lua filter may stay if it has "
    "no envoy_on_request.",
    families=(Family.ENVOY, Family.ISTIO, Family.GATEWAY),
)
def changed_afterwards(estate: Estate, _: Options) -> Iterator[Fault]:
    """The request can change after the check.

    A filter behind ext_authz that rewrites path or body forwards what nobody checked; one that
    clears the route cache, like clear_route_cache of ext_authz itself, moves a checked request to
    a route with other rules.
    """
    for clear in (check.get("clear_route_cache") for check in estate.checks):
        if clear is not None and clear.on:
            yield Fault(clear, "the answer to a check can lead to another route")
    for manager in estate.managers:
        yield from _rewriters(manager.after)
    if estate.checks or estate.custom:
        patched = [Filter(patch.value) for patch in estate.patches if patch.before_router]
        yield from _rewriters(patched)
    for document in estate.of("EnvoyExtensionPolicy") if estate.secured else ():
        yield from _extensions(document.root.get("spec"))


def _rewriters(filters: list[Filter]) -> Iterator[Fault]:
    for one in filters:
        if _rewrites(one.type, one.config):
            yield Fault(one.at, f"{one.name} may change the request after the check")


def _rewrites(type_: str, config: Node) -> bool:
    if type_ == LUA:
        return _handles_requests(config)
    if type_ == EXT_PROC:
        return _processes(config)
    return type_ in REWRITERS or (type_ == TRANSFORM and config.get(_TRANSFORMS).present)


def _handles_requests(lua: Node) -> bool:
    code = lua.get("default_source_code.inline_string").text + lua.get("inline_code").text
    return not code or "envoy_on_request" in code


def _processes(processor: Node) -> bool:
    if processor.get("observability_mode").on:
        return False
    mode = processor.get("processing_mode")
    body = mode.get("request_body_mode").text not in {"", "NONE"}
    headers = mode.get("request_header_mode").text != "SKIP"
    return body or headers or processor.get("allow_mode_override").on


def _extensions(spec: Node) -> Iterator[Fault]:
    for processor in spec.get("ext_proc").items():
        mode = processor.get("processing_mode")
        if mode.get("request").present or mode.get("allow_mode_override").on:
            yield Fault(processor, "this processor may change the request after the check")
    for lua in spec.get("lua").items():
        if not lua.get("inline").text or "envoy_on_request" in lua.get("inline").text:
            yield Fault(lua, "this script may change the request after the check")
    for wasm in spec.get("wasm").items():
        yield Fault(wasm, "this module may change the request after the check")


@rule(
    "L22",
    Severity.WARNING,
    fix="Mirror only to clusters that checked routes lead to, and let clients follow redirects.",
    families=(Family.ENVOY, Family.ISTIO, Family.GATEWAY),
)
def sent_elsewhere(estate: Estate, _: Options) -> Iterator[Fault]:
    """Requests go where nobody looks.

    A mirrored copy leaves for a cluster whose answers nobody checks or counts. An internal
    redirect lets the upstream's Location header choose the next route for the same body.
    """
    for manager in estate.managers:
        yield from _copies(manager)
    for document in estate.of("HTTPRoute") if estate.secured else ():
        for rule_ in document.root.get("spec.rules").items():
            for one in rule_.get("filters").items():
                if one.get("type").text == "RequestMirror":
                    yield Fault(one.get("type"), "requests are mirrored")
    for document in estate.of("VirtualService") if estate.custom else ():
        for route in document.root.get("spec.http").items():
            for name in ("mirror", "mirrors"):
                if route.get(name).present:
                    yield Fault(route.get(name), "requests are mirrored")


def _copies(manager: Manager) -> Iterator[Fault]:
    known = {route.cluster for route in manager.routes}
    for action in (route.at.get("route") for route in manager.routes):
        for mirror in action.get("request_mirror_policies").items():
            if mirror.get("cluster").text not in known:
                yield Fault(mirror, f"copies go to {mirror.get('cluster').text}")
        redirect = action.get("internal_redirect_policy")
        if redirect.present:
            yield Fault(redirect, "Envoy follows redirects itself")
