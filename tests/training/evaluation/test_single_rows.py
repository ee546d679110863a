import json
import math
from pathlib import Path

import numpy as np

from extauthz.core.call import Provenance
from extauthz.training.evaluation.single_rows import write_scores, write_worst
from tests.training.evaluation.placed import placed

THRESHOLDS = dict.fromkeys(Provenance, 0.5) | {Provenance.DOCUMENT: 0.9}


def test_every_row_has_its_score_and_none_its_text(tmp_path: Path) -> None:
    rows = [placed(1, "a private matter", line=3), placed(0, channel=Provenance.DOCUMENT, line=8)]
    write_scores(tmp_path / "scores", rows, np.array([0.25, math.nan]))
    written = (tmp_path / "scores").read_text()
    assert [json.loads(line) for line in written.splitlines()] == [
        {"file": "a.jsonl", "line": 3, "label": 1, "channel": "user", "score": 0.25},
        {"file": "a.jsonl", "line": 8, "label": 0, "channel": "document", "score": None},
    ]


def test_the_worst_mistakes_come_first_and_what_is_right_not_at_all(tmp_path: Path) -> None:
    document = Provenance.DOCUMENT
    cases = [
        (placed(1, "missed by little"), 0.4),
        (placed(1, "missed by far", channel=document), 0.3),
        (placed(1, "found"), 0.5),
        (placed(0, "passed", channel=document), 0.8),
        (placed(0, "a false alarm"), 0.7),
        (placed(0, "no number"), math.nan),
    ]
    rows, scores = zip(*cases, strict=True)
    write_worst(tmp_path / "worst", rows, np.array(scores), THRESHOLDS)
    written = (tmp_path / "worst").read_text(encoding="utf-8")
    texts = [line for line in written.splitlines() if line in {one.row.text for one in rows}]
    assert texts == ["missed by far", "missed by little", "no number", "a false alarm"]
    assert "the worst of 2 misses" in written
    assert "a.jsonl:1  document, benign, en  score 0.3000, threshold 0.9000" in written
    assert "Keep this file to yourself" in written.splitlines()[0]


def test_thirty_of_a_sort_are_shown_and_the_beginning_of_each(tmp_path: Path) -> None:
    rows = [placed(1, "§" * 5_000)] * 40
    write_worst(tmp_path / "worst", rows, np.zeros(40), THRESHOLDS)
    written = (tmp_path / "worst").read_text(encoding="utf-8")
    assert "the worst of 40 misses" in written
    assert written.count("[and 3000 characters more]") == 30
    assert written.count("§") == 30 * 2_000
