"""A real Envoy before our filter on each transport, with the canary model."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from extauthz.demo.client import Request
from extauthz.demo.upstream import Upstream
from extauthz.model import directory
from extauthz.model.directory import ModelDirectory
from extauthz.model.session import Session
from tests import canary_model
from tests.e2e.running import Change, Filter, Gateway, scorer

Open = Callable[[Change], Gateway]


@pytest.fixture(scope="package")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelDirectory:
    """A real ONNX model that fires on one word, with windows as wide as those of a real one."""
    wide: dict[str, object] = {"max_position_embeddings": 512}
    path = tmp_path_factory.mktemp("model") / "canary"
    return directory.load(canary_model.build(path, config=wide))


@pytest.fixture(scope="package")
def upstream() -> Iterator[Upstream]:
    with Upstream() as running:
        yield running


@pytest.fixture(scope="package", params=["h2corn", "grpcio"])
def filter_(request: pytest.FixtureRequest, model: ModelDirectory) -> Iterator[Filter]:
    """Our filter, on each transport in turn."""
    session = Session(model, "cpu", 1)
    with Filter(request.param, lambda: scorer(model, session)) as running:
        yield running


@pytest.fixture(autouse=True)
def usual(request: pytest.FixtureRequest) -> Iterator[None]:
    """Put the canary model back after a test that replaced it."""
    yield
    if "filter_" in request.fixturenames:
        running: Filter = request.getfixturevalue("filter_")
        running.scorer.now = running.scorer.usual


@pytest.fixture(scope="package")
def gateway(
    filter_: Filter, upstream: Upstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    """Envoy as we ship it."""
    with Gateway(tmp_path_factory.mktemp("envoy"), upstream, [filter_.address]) as running:
        yield running


@pytest.fixture
def envoy_with(filter_: Filter, upstream: Upstream, tmp_path: Path) -> Iterator[Open]:
    """An Envoy that differs from the one we ship where the given function changes it."""
    with ExitStack() as stack:

        def start(change: Change) -> Gateway:
            return stack.enter_context(Gateway(tmp_path, upstream, [filter_.address], change))

        yield start


def chat(text: str = "What is the capital of France?", host: str = "json.test") -> Request:
    """A chat completion as an OpenAI SDK sends it."""
    messages = [
        {"role": "system", "content": "You are a helpful assistant."},
        {"role": "user", "content": text},
    ]
    body = json.dumps({"model": "sample", "messages": messages}, ensure_ascii=False).encode()
    return Request("/v1/chat/completions", body, host=host)
