"""Budgets through a real Envoy: reserved at the check, settled by its access log."""

import http.client
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import grpc
import pytest

from extauthz.core.budget.limits import Charge
from extauthz.core.budget.report import Usage
from extauthz.core.budget.settlement import Settlement
from extauthz.demo.client import Answer, Request
from extauthz.demo.upstream import Upstream
from extauthz.model.directory import ModelDirectory
from extauthz.model.session import Session
from extauthz.protocol import access_log
from tests.canary_model import CANARY
from tests.e2e.running import Filter, Gateway, scorer

POLICY = Path(__file__).with_name("budget_policy.yaml")
BUDGET = 1_000
CHAT, RESPONSES, MESSAGES = "/v1/chat/completions", "/v1/responses", "/v1/messages"
INFER = "/inference.GRPCInferenceService/ModelInfer"

_USERS = count()


@pytest.fixture(scope="module", params=["h2corn", "grpcio"])
def filter_(request: pytest.FixtureRequest, model: ModelDirectory) -> Iterator[Filter]:
    session = Session(model, "cpu", 1)
    with Filter(request.param, lambda: scorer(model, session), policy=POLICY) as running:
        yield running


def _with_a_route_for_grpc(config: dict[str, Any]) -> None:
    manager = config["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]
    routes = manager["typed_config"]["route_config"]["virtual_hosts"][0]["routes"]
    routes.append({"match": {"path": INFER}, "route": {"cluster": "upstream"}})


@pytest.fixture(scope="module")
def gateway(
    filter_: Filter, upstream: Upstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    """Envoy as we ship it, but for one more route."""
    folder = tmp_path_factory.mktemp("envoy")
    with Gateway(folder, upstream, [filter_.address], _with_a_route_for_grpc) as running:
        yield running


@pytest.fixture
def user() -> str:
    """Somebody new, whose budgets are whole."""
    return f"user-{next(_USERS)}"


def ask(
    user: str,
    *headers: tuple[str, str],
    path: str = CHAT,
    host: str = "tokens.test",
    text: str = "What is the capital of France?",
    **more: Any,
) -> Request:
    body: dict[str, Any] = {"model": "sample", "messages": [{"role": "user", "content": text}]}
    if path == RESPONSES:
        body = {"model": "sample", "input": text}
    return Request(
        path,
        json.dumps(body | more).encode(),
        host=host,
        headers=(("x-test-user", user), *headers),
    )


def says(tokens: int) -> tuple[str, str]:
    return "x-sample-tokens", str(tokens)


def thinks(seconds: float) -> tuple[str, str]:
    return "x-sample-pause-s", str(seconds)


def until(found: Callable[[], Any], timeout_s: float = 10.0) -> Any:
    """What `found` returns once that is something."""
    late = time.monotonic() + timeout_s
    while not (result := found()):
        assert time.monotonic() < late, "it did not come"
        time.sleep(0.02)
    return result


def settled(filter_: Filter, call_id: str = "") -> Settlement:
    """What became of a request, or else of the last one."""
    wanted = call_id or filter_.observed[-1].call.id
    found = until(lambda: [one for one in filter_.settlements if one.report.id == wanted])
    settlement: Settlement = found[0]
    return settlement


def reserved(filter_: Filter) -> int:
    """Tokens that are held for the last request."""
    allowance = filter_.observed[-1].signals.allowance
    assert allowance is not None
    return sum(allowance.reserved)


def remaining(answer: Answer) -> int:
    return int(answer.headers["ratelimit-remaining"])


def total(answer: Answer) -> int:
    """What the upstream says it used, in JSON."""
    total: int = answer.json["usage"]["total_tokens"]
    return total


def seconds_left_in_month() -> float:
    now = datetime.now(UTC)
    first = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return ((first + timedelta(days=32)).replace(day=1) - now).total_seconds()


def entries(filter_: Filter, since: int) -> int:
    """How many requests Envoy's log told of, from that message on."""
    return sum(len(access_log.read(message)) for message in filter_.logs[since:])


@pytest.fixture
def held(filter_: Filter) -> Iterator[list[bytes]]:
    """Settle nothing during a test, and have the messages that would."""
    before = len(filter_.logs)
    filter_.holds_logs = True
    messages: list[bytes] = []
    yield messages
    filter_.holds_logs = False
    for message in filter_.logs[before:]:
        filter_.settle(message)


def test_two_hundred_at_once_get_no_more_than_the_budget(
    gateway: Gateway, filter_: Filter, held: list[bytes], user: str
) -> None:
    before, log = len(gateway.upstream.received), len(filter_.logs)
    asked = ask(user, says(10), max_tokens=30)

    with ThreadPoolExecutor(40) as clients:
        answers = list(clients.map(gateway.send, [asked] * 200))

    passed = [answer for answer in answers if answer.status == 200]
    refused = [answer for answer in answers if answer.status == 429]
    cost = BUDGET - max(map(remaining, passed))
    assert 30 < cost < 100
    assert len(passed) == BUDGET // cost == len(gateway.upstream.received) - before
    assert len(passed) + len(refused) == 200
    assert min(map(remaining, passed)) == BUDGET % cost
    left = seconds_left_in_month()
    for answer in refused:
        headers = answer.headers
        assert headers["x-extauthz-reason"] == "over_budget"
        assert headers["x-extauthz-limit"] == "monthly"
        assert headers["ratelimit-limit"] == str(BUDGET)
        assert remaining(answer) == BUDGET % cost
        assert 0 <= int(headers["retry-after"]) - left < 60
        assert headers["ratelimit-reset"] == headers["retry-after"]
        assert answer.json["error"]["code"] == "rate_limit_exceeded"
    assert gateway.send(ask(f"{user}-neighbour", max_tokens=30)).status == 200

    until(lambda: entries(filter_, log) == len(passed) + 1)
    for message in filter_.logs[log:]:
        filter_.settle(message)
    again = gateway.send(asked)

    assert again.status == 200
    assert remaining(again) == BUDGET - sum(map(total, passed)) - cost


@pytest.mark.parametrize(
    ("path", "stream"),
    [
        (CHAT, {}),
        (CHAT, {"stream": True, "stream_options": {"include_usage": True}}),
        ("/v1/completions", {}),
        ("/v1/embeddings", {}),
        (RESPONSES, {}),
        (RESPONSES, {"stream": True}),
        (MESSAGES, {}),
        (MESSAGES, {"stream": True}),
    ],
)
def test_an_answer_is_charged_what_the_upstream_counted(
    gateway: Gateway, filter_: Filter, user: str, path: str, stream: dict[str, Any]
) -> None:
    more = {"max_output_tokens" if path == RESPONSES else "max_tokens": 300, **stream}
    if path in {"/v1/completions", "/v1/embeddings"}:
        more["prompt" if path == "/v1/completions" else "input"] = "Say it."
    asked = ask(user, says(17), ("accept-encoding", "gzip"), path=path, **more)
    assert isinstance(asked.body, bytes)

    answer = gateway.send(asked)

    assert answer.status == 200
    assert answer.headers["content-type"] == ("text/event-stream" if stream else "application/json")
    done = settled(filter_)
    assert done.report.usage == done.charge == Usage(len(asked.body.split()), 17)
    assert done.settled is not None
    cost = reserved(filter_)
    assert sum(done.settled.estimated) == cost
    then = gateway.send(asked)
    assert remaining(then) == BUDGET - sum(done.report.usage) - cost


def test_a_stream_that_tells_no_usage_is_charged_as_reserved(
    gateway: Gateway, filter_: Filter, user: str
) -> None:
    asked = ask(user, says(17), max_tokens=300, stream=True)

    assert gateway.send(asked).status == 200

    done, cost = settled(filter_), reserved(filter_)
    assert (done.report.usage, done.charge) == (None, Charge.RESERVED)
    assert remaining(gateway.send(asked)) == BUDGET - 2 * cost


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
def test_a_stream_that_its_client_cuts_is_charged_as_reserved(
    gateway: Gateway, filter_: Filter, user: str, path: str
) -> None:
    """Anthropic's begin with counts: whoever cuts one before its end would pay for one token."""
    usage: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}
    asked = ask(user, says(100), thinks(0.05), path=path, max_tokens=300, **usage)
    connection = http.client.HTTPConnection(gateway.address, timeout=10)
    connection.request("POST", path, asked.body, {"host": asked.host, **dict(asked.headers)})
    response = connection.getresponse()
    assert response.read1(100)
    connection.close()
    response.close()

    done, cost = settled(filter_), reserved(filter_)

    assert (done.report.usage, done.charge) == (None, Charge.RESERVED)
    assert remaining(gateway.send(asked)) == BUDGET - 2 * cost


def test_an_error_of_the_upstream_costs_nothing(
    gateway: Gateway, filter_: Filter, user: str
) -> None:
    assert gateway.send(ask(user, ("x-sample-status", "500"), max_tokens=300)).status == 500

    done = settled(filter_)
    assert (done.report.usage, done.charge) == (None, Charge.NOTHING)
    answer = gateway.send(ask(user, max_tokens=300))
    assert remaining(answer) == BUDGET - reserved(filter_)


def test_a_denied_request_costs_nothing_and_is_no_entry_of_the_log(
    gateway: Gateway, filter_: Filter, user: str
) -> None:
    denied = gateway.send(ask(user, text=f"{CANARY} and more", max_tokens=300))
    denied_id = filter_.observed[-1].call.id
    passed = gateway.send(ask(user, max_tokens=300))

    assert (denied.status, passed.status) == (403, 200)
    assert remaining(passed) == BUDGET - reserved(filter_)
    settled(filter_)
    assert denied_id not in {one.report.id for one in filter_.settlements}


def test_a_request_that_could_not_be_judged_costs_nothing(
    gateway: Gateway, filter_: Filter, user: str, model: ModelDirectory
) -> None:
    """The mesh might have let it pass, so it is for the access log to say what became of it."""
    filter_.scorer.now = scorer(model, Session(model, "cpu", 1), full=True)
    failed = gateway.send(ask(user, host="error.test", max_tokens=300))
    done = settled(filter_)
    filter_.scorer.now = filter_.scorer.usual
    passed = gateway.send(ask(user, max_tokens=300))

    assert (failed.status, failed.headers["x-extauthz-reason"]) == (503, "overloaded")
    assert done.charge == Charge.NOTHING
    assert remaining(passed) == BUDGET - reserved(filter_)


def test_an_entry_that_comes_twice_is_charged_once(
    gateway: Gateway, filter_: Filter, user: str
) -> None:
    log = len(filter_.logs)
    asked = ask(user, says(5), max_tokens=300)
    first = gateway.send(asked)
    settled(filter_)

    for message in filter_.logs[log:] * 2:
        filter_.settle(message)

    assert [one.settled for one in filter_.settlements[-2:]] == [None, None]
    second = gateway.send(asked)
    assert remaining(second) == BUDGET - total(first) - reserved(filter_)


def test_whoever_waits_as_long_as_they_are_told_may_pass(gateway: Gateway, user: str) -> None:
    asked = ask(user, host="pace.test")
    answers: list[Answer] = []
    while len(answers) < 20 and (not answers or answers[-1].status == 200):
        answers.append(gateway.send(asked))

    refused = answers[-1]
    assert len(answers) >= 3
    assert refused.status == 429
    assert refused.headers["x-extauthz-limit"] == "pace"
    assert refused.headers["ratelimit-limit"] == "2"
    assert refused.headers["retry-after"] == "1"
    time.sleep(1)
    assert gateway.send(asked).status == 200


def test_a_slot_is_free_again_when_its_answer_has_ended(
    gateway: Gateway, filter_: Filter, user: str
) -> None:
    before = len(gateway.upstream.received)
    with ThreadPoolExecutor(2) as clients:
        slow = ask(user, thinks(1.5), host="slots.test")
        answers = [clients.submit(gateway.send, slow) for _ in range(2)]
        until(lambda: len(gateway.upstream.received) == before + 2)

        refused = gateway.send(ask(user, host="slots.test"))
        others = gateway.send(ask(f"{user}-neighbour", host="slots.test"))

    assert [answer.result().status for answer in answers] == [200, 200]
    assert (refused.status, others.status) == (429, 200)
    assert refused.headers["x-extauthz-limit"] == "at-once"
    assert int(refused.headers["retry-after"]) >= 1
    until(lambda: gateway.send(ask(user, host="slots.test")).status == 200)


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({"max_tokens": 100, "n": 2}, 200),
        ({"max_tokens": 101}, 400),
        ({"max_completion_tokens": 101}, 400),
        ({"max_tokens": 10, "n": 3}, 400),
    ],
)
def test_nobody_may_ask_for_more_output_than_the_cap(
    gateway: Gateway, user: str, more: dict[str, Any], status: int
) -> None:
    answer, received = gateway.passed(ask(user, host="capped.test", **more))

    assert (answer.status, len(received)) == (status, status == 200)
    if status == 400:
        assert answer.headers["x-extauthz-reason"] == "output_cap_exceeded"


