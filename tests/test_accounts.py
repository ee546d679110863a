"""Budgets from the Check to the access log, with the real counters and a scorer without a model."""

import asyncio
import json
from typing import Any

import pytest
from msgspec import structs

from extauthz.accounts import Accounts
from extauthz.core.budget.descriptors import Descriptor, LimitStatus
from extauthz.core.budget.limits import (
    Budgets,
    By,
    Calendar,
    Charge,
    Count,
    Every,
    Limit,
    Model,
    Price,
    Settle,
)
from extauthz.core.budget.report import Report, Usage
from extauthz.core.budget.settlement import Settlement
from extauthz.core.cancellation import Cancellation
from extauthz.core.policy import Identity, IdentitySource, Policy
from extauthz.core.reasons import Failure
from extauthz.protocol._pb.check_pb2 import CheckResponse
from extauthz.service import Authorizer
from extauthz.store.memory import MemoryStore, private_store
from extauthz.store.options import StoreOptions
from tests import as_envoy, builders
from tests.canary_model import CANARY
from tests.door import Door, Scorer

WHO = Identity(source=IdentitySource.HEADER, header="x-user")
TENANT = Identity(source=IdentitySource.HEADER, header="x-tenant")


def day(name: str = "day", amount: float = 1_000, **fields: Any) -> Limit:
    plain = {"count": Count.TOTAL_TOKENS, "by": (By.PRINCIPAL,), "calendar": Calendar.DAY}
    return Limit(name=name, amount=amount, **plain | fields)


class Bank(Door):
    """A door whose counters are real."""

    def __init__(self, *limits: Limit, scorer: Scorer | None = None, **fields: Any) -> None:
        super().__init__(scorer=scorer)
        self.store: MemoryStore = private_store(StoreOptions(counters=1024, reservations=1024))
        self.settlements: list[Settlement] = []
        self.accounts = Accounts(self.store, self.settlements.append)
        rules = {name: fields.pop(name) for name in ("budgets",) if name in fields}
        budgets = rules.get("budgets", Budgets(limits=limits))
        routes = fields.pop("routes", ())
        self.policy = Policy(
            digest="p" * 64,
            routes=routes,
            default=builders.rule(**fields),
            identity=(WHO,),
            tenant=(TENANT,),
            budgets=budgets,
        )
        self.authorizer = Authorizer(self.policy, self.scorer, self.accounts, self.seen.append)
        self._calls = 0

    async def ask(
        self, *, user: str = "alice", text: str = "Hello there", call_id: str = "", **body: Any
    ) -> CheckResponse:
        """A chat completion of a user."""
        self._calls += 1
        said = {"model": "sample", "messages": [{"role": "user", "content": text}]} | body
        answer = await self.about(
            id=call_id or str(self._calls),
            path="/v1/chat/completions",
            headers={"x-user": user, "content-type": "application/json"},
            body=json.dumps(said).encode(),
        )
        return CheckResponse.FromString(answer)

    async def left(self, user: str = "alice") -> list[int]:
        asked = Descriptor((("header:x-user", user),), 0)
        found = [
            await self.accounts.rate_limit(count, asked, 0.0)
            for count in ("total_tokens", "requests")
        ]
        return [status.remaining for status in found if status is not None]

    def report(self, call_id: str, usage: Usage | None = None, **changes: Any) -> None:
        plain: dict[str, Any] = {
            "replica": self.accounts.replica,
            "model": "other",
            "capped": False,
            "failed": False,
            "ended_s": 0.0,
        }
        self.accounts.settle([Report(id=call_id, usage=usage, **plain | changes)])


def headers(response: CheckResponse) -> dict[str, str]:
    if response.status.code == 0:
        return as_envoy.written(response.ok_response.response_headers_to_add)
    return as_envoy.written(response.denied_response.headers)


def metadata(response: CheckResponse) -> dict[str, Any]:
    return dict(as_envoy.metadata(response.SerializeToString()))


