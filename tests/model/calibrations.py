"""A small calibration for tests."""

import hashlib
from pathlib import Path

from extauthz.core.call import Provenance
from extauthz.model.calibration import Calibration

RATES = (0.01, 0.005, 0.001)
#: The digest of no model.
NOBODY = "0" * 64


def calibrated(
    graph: Path | None = None,
    *,
    user: tuple[float, ...] = (0.25, 0.5, 0.75),
    texts: int = 1_000,
    rate: float = 0.005,
) -> Calibration:
    """Three rates; `texts` of user and document were measured, and the others borrow.

    Of the model with that graph, or of none.
    """
    model = hashlib.sha256(graph.read_bytes()).hexdigest() if graph else NOBODY
    thresholds = dict.fromkeys(Provenance, (0.8, 0.85, 0.9)) | {Provenance.USER: user}
    measured = {Provenance.USER: texts, Provenance.DOCUMENT: texts}
    return Calibration(model, rate, RATES, measured, thresholds)