@pytest.mark.parametrize(
    ("path", "kind"),
    [(CHAT, "rate_limit_error"), (MESSAGES, "rate_limit_error")],
)
def test_over_a_budget_the_error_is_in_the_dialect_of_the_caller(
    gateway: Gateway, user: str, path: str, kind: str
) -> None:
    answer = gateway.send(ask(user, path=path, max_tokens=BUDGET))

    assert answer.status == 429
    assert answer.json["error"]["type"] == kind
    assert ("type" in answer.json) == (path == MESSAGES)
    assert "retry-after" not in answer.headers  # it would never fit


def test_a_client_of_grpc_learns_that_it_is_over_its_budget(gateway: Gateway, user: str) -> None:
    """By itself Envoy makes UNAVAILABLE of 429, which clients retry at once."""
    with grpc.insecure_channel(
        gateway.address, options=[("grpc.default_authority", "rpc.test")]
    ) as channel:
        infer: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(INFER)
        codes: list[grpc.StatusCode] = []
        for _ in range(2):
            with pytest.raises(grpc.RpcError) as failed:
                infer(b"", timeout=10, metadata=(("x-test-user", user),))
            assert isinstance(failed.value, grpc.Call)
            codes.append(failed.value.code())

    assert codes[0] is not grpc.StatusCode.RESOURCE_EXHAUSTED  # the upstream knows no gRPC
    assert codes[1] is grpc.StatusCode.RESOURCE_EXHAUSTED


