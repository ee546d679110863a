"""A whole server: it serves, reloads, drains, and leaves nothing open behind it."""

import asyncio
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from prometheus_client import generate_latest

from extauthz import server as server_module
from extauthz.core.call import Provenance
from extauthz.core.receipts import Receipt, verify
from extauthz.model import calibration
from extauthz.model.calibration import Calibration
from extauthz.model.directory import ModelError
from extauthz.policy_file import PolicyError
from extauthz.server import Server
from extauthz.store import Ticked
from extauthz.telemetry.drift import ENOUGH
from extauthz.transport.options import ListenOptions
from tests import as_envoy, builders, canary_model
from tests.canary_model import CANARY
from tests.model.calibrations import calibrated
from tests.running import running, settings_for

INSPECT = "version: 1\ndefault: {action: inspect}\n"
ALLOW = "version: 1\ndefault: {action: allow}\n"
BAD = "version: 1\ndefault: {action: inspekt}\n"
ATTACK = builders.call(body=json.dumps({"prompt": CANARY}).encode())

Build = Callable[..., Server]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return canary_model.build(tmp_path_factory.mktemp("canary"))


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text(INSPECT)
    return path


@pytest.fixture
def records(tmp_path: Path) -> Path:
    return tmp_path / "records.jsonl"


@pytest.fixture
def build(model: Path, policy: Path, records: Path) -> Build:
    """A server with its model loaded, with the named settings changed."""

    def built(**changes: Any) -> Server:
        return Server(settings_for(model, policy, records, **changes))

    return built


@pytest.fixture
def busy() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        yield f"127.0.0.1:{taken.getsockname()[1]}"


def recorded(path: Path) -> list[tuple[int, str]]:
    lines = map(json.loads, path.read_text().splitlines())
    return [(line["seq"], line["verdict"]) for line in lines]


def gauge(server: Server, name: str) -> float | None:
    return server._metrics.registry.get_sample_value(name)


def write(path: Path, text: str) -> None:
    path.write_text(text)


def swap(link: Path, text: str) -> None:
    """Put a link to another file in the file's place, as Kubernetes does."""
    target, temporary = link.with_name("mounted.yaml"), link.with_name("temporary")
    target.write_text(text)
    temporary.symlink_to(target)
    temporary.replace(link)


async def until(holds: Callable[[], bool]) -> None:
    """Wait some seconds at most for what a watcher does in its own time."""
    for _ in range(2_000):
        if holds():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("nothing happened")


def own_threads() -> set[threading.Thread]:
    """The threads that servers started and that still run."""
    names = re.compile("admin|records|inference|tokenizer")
    return {thread for thread in threading.enumerate() if names.match(thread.name)}


async def verdict(peer: Any) -> object:
    return as_envoy.metadata(await peer.check(ATTACK))["verdict"]


@pytest.mark.parametrize("transport", ["h2corn", "grpcio"])
async def test_it_serves_checks_health_and_metrics_and_records_each_decision(
    build: Build, records: Path, transport: str
) -> None:
    before = own_threads()
    server = build(transport=transport)
    async with running(server) as peer:
        assert await peer.health() == "SERVING"
        assert as_envoy.allows(await peer.check(builders.call()))
        assert not as_envoy.allows(await peer.check(ATTACK))
        assert gauge(server, "extauthz_check_seconds_count") == 2

    assert recorded(records) == [(1, "allow"), (2, "deny")]
    assert own_threads() == before


async def test_several_listeners_answer_alike(build: Build, tmp_path: Path) -> None:
    path = f"unix:{tmp_path}/check.sock"
    listeners = (ListenOptions(path), ListenOptions("127.0.0.1:0"))

    async with running(build(listeners=listeners)) as peer:
        assert peer.addresses[0] == path
        assert peer.addresses[1].startswith("127.0.0.1:")
        assert await verdict(peer) == "deny"


async def test_with_a_key_allows_carry_receipts_of_the_first_one(
    build: Build, tmp_path: Path
) -> None:
    keys = (b"1" * 32, b"2" * 32)
    path = tmp_path / "key"
    write(path, "\n".join(key.hex() for key in keys))
    server = build(receipt_key=path)

    async with running(server) as peer:
        told = as_envoy.metadata(await peer.check(builders.call()))

    assert isinstance(verify(keys[:1], str(told["receipt"])), Receipt)
    assert server._status()["receipts"] == "on"


async def test_without_a_key_there_are_no_receipts_and_a_line_says_so(
    build: Build, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="extauthz")
    server = build()

    async with running(server) as peer:
        told = as_envoy.metadata(await peer.check(builders.call()))

    assert "receipt" not in told
    assert "receipts are off" in caplog.text
    assert server._status()["receipts"] == "off"


def test_a_server_does_not_start_on_a_bad_key(build: Build, tmp_path: Path) -> None:
    write(tmp_path / "key", "open sesame")

    with pytest.raises(ValueError, match="key: expected keys of at least 32 bytes"):
        build(receipt_key=tmp_path / "key")


