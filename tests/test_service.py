"""One Check from bytes to bytes: what is decided, under which policy, and what a bug leads to."""

import asyncio
import hashlib
import json
import logging
import math
import re
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from extauthz.accounts import Accounts, alone
from extauthz.core.budget.limits import Budgets, Calendar, Count, Limit
from extauthz.core.call import Call, Provenance
from extauthz.core.cancellation import Cancellation
from extauthz.core.policy import Identity, IdentitySource, Policy, Rule
from extauthz.core.reasons import SERVER_FAILURES, Failure
from extauthz.core.receipts import Inspection, Receipt, name_digest, verify
from extauthz.model.scorer import Scores, TextScore
from extauthz.protocol._pb.check_pb2 import CheckResponse
from extauthz.service import Authorizer
from extauthz.store.memory import private_store
from extauthz.telemetry.observation import Observation
from tests import as_envoy, builders
from tests.canary_model import CANARY as MARKER
from tests.door import MODEL, Door, Scorer, policy, returns, says, told
from tests.model.calibrations import calibrated


async def raises() -> Scores:
    raise RuntimeError("quotes the prompt: open sesame")


async def test_harmless_text_is_allowed_unchanged() -> None:
    answer = await Door().about()

    assert told(answer) == ("allow", "clean")
    assert as_envoy.shown_to_client(answer) == bytes.fromhex("0a001a00")  # status 0, ok_response


async def test_an_injection_is_denied_in_the_shape_of_the_rule() -> None:
    answer = await Door(policy(deny_as="content_filter_400")).about(body=says(MARKER))

    assert told(answer) == ("deny", "prompt_injection")
    refused = CheckResponse.FromString(answer).denied_response
    assert refused.status.code == 400
    assert json.loads(refused.body)["error"]["code"] == "content_filter"


async def test_a_refusal_is_streamed_to_who_asked_for_a_stream() -> None:
    body = json.dumps({"stream": True, "messages": [{"role": "user", "content": MARKER}]})

    answer = await Door(policy(deny_as="refusal_200")).about(body=body.encode())

    refused = CheckResponse.FromString(answer).denied_response
    assert not as_envoy.allows(answer)
    assert refused.status.code == 200
    assert refused.body.endswith("data: [DONE]\n\n")


async def test_a_rule_that_mutates_lets_through_with_its_changes() -> None:
    answer = await Door(policy(mutate={"set_headers": {"x-tenant": "blue"}})).about()

    assert told(answer) == ("mutate", "clean")
    response = CheckResponse.FromString(answer).ok_response
    assert as_envoy.written(response.headers) == {"x-tenant": "blue"}


async def test_a_shadow_rule_allows_and_tells_what_it_would_have_done() -> None:
    answer = await Door(policy(shadow=True)).about(body=says(MARKER))

    assert as_envoy.allows(answer)
    assert as_envoy.metadata(answer)["shadowed"] == "deny"
    assert told(answer) == ("allow", "prompt_injection")


@pytest.mark.parametrize(
    ("action", "reason"), [("allow", "not_inspected"), ("deny", "route_denied")]
)
async def test_without_inspection_nothing_is_scored(action: str, reason: str) -> None:
    door = Door(policy(action=action))

    answer = await door.about(body=says(MARKER))

    assert told(answer) == (action, reason)
    assert door.scorer.texts == ()


async def test_the_first_route_that_holds_decides() -> None:
    openai = builders.rule(name="openai", match={"paths": ["/v1/chat/completions"]})
    door = Door(policy(openai, action="deny"))

    chat = await door.about()
    other = await door.about(path="/v2/other")

    assert as_envoy.metadata(chat)["rule"] == "openai"
    assert as_envoy.metadata(other)["rule"] == "default"


ALICE = Identity(source=IdentitySource.HEADER, header="x-user")
MTLS = Identity(source=IdentitySource.MTLS)
FOR_ALICE = builders.rule(
    name="alice", match={"principals": ["header:x-user:alice"]}, action="allow"
)


