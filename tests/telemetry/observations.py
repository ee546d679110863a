"""A finished check for telemetry tests."""

from collections.abc import Mapping
from typing import Any

from extauthz.core.budget.allowance import Allowance
from extauthz.core.budget.demand import Demand
from extauthz.core.budget.limits import Calendar, Count, Limit
from extauthz.core.budget.report import Usage
from extauthz.core.decision import decide
from extauthz.core.dialects import KNOWN
from extauthz.core.extract import Coverage
from extauthz.core.findings import Finding
from extauthz.core.opaque import Opaque
from extauthz.core.policy import Rule
from extauthz.telemetry.observation import Observation
from tests import builders

LIMIT = Limit(name="tokens", count=Count.TOTAL_TOKENS, amount=1_000, calendar=Calendar.DAY)


def allowance(tokens: int = 0, **fields: Any) -> Allowance:
    """A request within `LIMIT`, of which 400 units are left, for which so many are reserved."""
    plain: dict[str, Any] = {"limit": LIMIT, "remaining": 400, "reserved": Usage(tokens, 0)}
    return Allowance(**plain | fields)


def observation(
    *scores: float,
    rule: Rule | None = None,
    findings: tuple[Finding, ...] = (),
    opaque: Mapping[Opaque, int] | None = None,
    demand: Demand = Demand("gpt", 9, 100, 2),  # noqa: B008 - it is frozen
    allowance: Allowance | None = None,
    **call: Any,
) -> Observation:
    """A chat completion with these scores and findings, decided under `rule`."""
    signals = builders.signals(
        *scores,
        dialect=KNOWN[0],
        coverage=Coverage(30, 12, {"vocabulary": 18}, opaque or {}),
        findings=findings,
        demand=demand,
        allowance=allowance,
    )
    asked = builders.call(**call)
    decision = decide(rule or Rule(), signals, asked.headers)
    digests = ("p" * 64, "m" * 64, "b" * 64, "a" * 64 if asked.principal else "")
    return Observation(asked, signals, decision, *digests, "large", 0.4, 0.01234)
