"""A finished check for telemetry tests."""

from collections.abc import Mapping
from typing import Any

from extauthz.core.decision import decide
from extauthz.core.dialects import KNOWN
from extauthz.core.extract import Coverage
from extauthz.core.findings import Finding
from extauthz.core.opaque import Opaque
from extauthz.core.policy import Rule
from extauthz.telemetry.observation import Observation
from tests import builders


def observation(
    *scores: float,
    rule: Rule | None = None,
    findings: tuple[Finding, ...] = (),
    opaque: Mapping[Opaque, int] | None = None,
    **call: Any,
) -> Observation:
    """A chat completion with these scores and findings, decided under `rule`."""
    signals = builders.signals(
        *scores,
        dialect=KNOWN[0],
        coverage=Coverage(30, 12, {"vocabulary": 18}, opaque or {}),
        findings=findings,
    )
    asked = builders.call(**call)
    decision = decide(rule or Rule(), signals, asked.headers)
    digests = ("p" * 64, "m" * 64, "b" * 64, "a" * 64 if asked.principal else "")
    return Observation(asked, signals, decision, *digests, 0.4, 0.01234)
