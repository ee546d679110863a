"""Ways around the check, and paths that two servers read differently."""

from collections.abc import Iterator
from typing import Final

from extauthz.lint.documents import ENVOY, Document
from extauthz.lint.envoy_model import TCP_PROXY, Manager, Route, network_filters
from extauthz.lint.estate import SECURITY_POLICY, Estate
from extauthz.lint.node import Node
from extauthz.lint.rule import Family, Fault, Options, Severity, rule

_SAFE_ESCAPES: Final = {"REJECT_REQUEST", "UNESCAPE_AND_REDIRECT", "UNESCAPE_AND_FORWARD"}
#: What two Istio policies share when they are about the same workloads.
_SCOPE: Final = ("metadata.namespace", "spec.selector", "spec.target_refs")


@rule(
    "L7",
    Severity.ERROR,
    fix="Disable the check on no route, and let the policy of extauthz allow what is harmless; "
    "else on exact paths without text only. In Istio give CUSTOM the rule {}, or deny all "
    "that it does not name; in Envoy Gateway repeat extAuth in a route's own policy.",
    families=(Family.ENVOY, Family.ISTIO, Family.GATEWAY),
)
def ways_around(estate: Estate, _: Options) -> Iterator[Fault]:
    """A way to the model leads around the check.

    Of 15 spellings of a path, 11 walked around the check through `/health` and `/v1/models`
    prefixes on which it was disabled (`/health/../v1/chat/completions` and its escapes), and
    three of them still do with every path normalisation on. A second listener to the same cluster
    is a way around as well. So is whatever the rules of a CUSTOM policy do not name, and in Envoy
    Gateway a route with a SecurityPolicy of its own, which replaces that of its Gateway.
    """
    for manager in estate.managers:
        yield from _switched_off(manager, _protected(estate, manager.document))
    for manager in estate.all_managers:
        if not manager.checks:
            yield from _unguarded(manager, _protected(estate, manager.document))
    for document in estate.of(ENVOY):
        protected = _protected(estate, document)
        for _listener, proxy in network_filters(document, TCP_PROXY):
            if proxy.get("cluster").text in protected:
                yield Fault(proxy.get("cluster"), "a TCP listener leads to it without a check")
    yield from _unnamed_in_istio(estate)
    yield from _replaced_in_gateway(estate)


def _unguarded(manager: Manager, protected: set[str]) -> Iterator[Fault]:
    for route in manager.routes:
        if route.cluster in protected and not route.harmless:
            yield Fault(route.at, f"this listener leads to {route.cluster} without a check")


def _reached(manager: Manager) -> set[str]:
    """Clusters that requests get to after a check."""
    return {
        route.cluster
        for route in manager.routes
        if route.cluster and not all(route.switches_off(check) for check in manager.checks)
    }


def _protected(estate: Estate, document: Document) -> set[str]:
    """Clusters that need a check wherever a document leads to them."""
    near = [one for one in estate.managers if one.document is document]
    return set().union(*map(_reached, near))


def _switched_off(manager: Manager, protected: set[str]) -> Iterator[Fault]:
    for route in manager.routes:
        switches = [route.switches_off(check) for check in manager.checks]
        needs_check = route.cluster in protected or (route.cluster and not protected)
        if needs_check and all(switches) and not route.harmless:
            for switch in switches:
                if switch is not None:
                    yield Fault(switch, f"this route reaches {route.cluster} unchecked")


def _unnamed_in_istio(estate: Estate) -> Iterator[Fault]:
    for patch in estate.patches:
        route = Route(patch.value, (patch.value,), "")
        for name, _override in patch.value.get("typed_per_filter_config").members():
            off = [one.config.get("disabled") for one in route.overrides(name)]
            if off and off[0].on and "ext_authz" in name and not route.harmless:
                yield Fault(off[0], "the patched routes are not checked")
    for policy in estate.custom:
        rules = policy.root.get("spec.rules")
        if not list(rules.items()):
            yield Fault(rules, "without a rule this policy matches no request")
        elif not (_names_all(rules) or _rest_is_denied(estate, policy.root)):
            yield Fault(rules, "what these rules do not name is not checked")


def _names_all(rules: Node) -> bool:
    return any(not one.present or one.plain() == {} for one in rules.items())


