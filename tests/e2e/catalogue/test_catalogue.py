"""Every attack of the catalogue is stopped for its reason, and its honest twin passes untouched."""

import pytest

from tests.e2e.catalogue.case import Case
from tests.e2e.catalogue.cases import CASES
from tests.e2e.catalogue.harness import became
from tests.e2e.running import Filter, Gateway


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_attack_is_met_and_its_twin_passes(
    case: Case, gateway: Gateway, filter_: Filter
) -> None:
    assert became(gateway, filter_, case.attack) == case.expected
    if case.twin is not None:
        assert became(gateway, filter_, case.twin) == case.twin_expected
