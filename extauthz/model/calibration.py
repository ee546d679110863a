"""What a score means: the threshold that a given share of honest texts reaches, by provenance.

Measured on honest texts and kept beside the model, in `calibration.json`. `extauthz calibrate` writes
one from a team's own traffic; `serve --calibration FILE` uses it in place of the model's. It names the
model that was measured: the scores of another one mean something else.
"""

import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

import msgspec

from extauthz.core.call import Provenance

#: Shares of honest texts, falling. The first ones are no operating points: they say how honest scores
#: are spread, which is what live traffic is compared with.
RATES: Final = (0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001, 0.0005, 0.0002, 0.0001)
_SHA256: Final = re.compile("[0-9a-f]{64}")


class CalibrationError(ValueError):
    """A calibration that cannot be used. Says which file or rate, and what was expected."""


class _File(msgspec.Struct, forbid_unknown_fields=True):
    format: int
    model: str
    false_positive_rate: float
    rates: list[float]
    texts: dict[Provenance, int]
    thresholds: dict[Provenance, list[float]]


@dataclass(frozen=True, slots=True)
class Calibration:
    """Thresholds that honest texts reach at given rates.

    Attributes:
        model: whose scores were measured: SHA-256 of its graph, hex.
        false_positive_rate: the rate that is meant where nobody names one.
        rates: shares in (0, 1), falling.
        texts: honest texts that were measured, by provenance. A rate below one in that many was
            not seen: its threshold lies just above the highest score. Those that are not here had
            too few, and borrow the thresholds of others.
        thresholds: in (0, 1], one for each rate, for every provenance.
    """

    model: str
    false_positive_rate: float
    rates: tuple[float, ...]
    texts: Mapping[Provenance, int]
    thresholds: Mapping[Provenance, tuple[float, ...]]

    def at(self, rate: float) -> dict[Provenance, float]:
        """Thresholds that at most `rate` of honest texts reach. Raises CalibrationError.

        Between two measured rates the lower one is taken, so that a rate is never exceeded.
        """
        index = bisect_left([-one for one in self.rates], -rate)
        if index == len(self.rates):
            finest = self.rates[-1]
            msg = f"false_positive_rate {rate:g} is finer than the calibration, which ends at {finest:g}"
            raise CalibrationError(msg)
        return {provenance: column[index] for provenance, column in self.thresholds.items()}


def read(path: Path) -> Calibration:
    """The calibration in a file. Raises CalibrationError or OSError."""
    try:
        file = msgspec.json.decode(path.read_bytes(), type=_File)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        msg = f"{path}: {error}"
        raise CalibrationError(msg) from error
    if fault := next(_faults(file), ""):
        msg = f"{path}: {fault}"
        raise CalibrationError(msg)
    return Calibration(
        file.model,
        file.false_positive_rate,
        tuple(file.rates),
        file.texts,
        {provenance: tuple(column) for provenance, column in file.thresholds.items()},
    )


def write(path: Path, calibration: Calibration) -> None:
    """Write what `read` reads, one provenance a line."""
    columns = {
        provenance.value: list(column) for provenance, column in calibration.thresholds.items()
    }
    thresholds = ",\n    ".join(
        f'"{provenance}": {msgspec.json.encode(column).decode()}'
        for provenance, column in columns.items()
    )
    texts = {provenance.value: count for provenance, count in calibration.texts.items()}
    path.write_text(
        "{\n"
        '  "format": 1,\n'
        f'  "model": "{calibration.model}",\n'
        f'  "false_positive_rate": {calibration.false_positive_rate!r},\n'
        f'  "rates": {msgspec.json.encode(list(calibration.rates)).decode()},\n'
        f'  "texts": {msgspec.json.encode(texts).decode()},\n'
        f'  "thresholds": {{\n    {thresholds}\n  }}\n'
        "}\n",
        encoding="utf-8",
    )


def _faults(file: _File) -> Iterator[str]:
    """What is wrong with the members."""
    if file.format != 1:
        yield f"format {file.format} is not known here, expected 1"
    if not _SHA256.fullmatch(file.model):
        yield f"model {file.model!r}, expected the SHA-256 of a graph, 64 digits of 0-9a-f"
    if not file.rates or not all(0 < rate < 1 for rate in file.rates) or not _falls(file.rates):
        yield f"rates {file.rates}, expected falling numbers in (0, 1)"
    elif not file.rates[-1] <= file.false_positive_rate < 1:
        yield f"false_positive_rate {file.false_positive_rate}, expected {file.rates[-1]} or more"
    for provenance, count in file.texts.items():
        if count < 1:
            yield f"texts.{provenance}: {count}, expected a number above 0"
    for provenance in Provenance:
        yield from _column_faults(provenance, file.thresholds.get(provenance, []), len(file.rates))


def _column_faults(provenance: Provenance, column: Sequence[float], rates: int) -> Iterator[str]:
    if len(column) != rates or not all(0 < one <= 1 for one in column):
        yield f"thresholds.{provenance}: {list(column)}, expected {rates} numbers in (0, 1]"
    elif any(later < earlier for earlier, later in pairwise(column)):
        yield f"thresholds.{provenance}: a lower rate has a lower threshold, expected rising ones"


def _falls(numbers: Sequence[float]) -> bool:
    return all(later < earlier for earlier, later in pairwise(numbers))
