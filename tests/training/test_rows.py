import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from extauthz.core.call import Provenance
from extauthz.training.rows import Row, RowError, data_digest, read_rows


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


def test_a_folder_is_its_files_of_labelled_texts(tmp_path: Path) -> None:
    written(tmp_path / "b.jsonl", labelled(text="second"))
    (tmp_path / "a.jsonl.gz").write_bytes(
        gzip.compress(json.dumps(labelled(text="first")).encode())
    )
    (tmp_path / "notes.txt").write_text("no row")
    assert [row.text for row in read_rows([tmp_path])] == ["first", "second"]


def test_a_folder_without_any_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RowError, match=r"expected \.jsonl or \.jsonl\.gz files .* found none"):
        read_rows([tmp_path])


def test_text_and_label_are_enough(tmp_path: Path) -> None:
    path = written(tmp_path / "mails.jsonl", {"text": "a", "label": 0}, {"text": "b", "label": 1})
    assert read_rows([path]) == [
        Row("a", 0, "benign", "mails", "und", Provenance.USER, "train"),
        Row("b", 1, "attack", "mails", "und", Provenance.USER, "train"),
    ]


def test_other_members_are_nobodys_business(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", labelled(id=7, channel="tool_result"))
    (row,) = read_rows([path])
    assert row == Row("a text", 0, "benign", "somewhere", "en", Provenance.TOOL_RESULT, "train")


@pytest.mark.parametrize("channel", Provenance)
def test_a_channel_is_where_a_gateway_sees_the_text(tmp_path: Path, channel: Provenance) -> None:
    (row,) = read_rows([written(tmp_path / "a.jsonl", labelled(channel=channel.value))])
    assert row.channel is channel


def test_rows_of_neither_class_are_left_out(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", labelled(label=None), labelled(text="kept"))
    assert [row.text for row in read_rows([path])] == ["kept"]


def test_lines_that_have_no_label_get_the_one_that_is_given(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", {"text": "none"}, labelled(label=1), labelled(label=None))
    assert [(row.label, row.kind) for row in read_rows([path], label=0)] == [
        (0, "benign"),
        (1, "benign"),
    ]


@pytest.mark.parametrize(
    ("source", "maker"),
    [
        ("somewhere", "somewhere"),
        ("somewhere:part:of it", "somewhere"),
        ("somewhere (a translation)", "somewhere"),
        ("somewhere/t0(x)", "somewhere"),
        ("owner/set", "owner/set"),
    ],
)
def test_a_maker_is_a_source_without_its_part(tmp_path: Path, source: str, maker: str) -> None:
    (row,) = read_rows([written(tmp_path / "a.jsonl", labelled(source=source))])
    assert row.maker == maker


PROVENANCES = "system, user, assistant, tool_result, tool_definition, document"


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("{", "not JSON"),
        ("", "not JSON"),
        ("[1]", "expected a JSON object, got list"),
        (json.dumps({"kind": "x"}), "missing text, label"),
        (json.dumps({"text": "x"}), "missing label"),
        (json.dumps(labelled(text=3)), "text must be a string"),
        (json.dumps(labelled(text=None)), "text must be a string"),
        (json.dumps(labelled(kind=None)), "kind must be a string"),
        (json.dumps(labelled(label=2)), "label must be one of 0, 1, null"),
        (json.dumps(labelled(label=True)), "label must be one of 0, 1, null"),
        (json.dumps(labelled(label=1.0)), "label must be one of 0, 1, null"),
        (json.dumps(labelled(channel="tool")), f"channel must be one of {PROVENANCES}"),
        (json.dumps(labelled(split="test")), "split must be one of train, dev"),
        (json.dumps(labelled(split=["dev"])), "split must be a string"),
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
