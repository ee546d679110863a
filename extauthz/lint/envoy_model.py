"""What an Envoy bootstrap is made of: connection managers, their filters and routes, clusters."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from extauthz.core.dialects import UNKNOWN_JSON, dialect_for
from extauthz.lint.documents import ENVOY, Document
from extauthz.lint.node import Node

_HTTP: Final = "envoy.extensions.filters.http."
_NETWORK: Final = "envoy.extensions.filters.network."
MANAGER: Final = _NETWORK + "http_connection_manager.v3.HttpConnectionManager"
TCP_PROXY: Final = _NETWORK + "tcp_proxy.v3.TcpProxy"
EXT_AUTHZ: Final = _HTTP + "ext_authz.v3.ExtAuthz"
PER_ROUTE: Final = _HTTP + "ext_authz.v3.ExtAuthzPerRoute"
JWT: Final = _HTTP + "jwt_authn.v3.JwtAuthentication"
BASIC_AUTH: Final = _HTTP + "basic_auth.v3.BasicAuth"
API_KEYS: Final = _HTTP + "api_key_auth.v3.ApiKeyAuth"
LUA: Final = _HTTP + "lua.v3.Lua"
EXT_PROC: Final = _HTTP + "ext_proc.v3.ExternalProcessor"
TRANSFORM: Final = _HTTP + "transform.v3.TransformConfig"
DECOMPRESSOR: Final = _HTTP + "decompressor.v3.Decompressor"
HEADER_MUTATION: Final = _HTTP + "header_mutation.v3.HeaderMutation"
#: Filters that can change path or body, whatever their settings. Golang's is in contrib builds.
REWRITERS: Final = frozenset(
    {
        _HTTP + "wasm.v3.Wasm",
        _HTTP + "golang.v3alpha.Config",
        _HTTP + "dynamic_modules.v3.DynamicModuleFilter",
        _HTTP + "grpc_json_transcoder.v3.GrpcJsonTranscoder",
        _HTTP + "grpc_json_reverse_transcoder.v3.GrpcJsonReverseTranscoder",
        _HTTP + "grpc_http1_reverse_bridge.v3.FilterConfig",
        _HTTP + "mcp_json_rest_bridge.v3.McpJsonRestBridge",
    }
)
_CLUSTER: Final = "envoy.config.cluster.v3.Cluster"
_LISTENER: Final = "envoy.config.listener.v3.Listener"
_ROUTES: Final = "envoy.config.route.v3.RouteConfiguration"
_FILTER_CONFIG: Final = "envoy.config.route.v3.FilterConfig"
_MATCHED: Final = "envoy.extensions.common.matching.v3.ExtensionWithMatcher"
_STRUCTS: Final = frozenset({"xds.type.v3.TypedStruct", "udpa.type.v1.TypedStruct"})


@dataclass(frozen=True, slots=True, eq=False)
class Typed:
    """A typed configuration, without what it is wrapped in."""

    type: str
    config: Node
    conditional: bool = False


def typed(place: Node) -> Typed:
    """The message type that `place` names, and its members."""
    name = place.get("@type").text.rpartition("/")[2]
    if name in _STRUCTS:
        return Typed(place.get("type_url").text.rpartition("/")[2], place.get("value"))
    if name == _MATCHED:
        inner = typed(place.get("extension_config.typed_config"))
        return Typed(inner.type, inner.config, conditional=True)
    if name == _FILTER_CONFIG and place.get("config").present and not place.get("disabled").on:
        return typed(place.get("config"))
    return Typed(name, place)


@dataclass(frozen=True, slots=True, eq=False)
class Filter:
    """One HTTP filter, in a chain or on its own."""

    at: Node

    @property
    def name(self) -> str:
        """What per-route settings call it."""
        return self.at.get("name").text

    @property
    def typed(self) -> Typed:
        """Its type and settings."""
        return typed(self.at.get("typed_config"))

    @property
    def type(self) -> str:
        """Full name of its message type."""
        return self.typed.type

    @property
    def config(self) -> Node:
        """Its settings."""
        return self.typed.config


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """One way from a listener to a cluster, which is empty for an answer of Envoy's own."""

    at: Node
    #: What may change a filter's settings, most specific first.
    scopes: tuple[Node, ...]
    cluster: str

    @property
    def harmless(self) -> bool:
        """Whether it matches one path, and no dialect sends text there."""
        path = self.at.get("match.path").text
        return bool(path) and dialect_for(path) is UNKNOWN_JSON

    def overrides(self, filter_name: str) -> Iterator[Typed]:
        """What applies to that filter here, most specific first."""
        for scope in self.scopes:
            override = scope.get("typed_per_filter_config").child(filter_name)
            if override.present:
                yield typed(override)

    def switches_off(self, check: Filter) -> Node | None:
        """Where this route says that `check` does not run; None when it does."""
        for override in self.overrides(check.name):
            off = override.config.get("disabled")
            return off if off.on else None
        off = check.at.get("disabled")
        return off if off.on else None


