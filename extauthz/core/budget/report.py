"""What became of a request that a budget had let through."""

from dataclasses import dataclass
from typing import NamedTuple


class Usage(NamedTuple):
    """Tokens that a request has cost."""

    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class Report:
    """What an access log says of one request that we had decided on.

    `id` is our number of the call, `replica` the process that holds its reservation, and `model` the
    policy's name for what was asked. `capped`: the request itself said how long its answer may be, so that
    its length says nothing about others. `usage` is what the upstream claims, None when nothing was found.
    `failed`: it was answered with an error, and nothing was cut short. A client who hangs up is no
    failure: the upstream may have written everything by then. `ended_s` is the Unix time at which the
    answer ended, 0.0 when it is not known.
    """

    id: str
    replica: str
    model: str
    capped: bool
    usage: Usage | None
    failed: bool
    ended_s: float