async def test_a_rule_is_for_the_principal_that_the_policy_looks_for() -> None:
    served = policy(FOR_ALICE, identity=(ALICE,))

    async def rule(**call: Any) -> object:
        return as_envoy.metadata(await Door(served).about(**call))["rule"]

    assert await rule(headers={"x-user": "alice"}) == "alice"
    assert await rule(headers={"x-user": "Alice"}) == "default"
    assert await rule(headers={}, principal="header:x-user:alice") == "default"


async def test_who_is_ambiguous_is_refused_before_any_rule_is_asked() -> None:
    door = Door(policy(FOR_ALICE, identity=(ALICE,), action="allow"))

    answer = await door.about(headers={"x-user": "alice,bob", "authorization": "Bearer s"})
    await asyncio.sleep(0)

    assert told(answer) == ("deny", "identity_ambiguous")
    assert CheckResponse.FromString(answer).denied_response.status.code == 400
    assert [(one.call.principal, one.call.headers["authorization"]) for one in door.seen] == [
        ("", "")
    ]


HEADER_NAMES = st.sampled_from(
    ["x-user", "x_user", "authorization", "x-forwarded-user", "host", ":authority", ":path"]
)


@given(st.dictionaries(HEADER_NAMES, st.text("alice,b ", max_size=6)), st.booleans())
def test_no_header_but_the_policys_own_selects_a_rule(
    headers: dict[str, str], by_header: bool
) -> None:
    served = policy(FOR_ALICE, identity=(ALICE,) if by_header else (MTLS,))
    call = builders.call(headers=headers)

    outcome = asyncio.run(Door(served).authorizer.decide(served, call, math.inf, Cancellation()))

    own = headers.get("x-user") if by_header and "x_user" not in headers else None
    assert (outcome.rule.name == "alice") is (own == "alice")
    if not by_header:
        assert (outcome.rule.name, outcome.call.principal) == ("default", call.principal)


KEY = b"k" * 32


def door_with_receipts(served: Policy, scorer: Scorer | None = None) -> Door:
    door = Door(served, scorer)
    door.scorer.directory = replace(MODEL, digest="cd" * 32)
    door.authorizer = Authorizer(served, door.scorer, alone(), door.seen.append, KEY)
    return door


