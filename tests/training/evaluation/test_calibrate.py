"""Thresholds come from the scores of honest texts, each place's own or those of who is most like it."""

import gzip
import json
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extauthz import cli
from extauthz.core.call import Provenance
from extauthz.model import calibration
from extauthz.model.calibration import RATES, Calibration
from extauthz.model.directory import ModelError, load
from extauthz.training.evaluation.calibrate import LEAST_TEXTS, calibrate, lenders, render
from extauthz.training.evaluation.metrics import Scores, rate
from tests import canary_model
from tests.canary_model import CANARY
from tests.model.calibrations import NOBODY

ASSISTANT, DOCUMENT, SYSTEM = Provenance.ASSISTANT, Provenance.DOCUMENT, Provenance.SYSTEM
TOOL, RESULT, USER = Provenance.TOOL_DEFINITION, Provenance.TOOL_RESULT, Provenance.USER


def scores_between(low: float, high: float, count: int = 2_000) -> Scores:
    return np.linspace(low, high, count)


def calibrated(scores: Mapping[Provenance, Scores], usual: float = 0.005) -> Calibration:
    places = [place for place, found in scores.items() for _ in found]
    return calibrate(places, np.concatenate([*scores.values()]), NOBODY, usual)


@pytest.mark.parametrize("wanted", RATES)
def test_no_place_is_denied_more_often_than_the_rate(wanted: float) -> None:
    scores = {USER: scores_between(0, 0.4), DOCUMENT: scores_between(0.1, 0.9, 700)}
    thresholds = calibrated(scores).at(wanted)
    for place, honest in scores.items():
        found = rate(honest, thresholds[place])
        assert wanted - 2 / len(honest) <= found <= wanted


@given(
    st.lists(st.floats(0, 1), min_size=LEAST_TEXTS, max_size=400),
    st.sampled_from(Provenance),
)
def test_whatever_the_scores_are_there_is_a_calibration(
    tmp_path_factory: pytest.TempPathFactory, scores: list[float], place: Provenance
) -> None:
    honest = np.array(scores)
    found = calibrated({place: honest})
    path = tmp_path_factory.getbasetemp() / "calibration.json"
    calibration.write(path, found)
    assert calibration.read(path) == found
    for index, one in enumerate(RATES):
        threshold = found.thresholds[place][index]
        # A threshold is at most 1, and a score of 1 is denied at any.
        assert rate(honest[honest < 1], threshold) * (honest < 1).sum() <= one * len(honest)


def test_thresholds_are_rounded_upwards_to_six_decimals() -> None:
    found = calibrated({USER: np.full(LEAST_TEXTS, 0.3)})
    assert set(found.thresholds[USER]) == {0.300001}
    assert rate(np.full(LEAST_TEXTS, 0.3), 0.300001) == 0
    assert set(calibrated({USER: np.zeros(LEAST_TEXTS)}).thresholds[USER]) == {0.000001}
    assert set(calibrated({USER: np.ones(LEAST_TEXTS)}).thresholds[USER]) == {1.0}


def test_a_lower_rate_never_has_a_lower_threshold() -> None:
    rng = np.random.default_rng(1)
    found = calibrated({place: rng.random(300) ** (1 + n) for n, place in enumerate(Provenance)})
    for column in found.thresholds.values():
        assert all(earlier <= later for earlier, later in pairwise(column))
        assert 0 < column[0] <= column[-1] <= 1


def test_a_rate_below_one_text_is_just_above_every_score() -> None:
    honest = scores_between(0, 0.7, 300)
    found = calibrated({USER: honest})
    assert {found.at(one)[USER] for one in RATES if one * 300 < 1} == {0.700001}
    assert found.at(0.005)[USER] < 0.7


LOW, MIDDLE, HIGH = (scores_between(0, high) for high in (0.6, 0.75, 0.9))


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ({USER: LOW, DOCUMENT: HIGH}, {RESULT: DOCUMENT, TOOL: DOCUMENT}),
        ({USER: LOW, RESULT: HIGH}, {DOCUMENT: RESULT, TOOL: RESULT}),
        ({USER: HIGH, DOCUMENT: LOW, RESULT: MIDDLE}, {TOOL: RESULT, SYSTEM: USER}),
        ({USER: HIGH, DOCUMENT: MIDDLE, RESULT: LOW}, {TOOL: DOCUMENT, ASSISTANT: USER}),
        ({USER: LOW, DOCUMENT: MIDDLE, RESULT: HIGH}, {ASSISTANT: DOCUMENT, SYSTEM: RESULT}),
        ({USER: MIDDLE}, dict.fromkeys(Provenance, USER)),
        ({DOCUMENT: MIDDLE}, dict.fromkeys(Provenance, DOCUMENT)),
        ({TOOL: LOW, SYSTEM: HIGH}, {USER: SYSTEM, DOCUMENT: SYSTEM, ASSISTANT: SYSTEM}),
    ],
)
def test_a_place_with_too_few_texts_borrows_from_who_is_most_like_it(
    scores: Mapping[Provenance, Scores], expected: Mapping[Provenance, Provenance]
) -> None:
    found = calibrated(scores)
    assert set(found.thresholds) == set(Provenance)
    assert set(found.texts) == set(scores)
    for borrower, lender in expected.items():
        usual = found.at(0.005)
        assert usual[borrower] == usual[lender]


