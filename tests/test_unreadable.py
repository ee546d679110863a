"""A text that the classifier cannot read, through the service: denied, flagged or let through by the rule."""

import asyncio

import pytest

from extauthz.core.findings import Detector, Finding
from extauthz.core.reasons import Failure
from extauthz.model.scorer import TextScore
from extauthz.protocol._pb.check_pb2 import CheckResponse
from tests import as_envoy
from tests.door import Door, Scorer, policy, returns, says, told


def cannot_read(unread: int, score: float = 0.01) -> Scorer:
    """A scorer whose model does not know so many letters of the text."""
    return Scorer(lambda: returns((TextScore(score, 1, 1, unread),)))


THAI = "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35\u0e04\u0e23\u0e31\u0e1a" * 4


async def test_a_text_that_the_classifier_cannot_read_is_denied() -> None:
    door = Door(scorer=cannot_read(28))

    answer = await door.about(body=says(THAI))
    await asyncio.sleep(0)

    assert told(answer) == ("deny", "unreadable")
    assert CheckResponse.FromString(answer).denied_response.status.code == 403
    (seen,) = door.seen
    assert seen.signals.findings == (Finding(Detector.UNREADABLE, "/messages/0", "raw"),)
    assert seen.signals.scored[0].score == 0.01, "the score is told all the same"


@pytest.mark.parametrize(("reaction", "flags"), [("flag", "unreadable"), ("ignore", "")])
async def test_or_flagged_or_ignored_as_the_rule_says(reaction: str, flags: str) -> None:
    served = policy(detect={"unreadable": reaction})
    door = Door(served, cannot_read(28))

    answer = await door.about(body=says(THAI))
    await asyncio.sleep(0)

    assert told(answer) == ("allow", "clean")
    assert as_envoy.metadata(answer)["flags"] == flags
    assert bool(door.seen[0].signals.findings) is (reaction == "flag")


@pytest.mark.parametrize("reaction", ["flag", "ignore"])
async def test_a_text_that_is_let_through_unread_is_scored_all_the_same(reaction: str) -> None:
    served = policy(detect={"unreadable": reaction})

    answer = await Door(served, cannot_read(28, score=0.9)).about(body=says(THAI))

    assert told(answer) == ("deny", "prompt_injection")


async def test_some_foreign_letters_make_no_text_unreadable() -> None:
    answer = await Door(scorer=cannot_read(15)).about(body=says(THAI))

    assert told(answer) == ("allow", "clean")


async def test_a_foreign_paragraph_inside_a_long_text_is_unreadable() -> None:
    body = says("An honest word. " * 2_000 + THAI * 10)

    answer = await Door(policy(limits={"tokens": 100_000}), cannot_read(280)).about(body=body)

    assert told(answer) == ("deny", "unreadable")


async def test_nothing_is_unreadable_where_the_classifier_is_off() -> None:
    door = Door(policy(detect={"prompt_injection": None}), cannot_read(28))

    assert told(await door.about(body=says(THAI))) == ("allow", "clean")
    assert door.scorer.texts == ()


async def test_a_failure_of_the_model_finds_nothing_unreadable() -> None:
    door = Door(policy(on_failure="allow"), Scorer(lambda: returns(Failure.MODEL_FAULT)))

    assert told(await door.about(body=says(THAI))) == ("allow", "model_fault")
