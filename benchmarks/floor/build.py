"""Builds the C++ floor from Debian's `libgrpc++-dev`, `pkg-config` and `g++`, where they are."""

import shutil
import subprocess
from pathlib import Path

_SOURCE = Path(__file__).with_name("server.cc")


def build(folder: Path) -> tuple[Path, str] | str:
    """The binary, made in `folder`, and its gRPC version; or why there is none."""
    missing = [tool for tool in ("g++", "pkg-config") if shutil.which(tool) is None]
    if missing:
        return f"{' and '.join(missing)} not installed"
    found = _run("pkg-config", "--cflags", "--libs", "grpc++")
    if found.returncode:
        return "libgrpc++-dev not installed"
    binary = folder / "floor"
    built = _run("g++", "-O2", "-std=c++17", str(_SOURCE), "-o", str(binary), *found.stdout.split())
    if built.returncode:
        return f"g++ failed: {built.stderr.strip().splitlines()[0]}"
    return binary, _run("pkg-config", "--modversion", "grpc++").stdout.strip()


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False)
