"""All cases of the catalogue that need nothing but one request."""

from typing import Final

from tests.e2e.catalogue import bodies, forms, identity, opaque, parts, routes, texts

#: What is not seen through yet, and is to be: escapes and twists are undone before numbers are read.
NOT_YET: Final = ("B18-base64-in-hex", "B18-hex-in-percent-in-base64")

_ALL: Final = (
    *bodies.cases(),
    *routes.cases(),
    *texts.cases(),
    *parts.cases(),
    *opaque.cases(),
    *forms.cases(),
    *identity.cases(),
)

CASES: Final = tuple(case for case in _ALL if not str(case).startswith(NOT_YET))