@pytest.mark.parametrize("size", [100, 200_000])
async def test_an_allow_carries_a_receipt_for_its_request_and_its_bytes(size: int) -> None:
    body = says("w " * (size // 2))
    served = policy(digest="ab" * 32, limits={"tokens": 1_000_000})
    headers = {"x-request-id": "r-1", "x-extauthz-receipt": "forged", "x-extauthz-other": "forged"}
    door = door_with_receipts(served)

    answer = await door.about(body=body, headers=headers)

    response = CheckResponse.FromString(answer).ok_response
    text = as_envoy.written(response.headers)["x-extauthz-receipt"]
    assert as_envoy.metadata(answer)["receipt"] == text
    assert list(response.headers_to_remove) == ["x-extauthz-other"]
    found = verify((KEY,), text, "r-1", hashlib.sha256(body).digest())
    assert isinstance(found, Receipt)
    assert (found.id, found.inspection, found.policy) == ("7", Inspection.INSPECTED, "ab" * 16)
    assert abs(found.at_s - time.time()) < 60


@pytest.mark.parametrize(
    ("rule", "text", "how"),
    [
        ({"mutate": {"set_headers": {"x-a": "1"}}}, "hello", Inspection.INSPECTED),
        ({"shadow": True}, MARKER, Inspection.NOT_ENFORCED),
        ({"action": "allow"}, MARKER, Inspection.NOT_INSPECTED),
    ],
)
async def test_a_receipt_says_how_far_the_request_was_inspected(
    rule: dict[str, Any], text: str, how: Inspection
) -> None:
    door = door_with_receipts(policy(digest="ab" * 32, **rule))

    answer = await door.about(body=says(text))

    found = verify((KEY,), str(as_envoy.metadata(answer)["receipt"]))
    assert isinstance(found, Receipt)
    assert found.inspection is how


@pytest.mark.parametrize("on_failure", ["deny", "error"])
async def test_nothing_but_an_allow_carries_a_receipt(on_failure: str) -> None:
    overloaded = Scorer(lambda: returns(Failure.OVERLOADED))
    served = policy(on_failure=on_failure)

    denied = await door_with_receipts(served).about(body=says(MARKER))
    failed = await door_with_receipts(served, overloaded).about()
    malformed = await door_with_receipts(served).check(b"\xff")
    bug = await door_with_receipts(served, Scorer(raises)).about()

    for answer in (denied, failed, malformed, bug):
        assert not as_envoy.allows(answer)
        assert b"receipt" not in answer


async def test_who_asked_is_told_by_a_digest_with_the_key() -> None:
    plain, keyed = Door(), door_with_receipts(policy())
    for door in (plain, keyed):
        await door.about()
        await door.about(principal="")
        await asyncio.sleep(0)

    peer = builders.call().principal
    assert [one.principal_digest for one in plain.seen] == [name_digest(None, peer), ""]
    assert [one.principal_digest for one in keyed.seen] == [name_digest(KEY, peer), ""]


@pytest.mark.parametrize("size", [10, 300_000])
async def test_the_digest_of_the_body_is_told_whatever_is_decided(size: int) -> None:
    door = Door(policy(action="deny"))

    await door.about(body=b"x" * size)
    await asyncio.sleep(0)

    assert [one.body_sha256 for one in door.seen] == [hashlib.sha256(b"x" * size).hexdigest()]


@pytest.mark.parametrize("on_failure", ["deny", "error", "allow"])
@pytest.mark.parametrize("failure", sorted(SERVER_FAILURES))
async def test_what_we_could_not_judge_goes_by_on_failure(
    failure: Failure, on_failure: str
) -> None:
    answer = await Door(policy(on_failure=on_failure), Scorer(lambda: returns(failure))).about()

    assert told(answer) == (on_failure, failure.value)
    assert as_envoy.allows(answer) is (on_failure == "allow")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"body": b"{"}, "body_malformed"),
        ({"headers": {"x-envoy-auth-partial-body": "true"}}, "body_truncated"),
        ({"headers": {"content-encoding": "compress"}}, "encoding_unsupported"),
        ({"path": "/v1/%2e%2e/chat/completions"}, "path_ambiguous"),
    ],
)
async def test_what_cannot_be_read_is_denied_whatever_the_rule_allows(
    changes: Mapping[str, Any], reason: str
) -> None:
    answer = await Door(policy(on_failure="allow")).about(**changes)

    assert told(answer) == ("deny", reason)
    assert not as_envoy.allows(answer)


async def test_a_text_of_too_many_tokens_is_denied_whatever_the_rule_allows() -> None:
    scorer = Scorer(lambda: returns(Failure.TOO_MANY_TOKENS))
    answer = await Door(policy(on_failure="allow", limits={"tokens": 12}), scorer).about()

    assert scorer.max_tokens == 12
    assert told(answer) == ("deny", "too_many_tokens")


async def test_a_message_that_is_no_check_is_denied() -> None:
    answer = await Door(policy(action="allow")).check(b"\xff")

    assert told(answer) == ("deny", "check_malformed")
    assert not as_envoy.allows(answer)


@pytest.mark.parametrize("score", [float("nan"), 0.5, 1.0])
async def test_only_a_score_below_the_threshold_passes(score: float) -> None:
    answer = await Door(scorer=Scorer(lambda: returns((TextScore(score, 1, 1),)))).about()

    assert told(answer) == ("deny", "prompt_injection")


