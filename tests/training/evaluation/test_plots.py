import math
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from extauthz.core.call import Provenance
from extauthz.training.evaluation.attempts import Success
from extauthz.training.evaluation.metrics import share
from extauthz.training.evaluation.plots import draw, draw_attempts
from tests.training.evaluation.placed import placed

THRESHOLDS = dict.fromkeys(Provenance, 0.5)


def is_a_picture(path: Path) -> bool:
    """Whether there is more in it than one colour."""
    pixels = imread(path)
    return min(pixels.shape[:2]) > 400 and float(pixels[..., :3].std()) > 0.01


@pytest.mark.parametrize("channels", [1, 2, 6])
def test_scores_are_drawn_channel_by_channel(tmp_path: Path, channels: int) -> None:
    rows = [
        placed(label, channel=channel)
        for channel in list(Provenance)[:channels]
        for label in (0, 1) * 20
    ]
    scores = np.random.default_rng(1).random(len(rows))
    written = draw(tmp_path / "new" / "folder", "a model", rows, scores, THRESHOLDS)
    assert {path.name for path in written} == {"roc.png", "reliability.png", "scores.png"}
    assert all(map(is_a_picture, written))


def test_of_one_class_only_its_scores_are_drawn(tmp_path: Path) -> None:
    written = draw(tmp_path, "a model", [placed(1)] * 3, np.array([0.1, 1.0, math.nan]), THRESHOLDS)
    assert [path.name for path in written] == ["scores.png"]
    assert is_a_picture(written[0])


def test_scores_that_are_no_numbers_and_thresholds_out_of_reach_can_be_drawn(
    tmp_path: Path,
) -> None:
    rows, out_of_reach = [placed(0), placed(1)] * 2, dict.fromkeys(Provenance, math.inf)
    draw(tmp_path, "a model", rows, np.array([math.nan, math.nan, 0.5, 0.5]), out_of_reach)
    written = draw(tmp_path, "a model", rows, np.full(4, math.nan), THRESHOLDS)
    assert all(map(is_a_picture, written))


def test_attack_success_is_drawn_against_the_attempts(tmp_path: Path) -> None:
    success = Success(share(np.array([True, False, False])), (1, 30, None), 100)
    assert is_a_picture(draw_attempts(tmp_path, "a model", success))
    assert is_a_picture(draw_attempts(tmp_path, "a model", Success(None, (None,), 1)))
