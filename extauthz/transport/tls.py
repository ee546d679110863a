"""SPIFFE identities of verified client certificates."""

from functools import lru_cache

from cryptography import x509


def uri_names(certificate: str) -> tuple[str, ...]:
    """URI subject alternative names of a PEM certificate whose signature is already verified.

    Raises ValueError when it is no certificate.
    """
    extensions = x509.load_pem_x509_certificate(certificate.encode()).extensions
    try:
        names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return tuple(names.get_values_for_type(x509.UniformResourceIdentifier))


@lru_cache(maxsize=256)
def admits(spiffe_ids: tuple[str, ...], certificate: str) -> bool:
    """Whether the certificate's identity is listed. An SVID has exactly one URI name."""
    try:
        names = uri_names(certificate)
    except (ValueError, x509.DuplicateExtension):
        return False
    return len(names) == 1 and names[0] in spiffe_ids
