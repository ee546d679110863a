"""Options that could not be served as asked are refused; certificates are read exactly."""

from pathlib import Path

import pytest

from extauthz.transport.options import ListenOptions, TlsOptions
from extauthz.transport.tls import admits, uri_names
from tests.transport.certificates import Authority


def test_identities_without_an_authority_are_refused() -> None:
    with pytest.raises(ValueError, match="client_ca"):
        TlsOptions(Path("cert"), Path("key"), None, ("spiffe://mesh.test/envoy",))


def test_tls_on_a_unix_socket_is_refused(authority: Authority) -> None:
    with pytest.raises(ValueError, match="TCP"):
        ListenOptions("unix:/run/extauthz.sock", tls=authority.tls())


def test_limits_must_be_positive() -> None:
    with pytest.raises(ValueError, match="positive"):
        ListenOptions("127.0.0.1:0", max_message_bytes=0)
    with pytest.raises(ValueError, match="positive"):
        ListenOptions("127.0.0.1:0", max_deadline_s=0.0)


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
