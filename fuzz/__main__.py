"""`python -m fuzz`: run every target for a while, or one target with libFuzzer's own arguments."""

import argparse
import importlib
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from fuzz.targets import __path__ as _targets

_HERE: Final = Path(__file__).parent
_SEEDS: Final = _HERE / "seeds"
#: What is found and what breaks stays out of the repository until somebody minimised it.
_RUN: Final = _HERE.parent / "run" / "fuzz"
#: A whole body of the size limit takes 1 s and 320 MB; inputs here are a thousandth of it.
_MEMORY_MB: Final = 2048
_INPUT_S: Final = 10
_MAX_BYTES: Final = 4096
_STATISTICS: Final = ("number_of_executed_units", "average_exec_per_sec", "peak_rss_mb")


class Run(NamedTuple):
    """What one target did."""

    target: str
    seconds: int
    executions: str
    per_second: str
    coverage: str
    peak_mb: str
    crashed: bool


def targets() -> list[str]:
    """Names of all targets."""
    return sorted(path.stem for path in Path(_targets[0]).glob("[a-z]*.py"))


def fuzz(target: str, arguments: Sequence[str]) -> None:
    """Fuzz one target in this process; returns only through libFuzzer's exit."""
    # Compiled kernels check no index. With this they do, so that reading astray is an exception.
    os.environ.setdefault("NUMBA_BOUNDSCHECK", "1")
    import atheris  # noqa: PLC0415 - on Linux only, and not needed to list or replay

    kernels = ["extauthz_kernels"] if os.environ.get("NUMBA_DISABLE_JIT") == "1" else []
    with atheris.instrument_imports(include=["extauthz", *kernels]):
        module = importlib.import_module(f"fuzz.targets.{target}")
    limits = [f"-rss_limit_mb={_MEMORY_MB}", f"-timeout={_INPUT_S}", f"-max_len={_MAX_BYTES}"]
    atheris.Setup([target, *limits, f"-artifact_prefix={_RUN}/{target}-", *arguments], module.check)
    atheris.Fuzz()


def minimise(target: str, data: bytes) -> bytes:
    """The shortest input found by taking bytes away that breaks the target in the same way."""
    wanted, size = _breaks(target, data), len(data) // 2
    while wanted and size:
        at = 0
        while at < len(data):
            shorter = data[:at] + data[at + size :]
            if _breaks(target, shorter) == wanted:
                data = shorter
            else:
                at += size
        size //= 2
    return data


def _breaks(target: str, data: bytes) -> str:
    """How the target fails on `data`; empty if it does not."""
    try:
        importlib.import_module(f"fuzz.targets.{target}").check(data)
    except Exception as error:  # noqa: BLE001 - any exception is a find
        return f"{type(error).__name__}: {error}"
    return ""


def run(target: str, seconds: int) -> Run:
    """Fuzz a target in a process of its own, from its seeds and what earlier runs found."""
    corpus, seeds = _RUN / "corpus" / target, _SEEDS / target
    corpus.mkdir(parents=True, exist_ok=True)
    seeds.mkdir(parents=True, exist_ok=True)
    limits = [f"-max_total_time={seconds}", "-print_final_stats=1"]
    command = [sys.executable, "-m", "fuzz", target, *limits, str(corpus), str(seeds)]
    log = _RUN / f"{target}.log"
    with log.open("wb") as file:
        code = subprocess.run(  # noqa: S603 - ourselves
            command, stdout=file, stderr=file, cwd=_HERE.parent, check=False
        )
    text = log.read_text(errors="replace")
    found = {name: re.findall(rf"{name}:\s*(\d+)", text) for name in _STATISTICS}
    executions, rate, memory = (found[name][-1] if found[name] else "?" for name in _STATISTICS)
    covered = re.findall(r"cov: (\d+)", text)
    coverage = covered[-1] if covered else "?"
    return Run(target, seconds, executions, rate, coverage, memory, code.returncode != 0)


def main() -> int:
    """Run what the command line names; 1 when a target crashed, hung or took too much memory."""
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__)
    parser.add_argument("target", nargs="?", choices=targets(), help="all of them if left out")
    parser.add_argument("--seconds", type=int, default=60, help="for each of all targets")
    parser.add_argument("--minimise", type=Path, metavar="CRASH", help="print a short one like it")
    options, rest = parser.parse_known_args()
    _RUN.mkdir(parents=True, exist_ok=True)
    if options.target and options.minimise:
        sys.stdout.buffer.write(minimise(options.target, options.minimise.read_bytes()))
        return 0
    if options.target and rest:
        fuzz(options.target, rest)
    crashed = False
    sys.stdout.write(
        "| target | seconds | executions | per second | coverage | peak MB | result |\n"
    )
    sys.stdout.write("|---|---:|---:|---:|---:|---:|---|\n")
    for name in [options.target] if options.target else targets():
        done = run(name, options.seconds)
        crashed |= done.crashed
        *figures, broken = done
        result = f"see run/fuzz/{name}.log" if broken else "clean"
        sys.stdout.write(f"| {' | '.join(map(str, [*figures, result]))} |\n")
        sys.stdout.flush()
    return int(crashed)


if __name__ == "__main__":
    sys.exit(main())
