"""Any JSON at all: every string leaf and key is the user's word."""

from typing import Final

from extauthz.core.call import Provenance
from extauthz.core.dialects.dialect import Dialect

UNKNOWN_JSON: Final = Dialect(name="unknown_json", labels={"*": Provenance.USER})
