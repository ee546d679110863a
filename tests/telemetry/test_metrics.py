"""Metrics count decisions, under labels that no client can choose."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import generate_latest

from extauthz.core.budget.demand import Demand
from extauthz.core.budget.limits import Charge
from extauthz.core.budget.report import Report, Usage
from extauthz.core.budget.settlement import Settled, Settlement
from extauthz.core.call import Provenance
from extauthz.core.decision import Verdict
from extauthz.core.findings import Detector, Finding
from extauthz.core.opaque import Opaque
from extauthz.core.policy import Action
from extauthz.core.reasons import Reason
from extauthz.telemetry.drift import ENOUGH, Spread
from extauthz.telemetry.metrics import Metrics
from tests import builders
from tests.telemetry.observations import allowance, observation

CLOSED: dict[str, set[str]] = {
    "verdict": {*Verdict},
    "reason": {*Reason},
    "rule": {"default", "chat"},
    "shadow": {"none", *Verdict},
    "provenance": {*Provenance},
    "coverage": {"scanned", "exempt_vocabulary"},
    "flag": {"over_trial"},
    "limit": {"tokens", "trial"},
}
WORDS = st.text(max_size=9)


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


def labels(metrics: Metrics) -> Iterator[tuple[str, str]]:
    for metric in metrics.registry.collect():
        for sample in metric.samples:
            yield from sample.labels.items()


def test_a_decision_is_counted_by_verdict_reason_rule_and_shadow(metrics: Metrics) -> None:
    metrics.observe(observation(0.1))
    metrics.observe(observation(0.9))
    metrics.observe(observation(0.9))
    metrics.observe(observation(0.9, rule=builders.rule(name="chat", shadow=True)))

    def count(verdict: str, reason: str, rule: str, shadow: str) -> float | None:
        labels = {"verdict": verdict, "reason": reason, "rule": rule, "shadow": shadow}
        return metrics.registry.get_sample_value("extauthz_decisions_total", labels)

    assert count("allow", "clean", "default", "none") == 1
    assert count("deny", "prompt_injection", "default", "none") == 2
    assert count("allow", "prompt_injection", "chat", "deny") == 1


def test_sizes_times_and_the_worst_score_are_observed(metrics: Metrics) -> None:
    metrics.observe(observation(0.1, 0.9))
    value = metrics.registry.get_sample_value

    assert value("extauthz_check_seconds_sum") == 0.01234
    assert value("extauthz_tokens_sum") == 8
    assert value("extauthz_score_sum", {"provenance": "user"}) == 0.9
    assert value("extauthz_score_count", {"provenance": "user"}) == 1
    assert value("extauthz_text_bytes_total", {"coverage": "scanned"}) == 12
    assert value("extauthz_text_bytes_total", {"coverage": "exempt_vocabulary"}) == 18


def test_flags_and_what_was_not_read_are_counted(metrics: Metrics) -> None:
    found = Finding(Detector.SPECIAL_TOKENS, "/messages/0", "raw", "chatml")
    metrics.observe(observation(0.1, findings=(found,), opaque={Opaque.IMAGE: 2}))
    value = metrics.registry.get_sample_value

    flag = {"flag": "special_tokens_chatml", "rule": "default"}
    assert value("extauthz_flags_total", flag) == 1
    assert value("extauthz_uninspected_total", {"kind": "image"}) == 2


def test_a_decision_without_scores_is_no_score_of_zero(metrics: Metrics) -> None:
    metrics.observe(observation())

    assert metrics.registry.get_sample_value("extauthz_tokens_count") == 0


HONEST = Spread((0.1, 0.3, 0.5), (0.5, 0.3, 0.1, 0.1))


def test_drift_is_shown_of_the_places_that_were_measured(metrics: Metrics) -> None:
    def drift(provenance: Provenance) -> float | None:
        labels: dict[str, str] = {"provenance": provenance}
        return metrics.registry.get_sample_value("extauthz_score_drift", labels)

    metrics.observe(observation(0.9))
    assert drift(Provenance.USER) is None

    metrics.compare_scores({Provenance.USER: HONEST, Provenance.DOCUMENT: HONEST})
    for _ in range(ENOUGH):
        metrics.observe(observation(0.9))
    assert drift(Provenance.DOCUMENT) == 0
    assert drift(Provenance.SYSTEM) is None
    shifted = drift(Provenance.USER)
    assert shifted is not None
    assert shifted > 1


def test_a_text_is_compared_once_with_its_worst_view(metrics: Metrics) -> None:
    metrics.compare_scores({Provenance.USER: HONEST})
    metrics.observe(observation(0.2, 0.05))

    assert metrics._drifts[Provenance.USER]._counts == [1, 1, 0, 0]


@given(WORDS, WORDS, WORDS, WORDS, st.sampled_from(Action), st.lists(st.floats(0, 1), max_size=2))
def test_no_word_of_a_request_becomes_a_label(
    path: str, host: str, method: str, principal: str, action: Action, scores: list[float]
) -> None:
    metrics = Metrics()
    metrics.compare_scores(dict.fromkeys(Provenance, HONEST))
    rule = builders.rule(name="chat", action=action.value)
    call: dict[str, Any] = {"path": path, "host": host, "method": method, "principal": principal}
    headers = {"x-" + path: host}
    demand = Demand(path, 1, 2)
    stands = allowance(limited=len(host) > 4, shadowed=("trial",))

    seen = observation(
        *scores, rule=rule, headers=headers, demand=demand, allowance=stands, tenant=host, **call
    )
    metrics.observe(seen)

    for name, value in labels(metrics):
        if name == "shadow":
            assert value in CLOSED[name] | {"yes", "no"}
        else:
            assert name == "le" or value in CLOSED[name]


def test_requests_over_a_limit_are_counted_by_limit_and_whether_it_is_on_trial(
    metrics: Metrics,
) -> None:
    metrics.observe(observation(allowance=allowance(limited=True, shadowed=("trial", "other"))))
    metrics.observe(observation(0.1, allowance=allowance(shadowed=("trial",))))
    metrics.observe(observation(0.1, allowance=allowance()))

    def count(limit: str, shadow: str) -> float | None:
        found = {"limit": limit, "shadow": shadow}
        return metrics.registry.get_sample_value("extauthz_limited_total", found)

    assert (count("tokens", "no"), count("tokens", "yes")) == (1, None)
    assert (count("trial", "yes"), count("other", "yes")) == (2, 1)


def settlement(usage: Usage | None, *, known: bool = True, ended_s: float = 100.0) -> Settlement:
    report = Report("7", "r", "large", False, usage, False, ended_s)
    return Settlement(
        report, usage or Charge.RESERVED, Settled(Usage(20, 50), 3.0) if known else None
    )


def test_settlements_are_counted_by_what_came_of_them(metrics: Metrics) -> None:
    for one in (
        settlement(Usage(10, 100)),
        settlement(None),
        settlement(None),
        settlement(Usage(1, 1), known=False),
    ):
        metrics.settled(one, 102.0)
    value = metrics.registry.get_sample_value

    outcomes = ("reported", "by_rule", "unknown")
    counts = [value("extauthz_settlements_total", {"outcome": one}) for one in outcomes]
    assert counts == [1, 2, 1]
    assert value("extauthz_settlement_seconds_count") == 3
    assert value("extauthz_settlement_seconds_sum") == 6.0
    assert value("extauthz_estimate_error_sum", {"part": "input"}) == 2.0
    assert value("extauthz_estimate_error_sum", {"part": "output"}) == 0.5


def test_an_end_that_is_not_known_or_ahead_of_our_clock_is_no_long_time(metrics: Metrics) -> None:
    metrics.settled(settlement(Usage(1, 1), ended_s=0.0), 102.0)
    metrics.settled(settlement(Usage(1, 1), ended_s=103.0), 102.0)
    value = metrics.registry.get_sample_value

    assert value("extauthz_settlement_seconds_count") == 1
    assert value("extauthz_settlement_seconds_sum") == 0.0


def test_what_used_nothing_says_nothing_about_estimates(metrics: Metrics) -> None:
    metrics.settled(settlement(Usage(10, 0)), 102.0)
    value = metrics.registry.get_sample_value

    assert value("extauthz_estimate_error_count", {"part": "input"}) == 1
    assert value("extauthz_estimate_error_count", {"part": "output"}) is None


def test_only_the_policy_in_force_is_shown(metrics: Metrics) -> None:
    metrics.serve_policy("old")
    metrics.policy_valid.set(0)
    metrics.serve_policy("new")

    assert metrics.registry.get_sample_value("extauthz_policy_valid") == 1
    assert metrics.registry.get_sample_value("extauthz_policy_info", {"digest": "new"}) == 1
    assert b"old" not in generate_latest(metrics.registry)
