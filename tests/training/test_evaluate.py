import math

import numpy as np

from extauthz.core.call import Provenance
from extauthz.training.evaluate import Line, render, table
from extauthz.training.rows import Row

THRESHOLDS = dict.fromkeys(Provenance, 0.5) | {Provenance.DOCUMENT: 0.9}


def row(label: int, kind: str, channel: str) -> Row:
    return Row("text", 1 if label else 0, kind, "somewhere", "en", channel, "dev")


ROWS = [
    row(0, "benign", "user"),
    row(0, "benign-hard", "user"),
    row(1, "direct", "user"),
    row(1, "direct", "user"),
    row(0, "benign-document", "document"),
    row(1, "indirect", "document"),
]
SCORES = np.array([0.1, 0.6, 0.4, 0.8, 0.7, 0.8])


def lines() -> dict[str, Line]:
    return {line.group: line for line in table(ROWS, ["a"] * 4 + ["b"] * 2, SCORES, THRESHOLDS)}


def test_each_file_channel_and_kind_has_a_line() -> None:
    assert set(lines()) == {
        "all",
        "channel user",
        "channel document",
        "file a",
        "file b",
        "kind benign (user)",
        "kind benign-hard (user)",
        "kind direct (user)",
        "kind benign-document (document)",
        "kind indirect (document)",
    }


def test_a_kind_of_attack_is_ranked_against_the_benign_rows_of_its_channel() -> None:
    direct = lines()["kind direct (user)"]
    assert (direct.attacks, direct.benign) == (2, 0)
    assert direct.auc == 0.75
    assert direct.recall_at_1_percent == 0.5
    assert direct.recall == 0.5
    assert math.isnan(direct.false_positive_rate)


def test_each_row_is_decided_by_the_threshold_of_its_channel() -> None:
    found = lines()
    assert found["kind indirect (document)"].recall == 0.0
    assert found["kind benign-hard (user)"].false_positive_rate == 1.0
    assert found["channel document"].false_positive_rate == 0.0
    assert found["all"].recall == 1 / 3


def test_what_cannot_be_measured_is_a_dash() -> None:
    shown = render(list(lines().values()))
    (benign,) = (line for line in shown.splitlines() if line.startswith("kind benign (user)"))
    assert benign.split()[3:] == ["0", "1", "-", "-", "-", "-", "0.0000"]
