"""Between Envoy and us: sockets, certificates, and a server that is gone or does not move."""

import signal
import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from extauthz.demo.client import send
from extauthz.demo.processes import ENVOY_YAML, Server, cluster, envoy_binary
from extauthz.demo.upstream import Upstream
from extauthz.model.directory import ModelDirectory
from extauthz.model.session import Session
from extauthz.transport.options import ListenOptions
from tests.canary_model import CANARY
from tests.e2e.conftest import chat
from tests.e2e.running import POLICY, Change, Filter, Gateway, ext_authz, run, scorer
from tests.transport.certificates import Authority

ENVOY_ID = "spiffe://example.org/envoy"


def test_the_configuration_that_ships_is_valid_and_nothing_in_it_is_deprecated() -> None:
    status, said = run(envoy_binary(), "--mode", "validate", "-c", ENVOY_YAML)

    assert status == 0, said
    assert "deprecated" not in said.lower()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(params=["h2corn", "grpcio"])
def transport(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def _serve(
    stack: ExitStack, transport: str, model: ModelDirectory, options: ListenOptions
) -> Filter:
    session = Session(model, "cpu", 1)
    return stack.enter_context(Filter(transport, lambda: scorer(model, session), options))


def _show(folder: Path, authority: Authority, uri: str) -> Change:
    """Envoy connects as `envoy/mtls.yaml` says, with the identity `uri`."""
    key, certificate = authority.client(uri)
    files = {"client.key": key, "client.pem": certificate, "ca.pem": authority.root}
    for name, content in files.items():
        (folder / name).write_bytes(content)
    sample = ENVOY_YAML.with_name("mtls.yaml").read_text().replace("/etc/envoy", str(folder))

    def change(config: dict[str, Any]) -> None:
        cluster(config, "extauthz").update(yaml.safe_load(sample))

    return change


@pytest.mark.parametrize(
    ("uri", "status"), [(ENVOY_ID, 200), ("spiffe://example.org/somebody", 503)]
)
def test_envoy_is_admitted_by_its_spiffe_id(
    stack: ExitStack,
    transport: str,
    model: ModelDirectory,
    authority: Authority,
    upstream: Upstream,
    tmp_path: Path,
    uri: str,
    status: int,
) -> None:
    options = ListenOptions("127.0.0.1:0", tls=authority.tls(ENVOY_ID))
    served = _serve(stack, transport, model, options)
    change = _show(tmp_path, authority, uri)
    gateway = stack.enter_context(Gateway(tmp_path, upstream, [served.address], change))

    answer, passed = gateway.passed(chat())

    assert answer.status == status
    assert len(passed) == (1 if status == 200 else 0)
    assert len(served.checks) == len(passed)


def test_a_unix_socket_serves_as_well(
    stack: ExitStack, transport: str, model: ModelDirectory, upstream: Upstream, tmp_path: Path
) -> None:
    served = _serve(stack, transport, model, ListenOptions(f"unix:{tmp_path / 's'}"))
    gateway = stack.enter_context(Gateway(tmp_path, upstream, [served.address]))

    assert gateway.send(chat()).status == 200
    assert gateway.send(chat(CANARY)).status == 403


def test_the_identity_of_a_client_with_a_certificate_reaches_the_policy(
    stack: ExitStack,
    transport: str,
    model: ModelDirectory,
    authority: Authority,
    upstream: Upstream,
    tmp_path: Path,
) -> None:
    """A principal is what the policy may trust; a header is not."""
    tls = authority.tls()

    def terminate_tls(config: dict[str, Any]) -> None:
        server = {
            "certificate_chain": {"filename": str(tls.certificate)},
            "private_key": {"filename": str(tls.key)},
        }
        common = {
            "tls_certificates": [server],
            "validation_context": {"trusted_ca": {"filename": str(tls.client_ca)}},
        }
        context = (
            "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext"
        )
        listener = config["static_resources"]["listeners"][0]
        listener["filter_chains"][0]["transport_socket"] = {
            "name": "envoy.transport_sockets.tls",
            "typed_config": {
                "@type": context,
                "require_client_certificate": True,
                "common_tls_context": common,
            },
        }

    served = _serve(stack, transport, model, ListenOptions("127.0.0.1:0"))
    gateway = stack.enter_context(Gateway(tmp_path, upstream, [served.address], terminate_tls))
    client = _client(tmp_path, authority, "spiffe://example.org/app")

    known = send(gateway.address, chat(host="principal.test"), client)
    stranger = _client(tmp_path, authority, "spiffe://example.org/other")
    unknown = send(gateway.address, chat(host="principal.test"), stranger)

    assert (known.status, unknown.status) == (200, 403)
    assert unknown.json["error"]["reason"] == "route_denied"


def _client(folder: Path, authority: Authority, uri: str) -> ssl.SSLContext:
    key, certificate = authority.client(uri)
    (folder / "client.both").write_bytes(key + certificate)
    context = ssl.create_default_context(cadata=authority.root.decode())
    context.load_cert_chain(folder / "client.both")
    return context


def _closed(config: dict[str, Any]) -> None:
    ext_authz(config)["grpc_service"]["timeout"] = "0.5s"


def _open(config: dict[str, Any]) -> None:
    _closed(config)
    ext_authz(config)["failure_mode_allow"] = True


@pytest.mark.parametrize("fault", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "hung"])
def test_without_a_server_the_mesh_decides(
    stack: ExitStack,
    transport: str,
    model: ModelDirectory,
    upstream: Upstream,
    tmp_path: Path,
    fault: signal.Signals,
) -> None:
    server = stack.enter_context(
        Server(tmp_path, transport=transport, model=model.path, policy=POLICY, records="-")
    )
    address = server.ready()
    closed = stack.enter_context(Gateway(tmp_path, upstream, [address], _closed, "closed"))
    fails_open = stack.enter_context(Gateway(tmp_path, upstream, [address], _open, "open"))
    before = [gateway.send(chat(CANARY)).status for gateway in (closed, fails_open)]
    server.send_signal(fault)

    answer, passed = closed.passed(chat(CANARY))
    let_in, unchecked = fails_open.passed(chat(CANARY))
    server.kill()

    assert before == [403, 403]
    assert (answer.status, passed) == (503, [])
    assert closed.logged(answer)["details"] == "ext_authz_error"
    assert (let_in.status, len(unchecked)) == (200, 1)