async def test_over_budget_is_429_and_says_which_limit_and_when_to_come_back() -> None:
    bank = Bank(day(amount=500))
    first = await bank.ask(max_tokens=400)
    refused = await bank.ask(max_tokens=400)

    assert first.status.code == 0
    told = headers(refused)
    assert refused.denied_response.status.code == 429
    assert told["x-extauthz-reason"] == "over_budget"
    assert (told["x-extauthz-limit"], told["ratelimit-limit"]) == ("day", "500")
    assert 0 < int(told["retry-after"]) <= 86_400
    assert told["ratelimit-reset"] == told["retry-after"]
    error = json.loads(refused.denied_response.body)["error"]
    assert (error["code"], error["type"]) == ("rate_limit_exceeded", "rate_limit_error")


async def test_an_allow_tells_how_the_strictest_limit_stands_and_what_settles_it() -> None:
    bank = Bank(day(amount=500))
    response = await bank.ask(max_tokens=400, call_id="77")

    reserved = metadata(response)["reserved_tokens"]
    assert 400 < reserved < 430
    assert headers(response)["ratelimit-remaining"] == str(500 - int(reserved))
    assert metadata(response) | {
        "id": "77",
        "replica": bank.accounts.replica,
        "billed_model": "other",
        "limit": "day",
        "limit_remaining": 500 - reserved,
    } == metadata(response)


async def test_without_limits_no_header_and_no_metadata_speak_of_them() -> None:
    response = await Bank().ask()
    assert not headers(response)
    assert not {"id", "replica", "limit", "reserved_tokens"} & metadata(response).keys()


async def test_the_classifier_is_not_asked_about_a_request_over_budget() -> None:
    bank = Bank(day(amount=10))
    await bank.ask(max_tokens=400)
    assert bank.scorer.texts == ()


async def test_another_user_is_not_touched() -> None:
    bank = Bank(day(amount=500))
    await bank.ask(max_tokens=450)
    assert (await bank.ask(max_tokens=450)).status.code != 0
    assert (await bank.ask(user="bob", max_tokens=450)).status.code == 0


async def test_the_usage_of_the_access_log_is_charged_in_place_of_the_reservation() -> None:
    bank = Bank(day())
    await bank.ask(max_tokens=900, call_id="1")
    bank.report("1", Usage(20, 30))
    assert await bank.left() == [950]
    bank.report("1", Usage(20, 30))
    bank.report("nobody", Usage(20, 30))
    assert await bank.left() == [950]
    assert [one.settled is not None for one in bank.settlements] == [True, False, False]


@pytest.mark.parametrize(
    ("failed", "settle", "expected"),
    [
        (False, Settle(), 100),
        (False, Settle(unreported=Charge.NOTHING), 1_000),
        (True, Settle(), 1_000),
        (True, Settle(failed=Charge.RESERVED), 100),
    ],
)
async def test_without_a_usage_the_policy_says_what_is_charged(
    failed: bool, settle: Settle, expected: int
) -> None:
    bank = Bank(budgets=Budgets(limits=(day(),), settle=settle))
    response = await bank.ask(max_tokens=900, call_id="1")
    bank.report("1", failed=failed)
    extra = int(metadata(response)["reserved_tokens"]) - 900
    assert await bank.left() == [expected - (extra if expected == 100 else 0)]


async def test_a_request_that_is_denied_gives_its_tokens_back_and_was_a_request() -> None:
    bank = Bank(day(), day("requests", 10, count=Count.REQUESTS))
    response = await bank.ask(text=CANARY, max_tokens=900)
    assert headers(response)["x-extauthz-reason"] == "prompt_injection"
    assert await bank.left() == [1_000, 9]
    assert "id" not in metadata(response)


async def test_what_cannot_be_read_was_a_request() -> None:
    bank = Bank(day("requests", 10, count=Count.REQUESTS))
    await bank.about(
        id="1", path="/v1/chat/completions", headers={"x-user": "alice"}, body=b'{"messages": ['
    )
    assert await bank.left() == [9]


