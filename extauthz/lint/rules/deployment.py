"""What surrounds the filter: the admin interface, memory, and Envoy's own version."""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from extauthz.lint.documents import ENVOY
from extauthz.lint.envoy_model import is_local
from extauthz.lint.estate import Check, Estate
from extauthz.lint.node import Node
from extauthz.lint.rule import Family, Fault, Options, Severity, rule

_MONITORS: Final = "envoy.extensions.resource_monitors."
_HEAP: Final = _MONITORS + "fixed_heap.v3.FixedHeapConfig"
_CONNECTIONS: Final = _MONITORS + "downstream_connections.v3.DownstreamConnectionsConfig"
_STOPS: Final = (
    "envoy.overload_actions.stop_accepting_requests",
    "envoy.overload_actions.stop_accepting_connections",
    "envoy.overload_actions.reject_incoming_connections",
)
_HEAP_NAME: Final = "envoy.resource_monitors.fixed_heap"


class Advisory(NamedTuple):
    """A published flaw, and the first release of each branch without it (the highest holds on)."""

    name: str
    what: str
    fixed: tuple[tuple[int, int, int], ...]
    source: str


_MARCH_2026: Final = ((1, 34, 13), (1, 35, 8), (1, 36, 5), (1, 37, 1))
#: Those that touch what stands between a client and a verdict. An entry needs a source.
ADVISORIES: Final = (
    Advisory(
        "CVE-2023-27488",
        "headers that are not UTF-8 fail the check, which passes with failure_mode_allow",
        ((1, 22, 9), (1, 23, 6), (1, 24, 4), (1, 25, 3)),
        "GHSA-9g5w-hqr3-w2ph",
    ),
    Advisory(
        "CVE-2026-26308",
        "RBAC reads one of several values of a header",
        _MARCH_2026,
        "Envoy release notes 1.37.1",
    ),
    Advisory(
        "CVE-2026-26311",
        "filters run on a stream that was already reset",
        _MARCH_2026,
        "Envoy release notes 1.37.1",
    ),
    Advisory(
        "CVE-2026-26330",
        "use after free in rate limits of the response phase",
        _MARCH_2026,
        "Envoy release notes 1.37.1",
    ),
    Advisory(
        "CVE-2026-47205",
        "use after free in ext_authz with a service of a route's own",
        ((1, 35, 13), (1, 36, 9), (1, 37, 5), (1, 38, 3)),
        "Envoy release notes 1.39.0",
    ),
)


@rule(
    "L21",
    Severity.ERROR,
    fix="Bind admin to 127.0.0.1 or a Unix socket.",
    families=(Family.ENVOY,),
)
def open_admin(estate: Estate, _: Options) -> Iterator[Fault]:
    """Anyone may command Envoy.

    The admin interface has no login: it shows the configuration, stops Envoy, and changes runtime
    values, filter_enabled among them.
    """
    for document in {id(one.document): one.document for one in estate.managers}.values():
        host = document.root.get("admin.address.socket_address.address")
        if host.present and not is_local(host.text):
            yield Fault(host, f"the admin interface listens on {host.text}")


@rule(
    "L23",
    Severity.WARNING,
    fix="Bound connections and heap in the overload_manager: global_downstream_max_connections, "
    "and fixed_heap with stop_accepting_requests, below the container's limit "
    "(--memory-limit).",
    families=(Family.ENVOY,),
)
def unbounded_memory(estate: Estate, options: Options) -> Iterator[Fault]:
    """Bodies under check can fill the memory.

    Each body is held in memory until it is checked, up to max_request_bytes whatever the
    listener's buffer limit says: a 200 kB body was held with a limit of 32 KiB. 2,000 connections
    with 8 MiB are 16 GiB, and an Envoy that is killed checks nothing.
    """
    for check in estate.checks:
        if check.document.kind == ENVOY and check.at.get("with_request_body").present:
            yield from _memory(check, options.memory_limit)


def _memory(check: Check, limit: int | None) -> Iterator[Fault]:
    overload = check.document.root.get("overload_manager")
    heap = _monitor(overload, _HEAP, "max_heap_size_bytes")
    connections = _monitor(overload, _CONNECTIONS, "max_active_downstream_connections")
    stops = any(_stops_at_heap(action) for action in overload.get("actions").items())
    if heap is not None and stops:
        if limit is not None and (heap.number or 0) > limit:
            yield Fault(heap, f"more than the memory limit of {limit} bytes")
        return
    body = check.at.get("with_request_body.max_request_bytes")
    if connections is None:
        yield Fault(overload, "neither heap nor connections are bounded")
    elif (most := int((connections.number or 0) * (body.number or 0))) > (limit or 0):
        known = f"the limit is {limit}" if limit else "no --memory-limit is known"
        yield Fault(connections, f"bodies may take {most} bytes, and {known}")


def _monitor(overload: Node, type_name: str, member: str) -> Node | None:
    for monitor in overload.get("resource_monitors").items():
        settings = monitor.get("typed_config")
        if settings.get("@type").text.endswith(type_name) and settings.get(member).present:
            return settings.get(member)
    return None


def _stops_at_heap(action: Node) -> bool:
    triggers = [one.get("name").text for one in action.get("triggers").items()]
    return action.get("name").text in _STOPS and _HEAP_NAME in triggers


@rule(
    "L24",
    Severity.ERROR,
    fix="Update to the release named, or a later one of its branch. Which Envoy runs is known "
    "from --envoy-version or the image of an EnvoyProxy.",
    families=(Family.ENVOY, Family.ISTIO, Family.GATEWAY),
)
def flawed_version(estate: Estate, options: Options) -> Iterator[Fault]:
    """This Envoy has a known flaw in authorization.

    A check is worth no more than the proxy that asks for it and obeys.
    """
    versions = [(check.at, options.envoy_version) for check in estate.checks[:1]]
    image = "spec.provider.kubernetes.envoy_deployment.container.image"
    for document in estate.of("EnvoyProxy") if estate.secured else ():
        place = document.root.get(image)
        versions.append((place, place.text.rpartition(":")[2]))
    for place, text in versions:
        if version := _version(text):
            yield from _known_flaws(place, version)


def _version(text: str) -> tuple[int, int, int] | None:
    found = re.search(r"(\d+)\.(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2]), int(found[3])) if found else None


def _known_flaws(place: Node, version: tuple[int, int, int]) -> Iterator[Fault]:
    for advisory in ADVISORIES:
        if _has(version, advisory.fixed):
            *_, latest = (one for one in advisory.fixed if one[:2] >= version[:2])
            branch = next((one for one in advisory.fixed if one[:2] == version[:2]), latest)
            number = ".".join(map(str, branch))
            yield Fault(place, f"{advisory.name}: {advisory.what}; fixed in {number}")


def _has(version: tuple[int, int, int], fixed: tuple[tuple[int, int, int], ...]) -> bool:
    """Whether a version is older than the fix of its branch, or its branch than any fix."""
    branch = [one for one in fixed if one[:2] == version[:2]]
    return version < branch[0] if branch else version[:2] < fixed[-1][:2]
