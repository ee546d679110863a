"""Options that could not be served as asked are refused."""

from pathlib import Path

import pytest

from extauthz.transport.options import ListenOptions, TlsOptions
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
