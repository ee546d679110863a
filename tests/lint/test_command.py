"""`extauthz lint`: what it prints, and how it exits."""

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from extauthz import cli
from extauthz.lint import RULES
from tests.lint.fixture_files import FOLDER

ENVOY = Path(__file__).parents[2] / "envoy"
FAULT = FOLDER / "L02" / "fail-envoy-partial.yaml"
WARNING = FOLDER / "L20" / "fail-envoy.yaml"
CLEAN = FOLDER / "L02" / "pass-istio.yaml"


def test_our_examples_are_clean(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["lint", str(ENVOY)]) == 0
    *lines, summary = capsys.readouterr().out.splitlines()
    assert "0 errors, 0 warnings, 1 ignored" in summary
    assert [line for line in lines if not line.startswith("skipped: ")] == [
        line for line in lines if line.startswith("ignored: ") and "envoy.yaml" in line
    ]


@pytest.mark.parametrize("example", sorted(ENVOY.rglob("*.yaml")), ids=lambda path: path.name)
def test_each_example_is_clean_without_the_others_too(example: Path) -> None:
    beside = [str(example), str(example.with_name("server.yaml"))]
    assert cli.main(["lint", *(beside if example.name == "llm.yaml" else beside[:1])]) == 0


def test_a_clean_file_exits_with_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["lint", str(CLEAN)]) == 0
    assert capsys.readouterr().out == (
        "1 files, 1 documents: 0 errors, 0 warnings, 0 ignored, 0 skipped\n"
    )


def test_a_finding_exits_with_1_and_says_where_why_and_what_to_do(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["lint", str(FAULT)]) == 1
    said = capsys.readouterr().out
    (rule,) = [rule for rule in RULES if rule.id == "L2"]
    assert f"{FAULT}:26:25  L2 error  {rule.title}" in said
    assert said.count(rule.why) == said.count(rule.fix) == 1
    assert said.endswith("1 errors, 0 warnings, 0 ignored, 0 skipped\n")


def test_the_reason_of_a_rule_is_given_once_for_many_places(
    capsys: pytest.CaptureFixture[str],
) -> None:
    cli.main(["lint", str(FOLDER / "L02")])
    (rule,) = [rule for rule in RULES if rule.id == "L2"]
    said = capsys.readouterr().out
    assert said.count(rule.title) > 4
    assert said.count(rule.why) == 1


def test_only_errors_fail_where_that_is_asked_for() -> None:
    assert cli.main(["lint", str(WARNING)]) == 1
    assert cli.main(["lint", "--fail-on", "error", str(WARNING)]) == 0
    assert cli.main(["lint", "--fail-on", "error", str(FAULT)]) == 1


@pytest.mark.parametrize("text", ["a: {{ .Values.b }}", "a: 1\na: 2", "\xff"])
def test_what_cannot_be_read_exits_with_2_and_one_line(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "broken.yaml"
    path.write_bytes(text.encode("latin-1"))
    assert cli.main(["lint", str(CLEAN), str(path)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"extauthz: {path}:")
    assert said.err.count("\n") == 1


def test_a_file_that_is_not_there_exits_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["lint", "nowhere.yaml"]) == 2
    assert "nowhere.yaml" in capsys.readouterr().err


def test_folders_are_walked_for_yaml_and_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "deep").mkdir()
    for name in ("a.yaml", "b.yml", "deep/c.json", "readme.md"):
        (tmp_path / name).write_text("{admin: {}}")
    assert cli.main(["lint", str(tmp_path)]) == 0
    assert capsys.readouterr().out.startswith("3 files, 3 documents")


