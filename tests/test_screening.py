"""Wherever the word stands that the model fires on, and whatever stands around it, it is denied."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from extauthz.accounts import alone
from extauthz.core.call import Call
from extauthz.core.cancellation import Cancellation
from extauthz.model import directory
from extauthz.model.scorer import open_scorer
from extauthz.model.session import Session
from extauthz.service import Authorizer
from tests import as_envoy, builders, canary_model
from tests.canary_model import CANARY
from tests.door import Door, policy
from tests.fixtures import sdk_call

CLEAN, INJECTION = ("allow", "clean"), ("deny", "prompt_injection")
SDK_CALLS = ["openai_chat", "openai_chat_tools", "openai_responses", "anthropic_messages"]
WORDS = st.text(st.characters(codec="utf-8", exclude_characters="xX"), max_size=12)
SCALARS = st.none() | st.booleans() | st.integers(-9, 9) | WORDS
ANY_JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=12,
)
MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "user", "assistant", "tool", "odd"])},
    optional={"content": ANY_JSON, "name": WORDS, "tool_calls": ANY_JSON},
)
CHAT = st.fixed_dictionaries(
    {"messages": st.lists(MESSAGE, max_size=3)}, optional={"tools": ANY_JSON, "user": WORDS}
)
RESPONSES = st.fixed_dictionaries(
    {"input": WORDS | st.lists(MESSAGE, max_size=3)}, optional={"instructions": ANY_JSON}
)
#: A body, and the path it is sent to.
REQUESTS = st.one_of(
    st.tuples(CHAT, st.just("/v1/chat/completions")),
    st.tuples(CHAT, st.just("/v1/messages")),
    st.tuples(RESPONSES, st.just("/v1/responses")),
    st.tuples(ANY_JSON, st.just("/anything")),
)


def spoiled(value: Any) -> Iterator[Any]:
    """Copies of a JSON value with the word in place of one string leaf, or as one more key."""
    if isinstance(value, str):
        yield f"{value} {CANARY} {value}"
    elif isinstance(value, list):
        for index, member in enumerate(value):
            yield from ([*value[:index], bad, *value[index + 1 :]] for bad in spoiled(member))
    elif isinstance(value, dict):
        yield value | {CANARY: 0}
        for key, member in value.items():
            yield from (value | {key: bad} for bad in spoiled(member))


def judged(body: Any, path: str) -> tuple[object, object]:
    """Verdict and reason on a body, with a stub scorer that looks for the word."""
    answer = asyncio.run(Door().about(path=path, body=json.dumps(body).encode()))
    found = as_envoy.metadata(answer)
    return found["verdict"], found["reason"]


@given(REQUESTS, st.data())
def test_the_word_is_found_at_every_leaf_and_key_of_every_dialect(
    request: tuple[Any, str], data: st.DataObject
) -> None:
    body, path = request
    # Not so where two keys differ in case alone: refused before anything is scored.
    assume(judged(body, path) == CLEAN)

    bad = data.draw(st.sampled_from([CANARY, *spoiled(body)]))

    assert judged(bad, path) == INJECTION


@pytest.mark.parametrize("name", SDK_CALLS)
def test_the_word_is_found_at_every_leaf_and_key_of_what_sdks_send(name: str) -> None:
    call = sdk_call(name)
    body = json.loads(call.body)

    assert judged(body, call.path) == CLEAN
    for bad in spoiled(body):
        assert judged(bad, call.path) == INJECTION, bad


@given(st.lists(MESSAGE, max_size=3), st.lists(MESSAGE, max_size=3), ANY_JSON)
def test_no_padding_makes_a_denied_request_pass(
    before: list[Any], after: list[Any], tools: Any
) -> None:
    attack = {"role": "user", "content": CANARY}
    body = {"messages": [*before, attack, *after], "tools": tools}
    path = "/v1/chat/completions"

    assume(judged(body | {"messages": [*before, *after]}, path) == CLEAN)
    assert judged(body, path) == INJECTION


@pytest.fixture(scope="module")
def canary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return canary_model.build(tmp_path_factory.mktemp("model"))


async def judge(model: Path, call: Call, cancellation: Cancellation) -> tuple[str, str]:
    """Verdict and reason on a call under a real scorer."""
    session = Session(directory.load(model), "cpu", threads=1)
    scorer = open_scorer(session.directory, session)
    authorizer = Authorizer(policy(), scorer, alone(), lambda _: None)
    deadline = asyncio.get_running_loop().time() + 60
    try:
        outcome = await authorizer.decide(policy(), call, deadline, cancellation)
    finally:
        scorer.close()
    return outcome.decision.verdict, outcome.decision.reason


@pytest.mark.parametrize("words", [0, 3, 1_000], ids=["alone", "in a window", "in many windows"])
@pytest.mark.parametrize("text", ["{0}{1}", "{1} {0}", "{0}{1} {0}"])
async def test_no_padding_hides_the_word_from_a_real_model(
    canary: Path, text: str, words: int
) -> None:
    content = text.format("hello " * words, CANARY)
    body = json.dumps({"messages": [{"role": "user", "content": content}]}).encode()

    assert await judge(canary, builders.call(body=body), Cancellation()) == INJECTION


async def test_a_real_model_lets_harmless_text_pass(canary: Path) -> None:
    assert await judge(canary, builders.call(), Cancellation()) == CLEAN


async def test_a_check_that_nobody_waits_for_is_not_scored(canary: Path) -> None:
    cancellation = Cancellation()
    cancellation.cancel()

    assert await judge(canary, builders.call(), cancellation) == ("deny", "cancelled")
