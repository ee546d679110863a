"""`decide` is total: every combination of facts has one answer, and doubt is a denial."""

import itertools
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from extauthz.core.budget.allowance import Allowance
from extauthz.core.budget.demand import Demand
from extauthz.core.budget.limits import Calendar, Count, Limit
from extauthz.core.budget.report import Usage
from extauthz.core.decision import (
    Decision,
    Signals,
    Verdict,
    certain_denial,
    decide,
    is_reserved,
)
from extauthz.core.extract import Coverage
from extauthz.core.findings import Detector, Finding
from extauthz.core.opaque import Opaque
from extauthz.core.policy import Action, DenyShape, OnFailure, Reaction, Rule
from extauthz.core.reasons import SERVER_FAILURES, Failure, Reason
from tests import builders

#: What `on_failure` makes of a failure of ours. Everything else is denied whatever it says.
ASKED = {
    Failure.OVERLOADED,
    Failure.DEADLINE_EXCEEDED,
    Failure.CANCELLED,
    Failure.MODEL_FAULT,
    Failure.STORE_FAULT,
}
WAVED_THROUGH = {Verdict.ALLOW, Verdict.MUTATE}
LIMIT = Limit(name="tokens", count=Count.TOTAL_TOKENS, amount=1_000, calendar=Calendar.DAY)
WITHIN = Allowance(limit=LIMIT, remaining=400, reset_s=60.0, reserved=Usage(9, 100))
OVER = Allowance(limited=True, limit=LIMIT, wait_s=6.5, reset_s=60.0)
HIDDEN = Finding(Detector.HIDDEN_TEXT, "/messages/0", "raw", "tag_block")


def decided(facts: Signals, **rule: object) -> Decision:
    return decide(builders.rule(**rule), facts, {})


@pytest.mark.parametrize(
    ("failure", "on_failure", "shadow"), [*itertools.product(Failure, OnFailure, (False, True))]
)
def test_a_failure_is_denied_unless_it_is_ours_and_the_rule_says_otherwise(
    failure: Failure, on_failure: OnFailure, shadow: bool
) -> None:
    decision = decided(Signals(failure=failure), on_failure=on_failure, shadow=shadow)
    judged = Verdict(on_failure.value) if failure in ASKED else Verdict.DENY
    assert decision.reason.value == failure.value
    if shadow:
        assert decision.verdict is Verdict.ALLOW
        assert decision.shadowed is (None if judged is Verdict.ALLOW else judged)
    else:
        assert decision.verdict is judged
        assert decision.shadowed is None


def test_on_failure_is_asked_for_our_own_failures_only() -> None:
    assert SERVER_FAILURES == ASKED


@pytest.mark.parametrize("failure", Failure)
@pytest.mark.parametrize("on_failure", OnFailure)
def test_a_route_that_denies_is_not_opened_by_a_failure(
    failure: Failure, on_failure: OnFailure
) -> None:
    decision = decided(Signals(failure=failure), action="deny", on_failure=on_failure)
    assert decision.verdict is Verdict.DENY
    assert decision.reason.value == failure.value


@pytest.mark.parametrize(
    ("score", "verdict"),
    [
        (0.0, Verdict.ALLOW),
        (-1.0, Verdict.ALLOW),
        (-math.inf, Verdict.ALLOW),
        (math.nextafter(0.5, 0), Verdict.ALLOW),
        (0.5, Verdict.DENY),
        (1.0, Verdict.DENY),
        (math.inf, Verdict.DENY),
        (math.nan, Verdict.DENY),
        (-math.nan, Verdict.DENY),
    ],
)
@pytest.mark.parametrize("neighbours", [(), (0.1,), (0.1, 0.4)])
def test_a_text_passes_only_below_its_threshold(
    score: float, verdict: Verdict, neighbours: tuple[float, ...]
) -> None:
    for scores in itertools.permutations((score, *neighbours)):
        assert decided(builders.signals(*scores)).verdict is verdict


def test_a_threshold_that_is_no_number_lets_nothing_pass() -> None:
    facts = Signals(scored=(builders.scored(0.0, threshold=math.nan),))
    assert decided(facts).verdict is Verdict.DENY


def test_a_request_without_text_is_clean() -> None:
    decision = decided(Signals())
    assert (decision.verdict, decision.reason) == (Verdict.ALLOW, Reason.CLEAN)


@pytest.mark.parametrize(
    "coverage",
    [Coverage(total=10, scanned=9), Coverage(total=10, scanned=5, exempt={"vocabulary": 4})],
)
def test_text_that_nobody_looked_at_is_denied(coverage: Coverage) -> None:
    decision = decided(builders.signals(0.0, coverage=coverage))
    assert (decision.verdict, decision.reason) == (Verdict.DENY, Reason.INTERNAL_ERROR)