async def test_a_bug_after_the_reservation_gives_it_back() -> None:
    async def broken() -> Failure:
        raise ValueError

    bank = Bank(day(), scorer=Scorer(broken))
    response = await bank.ask(max_tokens=900)
    assert headers(response)["x-extauthz-reason"] == "internal_error"
    assert await bank.left() == [1_000]


async def test_a_request_that_passes_though_we_failed_keeps_its_reservation() -> None:
    async def late() -> Failure:
        return Failure.OVERLOADED

    bank = Bank(day(), scorer=Scorer(late), on_failure="allow")
    assert (await bank.ask(max_tokens=900)).status.code == 0
    assert (await bank.left())[0] < 100


async def test_over_budget_is_no_failure_that_on_failure_could_let_through() -> None:
    bank = Bank(day(amount=1), on_failure="allow")
    assert (await bank.ask()).denied_response.status.code == 429


async def test_a_rule_on_trial_lets_what_is_over_budget_pass_and_says_so() -> None:
    response = await Bank(day(amount=1), shadow=True).ask()
    assert response.status.code == 0
    assert metadata(response)["reason"] == "over_budget"
    assert metadata(response)["shadowed"] == "deny"


async def test_a_shadow_limit_flags_and_lets_pass() -> None:
    response = await Bank(day("trial", 1, shadow=True)).ask()
    assert response.status.code == 0
    assert metadata(response)["flags"] == "over_trial"


async def test_a_route_that_is_allowed_unread_is_counted_all_the_same() -> None:
    bank = Bank(day(amount=500), action="allow")
    assert (await bank.ask(max_tokens=400)).status.code == 0
    assert (await bank.ask(max_tokens=400)).denied_response.status.code == 429
    assert bank.scorer.texts == ()


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"max_tokens": 100}, 0),
        ({"max_tokens": 101}, 400),
        ({"max_completion_tokens": 50, "max_tokens": 101}, 400),
        ({"n": 2}, 0),
        ({"n": 3}, 400),
        ({}, 0),
        ({"max_tokens": 2**63 - 1}, 400),
    ],
)
async def test_what_asks_for_more_than_the_cap_is_denied(body: dict[str, Any], status: int) -> None:
    response = await Bank(limits={"output_tokens": 100, "choices": 2}).ask(**body)
    assert response.denied_response.status.code == status
    if status:
        assert headers(response)["x-extauthz-reason"] == "output_cap_exceeded"


async def test_a_cap_that_is_required_has_to_be_there() -> None:
    bank = Bank(limits={"output_tokens": 100, "output_required": True})
    assert (await bank.ask()).denied_response.status.code == 400
    assert (await bank.ask(max_tokens=100)).status.code == 0


@pytest.mark.parametrize("value", ["100", 1e3, 1.5, True, -1, [5], "x"])
async def test_a_cap_that_is_no_whole_number_cannot_be_counted(value: object) -> None:
    response = await Bank(day()).ask(max_tokens=value)
    assert headers(response)["x-extauthz-reason"] == "output_cap_malformed"
    assert (await Bank().ask(max_tokens=value)).status.code == 0


async def test_answers_are_reserved_as_often_as_they_are_asked_for() -> None:
    response = await Bank(day(amount=10**6)).ask(max_tokens=100, n=5)
    assert 500 < int(metadata(response)["reserved_tokens"]) < 530


async def test_without_a_cap_what_is_usual_is_reserved_and_learnt() -> None:
    models = (Model(name="small", match=("sample",), expected_output=300),)
    bank = Bank(budgets=Budgets(limits=(day(amount=10**9),), models=models))
    before = int(metadata(await bank.ask())["reserved_tokens"])
    for number in range(60):
        call_id = f"a{number}"
        await bank.ask(call_id=call_id)
        bank.report(call_id, Usage(10, 2_000), model="small")
    after = int(metadata(await bank.ask())["reserved_tokens"])
    assert 300 < before < 330
    assert 2_000 < after < 2_300


