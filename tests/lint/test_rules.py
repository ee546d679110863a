"""Every rule finds the fault that was planted for it, on its line, and nothing else anywhere."""

import pytest

from extauthz.lint import RULES
from extauthz.lint.rule import Family, Rule
from tests.lint.fixture_files import Fixture, all_fixtures, linted

FIXTURES = all_fixtures()
FAMILIES = {Family.ENVOY: "envoy", Family.ISTIO: "istio", Family.GATEWAY: "gateway"}


@pytest.mark.parametrize("fixture", FIXTURES, ids=str)
def test_a_fixture_yields_its_rule_on_the_marked_lines_and_nothing_else(fixture: Fixture) -> None:
    report = linted(fixture.path, options=fixture.options)

    found = {(one.rule.id, one.at.line) for one in report.findings}
    assert found == {(fixture.rule, line) for line in fixture.lines}
    assert bool(found) == fixture.fails
    assert report.skipped == []


def test_the_rules_are_l1_to_l25_without_a_gap() -> None:
    assert [rule.id for rule in RULES] == [f"L{number}" for number in range(1, 26)]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_every_rule_says_what_can_happen_and_what_to_do(rule: Rule) -> None:
    texts = (rule.title, rule.why, rule.fix)
    assert all(text and text == " ".join(text.split()) for text in texts)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
@pytest.mark.parametrize("outcome", ["fail", "pass"])
def test_every_rule_has_both_fixtures_in_each_family_that_it_covers(
    rule: Rule, outcome: str
) -> None:
    own = [one for one in FIXTURES if one.rule == rule.id]
    covered = {one.family for one in own if one.fails == (outcome == "fail")}
    named = {FAMILIES[family] for family in rule.families}
    assert named <= covered
    assert outcome == "pass" or covered <= named
