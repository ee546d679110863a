"""What must hold for every request: wherever the word stands and however it is written, it is found.

The twin of each request, with an honest word in the same place and writing, must be let through.
"""

import asyncio
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import islice, product
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extauthz.core.call import Call, Passage, Provenance
from extauthz.core.cancellation import Cancellation
from extauthz.core.decision import Decision, Scored, Signals, decide
from extauthz.core.dialects import dialect_for
from extauthz.core.identity import identify
from extauthz.core.opaque import Opaque
from extauthz.core.path import canonical_path
from extauthz.core.policy import Identity, IdentitySource, Reaction, Rule
from extauthz.core.reading import Look, read
from extauthz.core.reasons import Failure, Reason
from extauthz.model import directory
from extauthz.model.scorer import open_scorer
from extauthz.model.session import Session
from tests import builders, canary_model
from tests.canary_model import CANARY
from tests.door import Door
from tests.e2e.catalogue.case import ATTACK, HONEST
from tests.e2e.catalogue.encodings import DECODED, ENCODINGS, HIDDEN, Encode
from tests.e2e.catalogue.places import PLACES, Place
from tests.e2e.catalogue.writings import WRITINGS
from tests.fixtures import sdk_call, sdk_calls

#: What cannot be read, and templates, are another subject: those in the fixtures shall not decide.
DETECT = {"uninspected": dict.fromkeys(Opaque, Reaction.FLAG), "chat_template": Reaction.FLAG}
RULE = builders.rule(detect=DETECT)
T = TypeVar("T")
STOPPED = {Reason.PROMPT_INJECTION, Reason.HIDDEN_TEXT}
#: Some write a text so that it can be written anew; twice the others is plain again, or nothing.
TWICE = ("base64", "hex", "percent", "entities-decimal", "unicode-escapes", "base32")

WITHIN = [*product(TWICE, repeat=2)]


def judged(call: Call, rule: Rule = RULE) -> Decision:
    """The decision on a call, with a stub for the classifier that looks for the word."""
    path = canonical_path(call.path)
    assert isinstance(path, str)
    reading = read(call, path, dialect_for(path), rule)
    if isinstance(reading, Failure):
        return decide(rule, Signals(failure=reading), call.headers)
    scored = tuple(_scored(look) for look in reading.looks)
    signals = Signals(scored=scored, coverage=reading.coverage, findings=reading.findings)
    return decide(rule, signals, call.headers)


def _scored(look: Look) -> Scored:
    score = 0.99 if CANARY in look.text.lower() else 0.01
    return Scored(Provenance.USER, look.segment.pointer, look.view, 1, 1, score, 0.5)


def _is_json(call: Call) -> bool:
    return call.headers.get("content-type", "").startswith("application/json")


JSON_CALLS = [name for name in sdk_calls() if _is_json(sdk_call(name))]


def _with_body(call: Call, body: Any) -> Call:
    data = json.dumps(body, ensure_ascii=False).encode()
    return replace(call, body=data, headers={"content-type": "application/json"})


def _spoiled(value: Any, text: str) -> Iterator[Any]:
    """Copies of a JSON value with `text` in place of one string leaf, or as one more key."""
    if isinstance(value, str):
        yield text
    elif isinstance(value, list):
        for index, member in enumerate(value):
            yield from (
                [*value[:index], bad, *value[index + 1 :]] for bad in _spoiled(member, text)
            )
    elif isinstance(value, dict):
        yield value | {text: 0}
        for key, member in value.items():
            yield from (value | {key: bad} for bad in _spoiled(member, text))


def _everywhere(write: Encode, text: str, names: Iterable[str]) -> Iterator[Call]:
    """The recorded requests with `text`, so written, at each pointer in turn."""
    for name in names:
        call = sdk_call(name)
        for body in _spoiled(json.loads(call.body), write(text)):
            yield _with_body(call, body)


def _some(calls: Iterable[T], number: int, of: int = 32) -> Iterator[T]:
    """One of so many, and not the same ones for each number: all would take minutes."""
    return islice(calls, number % of, None, of)


