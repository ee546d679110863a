"""What a request gets when it could not be judged: the table of failures, through a real Envoy.

`on_failure` is the rule's; `failure_mode_allow` is the mesh's. Only `on_failure: error` lets the
mesh decide: a request that we received is otherwise answered by us, and never with an RPC error.
"""

import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from extauthz.core.call import Passage
from extauthz.core.cancellation import Cancellation
from extauthz.core.reasons import Failure
from extauthz.demo.upstream import Upstream
from extauthz.model.directory import ModelDirectory
from extauthz.model.scorer import Scores
from extauthz.service import ScoresTexts
from tests.e2e.conftest import chat
from tests.e2e.running import Filter, Gateway, ext_authz, scorer

#: Long enough for a busy machine, short enough to wait for.
_TIMEOUT = "0.5s"


class HangingModel:
    """A model call that does not come back until it is let go."""

    def __init__(self) -> None:
        self.let_go = threading.Event()

    def run(self, ids: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float32]:
        self.let_go.wait(10)
        return np.tile(np.array([9, -9], np.float32), (len(ids), 1))


class FailingModel:
    """A model that refuses every batch, as ONNX Runtime refuses an id outside its vocabulary."""

    def run(self, ids: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float32]:
        raise RuntimeError


class NumberlessModel:
    """A model that gives no number for anything."""

    def run(self, ids: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float32]:
        return np.full((len(ids), 2), np.nan, np.float32)


class Crashing:
    """A bug of ours, in place of the scorer."""

    def __init__(self, directory: ModelDirectory) -> None:
        self.directory = directory

    async def score(
        self, texts: Sequence[Passage], max_tokens: int, deadline: float, cancellation: Cancellation
    ) -> Scores | Failure:
        raise ZeroDivisionError


@contextmanager
def _slow(model: ModelDirectory) -> Iterator[ScoresTexts]:
    hanging = HangingModel()
    yield scorer(model, hanging)
    hanging.let_go.set()


@contextmanager
def _overloaded(model: ModelDirectory) -> Iterator[ScoresTexts]:
    yield scorer(model, FailingModel(), full=True)


@contextmanager
def _failing(model: ModelDirectory) -> Iterator[ScoresTexts]:
    yield scorer(model, FailingModel())


@contextmanager
def _numberless(model: ModelDirectory) -> Iterator[ScoresTexts]:
    yield scorer(model, NumberlessModel())


def _fail_open(config: dict[str, Any]) -> None:
    ext_authz(config)["grpc_service"]["timeout"] = _TIMEOUT
    ext_authz(config)["failure_mode_allow"] = True
    ext_authz(config)["failure_mode_allow_header_add"] = True


def _fail_closed(config: dict[str, Any]) -> None:
    ext_authz(config)["grpc_service"]["timeout"] = _TIMEOUT


@pytest.fixture(scope="package", params=[_fail_closed, _fail_open], ids=["closed", "open"])
def mesh(
    request: pytest.FixtureRequest,
    filter_: Filter,
    upstream: Upstream,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Gateway]:
    """Envoy with `failure_mode_allow` off and on, and little patience."""
    folder = tmp_path_factory.mktemp("mesh")
    with Gateway(folder, upstream, [filter_.address], request.param) as running:
        running.fails_open = request.param is _fail_open
        yield running


failures = pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (_slow, "deadline_exceeded"),
        (_overloaded, "overloaded"),
        (_failing, "model_fault"),
        (_numberless, "model_fault"),
    ],
    ids=["slow", "overloaded", "model fault", "no number"],
)
Fault = Callable[[ModelDirectory], Any]


@failures
def test_denied_with_503_and_retry_after_whatever_the_mesh_would_do(
    mesh: Gateway, filter_: Filter, model: ModelDirectory, fault: Fault, reason: str
) -> None:
    errors = mesh.rpc_errors()
    with fault(model) as filter_.scorer.now:
        answer, passed = mesh.passed(chat(host="json.test"))

    assert (answer.status, passed) == (503, [])
    assert answer.headers["retry-after"] == "1"
    assert answer.json["error"]["reason"] == reason
    assert mesh.logged(answer)["reason"] == reason
    assert mesh.rpc_errors() == errors


@failures
def test_left_to_the_mesh_where_the_rule_says_error(
    mesh: Gateway, filter_: Filter, model: ModelDirectory, fault: Fault, reason: str
) -> None:
    errors = mesh.rpc_errors()
    with fault(model) as filter_.scorer.now:
        answer, passed = mesh.passed(chat(host="error.test"))

    assert mesh.rpc_errors() == errors + 1
    if mesh.fails_open:
        [received] = passed
        assert answer.status == 200
        assert received.header("x-envoy-auth-failure-mode-allowed") == ["true"]
    else:
        assert (answer.status, passed) == (503, [])
        assert answer.json["error"]["reason"] == reason


@failures
def test_allowed_and_recorded_as_such_where_the_rule_says_allow(
    mesh: Gateway, filter_: Filter, model: ModelDirectory, fault: Fault, reason: str
) -> None:
    errors = mesh.rpc_errors()
    with fault(model) as filter_.scorer.now:
        answer, passed = mesh.passed(chat(host="allow.test"))

    entry = mesh.logged(answer)
    assert (answer.status, len(passed)) == (200, 1)
    assert (entry["verdict"], entry["reason"]) == ("allow", reason)
    assert mesh.rpc_errors() == errors


@pytest.mark.parametrize("host", ["json.test", "error.test", "allow.test"])
def test_a_bug_is_a_denial_whatever_anybody_allows(
    mesh: Gateway, filter_: Filter, model: ModelDirectory, host: str
) -> None:
    errors = mesh.rpc_errors()
    filter_.scorer.now = Crashing(model)

    answer, passed = mesh.passed(chat(host=host))

    assert (answer.status, passed) == (500, [])
    assert answer.json["error"]["reason"] == "internal_error"
    assert mesh.rpc_errors() == errors


def test_one_bad_request_harms_no_other(mesh: Gateway, filter_: Filter) -> None:
    hanging = HangingModel()
    filter_.scorer.now = scorer(filter_.scorer.directory, hanging)
    late = mesh.send(chat())
    hanging.let_go.set()

    assert late.status == 503
    assert mesh.send(chat()).status == 200


def test_a_client_that_leaves_takes_nothing_with_it(gateway: Gateway, filter_: Filter) -> None:
    hanging = HangingModel()
    filter_.scorer.now = scorer(filter_.scorer.directory, hanging)
    asked, host, port = len(filter_.checks), *gateway.address.split(":")
    left, right = chat("I leave"), chat("I stay")
    assert isinstance(left.body, bytes)
    head = f"POST {left.path} HTTP/1.1\r\nhost: {left.host}\r\ncontent-length: {len(left.body)}"
    before = len(gateway.upstream.received)
    with socket.create_connection((host, int(port)), timeout=10) as client:
        client.sendall(head.encode() + b"\r\n\r\n" + left.body)
        while len(filter_.checks) == asked:
            time.sleep(0.01)

    hanging.let_go.set()
    answer = gateway.send(right)

    assert answer.status == 200
    assert [one.body for one in gateway.upstream.received[before:]] == [right.body]
