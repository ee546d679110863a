"""The import contracts bite: each breach that they are there for is found and named."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[1]
LAYERS = "Imports run one way, and siblings do not know each other"
CORE = "The core has no clock, no I/O and no framework"
KERNELS = "Kernels know arrays only"
GENERATED = "Only the protocol reads and writes protobuf"
TRANSPORT = "A transport moves bytes and knows no message"
PROTOCOL = "The protocol translates and waits for nothing"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The packages and the contracts, in a folder that may be spoiled."""
    without_data = shutil.ignore_patterns("__pycache__", "models")
    shutil.copytree(ROOT / "extauthz", tmp_path / "extauthz", ignore=without_data)
    shutil.copytree(ROOT / "kernels", tmp_path / "kernels", ignore=without_data)
    shutil.copy(ROOT / ".importlinter", tmp_path)
    return tmp_path


def broken_contracts(copy: Path) -> list[str]:
    """The names of the contracts that the code below `copy` breaks."""
    linted = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        check=False,
        cwd=copy,
        env=os.environ | {"PYTHONPATH": f"{copy}{os.pathsep}{copy / 'kernels'}"},
        capture_output=True,
        text=True,
    )
    broken = [
        line.partition(" BROKEN")[0] for line in linted.stdout.splitlines() if " BROKEN" in line
    ]
    assert "Contracts: " in linted.stdout, linted.stdout + linted.stderr
    assert linted.returncode == (1 if broken else 0)
    return broken


def test_the_code_as_it_is_keeps_every_contract(copy: Path) -> None:
    assert broken_contracts(copy) == []


@pytest.mark.parametrize(
    ("module", "statement", "contract"),
    [
        ("extauthz/core/call.py", "import extauthz.protocol", LAYERS),
        ("extauthz/transport/__init__.py", "import extauthz.model", LAYERS),
        ("extauthz/model/__init__.py", "import extauthz.training", LAYERS),
        ("extauthz/unplaced.py", "", LAYERS),
        ("extauthz/core/call.py", "import time", CORE),
        ("extauthz/core/call.py", "from google.protobuf import message", CORE),
        ("kernels/extauthz_kernels/__init__.py", "import extauthz.core", KERNELS),
        ("extauthz/model/__init__.py", "import extauthz.protocol._pb.check_pb2", GENERATED),
        ("extauthz/transport/__init__.py", "import google.protobuf", TRANSPORT),
        ("extauthz/protocol/__init__.py", "import grpc", PROTOCOL),
    ],
)
def test_a_breach_is_found_and_named(
    copy: Path, module: str, statement: str, contract: str
) -> None:
    with (copy / module).open("a") as file:
        file.write(f"\n{statement}\n")

    assert contract in broken_contracts(copy)


def test_kernels_import_numbers_and_types_and_nothing_else() -> None:
    graph = grimp.build_graph("extauthz_kernels", include_external_packages=True, cache_dir=None)

    ours = {name for name in graph.modules if name.startswith("extauthz_kernels")}
    plain = ours - {"extauthz_kernels._jit"}  # which keeps what was compiled
    foreign = {name for one in plain for name in graph.find_modules_directly_imported_by(one)}

    assert foreign - ours <= {"collections", "dataclasses", "math", "numba", "numpy", "typing"}
