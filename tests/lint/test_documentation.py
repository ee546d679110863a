"""`docs/lint.md` says what the command does, and its commands run as they are written."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from extauthz.lint import RULES
from extauthz.lint.documents import _RESOURCES
from extauthz.lint.rule import Rule
from extauthz.lint.rules.deployment import ADVISORIES

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "lint.md").read_text()
COMMANDS = re.findall(r"^(?:    |- run: )(extauthz lint .*)$", PAGE, re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_runs_as_written(command: str, tmp_path: Path) -> None:
    (tmp_path / "envoy").symlink_to(ROOT / "envoy")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", command],
        check=False,
        cwd=tmp_path,
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout or "sarif" in (tmp_path / "lint.sarif").read_text()


def test_the_page_shows_commands_at_all() -> None:
    assert len(COMMANDS) >= 5


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_every_rule_stands_in_the_table_as_it_is(rule: Rule) -> None:
    words = ", ".join(rule.families)
    said = f"{rule.title}. {rule.why} **Fix:** {rule.fix}"
    assert f"| {rule.id} | {rule.severity} | {said} | {words} |" in PAGE


def test_every_kind_and_every_advisory_is_named() -> None:
    kinds = {kind for some in _RESOURCES.values() for kind in some}
    assert [kind for kind in sorted(kinds) if kind not in PAGE] == []
    for advisory in ADVISORIES:
        fixed = ", ".join(".".join(map(str, version)) for version in advisory.fixed)
        row = f"| {advisory.name} | {advisory.what} | {fixed} | {advisory.source} |"
        assert row in PAGE
