import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from extauthz.training.rows import RowError, data_digest, read_rows
from extauthz.training.sampling import learnable


def labelled(**changes: Any) -> dict[str, Any]:
    row: dict[str, Any] = {
        "text": "a text",
        "label": 0,
        "kind": "benign",
        "source": "somewhere",
        "lang": "en",
        "channel": "user",
        "split": "train",
    }
    return row | changes


def written(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_plain_and_gzipped_files_are_read_in_order(tmp_path: Path) -> None:
    plain = written(tmp_path / "a.jsonl", labelled(text="one"), labelled(text="zwei ü"))
    zipped = tmp_path / "b.jsonl.gz"
    zipped.write_bytes(gzip.compress(json.dumps(labelled(text="three", label=1)).encode()))
    rows = read_rows([plain, zipped])
    assert [(row.text, row.label) for row in rows] == [("one", 0), ("zwei ü", 0), ("three", 1)]


def test_rows_of_neither_class_are_left_out(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", labelled(label=None), labelled(text="kept"))
    assert [row.text for row in read_rows([path])] == ["kept"]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("{", "not JSON"),
        ("", "not JSON"),
        ("[1]", "expected a JSON object, got list"),
        (json.dumps({"text": "x"}), "missing label, kind, source, lang, channel, split"),
        (json.dumps(labelled(text=3)), "text must be a string"),
        (json.dumps(labelled(label=2)), "label must be one of 0, 1, null"),
        (json.dumps(labelled(label=True)), "label must be one of 0, 1, null"),
        (json.dumps(labelled(label=1.0)), "label must be one of 0, 1, null"),
        (json.dumps(labelled(channel="tool")), 'channel must be one of "user", "document"'),
        (json.dumps(labelled(split="test")), 'split must be one of "train", "dev"'),
        (json.dumps(labelled(split=["dev"])), 'split must be one of "train", "dev"'),
    ],
)
def test_a_bad_row_is_named_by_file_and_line(tmp_path: Path, line: str, complaint: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(f"{json.dumps(labelled())}\n{line}\n", encoding="utf-8")
    with pytest.raises(RowError) as refusal:
        read_rows([path])
    assert str(refusal.value).startswith(f"{path}:2: ")
    assert complaint in str(refusal.value)


def test_the_text_of_a_bad_row_is_not_repeated(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", labelled(text="a private matter", label=7))
    with pytest.raises(RowError) as refusal:
        read_rows([path])
    assert "private" not in str(refusal.value)


def test_the_digest_ignores_order_and_files_but_no_field(tmp_path: Path) -> None:
    first, second = labelled(text="one"), labelled(text="two", label=1)
    forward = read_rows([written(tmp_path / "a.jsonl", first, second)])
    backward = read_rows(
        [written(tmp_path / "b.jsonl", second), written(tmp_path / "c.jsonl", first)]
    )
    digest = data_digest(forward)
    assert data_digest(backward) == digest
    assert data_digest(forward[:1]) != digest
    assert data_digest([*forward, forward[0]]) != digest
    changes = ("text", "kind", "source", "lang", "channel", "split", "label")
    for name, value in zip(changes, ("x", "x", "x", "x", "document", "dev", 1), strict=True):
        changed = read_rows(
            [written(tmp_path / "d.jsonl", labelled(text="one") | {name: value}, second)]
        )
        assert data_digest(changed) != digest


def test_only_the_train_split_is_learned_and_no_out_of_place_tasks(tmp_path: Path) -> None:
    path = written(
        tmp_path / "a.jsonl",
        labelled(text="kept"),
        labelled(text="dev", split="dev"),
        labelled(text="task", label=1, kind="indirect-task", channel="document"),
    )
    assert [row.text for row in learnable(read_rows([path]))] == ["kept"]
