"""Every attack of the catalogue is stopped for its reason, and its honest twin passes untouched."""

from fnmatch import fnmatchcase

import pytest

from tests.e2e.catalogue.case import Case
from tests.e2e.catalogue.cases import CASES
from tests.e2e.catalogue.harness import became
from tests.e2e.running import Filter, Gateway


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_attack_is_met_and_its_twin_passes(
    case: Case, gateway: Gateway, filter_: Filter
) -> None:
    for wire, expected in case.steps:
        outcome = became(gateway, filter_, wire)
        assert fnmatchcase(outcome, expected), f"expected {expected}, got {outcome}"
