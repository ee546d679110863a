"""What the documents name is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "envoy").glob("*.md"), *(ROOT / "docs").glob("*.md")]


@pytest.mark.parametrize("document", sorted(DOCUMENTS), ids=lambda path: path.name)
def test_every_relative_link_leads_somewhere(document: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)", document.read_text())
    missing = [
        link for link in links if "://" not in link and not (document.parent / link).exists()
    ]
    assert missing == []


def test_architecture_names_files_that_exist() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    named = set(re.findall(r"`((?:[\w.]+/)+[\w.]*)", text)) | set(re.findall(r"`(\w+\.py)`", text))
    places = (ROOT, ROOT / "extauthz", ROOT / "extauthz" / "transport")
    missing = {name for name in named if not any((place / name).exists() for place in places)}
    assert missing == set()
    assert len(named) > 20