async def test_each_text_is_held_to_the_threshold_of_where_it_came_from() -> None:
    strict = {"prompt_injection": {"thresholds": {"tool_result": 0.3, "user": 0.9}}}

    async def score(role: str) -> tuple[object, object]:
        door = Door(policy(detect=strict), Scorer(lambda: returns((TextScore(0.5, 1, 1),))))
        body = json.dumps({"messages": [{"role": role, "content": "hi"}]}).encode()
        return told(await door.about(body=body))

    assert await score("tool") == ("deny", "prompt_injection")
    assert await score("user") == ("allow", "clean")
    assert await score("system") == ("deny", "prompt_injection")  # the model's own 0.5


MEASURED = replace(MODEL, calibration=calibrated(user=(0.25, 0.5, 0.75)))


@pytest.mark.parametrize(
    ("detector", "score", "verdict"),
    [
        ({}, 0.4, "allow"),
        ({}, 0.5, "deny"),
        ({"false_positive_rate": 0.01}, 0.4, "deny"),
        ({"false_positive_rate": 0.004}, 0.6, "allow"),
        ({"false_positive_rate": 0.001}, 0.75, "deny"),
        ({"false_positive_rate": 0.001, "thresholds": {"user": 0.3}}, 0.4, "deny"),
    ],
)
async def test_a_text_is_held_to_what_the_rate_of_the_rule_means_to_the_model(
    detector: dict[str, Any], score: float, verdict: str
) -> None:
    scorer = Scorer(lambda: returns((TextScore(score, 1, 1),)))
    scorer.directory = MEASURED

    answer = await Door(policy(detect={"prompt_injection": detector}), scorer).about()

    assert as_envoy.metadata(answer)["verdict"] == verdict


async def test_two_rules_may_ask_for_two_rates() -> None:
    chat = builders.rule(
        name="chat",
        match={"paths": ["/v1/chat/completions"]},
        detect={"prompt_injection": {"false_positive_rate": 0.01}},
    )

    async def verdict(path: str) -> object:
        scorer = Scorer(lambda: returns((TextScore(0.4, 1, 1),)))
        scorer.directory = MEASURED
        return as_envoy.metadata(await Door(policy(chat), scorer).about(path=path))["verdict"]

    assert await verdict("/v1/chat/completions") == "deny"
    assert await verdict("/v1/messages") == "allow"


async def test_the_scorer_is_told_where_each_text_is_from() -> None:
    door = Door()
    texts = {"system": "one", "user": "two", "assistant": "three", "tool": "four"}
    messages = [{"role": role, "content": text} for role, text in texts.items()]

    await door.about(body=json.dumps({"messages": messages}).encode())

    raw = {one.text: one.provenance for one in door.scorer.texts}
    assert {text: raw[text] for text in texts.values()} == {
        "one": Provenance.SYSTEM,
        "two": Provenance.USER,
        "three": Provenance.ASSISTANT,
        "four": Provenance.TOOL_RESULT,
    }


async def test_a_scorer_that_leaves_a_text_out_is_a_bug_and_no_allow() -> None:
    answer = await Door(policy(on_failure="allow"), Scorer(lambda: returns(()))).about()

    assert told_bug(answer)


def told_bug(answer: bytes) -> bool:
    """Whether the answer is the explicit denial that a bug is answered with."""
    response = CheckResponse.FromString(answer)
    reason = as_envoy.written(response.denied_response.headers)["x-extauthz-reason"]
    return not as_envoy.allows(answer) and (response.denied_response.status.code, reason) == (
        500,
        "internal_error",
    )


class _BrokenPolicy:
    digest, identity, tenant, sources = "p" * 64, (), (), ()
    budgets, routes, default = Budgets(), (), Rule()

    def match(self, call: Call, path: str) -> Rule:
        raise KeyError(call.body, "open sesame")


UNWRITABLE = policy(mutate={"set_headers": {"x-a": "open sesame\r\n"}}, on_failure="allow")