def test_a_few_texts_of_a_place_do_not_make_its_threshold() -> None:
    own = np.full(LEAST_TEXTS - 1, 0.99)
    found = calibrated({USER: LOW, SYSTEM: own})
    assert found.at(0.005)[SYSTEM] == found.at(0.005)[USER]
    assert found.texts == {USER: len(LOW)}
    enough = calibrated({USER: LOW, SYSTEM: np.append(own, 0.99)})
    assert enough.at(0.005)[SYSTEM] == 0.990001
    assert enough.texts == {USER: len(LOW), SYSTEM: LEAST_TEXTS}


def test_where_nothing_alike_was_measured_no_threshold_is_below_the_usual_meaning_of_a_score() -> (
    None
):
    found = calibrated({USER: scores_between(0, 0.01)})
    assert found.thresholds[ASSISTANT] == found.thresholds[SYSTEM] == found.thresholds[USER]
    assert max(found.thresholds[USER]) < 0.011
    for place in (DOCUMENT, RESULT, TOOL):
        assert set(found.thresholds[place]) == {0.5}
    documents = calibrated({DOCUMENT: scores_between(0, 0.01)})
    assert set(documents.thresholds[USER]) == {0.5}
    assert documents.thresholds[RESULT] == documents.thresholds[DOCUMENT]


@pytest.mark.parametrize(
    ("borrower", "measured", "expected"),
    [
        (RESULT, [USER, DOCUMENT], [DOCUMENT]),
        (DOCUMENT, [USER, RESULT], [RESULT]),
        (TOOL, [USER, DOCUMENT], [DOCUMENT]),
        (TOOL, [DOCUMENT, RESULT], [RESULT, DOCUMENT]),
        (ASSISTANT, [USER, DOCUMENT, RESULT], [USER, DOCUMENT]),
        (ASSISTANT, [USER], [USER]),
        (SYSTEM, [DOCUMENT, USER], [USER, DOCUMENT]),
        (USER, [DOCUMENT, SYSTEM], [SYSTEM, DOCUMENT]),
        (RESULT, [SYSTEM], [SYSTEM]),
    ],
)
def test_everybody_borrows_from_somebody(
    borrower: Provenance, measured: list[Provenance], expected: list[Provenance]
) -> None:
    assert lenders(borrower, measured) == expected


@pytest.mark.parametrize("counts", [{}, {USER: 199}, {USER: 150, DOCUMENT: 150}])
def test_too_few_texts_are_no_calibration(counts: Mapping[Provenance, int]) -> None:
    places = [place for place, count in counts.items() for _ in range(count)]
    told = ", ".join(f"{place} {count}" for place, count in counts.items()) or "none"
    with pytest.raises(ValueError, match=f"^honest texts: {told}; expected {LEAST_TEXTS} or more"):
        calibrate(places, np.zeros(len(places)), NOBODY)


@pytest.mark.parametrize("wrong", [0.0, 0.00001, 1.0, -1.0])
def test_a_usual_rate_that_cannot_be_named_is_refused(wrong: float) -> None:
    with pytest.raises(ValueError, match=r"a share of texts from 0\.0001 to below 1"):
        calibrated({USER: LOW}, usual=wrong)


def test_a_score_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="gave no number for 2 texts"):
        calibrated({USER: np.append(LOW, [np.nan, np.inf])})


def test_the_table_says_what_was_seen_and_what_was_borrowed() -> None:
    found = calibrated({USER: LOW, DOCUMENT: scores_between(0, 0.9, 250)}, usual=0.003)
    lines = render(found, {USER: 2_000, DOCUMENT: 250, SYSTEM: 12}).splitlines()
    head = lines[0].split()
    assert head == ["rate", *Provenance]
    assert lines[1].split() == ["texts", "12", "2000", "0", "0", "0", "250"]
    cells = {line.split()[0]: dict(zip(head, line.split(), strict=True)) for line in lines[2:14]}
    assert set(cells) == {f"{one:g}" for one in RATES} - {"0.002"} | {"0.002*"}
    assert cells["0.0002"]["user"].endswith("+")
    assert not cells["0.0005"]["user"].endswith("+")
    assert cells["0.002*"]["document"] == "0.900001+"
    assert not cells["0.005"]["document"].endswith("+")
    assert cells["0.005"]["tool_result"] == cells["0.005"]["document"]
    assert "* the rate where a policy names none (0.003)" in lines
    assert "tool_result has fewer than 200 texts: highest of document" in lines
    assert "assistant has fewer than 200 texts: highest of user, document" in lines


