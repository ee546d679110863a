"""Through a real Envoy: what was checked can prove it, and what was not is found in the access log."""

import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from extauthz.core.receipts import HEADER, Fault, Inspection, Receipt, verify
from extauthz.demo.client import Answer, Request
from extauthz.demo.upstream import Received, Upstream
from extauthz.model.directory import ModelDirectory
from extauthz.model.session import Session
from extauthz.receipts import Audit, audit
from tests.canary_model import CANARY
from tests.e2e.conftest import chat
from tests.e2e.running import Filter, Gateway, ext_authz, scorer

KEY = b"k" * 32
ATTACK = f"Please {CANARY} now."
_LOG_WAIT_S = 5.0


@pytest.fixture(scope="module", params=["h2corn", "grpcio"])
def filter_(request: pytest.FixtureRequest, model: ModelDirectory) -> Iterator[Filter]:
    """Our filter with receipts on, on each transport in turn."""
    session = Session(model, "cpu", 1)
    with Filter(request.param, lambda: scorer(model, session), receipt_key=KEY) as running:
        yield running


@pytest.fixture
def gateway(filter_: Filter, upstream: Upstream, tmp_path: Path) -> Iterator[Gateway]:
    with Gateway(tmp_path, upstream, [filter_.address], _forget_to_check) as running:
        yield running


def _forget_to_check(config: dict[str, Any]) -> None:
    """A route on which ext_authz is off, as somebody may add it one day."""
    listener = config["static_resources"]["listeners"][0]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    kind = "type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute"
    off = {"envoy.filters.http.ext_authz": {"@type": kind, "disabled": True}}
    route = {"match": {"path": "/forgotten"}, "route": {"cluster": "upstream"}}
    manager["route_config"]["virtual_hosts"][0]["routes"].append(
        route | {"typed_per_filter_config": off}
    )


def _fail_open(config: dict[str, Any]) -> None:
    ext_authz(config)["failure_mode_allow"] = True


def _log(gateway: Gateway, *answers: Answer) -> list[bytes]:
    """The access log, once it tells of all `answers`."""
    until = time.monotonic() + _LOG_WAIT_S
    wanted = {answer.headers["x-request-id"] for answer in answers}
    while time.monotonic() < until:
        lines = gateway.envoy.stdout.read_bytes().splitlines(keepends=True)
        if wanted <= {json.loads(line)["request_id"] for line in lines if line.endswith(b"\n")}:
            return lines
        time.sleep(0.02)
    raise AssertionError(wanted)


def _audit(gateway: Gateway, *answers: Answer) -> Audit:
    return audit(_log(gateway, *answers), (KEY,))


def _shown(received: Received) -> Receipt | Fault:
    """What the upstream finds when it verifies the receipt of a request that it got."""
    (text,) = received.header(HEADER)
    (request_id,) = received.header("x-request-id")
    return verify((KEY,), text, request_id, hashlib.sha256(received.body).digest())


@pytest.mark.parametrize(
    ("request_", "how"),
    [
        (chat(), Inspection.INSPECTED),
        (chat(host="mutate.test"), Inspection.INSPECTED),
        (chat(ATTACK, host="shadow.test"), Inspection.NOT_ENFORCED),
        (Request("/v1/models", method="GET"), Inspection.NOT_INSPECTED),
        (replace(chat(), body=chat().body + b" " * 300_000), Inspection.INSPECTED),  # type: ignore[operator]
    ],
    ids=["inspected", "mutated", "on trial", "not inspected", "large"],
)
def test_an_allowed_request_carries_a_valid_receipt_upstream_and_into_the_access_log(
    gateway: Gateway, filter_: Filter, request_: Request, how: Inspection
) -> None:
    answer, [received] = gateway.passed(request_)

    receipt = _shown(received)
    assert isinstance(receipt, Receipt)
    assert receipt.inspection is how
    assert receipt.id == filter_.observed[-1].call.id
    assert receipt.policy == filter_.authorizer.policy.digest[:32]
    assert [gateway.logged(answer)["receipt"]] == received.header(HEADER)
    assert HEADER not in answer.headers
    audited = _audit(gateway, answer)
    assert audited.good
    assert (audited.upstream, audited.checked[how]) == (1, 1)


def test_a_denied_request_reaches_nobody_and_needs_no_receipt(gateway: Gateway) -> None:
    answer, passed = gateway.passed(chat(ATTACK))

    assert passed == []
    audited = _audit(gateway, answer)
    assert audited.good
    assert (audited.requests, audited.upstream) == (1, 0)


def test_a_route_that_nobody_checks_is_found(gateway: Gateway) -> None:
    checked = gateway.send(chat())
    forgotten, passed = gateway.passed(replace(chat(ATTACK), path="/forgotten"))

    assert len(passed) == 1
    audited = _audit(gateway, checked, forgotten)
    assert (audited.good, audited.unchecked, audited.checked.total()) == (False, 1, 1)
    assert [one.request_id for one in audited.offenders] == [forgotten.headers["x-request-id"]]


def test_what_a_mesh_lets_pass_while_nobody_answers_is_found(
    upstream: Upstream, tmp_path: Path
) -> None:
    with Gateway(tmp_path, upstream, ["127.0.0.1:9"], _fail_open) as gateway:
        answer, passed = gateway.passed(chat(ATTACK))

        assert len(passed) == 1
        assert _audit(gateway, answer).unchecked == 1


def test_a_forged_receipt_is_written_over(gateway: Gateway) -> None:
    _, [before] = gateway.passed(chat())
    (stolen,) = before.header(HEADER)
    forged = ((HEADER, "forged"), (HEADER.title(), stolen), (HEADER, stolen))

    answer, [received] = gateway.passed(replace(chat(), headers=forged))

    assert isinstance(_shown(received), Receipt)
    assert received.header(HEADER) == [gateway.logged(answer)["receipt"]] != [stolen]


def test_a_receipt_of_another_request_helps_nobody_past_a_route_that_is_not_checked(
    gateway: Gateway,
) -> None:
    checked, [before] = gateway.passed(chat())
    (stolen,) = before.header(HEADER)
    (stolen_id,) = before.header("x-request-id")
    headers = ((HEADER, stolen), ("x-request-id", stolen_id))

    forgotten, [received] = gateway.passed(replace(chat(), path="/forgotten", headers=headers))

    assert _shown(received) is Fault.OTHER_REQUEST
    assert _audit(gateway, checked, forgotten).unchecked == 1


def test_a_log_that_believes_the_header_finds_the_replay(
    filter_: Filter, upstream: Upstream, tmp_path: Path
) -> None:
    """Of a log that was set up wrongly: the client's header in the place of our metadata."""

    def believe(config: dict[str, Any]) -> None:
        _forget_to_check(config)
        listener = config["static_resources"]["listeners"][0]
        manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
        settings = manager["access_log"][0]["typed_config"]["log_format"]["json_format"]
        settings["receipt"] = f"%REQ({HEADER})%"

    with Gateway(tmp_path, upstream, [filter_.address], believe) as gateway:
        checked, [before] = gateway.passed(chat())
        (stolen,) = before.header(HEADER)
        again = gateway.send(replace(chat(), path="/forgotten", headers=((HEADER, stolen),)))

        audited = _audit(gateway, checked, again)

    assert (audited.checked.total(), audited.invalid) == (1, {"other_request": 1})
