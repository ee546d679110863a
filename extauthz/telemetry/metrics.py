"""Prometheus metrics. Every label is from a closed set or from the policy, never from a request."""

from collections.abc import Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from extauthz.core.budget.settlement import Settlement
from extauthz.core.call import Provenance
from extauthz.telemetry.drift import ENOUGH, RECENT, Drift, Spread, worst_of_each_text
from extauthz.telemetry.observation import Observation

#: Seconds. From a body that cannot be read to a long document on a CPU.
_LATENCY: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_SCORE: Final = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0)
_LAG: Final = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)
_ERROR: Final = (0.5, 0.75, 0.9, 0.95, 1.0, 1.05, 1.1, 1.25, 1.5, 2.0, 4.0, 16.0)
_PARTS: Final = ("input", "output")
_TOKENS: Final = (16, 64, 256, 1024, 4096, 16384, 65536)


class Metrics:
    """All metrics of a server."""

    def __init__(self) -> None:
        """Register everything in a registry of its own."""
        self.registry: Final = CollectorRegistry()
        self.decisions: Final = Counter(
            "extauthz_decisions",
            "Decisions by verdict, reason and rule; shadow is the verdict that was not enforced.",
            ("verdict", "reason", "rule", "shadow"),
            registry=self.registry,
        )
        self.seconds: Final = Histogram(
            "extauthz_check_seconds",
            "From the last byte of a Check to its answer.",
            buckets=_LATENCY,
            registry=self.registry,
        )
        self.scores: Final = Histogram(
            "extauthz_score",
            "Worst score of a request by where the text came from.",
            ("provenance",),
            buckets=_SCORE,
            registry=self.registry,
        )
        self.tokens: Final = Histogram(
            "extauthz_tokens",
            "Tokens classified for one request, over all views.",
            buckets=_TOKENS,
            registry=self.registry,
        )
        self.text_bytes: Final = Counter(
            "extauthz_text_bytes",
            "UTF-8 bytes of text by what became of them.",
            ("coverage",),
            registry=self.registry,
        )
        self.flags: Final = Counter(
            "extauthz_flags",
            "What was noticed beside the score, denied or let through, by rule.",
            ("flag", "rule"),
            registry=self.registry,
        )
        self.uninspected: Final = Counter(
            "extauthz_uninspected",
            "Parts of requests that no text classifier can read, by kind.",
            ("kind",),
            registry=self.registry,
        )
        self.drift: Final = Gauge(
            "extauthz_score_drift",
            f"Population stability index of the scores of the last {RECENT} texts, against those that "
            f"the calibration was measured on; 0 before {ENOUGH} texts.",
            ("provenance",),
            registry=self.registry,
        )
        self.limited: Final = Counter(
            "extauthz_limited",
            "Requests over a limit, by limit; shadow limits deny nothing.",
            ("limit", "shadow"),
            registry=self.registry,
        )
        self.settlements: Final = Counter(
            "extauthz_settlements",
            "Access log entries about our decisions, by what came of them.",
            ("outcome",),
            registry=self.registry,
        )
        self.settlement_seconds: Final = Histogram(
            "extauthz_settlement_seconds",
            "From the end of an answer until what it used was charged.",
            buckets=_LAG,
            registry=self.registry,
        )
        self.estimate_error: Final = Histogram(
            "extauthz_estimate_error",
            "Reserved tokens over used ones: 1 is exact, below 1 a request used more than was held for it.",
            ("part",),
            buckets=_ERROR,
            registry=self.registry,
        )
        self.lost: Final = Counter(
            "extauthz_reservations_lost",
            "Reservations that nobody settled in time.",
            registry=self.registry,
        )
        self.reservations: Final = Gauge(
            "extauthz_reservations", "Requests whose cost is reserved.", registry=self.registry
        )
        self.counters: Final = Gauge(
            "extauthz_counters", "Counters of limits that are in use.", registry=self.registry
        )
        self._drifts: dict[Provenance, Drift] = {}
        self.queued_tokens: Final = Gauge(
            "extauthz_queued_tokens", "Tokens that wait for the model.", registry=self.registry
        )
        self.records_dropped: Final = Gauge(
            "extauthz_records_dropped",
            "Decision records lost because the writer could not keep up.",
            registry=self.registry,
        )
        self.policy_valid: Final = Gauge(
            "extauthz_policy_valid",
            "1 while the policy file on disk is the one that is served, 0 after a bad reload.",
            registry=self.registry,
        )
        self.policy: Final = Gauge(
            "extauthz_policy_info", "The policy served.", ("digest",), registry=self.registry
        )
        self.model: Final = Gauge(
            "extauthz_model_info",
            "The model served.",
            ("name", "digest", "device"),
            registry=self.registry,
        )

    def observe(self, seen: Observation) -> None:
        """Count one decision."""
        decision, signals = seen.decision, seen.signals
        self.decisions.labels(
            decision.verdict, decision.reason, decision.rule, decision.shadowed or "none"
        ).inc()
        self.seconds.observe(seen.took_s)
        if signals.worst is not None:
            self.scores.labels(signals.worst.provenance).observe(signals.worst.score)
            self.tokens.observe(signals.tokens)
        self.text_bytes.labels("scanned").inc(signals.coverage.scanned)
        for reason, size in signals.coverage.exempt.items():
            self.text_bytes.labels(f"exempt_{reason}").inc(size)
        for kind, count in signals.coverage.opaque.items():
            self.uninspected.labels(kind).inc(count)
        for flag in decision.flags:
            self.flags.labels(flag, decision.rule).inc()
        self._count_limits(seen)
        for provenance, score in worst_of_each_text(signals.scored):
            if provenance in self._drifts:
                self._drifts[provenance].saw(score)

    def _count_limits(self, seen: Observation) -> None:
        allowance = seen.signals.allowance
        if allowance is None:
            return
        if allowance.limited and allowance.limit is not None:
            self.limited.labels(allowance.limit.name, "no").inc()
        for name in allowance.shadowed:
            self.limited.labels(name, "yes").inc()

    def settled(self, settlement: Settlement, at_s: float) -> None:
        """Count one entry of the access log. `at_s` is the Unix time now."""
        report, settled = settlement.report, settlement.settled
        if settled is None:
            self.settlements.labels("forwarded" if settlement.forwarded else "unknown").inc()
            return
        self.settlements.labels("reported" if report.usage else "by_rule").inc()
        if report.ended_s:
            self.settlement_seconds.observe(max(0.0, at_s - report.ended_s))
        if report.usage is not None:
            for part, held, used in zip(_PARTS, settled.estimated, report.usage, strict=True):
                if used:
                    self.estimate_error.labels(part).observe(held / used)

    def compare_scores(self, honest: Mapping[Provenance, Spread]) -> None:
        """Show from now on how far scores are from those of honest texts."""
        for provenance, expected in honest.items():
            drift = self._drifts[provenance] = Drift(expected)
            self.drift.labels(provenance).set_function(drift.index)

    def serve_policy(self, digest: str) -> None:
        """A policy was loaded and is the one in force."""
        self.policy.clear()
        self.policy.labels(digest).set(1)
        self.policy_valid.set(1)