async def test_the_cap_of_a_route_bounds_what_is_usual() -> None:
    response = await Bank(day(amount=10**6), limits={"output_tokens": 100}).ask()
    assert 100 < int(metadata(response)["reserved_tokens"]) < 130


async def test_money_follows_the_price_of_the_model_that_is_asked_for() -> None:
    models = (Model(name="dear", match=("dear-*",), input_price=0.0, output_price=1_000.0),)
    limits = (day("money", 1.0, count=Count.COST),)
    bank = Bank(budgets=Budgets(limits=limits, models=models, other_models=Price()))
    assert (await bank.ask(model="dear-1", max_tokens=900)).status.code == 0
    assert (await bank.ask(model="DEAR-2", max_tokens=900)).denied_response.status.code == 429
    assert (await bank.ask(model="cheap", max_tokens=10**6)).status.code == 0


async def test_invented_models_have_one_counter_for_all_of_them() -> None:
    bank = Bank(day(amount=500, by=(By.PRINCIPAL, By.MODEL)))
    assert (await bank.ask(model="a", max_tokens=450)).status.code == 0
    assert (await bank.ask(model="b", max_tokens=450)).denied_response.status.code == 429


async def test_tenants_come_from_their_own_source() -> None:
    bank = Bank(day(amount=500, by=(By.TENANT,)))

    async def status(tenant: str, call_id: str) -> int:
        body = json.dumps({"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 450})
        answer = await bank.about(
            id=call_id,
            path="/v1/chat/completions",
            headers={"x-user": call_id, "x-tenant": tenant},
            body=body.encode(),
        )
        return CheckResponse.FromString(answer).denied_response.status.code

    assert [await status("a", "1"), await status("a", "2"), await status("b", "3")] == [0, 429, 0]


async def test_a_duplicate_check_is_not_charged_again() -> None:
    bank = Bank(day(amount=1_000))
    for _ in range(3):
        assert (await bank.ask(max_tokens=700, call_id="same")).status.code == 0


# Envoy's rate limit filter


async def hits(
    bank: Bank, count: str, hits_addend: int, *entries: tuple[str, str]
) -> LimitStatus | None:
    return await bank.accounts.rate_limit(count, Descriptor(entries, hits_addend), 0.0)


USER = ("header:x-user", "alice")


async def test_the_rate_limit_service_counts_on_the_counters_of_the_check() -> None:
    bank = Bank(day("requests", 3, count=Count.REQUESTS))
    await bank.ask()
    status = await hits(bank, "requests", 1, USER)
    assert status is not None
    assert (status.limited, status.remaining, status.amount, status.unit_s) == (False, 1, 3, 86_400)
    assert (await bank.ask()).status.code == 0
    assert (await bank.ask()).denied_response.status.code == 429
    refused = await hits(bank, "requests", 1, USER)
    assert refused is not None
    assert refused.limited
    assert 0 < refused.reset_s <= 86_400


async def test_requests_over_a_limit_are_not_counted_and_tokens_are() -> None:
    bank = Bank(day("requests", 5, count=Count.REQUESTS), day("tokens", 100))
    refused = [await hits(bank, count, 150, USER) for count in ("requests", "total_tokens")]
    assert [one is not None and one.limited for one in refused] == [True, True]
    assert await bank.left() == [0, 5]
    assert (await bank.ask()).denied_response.status.code == 429


@pytest.mark.parametrize(
    ("count", "entries"),
    [
        ("requests", [("header:x-user", "alice"), ("route", "default")]),
        ("requests", [("remote_address", "1.2.3.4")]),
        ("requests", [("header:x-user", "alice"), ("jwt:sub", "bob")]),
        ("requests", []),
        ("total_tokens", [USER]),
        ("cost", [USER]),
        ("envoy", [USER]),
    ],
)
async def test_a_descriptor_that_no_limit_counts_is_not_limited(
    count: str, entries: list[tuple[str, str]]
) -> None:
    bank = Bank(day("requests", 1, count=Count.REQUESTS))
    assert await hits(bank, count, 10, *entries) is None


@pytest.mark.parametrize(
    ("limit", "unit_s"),
    [
        (day("r", 5, calendar=None, every=Every.SECOND, count=Count.REQUESTS), 1),
        (day("r", 5, calendar=None, every=Every.HOUR, count=Count.REQUESTS), 3_600),
        (day("r", 5, calendar=Calendar.MONTH, count=Count.REQUESTS), 2_592_000),
    ],
)
async def test_the_unit_of_a_limit_is_told(limit: Limit, unit_s: int) -> None:
    status = await hits(Bank(limit), "requests", 1, USER)
    assert status is not None
    assert status.unit_s == unit_s


async def test_a_new_policy_forgets_what_was_learnt_of_models_it_does_not_know() -> None:
    def served(name: str) -> Policy:
        models = (Model(name=name, match=("*",), expected_output=50),)
        return structs.replace(
            bank.policy, budgets=Budgets(limits=(day(amount=10**9),), models=models)
        )

    async def reserved() -> int:
        return int(metadata(await bank.ask(call_id=f"r{len(bank.seen)}"))["reserved_tokens"])

    bank = Bank()
    bank.authorizer.serve(served("old"))
    for number in range(60):
        await bank.ask(call_id=f"a{number}")
        bank.report(f"a{number}", Usage(10, 500), model="old")
    assert await reserved() > 500
    bank.authorizer.serve(served("new"))
    assert await reserved() < 100


@pytest.mark.parametrize("path", ["/v1/messages/count_tokens", "/v1/chat/completions/render"])
async def test_nothing_is_reserved_for_answers_that_nobody_writes(path: str) -> None:
    bank = Bank(day(amount=10**6))
    body = json.dumps({"messages": [{"role": "user", "content": "Hello there"}], "max_tokens": 900})
    answer = await bank.about(id="1", path=path, headers={"x-user": "alice"}, body=body.encode())
    assert int(metadata(CheckResponse.FromString(answer))["reserved_tokens"]) < 30


@pytest.mark.parametrize(
    ("prompt", "answers"), [("Hi", 1), (["Hi", "Ho"], 2), ([1, 2, 3], 1), ([[1, 2], [3]], 2)]
)
async def test_each_prompt_of_a_completion_is_answered(prompt: object, answers: int) -> None:
    bank = Bank(day(amount=10**6), detect={"uninspected": {"token_ids": "flag"}})
    body = json.dumps({"model": "sample", "prompt": prompt, "max_tokens": 1_000, "n": 2})
    answer = await bank.about(
        id="1", path="/v1/completions", headers={"x-user": "alice"}, body=body.encode()
    )
    reserved = int(metadata(CheckResponse.FromString(answer))["reserved_tokens"])
    assert 2_000 * answers < reserved < 2_000 * answers + 50


async def test_only_who_is_refused_for_a_limit_is_told_when_to_come_back() -> None:
    assert "retry-after" in headers(await over(Bank(day(amount=500))))
    assert "retry-after" not in headers(await over(Bank(day(amount=500), shadow=True)))


async def over(bank: Bank) -> CheckResponse:
    await bank.ask(max_tokens=400)
    return await bank.ask(max_tokens=400)


async def test_a_limit_for_some_routes_is_meant_by_a_descriptor_that_names_one() -> None:
    chat = builders.rule(name="chat", match={"paths": ["/chat"]})
    bank = Bank(day("requests", 3, count=Count.REQUESTS, routes=("chat",)), routes=(chat,))
    assert await hits(bank, "requests", 1, USER) is None
    assert await hits(bank, "requests", 1, USER, ("route", "other")) is None
    status = await hits(bank, "requests", 1, USER, ("route", "chat"))
    assert status is not None
    assert status.remaining == 2


async def test_answers_that_were_made_short_on_purpose_teach_nothing() -> None:
    bank = Bank(day(amount=10**9))
    for number in range(60):
        response = await bank.ask(call_id=f"a{number}", max_tokens=1)
        bank.report(f"a{number}", Usage(10, 1), capped=metadata(response)["capped"] == "yes")
    assert int(metadata(await bank.ask())["reserved_tokens"]) > 1_000


async def test_nobody_teaches_that_answers_cost_less_than_the_policy_expects() -> None:
    bank = Bank(day(amount=10**9))
    for number in range(60):
        await bank.ask(call_id=f"a{number}")
        bank.report(f"a{number}", Usage(10, 1))
    assert int(metadata(await bank.ask())["reserved_tokens"]) > 1_000


async def test_a_request_that_the_upstream_refuses_was_a_request() -> None:
    bank = Bank(day("requests", 3, count=Count.REQUESTS))
    for number in range(3):
        await bank.ask(call_id=f"a{number}")
        bank.report(f"a{number}", failed=True)
    assert (await bank.ask()).denied_response.status.code == 429


async def test_without_envoys_number_a_request_cannot_be_counted_and_is_denied() -> None:
    answer = await Bank(day(), on_failure="allow").about(id="", headers={"x-user": "alice"})
    assert headers(CheckResponse.FromString(answer))["x-extauthz-reason"] == "check_malformed"


async def test_a_caller_who_left_holds_nothing() -> None:
    bank = Bank(day("slots", 1, count=Count.CONCURRENT, calendar=None), action="allow")
    message = as_envoy.ask(builders.call(id="left", headers={"x-user": "alice"}))
    gone = Cancellation()
    gone.cancel()
    await bank.authorizer.check(message, asyncio.get_running_loop().time() + 10, gone)
    assert (await bank.ask()).status.code == 0


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        ("/v1/images/generations", {"prompt": "a cat"}, 1_024),
        ("/v1/embeddings", {"input": "a cat"}, 0),
        ("/api/generate", {"prompt": "a cat", "options": {"num_predict": 0}}, 1_024),
        ("/api/generate", {"prompt": "a cat", "options": {"num_predict": 7}}, 7),
        (
            "/v1beta/models/g:generateContent",
            {"contents": [], "generationConfig": {"max_output_tokens": 500, "candidate_count": 8}},
            4_000,
        ),
        (
            "/endpoints/e/invocations",
            {"inputs": ["a", "b"], "parameters": {"max_new_tokens": 50, "num_return_sequences": 5}},
            500,
        ),
    ],
)
async def test_what_an_api_will_write_is_reserved(
    path: str, body: dict[str, Any], expected: int
) -> None:
    bank = Bank(day(amount=10**9, count=Count.OUTPUT_TOKENS))
    answer = await bank.about(
        id="1", path=path, headers={"x-user": "alice"}, body=json.dumps(body).encode()
    )
    response = CheckResponse.FromString(answer)
    assert int(headers(response)["ratelimit-remaining"]) == 10**9 - expected


async def test_hits_and_routes_of_a_descriptor_are_bounded() -> None:
    bank = Bank(day("routed", 5, by=(By.ROUTE,), count=Count.REQUESTS))
    assert await hits(bank, "requests", 1, ("route", "invented")) is None
    status = await hits(bank, "requests", 2**64 - 1, ("route", "default"))
    assert status is not None
    assert status.limited


async def test_a_body_that_we_had_no_room_to_read_is_counted_by_its_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def full(*_: object) -> Failure:
        return Failure.OVERLOADED

    monkeypatch.setattr("extauthz.readers.Readers.read", full)
    bank = Bank(day(amount=3_000), on_failure="allow")
    assert (await bank.ask(text="word " * 1_000)).status.code == 0
    assert (await bank.ask(text="word " * 1_000)).denied_response.status.code == 429
