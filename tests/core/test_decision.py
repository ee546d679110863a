"""`decide` is total: every combination of facts has one answer, and doubt is a denial."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from extauthz.core.decision import Decision, Signals, Verdict, decide, is_reserved
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
}
WAVED_THROUGH = {Verdict.ALLOW, Verdict.MUTATE}
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


rules = st.builds(
    builders.rule,
    action=st.sampled_from(Action),
    on_failure=st.sampled_from(OnFailure),
    deny_as=st.sampled_from(DenyShape),
    shadow=st.booleans(),
    mutate=st.sampled_from([None, {"set_headers": {"x-checked": "yes"}}]),
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
def test_a_shadow_rule_stops_nothing_and_says_what_it_would_have_done(
    rule: Rule, signals: Signals
) -> None:
    shadow = decide(replace(rule, shadow=True), signals, {})
    enforced = decide(replace(rule, shadow=False), signals, {})
    assert shadow.verdict in WAVED_THROUGH
    assert shadow.reason is enforced.reason
    stopped = enforced.verdict not in WAVED_THROUGH
    assert shadow.shadowed is (enforced.verdict if stopped else None)