def test_exempt_text_is_accounted_for() -> None:
    coverage = Coverage(total=10, scanned=6, exempt={"vocabulary": 4})
    assert decided(builders.signals(0.0, coverage=coverage)).verdict is Verdict.ALLOW


def reacting(detector: Detector, reaction: Reaction) -> dict[str, object]:
    """`detect` of a rule that reacts so to one detector."""
    match detector:
        case Detector.PATTERN:
            return {"patterns": [{"name": "names", "literals": ["x"], "reaction": reaction}]}
        case Detector.MANY_SHOT:
            return {"many_shot": {"reaction": reaction}}
        case _:
            return {detector.value: reaction}


@pytest.mark.parametrize("detector", Detector)
def test_a_finding_is_denied_flagged_or_ignored_as_the_rule_says(detector: Detector) -> None:
    found = Signals(findings=(Finding(detector, "/m", "raw", "names"),))

    def reaction(to: Reaction) -> Decision:
        return decided(found, detect=reacting(detector, to))

    denied, flagged = reaction(Reaction.DENY), reaction(Reaction.FLAG)
    assert (denied.verdict, denied.reason.value) == (Verdict.DENY, detector.value)
    assert (flagged.verdict, flagged.reason) == (Verdict.ALLOW, Reason.CLEAN)
    assert denied.flags == flagged.flags == (f"{detector}_names",)
    assert reaction(Reaction.IGNORE).flags == ()


@pytest.mark.parametrize("kind", Opaque)
@pytest.mark.parametrize("reaction", Reaction)
def test_what_cannot_be_read_is_denied_flagged_or_ignored_as_the_rule_says(
    kind: Opaque, reaction: Reaction
) -> None:
    facts = Signals(coverage=Coverage(opaque={kind: 1}))
    decision = decided(facts, detect={"uninspected": {kind.value: reaction.value}})
    is_denied = reaction is Reaction.DENY
    assert decision.reason is (Reason.UNINSPECTED if is_denied else Reason.CLEAN)
    assert decision.flags == (() if reaction is Reaction.IGNORE else (f"uninspected_{kind}",))


def test_by_default_what_may_be_text_in_disguise_is_denied_and_everyday_content_flagged() -> None:
    facts = {kind: Signals(coverage=Coverage(opaque={kind: 1})) for kind in Opaque}
    denied = {kind for kind in Opaque if decided(facts[kind]).verdict is Verdict.DENY}
    assert denied == {Opaque.DOCUMENT, Opaque.BINARY, Opaque.TOKEN_IDS}


@pytest.mark.parametrize("failure", sorted(SERVER_FAILURES))
def test_what_is_certain_is_denied_even_when_the_classifier_could_not_answer(
    failure: Failure,
) -> None:
    facts = Signals(failure=failure, findings=(HIDDEN,))
    decision = decided(facts, on_failure="allow")
    assert (decision.verdict, decision.reason) == (Verdict.DENY, Reason.HIDDEN_TEXT)


def test_findings_change_nothing_where_the_rule_does_not_inspect() -> None:
    decision = decided(Signals(findings=(HIDDEN,)), action="allow")
    assert decision.reason is Reason.NOT_INSPECTED


@pytest.mark.parametrize(
    ("action", "verdict", "reason"),
    [
        (Action.ALLOW, Verdict.ALLOW, Reason.NOT_INSPECTED),
        (Action.DENY, Verdict.DENY, Reason.ROUTE_DENIED),
        (Action.INSPECT, Verdict.DENY, Reason.PROMPT_INJECTION),
    ],
)
def test_scores_count_only_where_the_rule_inspects(
    action: Action, verdict: Verdict, reason: Reason
) -> None:
    decision = decided(builders.signals(0.9), action=action)
    assert (decision.verdict, decision.reason) == (verdict, reason)


def test_an_allowed_call_is_changed_as_the_rule_says() -> None:
    change = {"set_headers": {"x-checked": "yes"}}
    decision = decided(builders.signals(0.1), mutate=change)
    assert decision.verdict is Verdict.MUTATE
    assert decision.mutate.set_headers == {"x-checked": "yes"}


def test_a_denied_call_is_not_changed() -> None:
    decision = decided(builders.signals(0.9), mutate={"set_headers": {"x-checked": "yes"}})
    assert decision.verdict is Verdict.DENY
    assert decision.mutate.set_headers == {}


