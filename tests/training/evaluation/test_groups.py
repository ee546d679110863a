import math
from typing import Any

import numpy as np
import pytest

from extauthz.core.call import Provenance
from extauthz.training.evaluation.groups import Line, render, table
from extauthz.training.evaluation.metrics import Share, wilson
from tests.training.evaluation.placed import placed

THRESHOLDS = dict.fromkeys(Provenance, 0.5) | {Provenance.DOCUMENT: 0.9}
DOCUMENT: dict[str, Any] = {"of_set": "b", "channel": Provenance.DOCUMENT}
ROWS = [
    placed(0, kind="benign", lang="de"),
    placed(0, kind="benign-hard", text="x" * 100),
    placed(1, kind="direct"),
    placed(1, kind="direct", text="x" * 1_000),
    placed(0, kind="benign-document", text="x" * 10_000, **DOCUMENT),
    placed(1, kind="indirect", text="x" * 9_999, **DOCUMENT),
]
SCORES = np.array([0.1, 0.6, 0.4, 0.8, 0.7, 0.8])


def lines() -> dict[str, Line]:
    return {line.group: line for line in table(ROWS, SCORES, THRESHOLDS)}


def value(share: Share | None) -> float | None:
    return share.value if share else None


def test_each_channel_set_kind_language_and_length_has_a_line_in_this_order() -> None:
    assert list(lines()) == [
        "all",
        "channel document",
        "channel user",
        "set a",
        "set b",
        "kind benign (user)",
        "kind benign-document (document)",
        "kind benign-hard (user)",
        "kind direct (user)",
        "kind indirect (document)",
        "language de",
        "language en",
        "length under 100",
        "length 100 to 1k",
        "length 1k to 10k",
        "length over 10k",
    ]


def test_a_kind_of_attack_is_ranked_against_the_benign_rows_of_its_channel() -> None:
    direct = lines()["kind direct (user)"]
    assert (direct.attacks, direct.benign, direct.ranked_against) == (2, 0, 2)
    assert direct.auc == 0.75
    assert value(direct.recall) == 0.5
    assert direct.false_positive_rate is None


def test_a_text_is_in_the_band_of_its_length() -> None:
    found = lines()
    bands = ("under 100", "100 to 1k", "1k to 10k", "over 10k")
    counts = [(found[f"length {band}"].attacks, found[f"length {band}"].benign) for band in bands]
    assert counts == [(1, 1), (0, 1), (2, 0), (0, 1)]


def test_each_row_is_decided_by_the_threshold_of_its_channel() -> None:
    found = lines()
    assert value(found["kind indirect (document)"].recall) == 0.0
    assert value(found["kind benign-hard (user)"].false_positive_rate) == 1.0
    assert value(found["channel document"].false_positive_rate) == 0.0
    every = found["all"].recall
    assert every == Share(1, 3, 1 / 3, *wilson(1, 3))


def test_a_rate_that_the_benign_rows_are_too_few_for_is_not_measured() -> None:
    benign = [placed(0)] * 200
    attacks = [placed(1)] * 4
    scores = np.concatenate([np.linspace(0, 0.5, 200), [0.496, 0.5, 0.6, 0.7]])
    (every, *_) = table([*benign, *attacks], scores, THRESHOLDS)
    one_percent, half, tenth = (every.recall_at[rate] for rate in ("0.01", "0.005", "0.001"))
    assert one_percent == Share(4, 4, 1.0, *wilson(4, 4))  # two of 200 may reach it
    assert half == Share(3, 4, 0.75, *wilson(3, 4))
    assert tenth is None


def test_a_score_that_is_no_number_is_denied_and_ranks_first() -> None:
    (every, *_) = table([placed(1), placed(0)], np.array([math.nan, 0.1]), THRESHOLDS)
    assert (every.auc, value(every.recall)) == (1.0, 1.0)


def test_what_cannot_be_measured_is_a_dash() -> None:
    shown = render(list(lines().values()))
    (benign,) = (line for line in shown.splitlines() if line.startswith("kind benign (user)"))
    assert benign.split()[3:] == ["0", "1", "-", "-", "-", "-", "-", "0.00", "(0.00-79.35)"]


@pytest.mark.parametrize("kind", ["direct", "a kind that goes by a name of forty letters and more"])
def test_a_table_fits_a_terminal(kind: str) -> None:
    rows = [placed(label, kind=kind, channel=Provenance.TOOL_DEFINITION) for label in (0, 1)] * 500
    shown = render(table(rows, np.full(1_000, 0.7), THRESHOLDS))
    assert max(map(len, shown.splitlines())) <= 135
