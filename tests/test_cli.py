"""The command: what it prints, how it exits, and what it leaves unloaded."""

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from extauthz import __version__, cli, settings
from extauthz.model import calibration
from tests import canary_model
from tests.canary_model import CANARY
from tests.model.calibrations import calibrated

GOOD = "version: 1\ndefault: {action: inspect}\n"
BAD = "version: 1\ndefault:\n  action: inspekt\n"


#: Commands that only those load who ask for them, each with a flag of its own.
TRAINING = {"train": "--out", "evaluate": "--json", "calibrate": "--traffic"}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(canary_model.build(tmp_path_factory.mktemp("canary")))


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text(GOOD)
    return path


@pytest.fixture
def busy() -> Iterator[str]:
    """An address that another process listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["--version"])

    assert stopped.value.code == 0
    assert capsys.readouterr().out == f"extauthz {__version__}\n"


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["serve", "--nonsense"], ["explain"]])
def test_a_wrong_command_line_exits_with_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments)

    assert stopped.value.code == 2
    assert "usage: extauthz" in capsys.readouterr().err


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--help"])

    shown = capsys.readouterr().out
    for command in ("serve", "check-policy", "explain", "receipts", "budget", "demo", *TRAINING):
        assert f"\n    {command}" in shown


@pytest.mark.parametrize(("command", "flag"), TRAINING.items())
def test_the_flags_of_training_are_known_when_it_is_asked_for(
    command: str, flag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        cli.main([command, "--help"])

    assert flag in capsys.readouterr().out


def test_a_good_policy_is_named_with_its_digest_and_rules_in_order(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["check-policy", str(settings.DEFAULT_POLICY)]) == 0

    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{settings.DEFAULT_POLICY}: good, sha256:")
    assert second.startswith("rules in order: ")
    assert second.endswith(", default")


def test_a_bad_policy_is_refused_with_file_and_line_and_exit_status_1(
    policy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policy.write_text(BAD)

    assert cli.main(["check-policy", str(policy)]) == 1

    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith(f'{policy}:3: found "inspekt" at default.action; expected ')


def test_explain_shows_people_a_table(
    policy: Path, model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    request = tmp_path / "request.http"
    body = json.dumps({"prompt": CANARY})
    request.write_text(f"POST /v1/completions HTTP/1.1\nhost: a\n\n{body}\n")

    assert cli.main(["explain", str(request), "--policy", str(policy), "--model", model]) == 0

    assert capsys.readouterr().out.endswith("DENY  prompt_injection\n")


def test_explain_shows_machines_json(
    policy: Path, model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    request = tmp_path / "body.json"
    request.write_text(json.dumps({"system": "Be kind.", "messages": []}))
    files = ["--policy", str(policy), "--model", model]

    assert cli.main(["explain", str(request), "--path", "/v1/messages", "--json", *files]) == 0

    found = json.loads(capsys.readouterr().out)
    assert (found["verdict"], found["dialect"]) == ("allow", "anthropic_messages")
    assert [one["provenance"] for one in found["scored"]] == ["system"]


def test_explain_takes_the_calibration_that_the_server_has(
    policy: Path, model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own, request = tmp_path / "own.json", tmp_path / "body.json"
    calibration.write(own, calibrated(Path(model) / "model.onnx", user=(0.5, 1.0, 1.0)))
    request.write_text(json.dumps({"prompt": CANARY}))
    files = ["--policy", str(policy), "--model", model, "--path", "/v1/completions"]

    assert cli.main(["explain", str(request), *files, "--calibration", str(own)]) == 0

    assert capsys.readouterr().out.endswith("ALLOW  clean\n")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"request": "nowhere.http"}, "No such file or directory: 'nowhere.http'"),
        ({"policy": "nowhere.yaml"}, "nowhere.yaml:1: found that it cannot be read"),
        ({"model": "nowhere"}, "nowhere: expected model.onnx"),
    ],
)
def test_a_missing_file_is_named_and_the_exit_status_is_2(
    changes: dict[str, str],
    expected: str,
    policy: Path,
    model: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    request = tmp_path / "request.http"
    request.write_text("GET / HTTP/1.1\n\n")
    files = {"request": str(request), "policy": str(policy), "model": model} | changes

    status = cli.main(
        ["explain", files["request"], "--policy", files["policy"], "--model", files["model"]]
    )

    assert status == 2
    error = capsys.readouterr().err
    assert error.startswith("extauthz: ")
    assert expected in error


@pytest.mark.parametrize("transport", ["h2corn", "grpcio"])
@pytest.mark.parametrize("flag", ["--listen", "--admin"])
def test_an_address_in_use_is_named_and_the_exit_status_is_2(
    flag: str,
    transport: str,
    busy: str,
    policy: Path,
    model: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    addresses = {"--listen": "127.0.0.1:0", "--admin": "127.0.0.1:0", flag: busy}
    files = ["--policy", str(policy), "--model", model, "--transport", transport]

    status = cli.main(["serve", *files, *(word for pair in addresses.items() for word in pair)])

    assert status == 2
    assert f"extauthz: cannot listen on {busy}: " in capsys.readouterr().err


LOADED = """
import sys
from extauthz import cli
status = cli.main(sys.argv[1:])
print(status, *sorted({name.partition(".")[0] for name in sys.modules}))
print(*(name for name in sys.modules if name.startswith("extauthz.")))
"""


def loaded(*arguments: str) -> tuple[str, set[str]]:
    """Exit status of a command in a process of its own, and the modules it had loaded."""
    run = [sys.executable, "-c", LOADED, *arguments]
    done = subprocess.run(run, capture_output=True, text=True, check=True, timeout=60)
    packages, ours = done.stdout.splitlines()[-2:]
    status, *names = packages.split()
    return status, {*names, *ours.split()}


def test_the_server_loads_no_training_code_and_no_torch(tmp_path: Path) -> None:
    status, modules = loaded("serve", "--policy", str(tmp_path / "missing.yaml"))

    assert status == "2"
    assert {"extauthz.server", "onnxruntime", "h2corn"} <= modules
    assert modules.isdisjoint({"torch", "transformers", "onnx", "safetensors", "hypothesis"})
    assert not [name for name in modules if name.startswith(("extauthz.training", "extauthz.demo"))]


def test_checking_a_policy_loads_no_model_runtime(policy: Path) -> None:
    status, modules = loaded("check-policy", str(policy))

    assert status == "0"
    assert modules.isdisjoint({"onnxruntime", "tokenizers", "grpc", "h2corn", "torch"})


def test_asking_a_server_about_budgets_loads_no_server_and_no_model_runtime(tmp_path: Path) -> None:
    status, modules = loaded("budget", "show", "--socket", str(tmp_path / "missing.sock"))

    assert status == "2"
    assert modules.isdisjoint({"onnxruntime", "tokenizers", "grpc", "h2corn", "redis"})
    assert modules.isdisjoint({"extauthz.server", "extauthz.control", "extauthz.accounts"})