def test_standard_input_is_read(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stdin = io.TextIOWrapper(io.BytesIO(FAULT.read_bytes()))
    monkeypatch.setattr(sys, "stdin", stdin)
    assert cli.main(["lint", "-"]) == 1
    assert "<stdin>:26:25  L2 error" in capsys.readouterr().out


def test_an_ignore_with_a_reason_is_listed_and_does_not_fail(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = ignoring(tmp_path, "# extauthz-lint: ignore L2 uploads are checked by their own service")
    assert cli.main(["lint", str(path)]) == 0
    said = capsys.readouterr().out
    assert f"ignored: {path}:27:25  L2  uploads are checked by their own service" in said


@pytest.mark.parametrize(
    "comment",
    [
        "# extauthz-lint: ignore L2",
        "# extauthz-lint: ignore L2   ",
        "# extauthz-lint: ignore L20 another rule",
        "# extauthz-lint: ignore all of them",
    ],
)
def test_an_ignore_of_another_rule_or_without_a_reason_has_no_effect(
    comment: str, tmp_path: Path
) -> None:
    assert cli.main(["lint", str(ignoring(tmp_path, comment))]) == 1


@pytest.mark.parametrize(
    ("comment", "why"),
    [
        ("# extauthz-lint: ignore L2", "ignore L2 has no effect: it gives no reason"),
        ("# extauthz-lint: ignore L3 old", "ignore L3 has no effect: nothing is found there"),
    ],
)
def test_an_ignore_without_effect_is_named(
    comment: str, why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = ignoring(tmp_path, comment)
    cli.main(["lint", str(path)])
    assert f"note: {path}:26: {why}" in capsys.readouterr().out


def ignoring(folder: Path, comment: str) -> Path:
    """The faulty file with a comment above the fault."""
    lines = FAULT.read_text().splitlines()
    at = next(number for number, line in enumerate(lines) if "allow_partial_message" in line)
    path = folder / "ignoring.yaml"
    path.write_text("\n".join([*lines[:at], " " * 24 + comment, *lines[at:]]))
    return path


def test_json_holds_each_finding_with_its_place(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["lint", "--format", "json", str(FAULT), str(ENVOY)]) == 1
    report = json.loads(capsys.readouterr().out)
    (finding,) = report["findings"]
    assert finding["path"].endswith("with_request_body.allow_partial_message")
    assert (finding["rule"], finding["severity"]) == ("L2", "error")
    assert (finding["file"], finding["line"], finding["column"]) == (str(FAULT), 26, 25)
    assert [one["rule"] for one in report["ignored"]] == ["L15"]
    assert {one["what"].split()[0] for one in report["skipped"]} > {"Deployment", "Service"}


def test_sarif_is_what_code_scanning_takes(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["lint", "--format", "sarif", str(FAULT), str(ENVOY / "envoy.yaml")]) == 1
    log: dict[str, Any] = json.loads(capsys.readouterr().out)
    (run,) = log["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert log["version"] == "2.1.0"
    assert [rule["id"] for rule in rules] == [rule.id for rule in RULES]

    ignored, fault = sorted(run["results"], key=lambda one: len(one["suppressions"]), reverse=True)
    assert ignored["suppressions"][0]["kind"] == "inSource"
    assert fault["suppressions"] == []
    for result in (ignored, fault):
        (location,) = result["locations"]
        place = location["physicalLocation"]
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["level"] in {"error", "warning"}
        assert result["message"]["text"]
        assert not place["artifactLocation"]["uri"].startswith("file:")
        assert place["region"]["startLine"] > 0
        assert place["region"]["startColumn"] > 0


def test_linting_needs_no_model_and_no_grpc() -> None:
    code = (
        "import sys; from extauthz import lint; from pathlib import Path;"
        "lint.read('x', b'admin: {}');"
        "print({'grpc', 'onnxruntime', 'google.protobuf'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "set()\n"


def test_files_that_complete_each_other_are_judged_together(tmp_path: Path) -> None:
    """A policy in one file, the policy that denies the rest in another."""
    text = (FOLDER / "L07" / "pass-istio-rest-is-denied.yaml").read_text()
    parts = text.split("---\n")
    (tmp_path / "check.yaml").write_text(parts[0])
    (tmp_path / "rest.yaml").write_text("---\n".join(parts[1:]))
    assert cli.main(["lint", str(tmp_path)]) == 0
    assert cli.main(["lint", str(tmp_path / "check.yaml")]) == 1