def _missed(calls: Iterable[Call]) -> list[bytes]:
    """Bodies of attacks that were let through, or refused for another reason."""
    return [call.body for call in calls if judged(call).reason not in STOPPED]


def _accused(calls: Iterable[Call]) -> list[bytes]:
    """Bodies of honest requests that were not let through."""
    return [call.body for call in calls if judged(call).reason is not Reason.CLEAN]


#: Number, name and code of each encoding.
CODES = [pytest.param(n, code, id=name) for n, (name, code) in enumerate(ENCODINGS.items())]
HONEST_CODES = [param for param in CODES if param.id not in HIDDEN]
in_every_encoding = pytest.mark.parametrize(("number", "write"), CODES)
in_every_honest_encoding = pytest.mark.parametrize(("number", "write"), HONEST_CODES)


def test_the_word_is_found_at_every_pointer() -> None:
    assert _missed(_everywhere(str, ATTACK, JSON_CALLS)) == []
    assert _accused(_everywhere(str, HONEST, JSON_CALLS)) == []


@in_every_encoding
def test_the_word_is_found_at_every_pointer_in_every_encoding(number: int, write: Encode) -> None:
    assert _missed(_some(_everywhere(write, ATTACK, JSON_CALLS), number)) == []


@in_every_honest_encoding
def test_an_honest_word_passes_at_every_pointer_in_every_encoding(
    number: int, write: Encode
) -> None:
    assert _accused(_some(_everywhere(write, HONEST, JSON_CALLS), number)) == []


@pytest.mark.parametrize(("inner", "outer"), WITHIN)
def test_one_encoding_within_another_is_seen_through(outer: str, inner: str) -> None:
    def twice(text: str) -> str:
        return DECODED[outer](DECODED[inner](text))

    assert _missed(_everywhere(twice, ATTACK, ["anthropic_messages"])) == []
    assert _accused(_everywhere(twice, HONEST, ["anthropic_messages"])) == []


def _in_place(place: Place, text: str) -> Call:
    wire = place.with_text(text)
    return builders.call(path=wire.path, body=wire.body, headers=dict(wire.headers))


@in_every_encoding
def test_the_word_is_found_in_every_place_of_every_api(number: int, write: Encode) -> None:
    calls = (_in_place(place, write(ATTACK)) for place in PLACES)
    assert _missed(_some(calls, number, of=16)) == []


@in_every_honest_encoding
def test_an_honest_word_passes_in_every_place_of_every_api(number: int, write: Encode) -> None:
    calls = (_in_place(place, write(HONEST)) for place in PLACES)
    assert _accused(_some(calls, number, of=16)) == []


async def test_the_word_is_found_at_every_token_offset(tmp_path: Path) -> None:
    """With a real tokenizer and windows of 30 tokens, which overlap."""
    model = directory.load(canary_model.build(tmp_path))
    scorer = open_scorer(model, Session(model, "cpu", 1))
    texts = [f"{'? ' * at}{CANARY}{' ?' * (200 - at)}" for at in range(201)]
    passages = [Passage(Provenance.USER, text) for text in [*texts, "? " * 201]]
    try:
        deadline = asyncio.get_running_loop().time() + 60
        scores = await scorer.score(passages, 1_000_000, deadline, Cancellation())
    finally:
        await asyncio.to_thread(scorer.close)
    assert isinstance(scores, tuple)
    *found, last = (one.score > 0.5 for one in scores)

    assert all(found)
    assert not last


def _cuts(text: str) -> Iterator[list[str]]:
    """Every way to cut a text into two, and some into three or single letters."""
    yield from ([text[:at], text[at:]] for at in range(1, len(text)))
    yield from ([text[:at], text[at : at + 2], text[at + 2 :]] for at in range(1, len(text) - 2))
    yield list(text)


def _in_messages(pieces: list[str]) -> Any:
    return {"messages": [{"role": "user", "content": piece} for piece in pieces]}


