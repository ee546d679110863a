"""All documents of one run, and each place in them that configures a check."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from extauthz.lint import envoy_model
from extauthz.lint.documents import ENVOY, MESH_CONFIG, Document
from extauthz.lint.envoy_model import EXT_AUTHZ, Filter, Manager
from extauthz.lint.node import Node

ENVOY_FILTER: Final = "EnvoyFilter"
SECURITY_POLICY: Final = "SecurityPolicy"

#: How Istio and Envoy Gateway spell a setting of Envoy's filter. What is missing they do not have.
_SPELLINGS: Final[Mapping[str, Mapping[str, str]]] = {
    MESH_CONFIG: {
        "with_request_body": "include_request_body_in_check",
        "allow_partial_message": "include_request_body_in_check.allow_partial_message",
        "pack_as_bytes": "include_request_body_in_check.pack_as_bytes",
        "max_request_bytes": "include_request_body_in_check.max_request_bytes",
        "timeout": "timeout",
        "failure_mode_allow": "fail_open",
        "status_on_error": "status_on_error",
        "clear_route_cache": "clear_route_cache",
    },
    SECURITY_POLICY: {
        "with_request_body": "body_to_ext_auth",
        "max_request_bytes": "body_to_ext_auth.max_request_bytes",
        "allowed_headers": "headers_to_ext_auth",
        "http_service": "http",
        "timeout": "timeout",
        "failure_mode_allow": "fail_open",
        "status_on_error": "status_on_error",
        "clear_route_cache": "recompute_route",
    },
}
_ENVOY_SPELLINGS: Final = {
    "allow_partial_message": "with_request_body.allow_partial_message",
    "pack_as_bytes": "with_request_body.pack_as_bytes",
    "max_request_bytes": "with_request_body.max_request_bytes",
    "status_on_error": "status_on_error.code",
}


@dataclass(frozen=True, slots=True, eq=False)
class Check:
    """One configuration of an external authorization, in whichever words."""

    at: Node
    document: Document
    manager: Manager | None = None

    @property
    def in_envoys_words(self) -> bool:
        """Whether this is Envoy's own filter, so that it has every setting."""
        return self.document.kind in {ENVOY, ENVOY_FILTER}

    def get(self, name: str) -> Node | None:
        """The setting that Envoy calls `name`; None where it does not exist."""
        if self.in_envoys_words:
            if name == "timeout":
                return self.service.get(name)
            return self.at.get(_ENVOY_SPELLINGS.get(name, name))
        path = _SPELLINGS[self.document.kind].get(name)
        return self.at.get(path) if path else None

    @property
    def screens(self) -> bool:
        """Whether this may be the check of texts, and not a login beside it or over HTTP."""
        http, body = self.get("http_service"), self.get("with_request_body")
        if http is not None and http.present:
            return False
        others = self.manager.checks if self.manager else []
        alone = not any(one.config.get("with_request_body").present for one in others)
        return alone or (body is not None and body.present)

    @property
    def service(self) -> Node:
        """How Envoy's filter asks: a gRPC service, or an HTTP one, which other authorizers are."""
        http = self.at.get("http_service")
        return http.get("server_uri") if http.present else self.at.get("grpc_service")

    @property
    def cluster(self) -> str:
        """Name of the Envoy cluster that is asked."""
        if self.at.get("http_service").present:
            return self.service.get("cluster").text
        return self.service.get("envoy_grpc.cluster_name").text


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """One change that an EnvoyFilter makes."""

    at: Node
    document: Document

    @property
    def to(self) -> str:
        """What it changes: `HTTP_FILTER`, `CLUSTER` and so on."""
        return self.at.get("apply_to").text

    @property
    def value(self) -> Node:
        """What it adds or merges."""
        return self.at.get("patch.value")

    @property
    def before_router(self) -> bool:
        """Whether it puts a filter right before the router, so after a check."""
        operation = self.at.get("patch.operation").text
        anchor = "match.listener.filter_chain.filter.sub_filter.name"
        return operation == "INSERT_BEFORE" and self.at.get(anchor).text.endswith(".router")


@dataclass(frozen=True, eq=False)
class Estate:
    """Everything that was read. Rules look around here."""

    documents: Sequence[Document]

    def of(self, kind: str) -> Iterator[Document]:
        """Documents of one kind."""
        return (document for document in self.documents if document.kind == kind)

    @cached_property
    def managers(self) -> list[Manager]:
        """Connection managers with a check in them."""
        return [manager for manager in self.all_managers if manager.checks]

    @cached_property
    def all_managers(self) -> list[Manager]:
        """Connection managers, with a check or without."""
        return envoy_model.managers(self.documents)

    @cached_property
    def patches(self) -> list[Patch]:
        """What the EnvoyFilters do."""
        return [
            Patch(item, document)
            for document in self.of(ENVOY_FILTER)
            for item in document.root.get("spec.config_patches").items()
        ]

    @cached_property
    def checks(self) -> list[Check]:
        """Each place that configures a check."""
        return [
            *(
                Check(one.config, manager.document, manager)
                for manager in self.managers
                for one in manager.checks
            ),
            *(
                Check(Filter(patch.value).config, patch.document)
                for patch in self.patches
                if Filter(patch.value).type == EXT_AUTHZ
            ),
            *(Check(at, document) for document, at in self.providers),
            *(Check(document.root.get("spec.ext_auth"), document) for document in self.secured),
        ]

    @cached_property
    def providers(self) -> list[tuple[Document, Node]]:
        """The gRPC authorization providers of each MeshConfig."""
        return [
            (document, provider.get("envoy_ext_authz_grpc"))
            for document in self.of(MESH_CONFIG)
            for provider in document.root.get("extension_providers").items()
            if provider.get("envoy_ext_authz_grpc").present
        ]

    @cached_property
    def secured(self) -> list[Document]:
        """SecurityPolicies that ask an external authorization."""
        policies = self.of(SECURITY_POLICY)
        return [one for one in policies if one.root.get("spec.ext_auth").present]

    @cached_property
    def custom(self) -> list[Document]:
        """AuthorizationPolicies that ask a provider, unless it is known to speak no gRPC."""
        others = {
            provider.get("name").text
            for document in self.of(MESH_CONFIG)
            for provider in document.root.get("extension_providers").items()
            if not provider.get("envoy_ext_authz_grpc").present
        }
        asking = [
            one
            for one in self.of("AuthorizationPolicy")
            if one.root.get("spec.action").text == "CUSTOM"
        ]
        return [one for one in asking if one.root.get("spec.provider.name").text not in others]

    def asked_clusters(self, check: Check) -> list[Node]:
        """The definitions of the cluster that `check` asks."""
        defined = [
            *(one for document in self.of(ENVOY) for one in envoy_model.clusters(document)),
            *(patch.value for patch in self.patches if patch.to == "CLUSTER"),
        ]
        near = [one for one in defined if one.source.file == check.at.source.file]
        return [one for one in near or defined if one.get("name").text == check.cluster]
