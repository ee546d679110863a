"""The admin port shows metrics, readiness and a page for people, and never waits on the loop."""

import asyncio
import http.client
import threading
from collections.abc import Iterable, Iterator

import pytest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from extauthz.telemetry.admin import Admin
from extauthz.telemetry.consumers import Consumer
from extauthz.telemetry.metrics import Metrics
from tests import builders
from tests.telemetry.observations import observation

STATUS = {"serving": "yes", "policy": "policy.yaml <script>alert(1)</script>"}


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def status() -> dict[str, str]:
    return dict(STATUS)


@pytest.fixture
def admin(metrics: Metrics, status: dict[str, str]) -> Iterator[Admin]:
    started = Admin("127.0.0.1:0", metrics.registry, lambda: status)
    yield started
    started.close()


def get(admin: Admin, path: str, method: str = "GET") -> tuple[int, str, str]:
    """Status, content type and body."""
    host, _, port = admin.address.rpartition(":")
    connection = http.client.HTTPConnection(host.strip("[]"), int(port), timeout=10)
    connection.request(method, path)
    response = connection.getresponse()
    found = response.status, response.headers["content-type"], response.read().decode()
    connection.close()
    return found


def test_metrics_are_what_prometheus_reads(admin: Admin, metrics: Metrics) -> None:
    metrics.observe(observation(0.9))

    code, kind, text = get(admin, "/metrics")

    assert code == 200
    assert kind.startswith("text/plain; version=")
    assert 'reason="prompt_injection",rule="default",shadow="none",verdict="deny"} 1.0' in text


def test_ready_follows_serving(admin: Admin, status: dict[str, str]) -> None:
    assert get(admin, "/ready")[::2] == (200, "ready\n")

    status["serving"] = "no"

    assert get(admin, "/ready")[::2] == (503, "not ready\n")


def test_the_page_shows_status_and_decisions_as_text_and_never_as_markup(
    admin: Admin, metrics: Metrics
) -> None:
    metrics.observe(observation(0.9, rule=builders.rule(name="<b>chat</b>")))

    code, kind, page = get(admin, "/")

    assert (code, kind) == (200, "text/html; charset=utf-8")
    assert "policy.yaml &lt;script&gt;" in page
    assert "<td>&lt;b&gt;chat&lt;/b&gt;<td>deny<td>prompt_injection<td>none<td>1" in page
    assert "<script>" not in page
    assert "<b>" not in page


def test_the_page_names_the_heaviest_users_by_their_digests_alone(metrics: Metrics) -> None:
    users = [
        Consumer("header:x-user:alice", "d" * 64, 1_200, 3, "<i>tokens</i>", 12.5),
        Consumer("", "", 10, 1, "", 0.0),
    ]
    admin = Admin("127.0.0.1:0", metrics.registry, lambda: STATUS, lambda most: users[:most])

    page = get(admin, "/")[2]
    admin.close()

    assert "<h2>Heaviest users, last hours</h2>" in page
    assert f"<td>{'d' * 64}<td>1200<td>3<td>&lt;i&gt;tokens&lt;/i&gt;<td>12.5" in page
    assert "<td>nobody known<td>10<td>1<td>none<td></tr>" in page
    assert "alice" not in page


def test_without_users_the_page_has_no_table_of_them(admin: Admin) -> None:
    assert "Heaviest" not in get(admin, "/")[2]


@pytest.mark.parametrize("path", ["/metricsx", "/../etc/passwd", "/<script>"])
def test_another_path_is_not_found_and_not_repeated(admin: Admin, path: str) -> None:
    code, kind, text = get(admin, path)

    assert (code, kind) == (404, "text/plain")
    assert path not in text


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_nothing_can_be_changed_here(admin: Admin, method: str) -> None:
    assert get(admin, "/", method)[0] == 501


def test_requests_are_not_logged(admin: Admin, capfd: pytest.CaptureFixture[str]) -> None:
    get(admin, "/sesame")

    assert capfd.readouterr() == ("", "")


def test_an_address_in_use_is_an_os_error(admin: Admin, metrics: Metrics) -> None:
    with pytest.raises(OSError, match="Address already in use"):
        Admin(admin.address, metrics.registry, lambda: STATUS)


def test_an_ipv6_address_can_be_served(metrics: Metrics) -> None:
    admin = Admin("[::1]:0", metrics.registry, lambda: STATUS)

    assert admin.address.startswith("[::1]:")
    assert get(admin, "/ready")[0] == 200
    admin.close()


class _Endless(Collector):
    """A scrape that goes on until the event loop has done something else."""

    def __init__(self) -> None:
        self.begun, self.enough = threading.Event(), threading.Event()

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterable[Metric]:
        self.begun.set()
        assert self.enough.wait(timeout=10)
        yield GaugeMetricFamily("endless", "Many series.", value=1)


async def test_checks_go_on_during_a_long_scrape(admin: Admin, metrics: Metrics) -> None:
    endless = _Endless()
    metrics.registry.register(endless)
    scrape = asyncio.create_task(asyncio.to_thread(get, admin, "/metrics"))
    await asyncio.to_thread(endless.begun.wait, 10)

    endless.enough.set()  # this loop runs while the scrape is under way

    assert "endless 1.0" in (await scrape)[2]
