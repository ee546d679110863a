import numpy as np
import pytest

from extauthz.core.call import Provenance
from extauthz.training.calibrate import calibrate
from extauthz.training.metrics import rate
from extauthz.training.rows import Row


def benign(channel: str, kind: str = "benign") -> Row:
    return Row("text", 0, kind, "somewhere", "en", channel, "dev")


ROWS = [benign("user")] * 400 + [benign("document")] * 600
SCORES = np.concatenate([np.linspace(0, 0.4, 400), np.linspace(0, 0.6, 600)])


def test_each_channel_is_denied_at_most_one_in_two_hundred() -> None:
    thresholds = calibrate(ROWS, SCORES)
    assert 0 < rate(SCORES[:400], thresholds[Provenance.USER]) <= 0.005
    assert 0 < rate(SCORES[400:], thresholds[Provenance.DOCUMENT]) <= 0.005


def test_every_provenance_has_a_threshold_and_the_operators_words_the_highest() -> None:
    thresholds = calibrate(ROWS, SCORES)
    assert set(thresholds) == set(Provenance)
    assert max(thresholds.values()) == thresholds[Provenance.SYSTEM] <= 1
    assert rate(SCORES, thresholds[Provenance.SYSTEM]) <= 0.001


def test_attacks_and_encoded_texts_move_no_threshold() -> None:
    attack = Row("text", 1, "direct", "somewhere", "en", "user", "dev")
    others = [attack] * 50 + [benign("user", "obfuscated-benign")] * 50
    more = calibrate([*ROWS, *others], np.concatenate([SCORES, np.full(100, 0.99)]))
    assert more == calibrate(ROWS, SCORES)


def test_a_channel_without_benign_texts_is_refused() -> None:
    with pytest.raises(ValueError, match="no benign texts"):
        calibrate(ROWS[:400], SCORES[:400])
