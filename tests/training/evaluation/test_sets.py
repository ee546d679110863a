import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from extauthz.core.call import Passage, Provenance
from extauthz.training.evaluation.sets import read_sets, sample
from extauthz.training.rows import RowError
from tests.training.evaluation.placed import placed


def lines(*rows: dict[str, Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


BENIGN, ATTACK, NEITHER = ({"text": f"{label}", "label": label} for label in (0, 1, None))


def test_each_row_knows_its_set_file_and_line(tmp_path: Path) -> None:
    plain, zipped = tmp_path / "mails.jsonl", tmp_path / "chats.jsonl.gz"
    plain.write_text(lines(BENIGN, NEITHER, ATTACK), encoding="utf-8")
    zipped.write_bytes(gzip.compress(lines(NEITHER, ATTACK).encode()))
    found = read_sets([plain, zipped])
    assert [(one.of_set, one.path, one.line, one.is_attack) for one in found] == [
        ("mails", plain, 1, False),
        ("mails", plain, 3, True),
        ("chats", zipped, 2, True),
    ]
    assert str(found[1]) == f"{plain}:3"
    assert found[1].passage == Passage(Provenance.USER, "1")


def test_a_folder_is_its_files_and_sets_of_one_name_go_by_their_path(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "test.jsonl").write_text(lines(BENIGN), encoding="utf-8")
    (tmp_path / "one" / "other.jsonl").write_text(lines(ATTACK), encoding="utf-8")
    assert [one.of_set for one in read_sets([tmp_path / "one"])] == ["other", "test"]
    both = read_sets([tmp_path / "one", tmp_path / "two"])
    assert [one.of_set for one in both] == [
        "other",
        str(tmp_path / "one" / "test.jsonl"),
        str(tmp_path / "two" / "test.jsonl"),
    ]


def test_rows_of_another_split_keep_their_lines_out(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(lines(BENIGN, BENIGN | {"split": "dev"}, ATTACK), encoding="utf-8")
    assert [one.line for one in read_sets([path], "dev")] == [2]
    assert [one.line for one in read_sets([path], "train")] == [1, 3]
    assert [one.line for one in read_sets([path], "all")] == [1, 2, 3]


def test_a_bad_line_and_an_empty_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RowError, match="found none"):
        read_sets([tmp_path])
    (tmp_path / "a.jsonl").write_text("{", encoding="utf-8")
    with pytest.raises(RowError, match=r"a\.jsonl:1: not JSON"):
        read_sets([tmp_path])


def test_a_sample_is_the_same_one_every_time_and_in_order() -> None:
    rows = [placed(1, line=line) for line in range(1_000)]
    drawn = [one.line for one in sample(rows, 50)]
    assert drawn == [one.line for one in sample(rows, 50)]
    assert drawn == sorted(set(drawn))
    assert len(drawn) == 50
    assert sample(rows[:3], 50) == rows[:3]


def test_our_own_development_set_has_no_rows_to_train_on() -> None:
    assert read_sets([], "train") == []
    assert read_sets([], "dev") == read_sets([])
