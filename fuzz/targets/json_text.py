"""JSON: what we let pass, other parsers accept, and read nothing in it that we did not scan."""

from benchmarks.agreement import fault
from fuzz.targets import require


def check(data: bytes) -> None:
    """No disagreement, and no leniency, against json, orjson and msgspec."""
    found = fault(data)
    require(found is None, str(found))
