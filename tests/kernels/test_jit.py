"""Compiled kernels are kept while their sources stay as they are, and are not needed to be."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from extauthz_kernels import _jit

TWICE = """
import numba
from small_kernels._jit import kernel

@kernel(numba.int64(numba.int64))
def twice(number):
    return 2 * number
"""
ASK = """
from small_kernels.twice import twice
print(twice(21), sum(twice.stats.cache_hits.values()))
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    package = tmp_path / "small_kernels"
    package.mkdir()
    shutil.copy(_jit.__file__, package / "_jit.py")
    (package / "__init__.py").touch()
    (package / "twice.py").write_text(TWICE)
    return package


def asked(package: Path) -> tuple[int, int]:
    """Twice 21, and how many kernels a fresh process did not have to compile."""
    command = [sys.executable, "-c", ASK]
    said = subprocess.run(
        command, check=True, cwd=package.parent, capture_output=True, text=True
    ).stdout
    answer, kept = said.split()
    return int(answer), int(kept)


def test_the_second_process_compiles_nothing(package: Path) -> None:
    assert asked(package) == (42, 0)
    assert asked(package) == (42, 1)


def test_a_change_in_any_file_is_a_reason_to_compile_again(package: Path) -> None:
    asked(package)
    (package / "another.py").write_text("LIMIT = 3")

    assert asked(package) == (42, 0)


def test_where_nothing_can_be_written_every_process_compiles(package: Path) -> None:
    (package / "__pycache__").touch()  # no folder can be made of a file

    assert asked(package) == (42, 0)
    assert asked(package) == (42, 0)
