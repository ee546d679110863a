"""Sends one request and says what became of it, in the words of a case."""

import time
from pathlib import Path
from typing import Any

from extauthz.telemetry.observation import Observation
from tests.e2e.catalogue.identity import jwt_authn
from tests.e2e.catalogue.wire import Wire, send
from tests.e2e.running import Filter, Gateway, ext_authz

POLICY = Path(__file__).with_name("policy.yaml")
_OBSERVE_S = 5.0


def everything(config: dict[str, Any]) -> None:
    """Let Envoy route every path and upgrade, so that what stops a request is our filter.

    And have it verify tokens, for the cases about identity.
    """
    ext_authz(config)["metadata_context_namespaces"] = ["envoy.filters.http.jwt_authn"]
    listener = config["static_resources"]["listeners"][0]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    manager["upgrade_configs"] = [{"upgrade_type": "websocket"}]
    manager["http_filters"].insert(0, jwt_authn())
    routes = manager["route_config"]["virtual_hosts"][0]["routes"]
    routes.append({"match": {"prefix": "/"}, "route": {"cluster": "upstream"}})


def became(gateway: Gateway, filter_: Filter, wire: Wire) -> str:
    """`403 prompt_injection`, `400 -` if Envoy answered alone, `200 flag flag` if it passed.

    Fails where a refused request reached the upstream, or a body changed on its way.
    """
    asked, before = len(filter_.observed), len(gateway.upstream.received)
    answer = send(gateway.address, wire)
    bodies = [one.body for one in gateway.upstream.received[before:]]
    reason = answer.headers.get("x-extauthz-reason", "-")
    if answer.status != 200 or "grpc-status" in answer.headers:
        status = f"grpc {answer.headers['grpc-status']}" if answer.status == 200 else answer.status
        return f"{status} {reason}" + (" AND REACHED THE UPSTREAM" if bodies else "")
    if bodies != [wire.body]:
        return "200, and the body that arrived is another"
    return " ".join(["200", *_observed(filter_, asked).decision.flags])


def _observed(filter_: Filter, asked: int) -> Observation:
    """The record of a decision is written after the answer: wait for it, if need be."""
    until = time.monotonic() + _OBSERVE_S
    while len(filter_.observed) == asked and time.monotonic() < until:
        time.sleep(0.001)
    return filter_.observed[-1]
