"""Facts in, verdict out. `decide` is the only place where a failure or a score becomes one."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from extauthz.core.budget.allowance import Allowance
from extauthz.core.budget.demand import Demand
from extauthz.core.budget.headers import limit_headers
from extauthz.core.call import Provenance
from extauthz.core.dialects import UNKNOWN_JSON, Dialect
from extauthz.core.extract import Coverage
from extauthz.core.findings import Finding
from extauthz.core.policy import OWN_HEADER_PREFIX, Action, Detect, Limits, Mutate, Reaction, Rule
from extauthz.core.reasons import SERVER_FAILURES, Failure, Reason
from extauthz.core.refusals import Denial, denial

_ENVOY_HEADERS: Final = frozenset(
    {"x-envoy-auth-partial-body", "x-envoy-auth-failure-mode-allowed"}
)

_NO_TEXT: Final = Coverage()
_NO_CHANGE: Final = Mutate()
_NO_DEMAND: Final = Demand()


class Verdict(StrEnum):
    """What happens to the request. `mutate` is an allow with the rule's own changes."""

    ALLOW = "allow"
    DENY = "deny"
    MUTATE = "mutate"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Scored:
    """The worst window of one view of one segment. `threshold` is the rule's for its provenance."""

    provenance: Provenance
    pointer: str
    view: str
    windows: int
    tokens: int
    score: float
    threshold: float

    @property
    def passes(self) -> bool:
        """Written so that NaN does not pass."""
        return self.score < self.threshold


@dataclass(frozen=True, slots=True)
class Signals:
    """What is known about a call. Facts only, no verdict.

    `demand` is what it asks of the upstream, `allowance` how its limits stand; None where none is for it.
    """

    failure: Failure | None = None
    scored: tuple[Scored, ...] = ()
    coverage: Coverage = _NO_TEXT
    dialect: Dialect = UNKNOWN_JSON
    stream: bool = False
    findings: tuple[Finding, ...] = ()
    demand: Demand = _NO_DEMAND
    allowance: Allowance | None = None

    @property
    def tokens(self) -> int:
        """Tokens the classifier read."""
        return sum(scored.tokens for scored in self.scored)

    @property
    def worst(self) -> Scored | None:
        """The finding closest to, or furthest above, its threshold; NaN before all."""
        return max(self.scored, key=_severity, default=None)


def _severity(scored: Scored) -> float:
    margin = scored.score - scored.threshold
    return margin if margin == margin else float("inf")  # noqa: PLR0124 (NaN)


@dataclass(frozen=True, slots=True)
class Decision:
    """What to answer, and why.

    `denial` is set for the verdicts deny and error, and only then. `shadowed` holds the verdict
    that a shadow rule did not enforce. `removed_headers` are the client's forgeries. `flags` name
    what was noticed and let through, from closed lists and the policy: `special_tokens`,
    `uninspected_image`, `pattern_codenames`. `limit_headers` tell the caller how the strictest limit stands.
    """

    verdict: Verdict
    reason: Reason
    rule: str
    denial: Denial | None = None
    shadowed: Verdict | None = None
    mutate: Mutate = _NO_CHANGE
    removed_headers: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    limit_headers: Mapping[str, str] = field(default_factory=dict)


def decide(rule: Rule, signals: Signals, headers: Mapping[str, str]) -> Decision:
    """The verdict on a call with these request `headers`. Pure and total."""
    verdict, reason = _judge(rule, signals)
    flags = _flags(rule.detect, signals)
    shadowed = None
    if rule.shadow and verdict is not Verdict.ALLOW:
        verdict, shadowed = Verdict.ALLOW, verdict
    is_over = verdict is Verdict.DENY and reason is Reason.OVER_BUDGET
    limits = limit_headers(signals.allowance, refused=is_over)
    if verdict is not Verdict.ALLOW:
        shape = denial(rule.deny_as, reason, signals.dialect, stream=signals.stream, limits=limits)
        return Decision(verdict, reason, rule.name, denial=shape, flags=flags)
    return Decision(
        Verdict.MUTATE if rule.mutate else Verdict.ALLOW,
        reason,
        rule.name,
        shadowed=shadowed,
        mutate=rule.mutate or _NO_CHANGE,
        removed_headers=tuple(name for name in headers if is_reserved(name)),
        flags=flags,
        limit_headers=limits,
    )


def _judge(rule: Rule, signals: Signals) -> tuple[Verdict, Reason]:
    """What is certain comes first, so that an overload never lets through what it would deny."""
    if reason := certain_denial(rule, signals):
        return Verdict.DENY, reason
    if signals.failure is not None:
        return Verdict(rule.on_failure.value), Reason(signals.failure.value)
    if rule.action is Action.ALLOW:
        return Verdict.ALLOW, Reason.NOT_INSPECTED
    passed = all(scored.passes for scored in signals.scored)
    return (Verdict.ALLOW, Reason.CLEAN) if passed else (Verdict.DENY, Reason.PROMPT_INJECTION)


def certain_denial(rule: Rule, signals: Signals) -> Reason | None:
    """Why a call is denied whatever its text scores, if it is."""
    failure = signals.failure
    if failure and (failure not in SERVER_FAILURES or rule.action is Action.DENY):
        return Reason(failure.value)
    if rule.action is Action.DENY:
        return Reason.ROUTE_DENIED
    if signals.allowance is not None and signals.allowance.limited:
        return Reason.OVER_BUDGET
    if _asks_too_much(rule.limits, signals.demand):
        return Reason.OUTPUT_CAP_EXCEEDED
    return _found(rule.detect, signals) if rule.action is Action.INSPECT else None


def _asks_too_much(limits: Limits, demand: Demand) -> bool:
    """We cannot change a body, so what asks for more is refused and not cut."""
    if limits.choices is not None and demand.choices > limits.choices:
        return True
    if limits.output_tokens is None:
        return False
    if demand.output_cap is None:
        return limits.output_required
    return demand.output_cap > limits.output_tokens


def _found(detect: Detect, signals: Signals) -> Reason | None:
    if not signals.coverage.complete:
        return Reason.INTERNAL_ERROR
    for finding in signals.findings:
        if detect.on_finding(finding) is Reaction.DENY:
            return Reason(finding.detector.value)
    if any(detect.on_opaque(kind) is Reaction.DENY for kind in signals.coverage.opaque):
        return Reason.UNINSPECTED
    return None


def _flags(detect: Detect, signals: Signals) -> tuple[str, ...]:
    found = {
        f"{finding.detector}_{finding.name}".rstrip("_")
        for finding in signals.findings
        if detect.on_finding(finding) is not Reaction.IGNORE
    }
    unread = {
        f"uninspected_{kind}"
        for kind in signals.coverage.opaque
        if detect.on_opaque(kind) is not Reaction.IGNORE
    }
    return tuple(sorted(found | unread | _budget_flags(signals.allowance)))


def _budget_flags(allowance: Allowance | None) -> set[str]:
    if allowance is None:
        return set()
    return {f"over_{name}" for name in allowance.shadowed} | (
        {"uncounted"} if allowance.uncounted else set()
    )


def is_reserved(name: str) -> bool:
    """Whether a request header (lower case) is ours or Envoy's to set, and never a client's.

    Gateways of CGI and WSGI make one name of `x-a` and `x_a`.
    """
    spelled = name.replace("_", "-")
    return spelled.startswith(OWN_HEADER_PREFIX) or spelled in _ENVOY_HEADERS
