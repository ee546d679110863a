"""The committed generated code is what protos/ says."""

import runpy
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = Path("extauthz/protocol/_pb")


def sources(root: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in (root / PACKAGE).glob("*.py*")}


def test_make_proto_would_change_nothing(tmp_path: Path) -> None:
    runpy.run_path(str(ROOT / "protos/generate.py"))["generate"](tmp_path)

    generated = sources(tmp_path)

    assert len(generated) == 1 + 2 * len(list((ROOT / "protos").glob("*.proto")))
    assert sources(ROOT) == generated
