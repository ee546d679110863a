"""The table in tests/e2e/README.md names every case, and claims no test that is not there."""

import re
from pathlib import Path

import pytest

from tests.e2e.catalogue.cases import CASES

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "tests/e2e/README.md").read_text()
#: Id, and where it is tested.
ROWS = dict(re.findall(r"^\| ([ABC]\d\d) \|.*\| ([^|]*) \|$", TEXT, re.MULTILINE))
IN_CATALOGUE = {case.id for case in CASES}
WANTED = [f"A{n:02}" for n in range(1, 29)] + [f"B{n:02}" for n in range(1, 53)]


def test_every_case_of_ranks_a_and_b_is_in_the_table() -> None:
    assert [case_id for case_id in WANTED if case_id not in ROWS] == []


def test_every_case_of_the_catalogue_is_in_the_table() -> None:
    assert (
        sorted(
            case_id for case_id in IN_CATALOGUE if not ROWS.get(case_id, "").startswith("catalogue")
        )
        == []
    )


@pytest.mark.parametrize("case_id", ROWS)
def test_a_case_that_is_said_to_be_tested_is(case_id: str) -> None:
    where = ROWS[case_id]
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", where)
    missing = [(f, t) for f, t in named if f"def {t}(" not in (ROOT / f).read_text()]

    assert missing == []
    assert where.startswith("catalogue") == (case_id in IN_CATALOGUE)
    assert named or where.startswith(("catalogue", "later: "))


def test_every_invariant_names_tests_that_exist() -> None:
    section = TEXT.partition("## Invariants")[2]
    rows = re.findall(r"^\| (\d+) \|.*\| ([^|]*) \|$", section, re.MULTILINE)
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", section)

    assert [int(number) for number, _ in rows] == list(range(1, 27))
    assert [(f, t) for f, t in named if f"def {t}(" not in (ROOT / f).read_text()] == []
