"""No word of a request is in a log, a record, a metric, the status page or an answer."""

import asyncio
import base64
import hashlib
import json
import logging
import socket
import urllib.request
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from extauthz import budget
from extauthz.core.call import Call
from extauthz.server import Server
from tests import builders, canary_model
from tests.canary_model import CANARY
from tests.running import Running, running, settings_for

#: A prompt, a person, and credentials, each marked with a word that must turn up nowhere.
SECRET = "sesame"
PROMPT = f"My name is Alibaba {SECRET}, card 4111 1111 1111 1111. {CANARY}"
API_KEY = f"sk-{SECRET}"
RECEIPT_KEY = bytes(range(200, 232))
SPELLINGS = (
    SECRET.encode(),
    base64.b64encode(SECRET.encode()),
    b"4111 1111",
    b"Alibaba",
    hashlib.sha256(API_KEY.encode()).hexdigest().encode(),
    RECEIPT_KEY.hex().encode(),
    base64.b64encode(RECEIPT_KEY),
)
NAMESPACE = "envoy.filters.http.jwt_authn"
HEADERS = {
    "authorization": f"Bearer sk-{SECRET}",
    "cookie": f"session={SECRET}",
    "x-request-id": f"id-{SECRET}",
    "content-type": "application/json",
    "x-extauthz-verdict": SECRET,
    "x-team": SECRET,
}


def secret_call(**changes: Any) -> Call:
    plain = {
        "method": SECRET.upper(),
        "host": f"{SECRET}.example.com",
        "path": f"/v1/chat/completions?api_key={SECRET}",
        "headers": HEADERS,
        "body": json.dumps({SECRET: [PROMPT], "messages": [{"role": SECRET}]}).encode(),
        "principal": f"spiffe://{SECRET}/app",
        "source": SECRET,
        "context": {SECRET: SECRET},
    }
    return builders.call(**plain | changes)


#: One call for each way that a decision can come about.
CALLS: Mapping[str, Call] = {
    "injection": secret_call(),
    "clean": secret_call(body=json.dumps({"prompt": SECRET}).encode()),
    "malformed": secret_call(body=f'{{"{SECRET}": "{SECRET}'.encode()),
    "not UTF-8": secret_call(body=SECRET.encode() + b"\xff"),
    "duplicate key": secret_call(body=f'{{"{SECRET}": 1, "{SECRET}": 2}}'.encode()),
    "truncated": secret_call(headers=HEADERS | {"x-envoy-auth-partial-body": SECRET}),
    "compressed": secret_call(headers=HEADERS | {"content-encoding": SECRET}),
    "ambiguous path": secret_call(path=f"/v1/../{SECRET}"),
    "too many tokens": secret_call(body=json.dumps({"prompt": f"{SECRET} " * 5_000}).encode()),
    "route denied": secret_call(path=f"/denied/{SECRET}"),
    "not inspected": secret_call(path=f"/allowed/{SECRET}"),
    "shadowed": secret_call(path=f"/shadow/{SECRET}"),
    "token": secret_call(metadata={NAMESPACE: {"payload": {"sub": SECRET, SECRET: [SECRET]}}}),
    "odd token": secret_call(metadata={NAMESPACE: {"payload": {"sub": [SECRET]}}}),
    "key": secret_call(headers=HEADERS | {"x-api-key": f"Bearer {API_KEY}"}, body=b"{}"),
    "two keys": secret_call(headers=HEADERS | {"x-api-key": f"{API_KEY},{SECRET}"}),
    "unknown model": secret_call(body=json.dumps({"model": SECRET, "max_tokens": 9}).encode()),
    "odd cap": secret_call(body=json.dumps({"model": SECRET, "max_tokens": SECRET}).encode()),
    "large cap": secret_call(body=json.dumps({"prompt": SECRET, "max_tokens": 10**7}).encode()),
    "over budget": secret_call(path=f"/limited/{SECRET}"),
    "over budget, on trial": secret_call(path=f"/trial/{SECRET}"),
    "error": secret_call(),
}
POLICY = """
version: 1
identity:
  - {source: jwt, claim: [payload, sub]}
  - {source: api_key, header: x-api-key}
  - {source: mtls}
tenant:
  - {source: header, header: x-team}
routes:
  - {name: limited, match: {path_prefixes: [/limited]}, action: inspect, deny_as: SHAPE}
  - {name: trial, match: {path_prefixes: [/trial]}, action: allow}
  - {name: denied, match: {path_prefixes: [/denied]}, action: deny}
  - {name: allowed, match: {path_prefixes: [/allowed]}, action: allow}
  - {name: shadowed, match: {path_prefixes: [/shadow]}, action: inspect, shadow: true}
default:
  action: inspect
  deny_as: SHAPE
  limits: {tokens: 2000, output_tokens: 1000000}
  mutate: {set_headers: {x-tenant: blue}}
budgets:
  models: [{name: large, match: ["large-*"]}]
  limits:
    - {name: tokens, count: total_tokens, amount: 100000000, calendar: month, by: [principal, model]}
    - {name: teams, count: requests, amount: 1000000, every: minute, by: [tenant]}
    - {name: none-left, count: total_tokens, amount: 1, calendar: day, by: [principal], routes: [limited]}
    - {name: on-trial, count: total_tokens, amount: 1, calendar: day, by: [tenant], routes: [trial], shadow: true}
"""
#: What an operator may ask, and how the answer names who is asked about.
QUESTIONS = (
    {"command": "top"},
    {"command": "show", "principal": f"spiffe://{SECRET}/app", "model": "other"},
    {"command": "grant", "principal": SECRET, "model": "other", "limit": "tokens", "amount": 5},
    {"command": "reset", "tenant": f"header:x-team:{SECRET}"},
    {"command": "show", "limit": SECRET},
    {"command": SECRET},
)
REASONS = {
    "prompt_injection",
    "clean",
    "body_malformed",
    "body_not_utf8",
    "body_duplicate_key",
    "body_truncated",
    "encoding_unsupported",
    "path_ambiguous",
    "identity_ambiguous",
    "too_many_tokens",
    "route_denied",
    "not_inspected",
    "over_budget",
    "output_cap_exceeded",
    "output_cap_malformed",
    "internal_error",
    "check_malformed",
}


