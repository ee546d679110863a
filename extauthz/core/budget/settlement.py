"""What became of a reservation, and of what an access log says of it."""

from dataclasses import dataclass

from extauthz.core.budget.limits import Charge
from extauthz.core.budget.report import Report, Usage


@dataclass(frozen=True, slots=True)
class Settled:
    """A reservation that was settled: what it held, and for how long."""

    estimated: Usage
    held_s: float


@dataclass(frozen=True, slots=True)
class Settlement:
    """One access log entry, what it was charged, and what came of that.

    `settled` is None where no reservation was open here: late, twice, lost, or another replica's, which
    was then told (`forwarded`).
    """

    report: Report
    charge: Usage | Charge
    settled: Settled | None
    forwarded: bool = False