async def test_while_it_drains_it_says_so_and_still_answers_checks(build: Build) -> None:
    server = build(drain_wait_s=60.0)
    async with running(server) as peer:
        server.stop()

        assert await peer.health() == "NOT_SERVING"
        assert await verdict(peer) == "deny"


async def test_a_changed_policy_is_served_after_a_reload(build: Build, policy: Path) -> None:
    server = build()
    async with running(server) as peer:
        before = await verdict(peer)
        write(policy, ALLOW)
        await server.reload()

        assert (before, await verdict(peer)) == ("deny", "allow")
        assert gauge(server, "extauthz_policy_valid") == 1


async def test_a_bad_policy_leaves_the_last_good_one_and_says_why(
    build: Build, policy: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = build()
    async with running(server) as peer:
        for change in (partial(write, policy, BAD), policy.unlink):
            change()
            await server.reload()

            assert await verdict(peer) == "deny"
            assert gauge(server, "extauthz_policy_valid") == 0

        write(policy, ALLOW)
        await server.reload()
        assert await verdict(peer) == "allow"
        assert gauge(server, "extauthz_policy_valid") == 1
    assert f'{policy}:2: found "inspekt" at default.action' in caplog.text


async def test_a_file_that_changes_is_noticed_also_where_a_link_is_swapped(
    build: Build, policy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "_WATCH_S", 0.005)
    server = build()
    async with running(server) as peer:
        swap(policy, ALLOW)
        await until(lambda: server._authorizer.policy.default.action == "allow")

        assert await verdict(peer) == "allow"


async def test_a_change_between_loading_and_serving_is_noticed(
    build: Build, policy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "_WATCH_S", 0.005)
    server = build()
    write(policy, ALLOW)
    async with running(server) as peer:
        await until(lambda: server._authorizer.policy.default.action == "allow")

        assert await verdict(peer) == "allow"


async def test_a_file_that_goes_bad_is_noticed_and_told_of_once(
    build: Build,
    policy: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(server_module, "_WATCH_S", 0.005)
    looks = Mock(wraps=server_module._contents)
    monkeypatch.setattr(server_module, "_contents", looks)
    server = build()
    async with running(server) as peer:
        write(policy, BAD)
        await until(lambda: gauge(server, "extauthz_policy_valid") == 0)
        looks.reset_mock()
        await until(lambda: looks.call_count >= 3)

        assert await verdict(peer) == "deny"
    assert caplog.text.count("policy not reloaded") == 1


def test_a_server_does_not_start_on_a_bad_policy(build: Build, policy: Path) -> None:
    policy.write_text(BAD)

    with pytest.raises(PolicyError, match="inspekt"):
        build()


RATE = "version: 1\ndefault: {detect: {prompt_injection: {false_positive_rate: %s}}}\n"
ROUTE = """
version: 1
routes:
  - name: chat
    match: {paths: [/v1/chat/completions]}
    detect: {prompt_injection: {false_positive_rate: 0.0001}}
default: {action: deny}
"""


@pytest.fixture
def measured(tmp_path: Path, model: Path) -> Path:
    """A calibration under which the canary's attack is let through at the finest rate."""
    path = tmp_path / "calibration.json"
    calibration.write(path, calibrated(model / "model.onnx", user=(0.5, 0.75, 1.0)))
    return path


def test_a_server_does_not_start_on_a_rate_that_was_never_measured(
    build: Build, policy: Path, measured: Path
) -> None:
    write(policy, ROUTE)
    with pytest.raises(ModelError, match=r"rule chat: .*has no calibration\.json"):
        build()
    with pytest.raises(ModelError, match=r"rule chat: .*0\.0001 is finer than the calibration"):
        build(calibration=measured)
    write(policy, RATE % "0.5")
    with pytest.raises(ModelError, match="rule default: "):
        build()


async def test_a_rate_that_was_never_measured_is_not_reloaded(
    build: Build, policy: Path, measured: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = build(calibration=measured)
    async with running(server) as peer:
        write(policy, RATE % "0.0001")
        await server.reload()

        assert await verdict(peer) == "deny"
        assert gauge(server, "extauthz_policy_valid") == 0
        assert server._authorizer.policy.default.false_positive_rate is None

        write(policy, RATE % "0.001")
        await server.reload()
        assert server._authorizer.policy.default.false_positive_rate == 0.001
        assert gauge(server, "extauthz_policy_valid") == 1
    assert "policy not reloaded, the last good one stays: rule default: " in caplog.text


async def test_a_calibration_of_ones_own_is_served_in_place_of_the_models(
    build: Build, policy: Path, measured: Path
) -> None:
    async def verdicts(rate: str, **changes: Any) -> object:
        write(policy, RATE % rate)
        async with running(build(**changes)) as peer:
            return await verdict(peer)

    assert await verdicts("0.01", calibration=measured) == "deny"
    assert await verdicts("0.001", calibration=measured) == "allow"
    assert await verdicts("null") == "deny"


def test_a_server_does_not_start_on_a_bad_calibration(build: Build, tmp_path: Path) -> None:
    write(tmp_path / "own.json", "{}")
    calibration.write(tmp_path / "theirs.json", calibrated())

    with pytest.raises(ModelError, match=r"own\.json: "):
        build(calibration=tmp_path / "own.json")
    with pytest.raises(ModelError, match=r"missing\.json: No such file"):
        build(calibration=tmp_path / "missing.json")
    with pytest.raises(ModelError, match=r"theirs\.json: measured for a model with SHA-256 0000"):
        build(calibration=tmp_path / "theirs.json")


async def test_drift_is_told_for_places_that_were_measured(
    build: Build, model: Path, tmp_path: Path
) -> None:
    path = tmp_path / "wide.json"
    rates = (0.5, 0.2, 0.1, 0.05)
    columns = dict.fromkeys(Provenance, (0.001, 0.01, 0.1, 0.5))
    name = calibrated(model / "model.onnx").model
    calibration.write(path, Calibration(name, 0.05, rates, {Provenance.USER: 1_000}, columns))
    server = build(calibration=path)
    async with running(server) as peer:

        def drift(provenance: str) -> float | None:
            labels = {"provenance": provenance}
            return server._metrics.registry.get_sample_value("extauthz_score_drift", labels)

        assert (drift("user"), drift("document")) == (0, None)
        for _ in range(ENOUGH):
            await peer.check(ATTACK)
        shifted = drift("user")
    assert shifted is not None
    assert shifted > 1


async def test_there_is_no_drift_without_a_calibration(build: Build) -> None:
    server = build()
    async with running(server):
        metrics = generate_latest(server._metrics.registry).decode()
    assert "extauthz_score_drift{" not in metrics


@pytest.mark.parametrize("transport", ["h2corn", "grpcio"])
@pytest.mark.parametrize("taken", ["listener", "admin"])
async def test_an_address_in_use_stops_the_start_and_leaves_nothing_open(
    build: Build, busy: str, transport: str, taken: str
) -> None:
    before = own_threads()
    free, used = ListenOptions("127.0.0.1:0"), ListenOptions(busy)
    changes: dict[str, dict[str, Any]] = {
        "listener": {"listeners": (free, used), "admin": "127.0.0.1:0"},
        "admin": {"admin": busy},
    }
    server = build(transport=transport, **changes[taken])

    with pytest.raises(OSError, match=f"cannot listen on {busy}: "):
        async with running(server):
            pass

    assert own_threads() == before
    assert server._sink.closed


async def test_the_admin_port_tells_what_is_served(build: Build, policy: Path) -> None:
    def get(path: str) -> str:
        with urllib.request.urlopen(f"http://{admin}{path}", timeout=10) as response:
            return str(response.read().decode())

    with socket.create_server(("127.0.0.1", 0)) as probe:
        admin = f"127.0.0.1:{probe.getsockname()[1]}"
    server = build(admin=admin)
    async with running(server):
        page = await asyncio.to_thread(get, "/")
        metrics = await asyncio.to_thread(get, "/metrics")

        assert await asyncio.to_thread(get, "/ready") == "ready\n"
    assert f"policy.yaml sha256:{server._authorizer.policy.digest}" in page
    assert "extauthz_queued_tokens 0.0" in metrics
    assert "extauthz_records_dropped 0.0" in metrics
    assert f'digest="{server._scorer.directory.digest}"' in metrics


def test_a_process_serves_reloads_on_sighup_and_ends_on_sigterm(model: Path, policy: Path) -> None:
    run = [sys.executable, "-m", "extauthz", "serve", "--model", str(model)]
    more = ["--policy", str(policy), "--listen", "127.0.0.1:0", "--admin", "", "--drain-wait-s=0"]
    with subprocess.Popen([*run, *more], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        lines = iter(process.stderr.readline, "")
        assert any("serving on 127.0.0.1:" in line for line in lines)
        policy.write_text(BAD)
        process.send_signal(signal.SIGHUP)
        assert any("policy not reloaded, the last good one stays" in line for line in lines)
        process.send_signal(signal.SIGTERM)
        rest = list(lines)

    assert process.returncode == 0
    assert not [line for line in rest if "Traceback" in line or "Error" in line]


async def test_reservations_are_looked_after_again_after_a_bug(
    build: Build, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(server_module, "_TICK_S", 0.005)
    server, ticks = build(), 0

    def tick() -> Ticked:
        nonlocal ticks
        ticks += 1
        if ticks == 1:
            raise ValueError("open sesame")
        return Ticked(7, 0, 0)

    monkeypatch.setattr(server._store, "tick", tick)
    async with running(server):
        await until(lambda: server._ticked.counters == 7)

    assert "ValueError" in caplog.text
    assert "sesame" not in caplog.text
