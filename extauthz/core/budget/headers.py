"""How the strictest limit of a request stands, as headers of its answer.

`ratelimit-limit`, `ratelimit-remaining` and `ratelimit-reset` are those of the IETF draft before it
became structured (draft-ietf-httpapi-ratelimit-headers-06), which clients and other gateways know;
`retry-after` is RFC 9110 section 10.2.3.
"""

from math import ceil

from extauthz.core.budget.allowance import Allowance

#: Not an IETF name: which limit of the policy the others are about.
LIMIT_HEADER = "x-extauthz-limit"


def limit_headers(allowance: Allowance | None, *, refused: bool) -> dict[str, str]:
    """None where no limit is for the request.

    `retry-after` is for who is `refused` because of a limit, and not where the request can never pass.
    """
    if allowance is None or allowance.limit is None:
        return {}
    headers = {
        LIMIT_HEADER: allowance.limit.name,
        "ratelimit-limit": _amount(allowance.limit.most_at_once),
        "ratelimit-remaining": _amount(allowance.remaining_amount),
        "ratelimit-reset": str(ceil(allowance.reset_s)),
    }
    if refused and allowance.wait_s is not None:
        headers["retry-after"] = str(max(1, ceil(allowance.wait_s)))
    return headers


def _amount(amount: float) -> str:
    """Money has cents; everything else is whole."""
    return str(int(amount)) if amount == int(amount) else f"{amount:.6f}"