def _rest_is_denied(estate: Estate, custom: Node) -> bool:
    """Whether another policy for the same workloads lets nothing pass that CUSTOM does not name."""
    if (paths := _paths(custom, "paths")) is None:
        return False
    for policy in estate.of("AuthorizationPolicy"):
        root, action = policy.root, policy.root.get("spec.action").text or "ALLOW"
        if any(root.get(part).plain() != custom.get(part).plain() for part in _SCOPE):
            continue
        allowed = _paths(root, {"ALLOW": "paths", "DENY": "not_paths"}.get(action, ""))
        if allowed is not None and allowed <= paths:
            return True
    return False


def _paths(policy: Node, member: str) -> set[str] | None:
    """The paths that a policy of nothing but paths names; None for any other policy."""
    found: set[str] = set()
    for rule_ in policy.get("spec.rules").items():
        operations = list(rule_.get("to").items())
        for operation in (one.get("operation") for one in operations):
            if [name for name, _ in operation.members()] != [_camel_of(member)]:
                return None
            found.update(operation.get(member).texts())
        if not operations or [name for name, _ in rule_.members()] != ["to"]:
            return None
    return found or None


def _camel_of(member: str) -> str:
    return {"not_paths": "notPaths"}.get(member, member)


def _replaced_in_gateway(estate: Estate) -> Iterator[Fault]:
    """In Envoy Gateway a route's own SecurityPolicy takes the place of its Gateway's."""
    guarded = [target for one in estate.secured for target in _targets(one.root)]
    gateways = {name for kind, name, _ in guarded if kind == "Gateway"}
    for document in estate.of(SECURITY_POLICY):
        if document in estate.secured or document.root.get("spec.merge_type").present:
            continue
        for kind, name, place in _targets(document.root):
            parents = _parents(estate, name)
            if kind.endswith("Route") and gateways & (parents or gateways):
                yield Fault(place, f"{name} loses its Gateway's extAuth to this policy")


def _targets(policy: Node) -> Iterator[tuple[str, str, Node]]:
    """Kind, name and place of each thing that a policy is for."""
    for one in (*policy.get("spec.target_refs").items(), policy.get("spec.target_ref")):
        if one.present:
            yield one.get("kind").text, one.get("name").text, one


def _parents(estate: Estate, route: str) -> set[str]:
    """The Gateways of a route; empty when it is not in the files."""
    return {
        parent.get("name").text
        for document in estate.of("HTTPRoute")
        if document.root.get("metadata.name").text == route
        for parent in document.root.get("spec.parent_refs").items()
    }


@rule(
    "L8",
    Severity.ERROR,
    fix="Set normalize_path: true, merge_slashes: true and path_with_escaped_slashes_action: "
    "UNESCAPE_AND_REDIRECT; in Istio pathNormalization.normalization: "
    "DECODE_AND_MERGE_SLASHES; leave the defaults in Envoy Gateway.",
    families=(Family.ENVOY, Family.ISTIO, Family.GATEWAY),
)
def several_spellings(estate: Estate, _: Options) -> Iterator[Fault]:
    """One path has several spellings.

    Routes, policy and upstream must read a path alike. Without normalisation 11 of 15 spellings
    of a model path took a route that was meant for another.
    """
    for at in (manager.at for manager in estate.managers):
        for name in ("normalize_path", "merge_slashes"):
            if not at.get(name).on:
                yield Fault(at.get(name), f"{name} is not true")
        action = at.get("path_with_escaped_slashes_action")
        if action.text not in _SAFE_ESCAPES:
            yield Fault(action, "escaped slashes are kept")
    for document in {id(document): document for document, _ in estate.providers}.values():
        how = document.root.get("path_normalization.normalization")
        if how.text != "DECODE_AND_MERGE_SLASHES":
            yield Fault(how, f"path normalisation is {how.text or 'BASE'}")
    for document in estate.of("ClientTrafficPolicy") if estate.secured else ():
        path = document.root.get("spec.path")
        if path.get("disable_merge_slashes").on:
            yield Fault(path.get("disable_merge_slashes"), "slashes are not merged")
        if path.get("escaped_slashes_action").text == "KeepUnchanged":
            yield Fault(path.get("escaped_slashes_action"), "escaped slashes are kept")
