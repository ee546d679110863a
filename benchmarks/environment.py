"""Where a benchmark ran, and the two forms of its result: a table and a committed JSON file."""

import json
import platform
import subprocess
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parent.parent
_RESULTS = Path(__file__).parent / "results"


def save(name: str, result: dict[str, Any], packages: Sequence[str]) -> Path:
    """Write `results/NAME.json`: the result, the machine, the versions of `packages`, the commit."""
    path = _RESULTS / f"{name}.json"
    document = {
        "machine": machine(),
        "python": platform.python_version(),
        "versions": {package: version(package) for package in packages},
        "commit": commit(),
        **result,
    }
    path.write_text(json.dumps(document, indent=1) + "\n")
    return path


def machine() -> dict[str, Any]:
    """Processor, cores, and how busy they were with other things."""
    info = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in info if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.processor(),
        "cores": len(models),
        "load_1min": float(Path("/proc/loadavg").read_text().split()[0]),
    }


def commit() -> str:
    """Commit of the sources measured, with a mark when anything but a result was changed since."""
    changed = _git("status", "--porcelain", "--", ".", ":!benchmarks/results")
    return _git("rev-parse", "--short=12", "HEAD") + ("-dirty" if changed else "")


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(_ROOT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def print_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Columns wide enough for their content; the first to the left, the others to the right."""
    cells = [list(map(str, row)) for row in (header, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        first, *rest = (cell for cell in row)
        line = [first.ljust(widths[0])]
        line += [cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True)]
        print("  ".join(line).rstrip())
