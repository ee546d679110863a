"""A small calibration for tests."""

from extauthz.core.call import Provenance
from extauthz.model.calibration import Calibration

RATES = (0.01, 0.005, 0.001)


def calibrated(
    *, user: tuple[float, ...] = (0.25, 0.5, 0.75), texts: int = 1_000, rate: float = 0.005
) -> Calibration:
    """Three rates; `texts` of user and document were measured, and the others borrow."""
    thresholds = dict.fromkeys(Provenance, (0.8, 0.85, 0.9)) | {Provenance.USER: user}
    measured = {Provenance.USER: texts, Provenance.DOCUMENT: texts}
    return Calibration(rate, RATES, measured, thresholds)
