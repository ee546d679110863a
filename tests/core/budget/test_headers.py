"""How a limit stands, in headers that clients and gateways know."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extauthz.core.budget.allowance import NANO, Allowance
from extauthz.core.budget.headers import LIMIT_HEADER, limit_headers
from extauthz.core.budget.limits import Calendar, Count, Every, Limit

TOKENS = Limit(name="tokens", count=Count.TOTAL_TOKENS, amount=600, every=Every.MINUTE, burst=50)
SPENDING = Limit(name="spending", count=Count.COST, amount=5.5, calendar=Calendar.MONTH)
SECONDS = st.floats(0, 1e9)


@pytest.mark.parametrize("allowance", [None, Allowance(), Allowance(shadowed=("trial",))])
def test_without_a_limit_there_are_no_headers(allowance: Allowance | None) -> None:
    assert limit_headers(allowance, refused=True) == {}


def test_a_rate_is_told_by_its_burst_and_times_in_whole_seconds() -> None:
    assert limit_headers(Allowance(limit=TOKENS, remaining=12, reset_s=3.2), refused=False) == {
        "x-extauthz-limit": "tokens",
        "ratelimit-limit": "50",
        "ratelimit-remaining": "12",
        "ratelimit-reset": "4",
    }


def test_money_is_told_as_money() -> None:
    found = limit_headers(
        Allowance(limit=SPENDING, remaining=NANO * 5 // 4, reset_s=1.0), refused=False
    )

    assert (found["ratelimit-limit"], found["ratelimit-remaining"]) == ("5.500000", "1.250000")


@pytest.mark.parametrize(
    ("wait_s", "told"), [(0.0, "1"), (0.2, "1"), (1.0, "1"), (1.01, "2"), (None, None)]
)
def test_nobody_is_asked_to_try_again_at_once_or_where_it_never_helps(
    wait_s: float | None, told: str | None
) -> None:
    found = limit_headers(Allowance(limited=True, limit=TOKENS, wait_s=wait_s), refused=True)

    assert found.get("retry-after") == told


@given(st.sampled_from([TOKENS, SPENDING]), st.integers(0, 2**62), st.none() | SECONDS, SECONDS)
def test_all_values_are_printable_and_all_times_whole(
    limit: Limit, remaining: int, wait_s: float | None, reset_s: float
) -> None:
    found = limit_headers(Allowance(True, limit, remaining, wait_s, reset_s), refused=True)

    assert found.pop(LIMIT_HEADER) == limit.name
    for name, value in found.items():
        whole = name in {"retry-after", "ratelimit-reset"}
        assert re.fullmatch(r"\d+" if whole else r"\d+(\.\d{6})?", value)
