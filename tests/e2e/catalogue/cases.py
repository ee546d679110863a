"""All cases of the catalogue that need nothing but one request."""

from typing import Final

from tests.e2e.catalogue import bodies, forms, identity, opaque, parts, routes, texts

CASES: Final = (
    *bodies.cases(),
    *routes.cases(),
    *texts.cases(),
    *parts.cases(),
    *opaque.cases(),
    *forms.cases(),
    *identity.cases(),
)
