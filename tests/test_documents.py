"""What the documents name is there."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from msgspec import structs
from prometheus_client import Counter
from prometheus_client.metrics import MetricWrapperBase

from extauthz.core.budget.limits import Budgets, Calendar, Count, Limit
from extauthz.core.dialects import UNKNOWN_JSON
from extauthz.core.policy import DenyShape
from extauthz.core.reasons import Reason
from extauthz.core.refusals import denial
from extauthz.telemetry import records
from extauthz.telemetry.metrics import Metrics
from tests import as_envoy
from tests.door import Door, policy
from tests.telemetry.observations import observation

ROOT = Path(__file__).parent.parent
DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "envoy").glob("*.md"), *(ROOT / "docs").glob("*.md")]
DECISIONS = (ROOT / "docs" / "decisions.md").read_text()
#: Reasons with which a request passes.
PASSING = {Reason.CLEAN, Reason.NOT_INSPECTED}


@pytest.mark.parametrize("document", sorted(DOCUMENTS), ids=lambda path: path.name)
def test_every_relative_link_leads_somewhere(document: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)", document.read_text())
    missing = [
        link for link in links if "://" not in link and not (document.parent / link).exists()
    ]
    assert missing == []


def test_architecture_names_files_that_exist() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    named = set(re.findall(r"`((?:[\w.]+/)+[\w.]*)", text)) | set(re.findall(r"`(\w+\.py)`", text))
    places = (ROOT, ROOT / "extauthz", ROOT / "extauthz" / "transport")
    missing = {name for name in named if not any((place / name).exists() for place in places)}
    assert missing == set()
    assert len(named) > 20


def test_every_reason_is_explained_with_its_status_and_nothing_else_is() -> None:
    told = re.findall(r"^\| `(\w+)` \| (\d*) ?\| \S", _section("Reasons"), re.MULTILINE)
    statuses = {
        reason.value: ""
        if reason in PASSING
        else str(denial(DenyShape.JSON_403, reason, UNKNOWN_JSON, stream=False).status)
        for reason in Reason
    }
    assert dict(told) == statuses
    assert len(told) == len(statuses)


def test_every_key_of_a_decision_record_is_explained() -> None:
    keys = records.record(observation(0.1), 1, datetime.now(UTC)).keys()
    told = [
        key
        for row in re.findall(r"^\| (`[^|]*) \|", _section("The decision record"), re.MULTILINE)
        for key in re.findall(r"`(\w+)`", row)
    ]
    assert sorted(told) == sorted(keys)


async def test_every_key_of_the_dynamic_metadata_is_explained() -> None:
    limit = Limit(name="calls", count=Count.REQUESTS, amount=5, calendar=Calendar.MONTH)
    served = structs.replace(policy(), budgets=Budgets(limits=(limit,)))

    keys = as_envoy.metadata(await Door(served).about()).keys()

    told = set(re.findall(r"`(\w+)`", _section("Dynamic metadata")))
    assert told == keys | {"none", "receipt"}


def test_every_metric_is_explained_with_its_labels() -> None:
    told = re.findall(r"^\| `(\w+)` \| ([^|]*) ?\|", _section("Metrics"), re.MULTILINE)
    assert {(name, tuple(re.findall(r"\w+", labels))) for name, labels in told} == {
        (_exported(metric), metric._labelnames)
        for metric in vars(Metrics()).values()
        if isinstance(metric, MetricWrapperBase)
    }


def _section(title: str) -> str:
    return DECISIONS.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def _exported(metric: MetricWrapperBase) -> str:
    """The name of a metric as it is scraped: counters end in `_total`."""
    name: str = next(iter(metric.describe())).name
    return f"{name}_total" if isinstance(metric, Counter) else name
