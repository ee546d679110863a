"""Whatever a file holds, there is a report or a refusal, and never an accident."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extauthz import lint
from extauthz.lint.report import as_json, as_sarif, as_text
from tests.lint.fixture_files import HERE, all_fixtures, linted

TEXTS = [one.path.read_text() for one in all_fixtures()]
VALUES = ["[]", "{}", "null", "x", "-1", "nan", "inf", "1e999", "'('", "[[x]]", "{x: {}}", "true"]


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """A fixture with lines taken away, doubled, or given another value."""
    lines = draw(st.sampled_from(TEXTS)).splitlines()
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(lines) - 1))
        key = lines[at].partition(":")[0]
        other = f"{key}: {draw(st.sampled_from(VALUES))}"
        lines[at : at + 1] = draw(st.sampled_from([[], [lines[at]] * 2, [other]]))
        lines = lines or ["x"]
    return "\n".join(lines)


@settings(max_examples=300, deadline=None)
@given(damaged())
def test_a_damaged_configuration_is_judged_or_refused(text: str) -> None:
    with contextlib.suppress(lint.UnreadableError):
        report = lint.lint([lint.read("one.yaml", text.encode())], lint.Options())
        assert as_text(report)
        assert as_json(report)
        assert as_sarif(report, lint.RULES)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=64))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(lint.UnreadableError):
        lint.read("one.yaml", data)


def test_without_a_check_nothing_is_found_in_a_configuration_full_of_faults(tmp_path: Path) -> None:
    """Rules are about a check: a gateway without one is another matter."""
    path = tmp_path / "plain.yaml"
    path.write_text(PLAIN)
    assert linted(path).findings == []


PLAIN = """
admin: { address: { socket_address: { address: 0.0.0.0, port_value: 9901 } } }
static_resources:
  listeners:
    - name: web
      address: { socket_address: { address: 0.0.0.0, port_value: 80 } }
      filter_chains:
        - filters:
            - name: envoy.filters.network.http_connection_manager
              typed_config:
                "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
                stat_prefix: web
                upgrade_configs: [{ upgrade_type: websocket }]
                xff_num_trusted_hops: 2
                http_filters:
                  - name: envoy.filters.http.lua
                    typed_config:
                      "@type": type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua
                      default_source_code: { filename: /etc/envoy/web.lua }
                  - name: envoy.filters.http.router
                    typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }
                route_config:
                  virtual_hosts:
                    - name: web
                      domains: ["*"]
                      routes:
                        - match: { prefix: / }
                          route: { cluster: web, internal_redirect_policy: {}, request_mirror_policies: [{ cluster: copy }] }
  clusters:
    - name: web
      type: STATIC
      load_assignment: { cluster_name: web, endpoints: [{ lb_endpoints: [{ endpoint: { address: { socket_address: { address: 10.0.0.1, port_value: 80 } } } }] }] }
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: web }
spec: { action: ALLOW, rules: [{ to: [{ operation: { paths: ["/a*"] } }] }] }
---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: { name: web }
spec: { jwtRules: [{ issuer: a, outputClaimToHeaders: [{ header: x-user, claim: sub }] }] }
---
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: { name: web }
spec:
  configPatches:
    - applyTo: HTTP_FILTER
      match: { listener: { filterChain: { filter: { subFilter: { name: envoy.filters.http.router } } } } }
      patch:
        operation: INSERT_BEFORE
        value:
          name: envoy.filters.http.lua
          typed_config:
            "@type": type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua
            inlineCode: "function envoy_on_request(handle) end"
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: web }
spec: { hosts: [web], http: [{ mirror: { host: copy }, route: [{ destination: { host: web } }] }] }
---
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: SecurityPolicy
metadata: { name: web }
spec:
  targetRefs: [{ group: gateway.networking.k8s.io, kind: HTTPRoute, name: web }]
  jwt: { providers: [{ name: a, claimToHeaders: [{ claim: sub, header: x-user }] }] }
---
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: ClientTrafficPolicy
metadata: { name: web }
spec:
  path: { escapedSlashesAction: KeepUnchanged, disableMergeSlashes: true }
  headers: { withUnderscoresAction: Allow }
  clientIPDetection: { xForwardedFor: { numTrustedHops: 2 } }
---
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: BackendTrafficPolicy
metadata: { name: web }
spec: { httpUpgrade: [{ type: websocket }] }
---
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: EnvoyExtensionPolicy
metadata: { name: web }
spec: { extProc: [{ processingMode: { request: { body: Buffered } } }], wasm: [{ name: a }] }
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: web }
spec: { rules: [{ filters: [{ type: RequestMirror, requestMirror: { backendRef: { name: copy } } }] }] }
---
extensionProviders:
  - name: login
    envoyExtAuthzHttp: { service: login, port: 80, failOpen: true }
"""


@pytest.mark.parametrize("part", range(2))
def test_routes_and_listeners_may_be_in_files_of_xds_resources(part: int, tmp_path: Path) -> None:
    """`part` 1: the routes are left out, so that nobody can judge them, which is said."""
    faulty = next(one for one in all_fixtures() if one.path.stem == "fail-envoy-prefix")
    text = faulty.path.read_text().replace(HERE, "")
    listener = text[text.index("    - name: llm") : text.index("                route_config:")]
    routes = text[text.index("                  virtual_hosts:") : text.index("  clusters:")]
    kind = '      "@type": type.googleapis.com/envoy.config.listener.v3.Listener\n'
    rds = "                rds: { route_config_name: llm }\n"
    (tmp_path / "lds.yaml").write_text(
        "resources:\n" + listener.replace("\n", f"\n{kind}", 1) + rds
    )
    if part == 0:
        head = '  - "@type": type.googleapis.com/envoy.config.route.v3.RouteConfiguration\n'
        (tmp_path / "rds.yaml").write_text(
            "resources:\n"
            + head
            + "    name: llm\n"
            + routes.replace("\n              ", "\n")[14:]
        )

    report = linted(*sorted(tmp_path.glob("*.yaml")))

    assert ("L7" in {one.rule.id for one in report.findings}) == (part == 0)
    assert bool(report.notes) == (part == 1)