@pytest.mark.parametrize(
    "door",
    [
        Door(policy(on_failure="allow", shadow=True), Scorer(raises)),
        Door(_BrokenPolicy()),  # type: ignore[arg-type]
        Door(UNWRITABLE),
    ],
    ids=["scorer", "policy", "writer"],
)
async def test_a_bug_anywhere_is_an_explicit_denial_and_its_words_stay_here(
    door: Door, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    answer = await door.about(body=says("open sesame"))
    await asyncio.sleep(0)

    assert told_bug(answer)
    assert [seen.decision.reason for seen in door.seen] == ["internal_error"]
    (line,) = [record for record in caplog.records if record.name == "extauthz.service"]
    assert "service.py:" in line.getMessage()
    assert "sesame" not in caplog.text


async def test_a_bug_in_telemetry_changes_no_answer_and_says_nothing_of_the_request(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(seen: Observation) -> None:
        raise ValueError(seen.call.body)

    authorizer = Authorizer(policy(), Scorer(), alone(), broken)
    message = as_envoy.ask(builders.call(body=says("open sesame")))

    answer = await authorizer.check(message, asyncio.get_running_loop().time() + 1, Cancellation())
    await asyncio.sleep(0)

    assert as_envoy.allows(answer)
    assert "ValueError" in caplog.text
    assert "sesame" not in caplog.text


async def test_a_check_is_told_once_and_only_after_its_answer() -> None:
    door = Door()

    await door.about(body=says(MARKER))
    before = list(door.seen)
    await asyncio.sleep(0)

    assert before == []
    (seen,) = door.seen
    assert (seen.decision.verdict, seen.policy_digest, seen.model_digest) == (
        "deny",
        "p" * 64,
        "m" * 64,
    )
    assert seen.call.id == "7"
    assert 0 <= seen.took_s < seen.allowed_s <= 8


async def test_four_fifths_of_the_callers_time_are_used() -> None:
    door, loop = Door(), asyncio.get_running_loop()
    message = as_envoy.ask(builders.call())
    before = loop.time()

    await door.authorizer.check(message, before + 10, Cancellation())

    assert before + 8 <= door.scorer.deadline <= before + 8 + 0.2 * (loop.time() - before)


async def test_the_transports_cancellation_reaches_the_scorer() -> None:
    door, cancellation = Door(), Cancellation()

    await door.authorizer.check(as_envoy.ask(builders.call()), 0.0, cancellation)

    assert door.scorer.cancellation is cancellation


async def test_a_check_ends_under_the_policy_that_it_began_with() -> None:
    entered, swapped = asyncio.Event(), asyncio.Event()

    async def slowly() -> Scores:
        entered.set()
        await swapped.wait()
        return (TextScore(0.9, 1, 1),)

    door = Door(policy(digest="old", name="before"), Scorer(slowly))
    check = asyncio.create_task(door.about())
    await entered.wait()
    door.authorizer.serve(policy(digest="new", name="after", action="allow"))
    swapped.set()
    answer = await check

    found = as_envoy.metadata(answer)
    assert (found["policy"], found["rule"], found["verdict"]) == ("old", "before", "deny")
    assert as_envoy.metadata(await door.about())["policy"] == "new"
    await asyncio.sleep(0)
    assert [seen.policy_digest for seen in door.seen] == ["old", "new"]


@pytest.mark.parametrize("shape", ["json_403", "content_filter_400", "refusal_200"])
async def test_the_score_is_for_the_mesh_and_not_for_the_client(shape: str) -> None:
    answer = await Door(policy(deny_as=shape)).about(body=says(MARKER))

    assert as_envoy.metadata(answer)["score"] == 0.9876
    assert b"0.98" not in as_envoy.shown_to_client(answer)
    assert b"score" not in as_envoy.shown_to_client(answer)


async def test_metadata_has_exactly_the_documented_keys() -> None:
    assert as_envoy.metadata(await Door().about()) == {
        "verdict": "allow",
        "reason": "clean",
        "rule": "default",
        "shadowed": "none",
        "flags": "",
        "score": 0.0123,
        "policy": "p" * 64,
        "model": "m" * 64,
    }


def limited(amount: float, **default: Any) -> Policy:
    """A policy with one limit, of requests of everybody."""
    limit = Limit(name="calls", count=Count.REQUESTS, amount=amount, calendar=Calendar.MONTH)
    return structs.replace(policy(**default), budgets=Budgets(limits=(limit,)))


async def test_with_a_limit_metadata_says_how_it_stands_and_what_settles_the_request() -> None:
    plain = as_envoy.metadata(await Door().about())

    found = as_envoy.metadata(await Door(limited(5)).about(id="77"))

    more = {name: value for name, value in found.items() if name not in plain}
    replica, reserved = more.pop("replica"), more.pop("reserved_tokens")
    assert more == {
        "limit": "calls",
        "limit_remaining": 4,
        "id": "77",
        "billed_model": "other",
        "capped": "no",
    }
    assert re.fullmatch(r"[0-9a-f]{16}", str(replica))
    assert isinstance(reserved, float)
    assert reserved > 1_024


@pytest.mark.parametrize(
    ("served", "text"), [(limited(5), MARKER), (limited(5, action="deny"), ""), (limited(0), "")]
)
async def test_metadata_of_a_denied_request_has_nothing_to_settle(
    served: Policy, text: str
) -> None:
    answer = await Door(served).about(body=says(text))

    assert not as_envoy.allows(answer)
    assert as_envoy.metadata(answer).keys().isdisjoint(SETTLING)


SETTLING = {"id", "replica", "billed_model", "capped", "reserved_tokens"}


async def test_a_request_over_its_budget_is_denied_before_its_score_counts() -> None:
    door = Door(limited(1, on_failure="allow", deny_as="refusal_200"))

    await door.about(id="1")
    door.scorer.texts = ()
    refused = CheckResponse.FromString(await door.about(id="2", body=says(MARKER)))

    assert door.scorer.texts == ()
    assert refused.denied_response.status.code == 429
    shown = as_envoy.written(refused.denied_response.headers)
    assert shown["x-extauthz-reason"] == "over_budget"
    assert (shown["x-extauthz-limit"], shown["ratelimit-limit"]) == ("calls", "1")
    assert shown["ratelimit-remaining"] == "0"
    assert 0 < int(shown["retry-after"]) <= int(shown["ratelimit-reset"])


class _OutOfReach(Accounts):
    """Counters that cannot be reached, under a policy that denies then."""

    async def reserve(self, *_: object) -> Failure:
        return Failure.STORE_FAULT


@pytest.mark.parametrize(
    ("on_failure", "verdict"), [("deny", "deny"), ("error", "error"), ("allow", "allow")]
)
async def test_where_counters_are_out_of_reach_the_rule_decides(
    on_failure: str, verdict: str
) -> None:
    door = Door()
    door.authorizer = Authorizer(
        limited(1, on_failure=on_failure),
        door.scorer,
        _OutOfReach(private_store(), lambda _: None),
        door.seen.append,
    )

    answer = await door.about()

    assert told(answer) == (verdict, "store_fault")
    assert as_envoy.metadata(answer).keys().isdisjoint(SETTLING | {"limit"})


async def test_without_a_score_metadata_says_minus_one() -> None:
    assert as_envoy.metadata(await Door().about(body=b""))["score"] == -1


async def test_a_bug_in_giving_back_what_a_bug_had_reserved_is_a_denial_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An exception would be an RPC error, and that an allow under failure_mode_allow."""

    def broken(*_: object) -> None:
        raise ValueError

    door = Door(policy(on_failure="allow"), Scorer(raises))
    monkeypatch.setattr("extauthz.accounts.Accounts.release", broken)

    assert told_bug(await door.about())
