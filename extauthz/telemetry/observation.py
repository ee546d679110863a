"""One finished check, as telemetry sees it."""

from dataclasses import dataclass

from extauthz.core.call import Call
from extauthz.core.decision import Decision, Signals


@dataclass(frozen=True, slots=True)
class Observation:
    """A decision with the facts it rests on. Durations are in seconds, digests hex.

    `principal_digest` is empty for nobody. `billed_model` is the policy's name for the model.
    """

    call: Call
    signals: Signals
    decision: Decision
    policy_digest: str
    model_digest: str
    body_sha256: str
    principal_digest: str
    billed_model: str
    allowed_s: float
    took_s: float
