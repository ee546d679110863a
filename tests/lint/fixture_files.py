"""The fixtures of the rules: what they are about, and where a fault is to be found."""

import argparse
import re
from dataclasses import dataclass
from pathlib import Path

from extauthz import lint
from extauthz.lint.report import Report

FOLDER = Path(__file__).with_name("fixtures")
#: Stands on each line where the rule is to find something.
HERE = "# here"


@dataclass(frozen=True)
class Fixture:
    """`L07/fail-envoy-prefix.yaml`: the rule, whether it finds something, and in whose words."""

    path: Path

    @property
    def rule(self) -> str:
        return self.path.parent.name.replace("L0", "L")

    @property
    def fails(self) -> bool:
        return self.path.name.startswith("fail-")

    @property
    def family(self) -> str:
        return re.split(r"[-.]", self.path.name)[1]

    @property
    def is_bootstrap(self) -> bool:
        return "static_resources:" in self.path.read_text()

    @property
    def options(self) -> list[str]:
        """Flags from the comment in its first line."""
        found = re.match(r"# options: (.*)", self.path.read_text())
        return found[1].split() if found else []

    @property
    def lines(self) -> list[int]:
        """Where something is to be found."""
        texts = self.path.read_text().splitlines()
        return [number for number, text in enumerate(texts, 1) if HERE in text]

    def __str__(self) -> str:
        return f"{self.path.parent.name}/{self.path.stem}"


def all_fixtures() -> list[Fixture]:
    return [Fixture(path) for path in sorted(FOLDER.rglob("*.yaml"))]


def linted(*paths: Path, options: list[str] | None = None) -> Report:
    """What the command finds in files, with the flags `options`."""
    parser = argparse.ArgumentParser()
    lint.add_arguments(parser)
    parsed = parser.parse_args([*map(str, paths), *(options or [])])
    files = [lint.read(str(path), path.read_bytes()) for path in paths]
    return lint.lint(files, lint.options(parsed))