def _in_parts(pieces: list[str]) -> Any:
    parts = [{"type": "text", "text": piece} for piece in pieces]
    return {"messages": [{"role": "user", "content": parts}]}


def _in_tool_result(pieces: list[str]) -> Any:
    content = [{"type": "text", "text": piece} for piece in pieces]
    return {"messages": [{"role": "tool", "tool_call_id": "c", "content": content}]}


def _in_tool(pieces: list[str]) -> Any:
    function = {"name": "f", "parameters": {"properties": {"q": {"enum": pieces}}}}
    return {"messages": [], "tools": [{"type": "function", "function": function}]}


@pytest.mark.parametrize("shape", [_in_messages, _in_parts, _in_tool_result, _in_tool])
def test_a_word_in_pieces_is_found(shape: Callable[[list[str]], Any]) -> None:
    def cut(text: str) -> Iterator[Call]:
        return (_with_body(builders.call(), shape(pieces)) for pieces in _cuts(text))

    assert _missed(cut(ATTACK)) == []
    assert _accused(cut(HONEST)) == []


def _rewritten(call: Call, name: str) -> Call:
    label = WRITINGS[name].label
    encoding = {"content-encoding": label} if label else {}
    body = WRITINGS[name].write(call.body)
    return replace(call, body=body, headers={**call.headers, **encoding})


@pytest.mark.parametrize(("number", "name"), list(enumerate(WRITINGS)))
def test_how_a_body_is_written_changes_no_verdict(number: int, name: str) -> None:
    attacks = _some(_everywhere(str, ATTACK, JSON_CALLS), number)
    honest = _some(_everywhere(str, HONEST, JSON_CALLS), number)

    assert _missed(_rewritten(call, name) for call in attacks) == []
    assert _accused(_rewritten(call, name) for call in honest) == []


def _looks(call: Call, **views: bool) -> set[tuple[str, str]]:
    rule = builders.rule(detect=DETECT | {"views": views})
    reading = read(call, call.path, dialect_for(call.path), rule)
    assert not isinstance(reading, Failure)
    return {(look.view, look.text) for look in reading.looks}


@pytest.mark.parametrize("off", ["normalised", "decoded", "joined"])
@pytest.mark.parametrize("name", ["plain", "cyrillic", "base64", "hex", "letters-spaced", "rot13"])
def test_a_view_that_is_switched_off_only_takes_looks_away(off: str, name: str) -> None:
    body = _in_messages([ENCODINGS[name](ATTACK), "Hello", ENCODINGS[name](HONEST)])
    call = _with_body(builders.call(), body)

    assert _looks(call, **{off: False}) <= _looks(call)


@given(
    st.dictionaries(
        st.sampled_from(["x-forwarded-for", "x-real-ip", "user-agent", "x-tenant", "x-user-id"]),
        st.text(st.characters(codec="ascii"), max_size=20),
    ),
    st.randoms(),
)
def test_no_header_but_its_own_changes_a_principal(others: dict[str, str], random: Any) -> None:
    items = [*others.items(), ("x-user", "alice")]
    random.shuffle(items)
    source = Identity(source=IdentitySource.HEADER, header="x-user")

    assert identify(builders.call(headers=dict(items)), [source]) == "header:x-user:alice"


def _answer(text: str) -> str:
    body = json.dumps(_in_messages([text])).encode()
    return asyncio.run(Door().about(path="/v1/chat/completions", body=body)).decode("latin-1")


OWN_WORDS = _answer("Hello") + _answer(CANARY)


@settings(max_examples=40)
@given(st.text(st.characters(codec="utf-8"), min_size=8, max_size=60), st.booleans())
def test_no_header_of_an_answer_holds_a_word_of_the_request(text: str, attack: bool) -> None:
    said = f"{text} {CANARY}" if attack else text
    parts = {said[at : at + 8] for at in range(len(said) - 7)}
    answer = _answer(said)

    assert not [part for part in parts if part in answer and part not in OWN_WORDS]