def _with_the_rate_limit_filter(config: dict[str, Any]) -> None:
    """Envoy's own filter, which asks us, before ext_authz; and a route that tells what was used."""
    manager = config["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]
    types = "type.googleapis.com/envoy.extensions.filters.http.ratelimit.v3"
    ours = {"envoy_grpc": {"cluster_name": "extauthz"}}
    manager["typed_config"]["http_filters"].insert(
        0,
        {
            "name": "envoy.filters.http.ratelimit",
            "typed_config": {
                "@type": f"{types}.RateLimit",
                "domain": "requests",
                "enable_x_ratelimit_headers": "DRAFT_VERSION_03",
                "failure_mode_deny": True,
                "timeout": "2s",
                "rate_limit_service": {"grpc_service": ours, "transport_api_version": "V3"},
            },
        },
    )
    user = {
        "request_headers": {"header_name": "x-test-user", "descriptor_key": "header:x-test-user"}
    }
    route_of_policy = {"generic_key": {"descriptor_key": "route", "descriptor_value": "pace"}}
    routes = manager["typed_config"]["route_config"]["virtual_hosts"][0]["routes"]
    for route in routes:
        if route["match"].get("path") == CHAT:
            route["typed_per_filter_config"]["envoy.filters.http.ratelimit"] = {
                "@type": f"{types}.RateLimitPerRoute",
                "rate_limits": [{"actions": [user, route_of_policy]}],
            }


def test_envoys_rate_limit_filter_counts_on_the_same_counters(
    filter_: Filter, upstream: Upstream, tmp_path: Path, user: str
) -> None:
    """The limit `pace` counts requests by principal: here the filter asks once, and the check again."""
    with Gateway(tmp_path, upstream, [filter_.address], _with_the_rate_limit_filter) as gateway:
        asked = ask(user, host="pace.test")
        first = gateway.send(asked)
        answers = [gateway.send(asked).status for _ in range(3)]

    assert first.status == 200
    assert first.headers["x-ratelimit-limit"].startswith("2")
    assert 429 in answers