@pytest.mark.parametrize(
    ("name", "reserved"),
    [
        ("x-extauthz-verdict", True),
        ("x-extauthz-", True),
        ("x_extauthz_receipt", True),
        ("x-extauthz_receipt", True),
        ("x-envoy-auth-partial-body", True),
        ("x-envoy-auth-failure-mode-allowed", True),
        ("x-extauthz", False),
        ("x-envoy-attempt-count", False),
        ("authorization", False),
    ],
)
def test_a_clients_copy_of_our_headers_is_removed(name: str, reserved: bool) -> None:
    assert is_reserved(name) is reserved
    decision = decide(builders.rule(), Signals(), {name: "forged", "accept": "*/*"})
    assert decision.removed_headers == ((name,) if reserved else ())


def test_the_worst_finding_is_the_one_furthest_above_its_own_threshold() -> None:
    high = builders.scored(0.8, threshold=0.9)
    over = builders.scored(0.3, threshold=0.2)
    assert Signals(scored=(high, over)).worst is over
    assert Signals().worst is None


@pytest.mark.parametrize("other", [-math.inf, 0.99, math.nan])
def test_a_score_that_is_no_number_is_the_worst(other: float) -> None:
    facts = builders.signals(other, math.nan)
    assert facts.worst is not None
    assert math.isnan(facts.worst.score)


def test_a_request_over_a_limit_is_denied_with_how_the_limit_stands() -> None:
    decision = decided(builders.signals(0.1, allowance=OVER))

    assert (decision.verdict, decision.reason) == (Verdict.DENY, Reason.OVER_BUDGET)
    assert decision.denial is not None
    assert decision.denial.status == 429
    assert decision.denial.headers["x-extauthz-limit"] == "tokens"
    assert decision.denial.headers["retry-after"] == "7"
    assert decision.denial.headers["ratelimit-remaining"] == "0"


@pytest.mark.parametrize("action", [Action.INSPECT, Action.ALLOW])
def test_limits_hold_also_where_a_rule_does_not_inspect(action: Action) -> None:
    assert decided(Signals(allowance=OVER), action=action).reason is Reason.OVER_BUDGET


def test_over_a_limit_is_why_whatever_the_classifier_and_the_detectors_say() -> None:
    facts = builders.signals(0.9, findings=(HIDDEN,), allowance=OVER)

    assert decided(facts).reason is Reason.OVER_BUDGET
    assert certain_denial(builders.rule(), Signals(allowance=OVER)) is Reason.OVER_BUDGET


@pytest.mark.parametrize("failure", sorted(SERVER_FAILURES))
@pytest.mark.parametrize("on_failure", OnFailure)
def test_a_failure_of_ours_lets_nobody_over_a_limit_pass(
    failure: Failure, on_failure: OnFailure
) -> None:
    decision = decided(Signals(failure=failure, allowance=OVER), on_failure=on_failure)

    assert (decision.verdict, decision.reason) == (Verdict.DENY, Reason.OVER_BUDGET)


def test_what_cannot_be_read_is_denied_as_that_also_over_a_limit() -> None:
    facts = Signals(failure=Failure.BODY_MALFORMED, allowance=OVER)

    assert decided(facts).reason is Reason.BODY_MALFORMED
    assert decided(facts, action="deny").reason is Reason.BODY_MALFORMED
    assert decided(Signals(allowance=OVER), action="deny").reason is Reason.ROUTE_DENIED


def test_an_allowed_request_is_told_how_its_strictest_limit_stands() -> None:
    told = decided(builders.signals(0.1, allowance=WITHIN)).limit_headers

    assert told == {
        "x-extauthz-limit": "tokens",
        "ratelimit-limit": "1000",
        "ratelimit-remaining": "400",
        "ratelimit-reset": "60",
    }
    assert decided(builders.signals(0.1)).limit_headers == {}


def test_limits_on_trial_are_flagged_and_deny_nothing() -> None:
    decision = decided(builders.signals(0.1, allowance=Allowance(shadowed=("b", "a"))))

    assert (decision.verdict, decision.flags) == (Verdict.ALLOW, ("over_a", "over_b"))
    assert decision.limit_headers == {}


def test_what_passed_without_being_counted_is_flagged() -> None:
    decision = decided(builders.signals(0.1, allowance=Allowance(uncounted=True)))

    assert (decision.verdict, decision.flags) == (Verdict.ALLOW, ("uncounted",))


