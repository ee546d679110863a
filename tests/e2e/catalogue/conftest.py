"""One filter for each transport, under a policy that inspects every endpoint, and one Envoy."""

from collections.abc import Iterator

import pytest

from extauthz.demo.upstream import Upstream
from extauthz.model.directory import ModelDirectory
from extauthz.model.session import Session
from tests.e2e.catalogue.harness import POLICY, everything
from tests.e2e.running import Filter, Gateway, scorer


@pytest.fixture(scope="package", params=["h2corn", "grpcio"])
def filter_(request: pytest.FixtureRequest, model: ModelDirectory) -> Iterator[Filter]:
    """Our filter, on each transport in turn."""
    session = Session(model, "cpu", 1)
    with Filter(request.param, lambda: scorer(model, session), policy=POLICY) as running:
        yield running


@pytest.fixture(scope="package")
def gateway(
    filter_: Filter, upstream: Upstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    """Envoy as we ship it, with a route for every path."""
    folder = tmp_path_factory.mktemp("catalogue")
    with Gateway(folder, upstream, [filter_.address], everything) as running:
        yield running
