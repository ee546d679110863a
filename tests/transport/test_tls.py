"""Who may connect: certificates, and the SPIFFE identities in them, over both transports."""

import socket
from pathlib import Path

import grpc
import pytest

from extauthz.transport.options import ListenOptions, TlsOptions
from extauthz.transport.tls import admits, uri_names
from tests.transport.certificates import Authority
from tests.transport.conftest import Servers, echo, unary

LOOPBACK = "127.0.0.1:0"
CHECKOUT = "spiffe://mesh.test/ns/shop/sa/checkout"
GATEWAY = "spiffe://mesh.test/ns/gateway/sa/envoy"


async def test_tls_without_a_client_authority_serves_any_client(
    servers: Servers, authority: Authority
) -> None:
    options = ListenOptions(LOOPBACK, tls=authority.tls(verify=False))
    peer = await servers.peer({"Echo": echo}, options, authority.anonymous())
    assert await peer.call("Echo")(b"m") == b"m"


async def test_a_client_authority_refuses_strangers_and_serves_its_own(
    servers: Servers, authority: Authority, tmp_path: Path
) -> None:
    options = ListenOptions(LOOPBACK, tls=authority.tls())
    peer = await servers.peer({"Echo": echo}, options, authority.credentials())
    assert await peer.call("Echo")(b"m") == b"m"
    stranger = grpc.ssl_channel_credentials(authority.root, *Authority(tmp_path).client(GATEWAY))
    for credentials in (authority.anonymous(), stranger):
        channel = await servers.channel(peer.address, credentials)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await unary(channel, "Echo")(b"m")
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_an_unreadable_certificate_is_an_error_and_the_port_is_free_again(
    servers: Servers, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    tls = TlsOptions(tmp_path / "no.pem", tmp_path / "no.key")
    with pytest.raises((OSError, ValueError), match=r"no\.(pem|key)"):
        await servers.listen({"Echo": echo}, ListenOptions(address, tls=tls))
    peer = await servers.peer({"Echo": echo}, ListenOptions(address))
    assert await peer.call("Echo")(b"m") == b"m"


@pytest.mark.parametrize(
    ("uris", "status"),
    [
        ((GATEWAY,), grpc.StatusCode.OK),
        ((CHECKOUT,), grpc.StatusCode.PERMISSION_DENIED),
        ((GATEWAY + "/x",), grpc.StatusCode.PERMISSION_DENIED),
        ((), grpc.StatusCode.PERMISSION_DENIED),
        ((GATEWAY, CHECKOUT), grpc.StatusCode.PERMISSION_DENIED),
    ],
    ids=["listed", "unlisted", "longer", "none", "two"],
)
async def test_a_listed_identity_alone_is_admitted(
    servers: Servers, authority: Authority, uris: tuple[str, ...], status: grpc.StatusCode
) -> None:
    options = ListenOptions(LOOPBACK, tls=authority.tls(GATEWAY, "spiffe://mesh.test/other"))
    peer = await servers.peer({"Echo": echo}, options, authority.credentials(*uris))
    assert await peer.status("Echo") is status


def test_uri_names_are_read_in_order_and_other_names_left_out(authority: Authority) -> None:
    uris = ("spiffe://mesh.test/a", "https://example.test/" + "x" * 300)
    assert uri_names(authority.client(*uris)[1].decode()) == uris
    assert uri_names(authority.client()[1].decode()) == ()
    assert uri_names(authority.root.decode()) == ()


@pytest.mark.parametrize("cut", [0, 28, 60, 200, 400, 500])
def test_a_certificate_that_can_not_be_read_is_not_admitted(authority: Authority, cut: int) -> None:
    uri = "spiffe://mesh.test/a"
    certificate = authority.client(uri)[1].decode()
    assert admits((uri,), certificate)
    assert not admits((uri,), certificate[:cut])
    assert not admits((uri,), certificate[:cut] + "-----END CERTIFICATE-----\n")
