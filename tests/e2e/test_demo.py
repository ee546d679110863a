"""The demo tells the truth: it fails when a verdict is wrong, and leaves nothing behind."""

import json
import re
import shlex
import signal
import socket
import sys
from pathlib import Path

import pytest

from extauthz.demo import run
from extauthz.demo.cases import cases
from extauthz.demo.client import Request, send
from extauthz.demo.processes import Child, Envoy, Server, StartError
from extauthz.model.directory import ModelDirectory


def _listens(address: str) -> bool:
    host, _, port = address.rpartition(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


def _whole(said: str) -> str | None:
    """What the demo printed, once it waits for Ctrl-C."""
    return said if "Ctrl-C" in said else None


@pytest.mark.parametrize("transport", ["h2corn", "grpcio"])
def test_with_the_model_that_ships_every_verdict_is_as_expected(
    transport: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status = run(keep=False, transport=transport)

    said = capsys.readouterr().out
    assert status == 0, said
    assert said.count(" ✓ ") == len(cases())
    assert " 0 invalid, 0 requests UNCHECKED." in said


def test_a_model_that_misses_attacks_fails_the_demo_and_is_shown(
    model: ModelDirectory, capsys: pytest.CaptureFixture[str]
) -> None:
    status = run(keep=False, transport="h2corn", model=model.path)

    said = capsys.readouterr().out
    attacks = [case for case in cases() if case.reason == "prompt_injection"]
    assert status == 1
    assert f"{len(attacks)} NOT as expected" in said
    assert said.count("expected deny (prompt_injection)") == len(attacks) - 1  # one is on trial
    for case in attacks:
        assert f" ✗ {case.name}" in said
    for case in set(cases()) - set(attacks):
        assert f" ✓ {case.name}" in said
    assert "\x1b" not in said
    assert not any(map(_listens, re.findall(r"127\.0\.0\.1:\d+", said)))


def test_without_a_model_the_demo_says_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = run(keep=False, transport="h2corn", model=tmp_path / "nowhere")

    assert status == 2
    assert "no model at" in capsys.readouterr().out


def test_kept_running_the_demo_prints_commands_that_work_and_ends_with_ctrl_c(
    model: ModelDirectory, tmp_path: Path
) -> None:
    code = (
        "import sys, pathlib; from extauthz.demo import run; "
        "sys.exit(run(keep=True, transport='grpcio', model=pathlib.Path(sys.argv[1])))"
    )
    command = [sys.executable, "-c", code, str(model.path)]
    with Child("demo", command, tmp_path, {"PYTHONUNBUFFERED": "1"}) as demo:
        said = demo.await_(lambda: _whole(demo.stdout.read_text()), 100.0)
        statuses = []
        for line in said.splitlines():
            if line.startswith("curl"):
                *_, url, _, header, _, body = shlex.split(line)
                json.loads(body)
                address, _, path = url.removeprefix("http://").partition("/")
                assert header == "content-type: application/json"
                statuses.append(send(address, Request(f"/{path}", body.encode())).status)
        page = re.findall(r"Status page: http://(\S+)/", said)[0]
        listening = _listens(page)
        demo.send_signal(signal.SIGINT)
        ended = demo.wait(30)

    assert statuses == [200, 200]  # the canary model sees no harm in either
    assert listening
    assert ended == 1  # the canary model missed the attacks
    assert not any(map(_listens, re.findall(r"127\.0\.0\.1:\d+", said)))


def test_a_child_that_ends_is_reported_with_its_last_words(
    model: ModelDirectory, tmp_path: Path
) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text("version: 1\nrouts: []\n")

    with (
        pytest.raises(StartError, match=r"extauthz ended.*\n(.*\n)*.*routs"),
        Server(tmp_path, model=model.path, policy=policy) as server,
    ):
        server.ready()
    with (
        pytest.raises(StartError, match=r"envoy ended.*\n(.*\n)*.*listenerz"),
        Envoy(tmp_path, {"static_resources": {"listenerz": []}}) as envoy,
    ):
        envoy.ready()


def test_a_child_that_ignores_sigterm_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("extauthz.demo.processes._STOP_S", 0.1)
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); signal.pause()"

    with Child("deaf", [sys.executable, "-c", deaf], tmp_path) as child:
        child.await_(lambda: child.stdout.read_text() or None, 20.0)

    assert child.wait(0) == -signal.SIGKILL