# The command


def traffic(path: Path, *rows: tuple[str, dict[str, object]]) -> Path:
    text = "".join(json.dumps({"text": text} | more) + "\n" for text, more in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def test_the_command_measures_traffic_and_writes_what_the_server_reads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, out = canary_model.build(tmp_path / "model"), tmp_path / "own.json"
    plain: dict[str, object] = {}
    spoiled = [(f"{CANARY} {number}", plain) for number in range(4)]
    user = traffic(
        tmp_path / "user.jsonl",
        *[(f"text {number}", plain) for number in range(396)],
        *spoiled,
        ("an attack", {"label": 1}),
        ("a riddle", {"label": None}),
    )
    document: dict[str, object] = {"channel": "document"}
    more = [(f"page {number}", document) for number in range(200)]
    documents = traffic(tmp_path / "documents.jsonl.gz", *more)
    files = ["--traffic", str(user), str(documents), "--model", str(model), "--out", str(out)]

    assert cli.main(["calibrate", *files, "--rate", "0.01"]) == 0

    shown = capsys.readouterr().out
    assert shown.startswith("600 honest texts, scored by model\n1 texts are labelled as attacks")
    assert f"extauthz serve --calibration {out}" in shown
    assert "detect.prompt_injection.false_positive_rate" in shown
    served = load(model, out)
    assert served.calibration == calibration.read(out)
    assert served.calibration is not None
    assert served.calibration.texts == {USER: 400, DOCUMENT: 200}
    assert served.thresholds()[USER] < 0.001, "one in a hundred may be denied, and that many are"
    assert served.thresholds(0.005)[USER] > 0.999
    assert served.thresholds(0.0001)[DOCUMENT] < 0.001


def test_a_calibration_names_the_model_whose_scores_it_measured() -> None:
    assert calibrate([USER] * len(LOW), LOW, "ab" * 32).model == "ab" * 32


@pytest.mark.parametrize("content", ["{}", None])
def test_the_command_replaces_a_calibration_that_the_server_would_not_take(
    content: str | None, tmp_path: Path
) -> None:
    model = canary_model.build(tmp_path / "model")
    out = model / "calibration.json"
    calibration.write(out, calibrated({USER: LOW}))
    if content is not None:
        out.write_text(content)
    with pytest.raises(ModelError, match=r"calibration\.json: "):
        load(model)
    plain: dict[str, object] = {}
    own = traffic(tmp_path / "own.jsonl", *[(f"text {number}", plain) for number in range(200)])

    files = ["--traffic", str(own), "--model", str(model), "--out", str(out)]
    assert cli.main(["calibrate", *files]) == 0

    assert load(model).calibration == calibration.read(out)


@pytest.mark.parametrize(
    ("line", "changes", "expected"),
    [
        ('{"text": "a"}', {}, "honest texts: user 1; expected 200 or more"),
        ('{"text": "a", "label": 1}', {}, "honest texts: none; expected 200 or more"),
        ('{"text": 1}', {}, "traffic.jsonl:1: text must be a string"),
        ('{"text": "a", "channel": "mail"}', {}, "traffic.jsonl:1: channel must be one of system"),
        ("{", {}, "traffic.jsonl:1: not JSON"),
        ('{"text": "a"}', {"--traffic": "nowhere.jsonl"}, "nowhere.jsonl"),
        ('{"text": "a"}\n' * 200, {"--model": "nowhere"}, "nowhere: expected model.onnx"),
        ('{"text": "a"}', {"--rate": "2"}, "rate 2, expected a share of texts"),
    ],
)
def test_what_cannot_be_measured_is_named_and_nothing_is_written(
    line: str,
    changes: Mapping[str, str],
    expected: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "traffic.jsonl").write_text(line)
    out = tmp_path / "own.json"
    flags = {"--traffic": str(tmp_path / "traffic.jsonl"), "--out": str(out), **changes}

    status = cli.main(["calibrate", *(word for pair in flags.items() for word in pair)])

    assert status == 2
    assert expected in capsys.readouterr().err
    assert not out.exists()