@dataclass(frozen=True, eq=False)
class Manager:
    """One HTTP connection manager: its settings are at `at`."""

    at: Node
    listener: Node
    document: Document
    route_configurations: Sequence[Node]

    @cached_property
    def filters(self) -> list[Filter]:
        """Its HTTP filters in the order in which a request meets them."""
        return [Filter(item) for item in self.at.get("http_filters").items()]

    @cached_property
    def checks(self) -> list[Filter]:
        """Those that are ext_authz."""
        return [one for one in self.filters if one.type == EXT_AUTHZ]

    @property
    def before(self) -> list[Filter]:
        """What a request meets before the last ext_authz."""
        return self.filters[: self._last] if self.checks else []

    @property
    def after(self) -> list[Filter]:
        """What a request meets after the last ext_authz."""
        return self.filters[self._last + 1 :] if self.checks else []

    @cached_property
    def check_settings(self) -> list[Node]:
        """What single routes change about the checks."""
        return [
            override.config.get("check_settings")
            for route in self.routes
            for check in self.checks
            for override in route.overrides(check.name)
            if override.type == PER_ROUTE
        ]

    @property
    def _last(self) -> int:
        return self.filters.index(self.checks[-1])

    @cached_property
    def routes(self) -> list[Route]:
        """Every route that is written down in the files."""
        wanted = self.at.get("rds.route_config_name").text
        named = [one for one in self.route_configurations if one.get("name").text == wanted]
        inline = self.at.get("route_config")
        return [route for one in (inline, *named) for route in _routes(one)]


def _routes(configuration: Node) -> Iterator[Route]:
    for host in configuration.get("virtual_hosts").items():
        for at in host.get("routes").items():
            outer = (at, host, configuration)
            weighted = list(at.get("route.weighted_clusters.clusters").items())
            for one in weighted:
                yield Route(at, (one, *outer), one.get("name").text)
            if not weighted:
                yield Route(at, outer, at.get("route.cluster").text)


def resources(document: Document, type_name: str) -> Iterator[Node]:
    """What a file of xDS resources holds of one type."""
    items = document.root.get("resources").items()
    return (one for one in items if typed(one).type == type_name)


def clusters(document: Document) -> Iterator[Node]:
    """The clusters that a document defines."""
    yield from document.root.get("static_resources.clusters").items()
    yield from resources(document, _CLUSTER)


def listeners(document: Document) -> Iterator[Node]:
    """The listeners that a document defines."""
    yield from document.root.get("static_resources.listeners").items()
    yield from resources(document, _LISTENER)


def network_filters(document: Document, type_name: str) -> Iterator[tuple[Node, Node]]:
    """Listener, and settings of each network filter of that type."""
    for listener in listeners(document):
        chains = [*listener.get("filter_chains").items(), listener.get("default_filter_chain")]
        for one in (one for chain in chains for one in chain.get("filters").items()):
            settings = typed(one.get("typed_config"))
            if settings.type == type_name:
                yield listener, settings.config


def managers(documents: Sequence[Document]) -> list[Manager]:
    """The connection managers of all Envoy documents."""
    envoys = [document for document in documents if document.kind == ENVOY]
    shared = [one for document in envoys for one in resources(document, _ROUTES)]
    return [
        Manager(at, listener, document, shared)
        for document in envoys
        for listener, at in network_filters(document, MANAGER)
    ]


def addresses(cluster: Node) -> list[Node]:
    """Host or socket path of each endpoint that is written down."""
    groups = cluster.get("load_assignment.endpoints").items()
    endpoints = [one.get("endpoint.address") for group in groups for one in _endpoints(group)]
    return [
        address.get("pipe.path")
        if address.get("pipe").present
        else address.get("socket_address.address")
        for address in endpoints
    ]


def _endpoints(group: Node) -> Iterator[Node]:
    return group.get("lb_endpoints").items()


def is_local(host: str) -> bool:
    """Whether a host name or socket path stays on this machine."""
    return host.startswith(("127.", "/", "@")) or host in {"::1", "localhost"}
