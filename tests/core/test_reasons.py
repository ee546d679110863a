"""The closed lists agree with each other."""

import re

import pytest

from extauthz.core.findings import Detector
from extauthz.core.reasons import SERVER_FAILURES, Failure, Reason


@pytest.mark.parametrize("failure", Failure)
def test_every_failure_is_a_reason_under_the_same_name_and_value(failure: Failure) -> None:
    assert Reason[failure.name].value == failure.value


@pytest.mark.parametrize("detector", Detector)
def test_every_detector_is_a_reason_under_the_same_name_and_value(detector: Detector) -> None:
    assert Reason[detector.name].value == detector.value


@pytest.mark.parametrize("reason", Reason)
def test_a_reason_can_be_a_metric_label_a_log_field_and_a_header(reason: Reason) -> None:
    assert re.fullmatch(r"[a-z][a-z0-9_]*", reason.value)
    assert reason.value == reason.name.lower()


def test_a_failure_of_ours_is_one_of_the_failures() -> None:
    assert set(Failure) > SERVER_FAILURES


def test_what_a_client_can_bring_about_is_no_failure_of_ours() -> None:
    assert Failure.OUTPUT_CAP_MALFORMED not in SERVER_FAILURES
    assert {Reason.OVER_BUDGET.value, Reason.OUTPUT_CAP_EXCEEDED.value}.isdisjoint(set(Failure))
