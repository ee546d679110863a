"""What a score means: a file of thresholds by rate, read exactly or refused with what was expected."""

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extauthz.core.call import Provenance
from extauthz.model import calibration
from extauthz.model.calibration import RATES, Calibration, CalibrationError
from tests.model.calibrations import calibrated

shares = st.floats(1e-9, 1, exclude_max=True)


@st.composite
def calibrations(draw: st.DrawFn) -> Calibration:
    rates = sorted(draw(st.sets(shares, min_size=1, max_size=5)), reverse=True)
    column = st.lists(st.floats(1e-9, 1), min_size=len(rates), max_size=len(rates)).map(sorted)
    return Calibration(
        draw(st.binary(min_size=32, max_size=32)).hex(),
        draw(st.floats(rates[-1], 1, exclude_max=True)),
        tuple(rates),
        draw(st.dictionaries(st.sampled_from(Provenance), st.integers(1, 10**9))),
        {one: tuple(draw(column)) for one in Provenance},
    )


@given(calibrations())
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, one: Calibration
) -> None:
    path = tmp_path_factory.mktemp("calibration") / "calibration.json"
    calibration.write(path, one)
    assert calibration.read(path) == one


def test_a_file_has_one_provenance_a_line(tmp_path: Path) -> None:
    calibration.write(tmp_path / "c.json", calibrated())
    lines = (tmp_path / "c.json").read_text().splitlines()
    assert '    "user": [0.25,0.5,0.75],' in lines
    assert len(lines) == 9 + len(Provenance)


@pytest.mark.parametrize(
    ("rate", "taken"),
    [
        (0.99, 0.01),
        (0.01, 0.01),
        (0.0099, 0.005),
        (0.006, 0.005),
        (0.005, 0.005),
        (0.004, 0.001),
        (0.001, 0.001),
    ],
)
def test_between_two_rates_the_lower_one_is_taken(rate: float, taken: float) -> None:
    one = calibrated()
    index = one.rates.index(taken)
    assert one.at(rate) == {p: column[index] for p, column in one.thresholds.items()}


@given(calibrations(), st.lists(shares, min_size=2, max_size=5))
def test_a_lower_rate_denies_no_more(one: Calibration, rates: list[float]) -> None:
    known = sorted((rate for rate in rates if rate >= one.rates[-1]), reverse=True)
    for more, fewer in pairwise([one.at(rate) for rate in known]):
        assert all(more[provenance] <= fewer[provenance] for provenance in Provenance)


@given(calibrations(), shares)
def test_no_rate_is_exceeded(one: Calibration, rate: float) -> None:
    if rate < one.rates[-1]:
        with pytest.raises(CalibrationError, match="finer than the calibration, which ends at"):
            one.at(rate)
        return
    at = one.at(rate)
    for provenance, column in one.thresholds.items():
        measured = [seen for seen, edge in zip(one.rates, column, strict=True) if seen <= rate]
        assert measured
        assert at[provenance] in column
        assert at[provenance] >= column[one.rates.index(max(measured))]


def test_the_rates_that_are_measured_fall_and_hold_the_usual_one() -> None:
    assert all(0 < later < earlier < 1 for earlier, later in pairwise(RATES))
    assert 0.005 in RATES


def change(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """Set, or with None take out, the member of a file at a path with dots."""
    *parents, last = path.split(".")

    def changed(file: dict[str, Any]) -> None:
        for name in parents:
            file = file[name]
        if value is None:
            del file[last]
        else:
            file[last] = value

    return changed


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        (change("format", 2), "format 2 is not known here, expected 1"),
        (change("format", None), "format"),
        (change("model", None), "model"),
        (change("model", "minilm"), "model 'minilm', expected the SHA-256 of a graph"),
        (change("model", "A" * 64), "expected the SHA-256 of a graph, 64 digits of 0-9a-f"),
        (change("model", "a" * 64 + "\n"), "expected the SHA-256 of a graph"),
        (change("rate", 0.1), "rate"),
        (change("rates", []), "rates [], expected falling numbers in (0, 1)"),
        (change("rates", [0.01, 0.01, 0.001]), "expected falling numbers in (0, 1)"),
        (change("rates", [0.001, 0.005, 0.01]), "expected falling numbers in (0, 1)"),
        (change("rates", [1.0, 0.005, 0.001]), "expected falling numbers in (0, 1)"),
        (change("rates", [0.01, 0.005, 0]), "expected falling numbers in (0, 1)"),
        (change("rates", "many"), "rates"),
        (change("false_positive_rate", 0.0005), "false_positive_rate 0.0005, expected 0.001 or"),
        (change("false_positive_rate", 1.0), "false_positive_rate 1.0, expected 0.001 or more"),
        (change("texts.user", 0), "texts.user: 0, expected a number above 0"),
        (change("texts.nobody", 5), "nobody"),
        (change("thresholds.system", None), "thresholds.system: [], expected 3 numbers in (0, 1]"),
        (change("thresholds.user", [0.5, 0.6]), "thresholds.user: [0.5, 0.6], expected 3 numbers"),
        (change("thresholds.user", [0.0, 0.5, 0.6]), "expected 3 numbers in (0, 1]"),
        (change("thresholds.user", [0.5, 0.6, 1.5]), "expected 3 numbers in (0, 1]"),
        (change("thresholds.user", [0.5, 0.4, 0.6]), "thresholds.user: a lower rate has a lower"),
        (change("thresholds.user", ["high"] * 3), "thresholds"),
        (change("thresholds.nobody", [0.5, 0.6, 0.7]), "nobody"),
    ],
)
def test_a_fault_is_named_with_what_was_expected(
    tmp_path: Path, changed: Callable[[dict[str, Any]], None], expected: str
) -> None:
    path = tmp_path / "calibration.json"
    calibration.write(path, calibrated())
    file = json.loads(path.read_text())
    changed(file)
    path.write_text(json.dumps(file))
    with pytest.raises(CalibrationError) as caught:
        calibration.read(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert expected in str(caught.value)


@given(st.binary(max_size=200))
def test_bytes_are_a_calibration_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_bytes(data)
    with pytest.raises(CalibrationError):
        calibration.read(path)


@pytest.mark.parametrize("number", ["1e999", "NaN", "-1", "true", "null"])
def test_a_number_that_is_none_is_refused(tmp_path: Path, number: str) -> None:
    path = tmp_path / "calibration.json"
    calibration.write(path, calibrated())
    path.write_text(path.read_text().replace("0.75", number))
    with pytest.raises(CalibrationError):
        calibration.read(path)