def test_a_rule_on_trial_lets_a_request_over_a_limit_pass_and_says_so() -> None:
    decision = decided(Signals(allowance=OVER), shadow=True)

    assert (decision.verdict, decision.shadowed) == (Verdict.ALLOW, Verdict.DENY)
    assert decision.reason is Reason.OVER_BUDGET


def asking(**demand: Any) -> Signals:
    return builders.signals(0.1, demand=Demand(**demand))


CAPS = {"output_tokens": 100, "choices": 2}


@pytest.mark.parametrize(
    ("facts", "limits", "exceeds"),
    [
        (asking(output_cap=100, choices=2), CAPS, False),
        (asking(output_cap=101), CAPS, True),
        (asking(output_cap=1, choices=3), CAPS, True),
        (asking(output_cap=None), CAPS, False),
        (asking(output_cap=None), CAPS | {"output_required": True}, True),
        (asking(output_cap=0), CAPS | {"output_required": True}, False),
        (asking(output_cap=10**12, choices=99), {}, False),
        (asking(output_cap=10**12), {"choices": 1}, False),
        (asking(output_cap=5, choices=99), {"output_tokens": 5}, False),
    ],
)
def test_what_asks_for_more_output_than_the_rule_allows_is_denied(
    facts: Signals, limits: dict[str, Any], exceeds: bool
) -> None:
    for action in (Action.INSPECT, Action.ALLOW):
        decision = decided(facts, action=action, limits=limits)
        assert (decision.reason is Reason.OUTPUT_CAP_EXCEEDED) is exceeds
        assert (decision.verdict is Verdict.DENY) is exceeds


@pytest.mark.parametrize("on_failure", OnFailure)
def test_no_failure_of_ours_lets_pass_what_asks_for_too_much(on_failure: OnFailure) -> None:
    facts = Signals(failure=Failure.MODEL_FAULT, demand=Demand(output_cap=101))
    decision = decided(facts, on_failure=on_failure, limits=CAPS)

    assert (decision.verdict, decision.reason) == (Verdict.DENY, Reason.OUTPUT_CAP_EXCEEDED)


rules = st.builds(
    builders.rule,
    action=st.sampled_from(Action),
    on_failure=st.sampled_from(OnFailure),
    deny_as=st.sampled_from(DenyShape),
    shadow=st.booleans(),
    mutate=st.sampled_from([None, {"set_headers": {"x-checked": "yes"}}]),
    limits=st.sampled_from([{}, CAPS]),
)
facts = st.builds(
    Signals,
    failure=st.none() | st.sampled_from(Failure),
    scored=st.lists(st.builds(builders.scored, st.floats()), max_size=4).map(tuple),
    coverage=st.builds(Coverage, total=st.integers(0, 2), scanned=st.integers(0, 2)),
    stream=st.booleans(),
    findings=st.lists(
        st.builds(Finding, st.sampled_from(Detector), st.just(""), st.just("raw"))
    ).map(tuple),
    allowance=st.sampled_from([None, WITHIN, OVER, Allowance(shadowed=("a",), uncounted=True)]),
    demand=st.builds(Demand, output_cap=st.none() | st.integers(0, 200), choices=st.integers(1, 4)),
)


@given(rules, facts)
def test_there_is_an_answer_to_send_exactly_when_the_request_is_stopped(
    rule: Rule, signals: Signals
) -> None:
    decision = decide(rule, signals, {})
    assert (decision.denial is not None) == (decision.verdict not in WAVED_THROUGH)


@given(rules, facts)
def test_what_passes_was_clean_or_not_inspected_or_excused_by_the_rule(
    rule: Rule, signals: Signals
) -> None:
    decision = decide(rule, signals, {})
    if decision.verdict in WAVED_THROUGH and decision.shadowed is None:
        excused = signals.failure in SERVER_FAILURES
        assert excused or decision.reason in {Reason.CLEAN, Reason.NOT_INSPECTED}


@given(rules, facts)
def test_nothing_over_a_limit_passes_but_on_trial(rule: Rule, signals: Signals) -> None:
    decision = decide(rule, signals, {})
    if signals.allowance is OVER and not rule.shadow:
        assert decision.verdict not in WAVED_THROUGH


@given(rules, facts)
def test_a_shadow_rule_stops_nothing_and_says_what_it_would_have_done(
    rule: Rule, signals: Signals
) -> None:
    shadow = decide(replace(rule, shadow=True), signals, {})
    enforced = decide(replace(rule, shadow=False), signals, {})
    assert shadow.verdict in WAVED_THROUGH
    assert shadow.reason is enforced.reason
    stopped = enforced.verdict not in WAVED_THROUGH
    assert shadow.shadowed is (enforced.verdict if stopped else None)