class _Bug:
    """A scorer that fails in its own words, which quote the request."""

    def __init__(self, server: Server) -> None:
        self._scorer = server._authorizer._scorer
        self.directory = self._scorer.directory
        self.armed = False

    async def score(self, texts: Any, *more: Any) -> Any:
        if self.armed:
            raise RuntimeError(texts)
        return await self._scorer.score(texts, *more)


async def ask_everything(peer: Running, bug: _Bug) -> list[bytes]:
    answers = []
    for number, (name, call) in enumerate(CALLS.items()):
        bug.armed = name == "error"
        answers.append(await peer.check(replace(call, id=str(number))))
    answers.append(await peer.send(b"\xff" + SECRET.encode()))
    return answers


def operate(path: Path) -> list[dict[str, Any]]:
    """What the operator is told, who alone may see names."""
    return [budget.ask(path, question) for question in QUESTIONS]


def scrape(address: str) -> bytes:
    paths = ("/", "/metrics", "/ready")
    pages = [urllib.request.urlopen(f"http://{address}{path}", timeout=10) for path in paths]
    return b"".join(page.read() for page in pages)


def free_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return f"127.0.0.1:{probe.getsockname()[1]}"


def write(path: Path, text: str) -> None:
    path.write_text(text)


def read(path: Path) -> bytes:
    return path.read_bytes()


@pytest.mark.parametrize(
    ("transport", "shape"),
    [("h2corn", "json_403"), ("grpcio", "content_filter_400"), ("h2corn", "refusal_200")],
)
async def test_no_sink_holds_a_word_of_a_request(
    transport: str,
    shape: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    # Ours alone at DEBUG: records of gRPC's own, kept until the test ends, crashed its interpreter.
    caplog.set_level(logging.DEBUG, logger="extauthz")
    policy, records, admin = tmp_path / "policy.yaml", tmp_path / "records", free_address()
    write(policy, POLICY.replace("SHAPE", shape))
    model = canary_model.build(tmp_path / "model")
    key = tmp_path / "key"
    write(key, RECEIPT_KEY.hex())
    control = tmp_path / "c.sock"
    changes = {"transport": transport, "admin": admin, "receipt_key": key, "control": control}
    server = Server(settings_for(model, policy, records, **changes))
    bug = _Bug(server)
    server._authorizer._scorer = bug  # type: ignore[misc]  # final, but for this

    async with running(server) as peer:
        answers = await ask_everything(peer, bug)
        operated = await asyncio.to_thread(operate, control)
        pages = await asyncio.to_thread(scrape, admin)

    written = read(records)
    printed = "".join(capfd.readouterr())
    lines = [json.loads(line) for line in written.splitlines()]
    assert {line["reason"] for line in lines} == REASONS
    assert {line["auth_source"] for line in lines} == {"jwt", "api_key", "mtls", None}
    assert {"over_on-trial"} == {
        flag for line in lines for flag in line["flags"] if "over_" in flag
    }
    assert {line["billed_model"] for line in lines} == {"other"}
    assert {line["limit"] for line in lines} >= {"tokens", "none-left", None}
    assert f"spiffe://{SECRET}/app" in {one["principal"] for one in operated[0]["consumers"]}
    assert "control socket: grant of limits: tokens" in caplog.text
    assert b"Heaviest users" in pages
    assert b'extauthz_limited_total{limit="none-left",shadow="no"} 1.0' in pages
    assert "bug, answered with a denial: RuntimeError" in caplog.text
    sinks = {
        "records": written,
        "pages": pages,
        "logs": caplog.text.encode(),
        "output": printed.encode(),
        **{f"answer {index}": answer for index, answer in enumerate(answers)},
    }
    for name, sink in sinks.items():
        for spelling in SPELLINGS:
            assert spelling.lower() not in sink.lower(), name
