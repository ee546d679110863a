import math
from pathlib import Path

import numpy as np
import pytest

from extauthz.core.call import Provenance
from extauthz.model.directory import ModelError, load
from extauthz.settings import DEFAULT_MODEL
from extauthz.training.evaluation.operating_point import everyday, fixed, of_model
from tests import canary_model
from tests.training.evaluation.placed import placed

#: Line n of the everyday rows has score n / 100.
ROWS = [
    *(placed(0, of_set="everyday", line=n) for n in range(100)),
    *(placed(0, of_set="hard", kind="code", channel=Provenance.DOCUMENT) for _ in range(100)),
    placed(1, of_set="everyday", line=200),
]
SCORES = np.concatenate([np.arange(100) / 100, np.linspace(0.3, 0.5, 100), [1.0]])


def test_one_threshold_is_set_by_the_benign_rows_of_the_named_set() -> None:
    point = everyday("everyday", 0.05, ROWS, SCORES)
    assert set(point.thresholds) == set(Provenance)
    (threshold,) = set(point.thresholds.values())
    assert 0.94 < threshold <= 0.95
    assert "5 of 100 benign rows of everyday (5.00 %)" in point.told
    assert point.set_by == tuple(f"everyday.jsonl:{line}" for line in range(95, 100))


@pytest.mark.parametrize("name", ["hard", "hard.jsonl", "code"])
def test_a_set_goes_by_its_name_its_file_or_its_kind(name: str) -> None:
    point = everyday(name, 0.01, ROWS, SCORES)
    assert 0.49 < point.thresholds[Provenance.USER] < 0.5


@pytest.mark.parametrize(("name", "rate"), [("everyday", 0.001), ("nobody", 0.5), ("attacks", 0.5)])
def test_too_few_rows_set_no_threshold(name: str, rate: float) -> None:
    with pytest.raises(ValueError, match="too few"):
        everyday(name, rate, ROWS, SCORES)


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1, math.nan])
def test_a_rate_is_a_share(rate: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        everyday("everyday", rate, ROWS, SCORES)


def test_rows_without_a_number_set_no_threshold() -> None:
    scores = np.where(np.arange(len(SCORES)) < 9, math.nan, SCORES)
    with pytest.raises(ValueError, match="no number"):
        everyday("everyday", 0.05, ROWS, scores)
    assert everyday("everyday", 0.1, ROWS, scores).set_by[-1] == "everyday.jsonl:99"


def test_a_threshold_that_is_given_holds_for_every_channel() -> None:
    assert fixed(0.7).thresholds == dict.fromkeys(Provenance, 0.7)
    for wrong in (0.0, 1.1, math.nan):
        with pytest.raises(ValueError, match="above 0 and up to 1"):
            fixed(wrong)


def test_a_model_is_asked_for_its_own_thresholds(tmp_path: Path) -> None:
    shipped, canary = load(DEFAULT_MODEL), load(canary_model.build(tmp_path))
    assert of_model(shipped, None).thresholds == shipped.thresholds()
    assert of_model(shipped, 0.01).thresholds == shipped.thresholds(0.01)
    assert of_model(canary, None).thresholds == dict.fromkeys(Provenance, 0.5)
    with pytest.raises(ModelError, match="calibration"):
        of_model(canary, 0.01)
