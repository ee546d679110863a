"""A certificate authority that issues SPIFFE identities."""

import datetime as dt
from pathlib import Path

import grpc
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from extauthz.transport.options import TlsOptions


class Authority:
    """Issues server certificates for loopback and client certificates with URI names."""

    def __init__(self, directory: Path) -> None:
        """Make the authority and a server certificate, and write both below `directory`."""
        self._ca = trustme.CA()
        self._key = serialization.load_pem_private_key(self._ca.private_key_pem.bytes(), None)
        self._name = x509.load_pem_x509_certificate(self._ca.cert_pem.bytes()).subject
        self.root = self._ca.cert_pem.bytes()
        self._paths = [directory / name for name in ("server.pem", "server.key", "ca.pem")]
        server = self._ca.issue_cert("127.0.0.1", "localhost")
        server.cert_chain_pems[0].write_to_path(str(self._paths[0]))
        server.private_key_pem.write_to_path(str(self._paths[1]))
        self._ca.cert_pem.write_to_path(str(self._paths[2]))

    def tls(self, *spiffe_ids: str, verify: bool = True) -> TlsOptions:
        """A server's options: its certificate and whom it admits."""
        certificate, key, ca = self._paths
        return TlsOptions(certificate, key, ca if verify else None, spiffe_ids)

    def client(self, *uris: str) -> tuple[bytes, bytes]:
        """Key and certificate (PEM) of a client with these URI names and one DNS name."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = [x509.DNSName("client"), *map(x509.UniformResourceIdentifier, uris)]
        now = dt.datetime.now(dt.UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(hours=1))
            .add_extension(x509.SubjectAlternativeName(names), critical=True)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        )
        assert isinstance(self._key, ec.EllipticCurvePrivateKey)
        signed = certificate.sign(self._key, hashes.SHA256())
        pem = serialization.Encoding.PEM
        plain = serialization.NoEncryption()
        return (
            key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain),
            signed.public_bytes(pem),
        )

    def credentials(self, *uris: str) -> grpc.ChannelCredentials:
        """A client that trusts this authority and shows a certificate with these URI names."""
        return grpc.ssl_channel_credentials(self.root, *self.client(*uris))

    def anonymous(self) -> grpc.ChannelCredentials:
        """A client that trusts this authority and shows no certificate."""
        return grpc.ssl_channel_credentials(self.root)
