"""Budgets of a policy file: what they say, and what is refused because it could not be kept."""

import re
from enum import StrEnum
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extauthz.core.budget.limits import (
    Budgets,
    By,
    Calendar,
    Charge,
    Count,
    Every,
    Limit,
    Model,
    OnStoreFailure,
    Price,
    Settle,
)
from extauthz.core.identity import identified, identify
from extauthz.core.policy import Identity, IdentitySource, Limits, Policy
from extauthz.policy_file import PolicyError, parse
from tests import builders

GOLDEN = """\
version: 1
routes:
  - name: chat
    match: {paths: [/v1/chat/completions]}
    limits: {output_tokens: 4096, choices: 4, output_required: true}
  - {name: trial, match: {paths: [/b]}, shadow: true}
default: {action: allow}
tenant:
  - {source: jwt, claim: [payload, org]}
  - {source: api_key, header: x-team-key}
budgets:
  limits:
    - {name: calls, count: requests, amount: 600, every: minute, burst: 50, by: [principal]}
    - {name: money, count: cost, amount: 99.999999, calendar: month, by: [tenant, model]}
    - name: long
      count: output_tokens
      amount: 1000000000000
      every: second
      routes: [chat, trial, default]
      models: [large, other]
      shadow: true
    - {name: at-once, count: concurrent, amount: 1, by: [route]}
    - {name: fine, count: cost, amount: 0.000001, every: day, burst: 0.000366}
  models:
    - name: large
      match: [large-2.1, "LARGE-2.1-*", "*/large*2.1"]
      input_price: 1000000
      output_price: 0.001
      expected_output: 1000000
    - {name: small, input_price: 0.02}
    - {name: own, input_price: 0, output_price: 0}
  other_models: {output_price: 20, expected_output: 1}
  settle: {unreported: input, failed: reserved, lost: nothing, expire_s: 86400}
  on_store_failure: deny
"""
HEAD = "version: 1\nroutes:\n  - {name: a, match: {paths: [/a]}}\ndefault: {action: deny}\n"
BUDGETS = HEAD + "budgets:\n"
LIMITS = BUDGETS + "  limits:\n"
#: A limit that says all it must, on line 7, and one that is open to further keys from line 8 on.
WHOLE = LIMITS + "    - {name: x, count: requests, amount: 9, every: day}\n"
OPEN = LIMITS + "    - name: x\n      count: requests\n      amount: 9\n"
DAILY = OPEN + "      every: day\n"
COST = LIMITS + "    - {name: x, count: cost, amount: 9, every: day}\n"
MODELS = WHOLE + "  models:\n"
TENANT = HEAD + "tenant:\n"
LIMIT_OF_ROUTE = "version: 1\ndefault: {}\nroutes:\n  - name: a\n    match: {paths: [/a]}\n"
LIMIT_OF_ROUTE += "    limits:\n"


def limit(number: int, more: str = "") -> str:
    return f"    - {{name: n{number}, count: requests, amount: 9, every: day{more}}}\n"


def refused(text: str) -> str:
    with pytest.raises(PolicyError) as caught:
        parse(text.encode(), "p.yaml")
    return str(caught.value)


def accepted(text: str) -> Policy:
    return parse(text.encode(), "p.yaml")


def test_a_file_becomes_the_budgets_it_says() -> None:
    policy = accepted(GOLDEN)
    assert policy.budgets == Budgets(
        limits=(
            Limit(
                name="calls",
                count=Count.REQUESTS,
                amount=600,
                every=Every.MINUTE,
                burst=50,
                by=(By.PRINCIPAL,),
            ),
            Limit(
                name="money",
                count=Count.COST,
                amount=99.999999,
                calendar=Calendar.MONTH,
                by=(By.TENANT, By.MODEL),
            ),
            Limit(
                name="long",
                count=Count.OUTPUT_TOKENS,
                amount=10**12,
                every=Every.SECOND,
                routes=("chat", "trial", "default"),
                models=("large", "other"),
                shadow=True,
            ),
            Limit(name="at-once", count=Count.CONCURRENT, amount=1, by=(By.ROUTE,)),
            Limit(name="fine", count=Count.COST, amount=1e-6, every=Every.DAY, burst=0.000366),
        ),
        models=(
            Model(
                name="large",
                match=("large-2.1", "LARGE-2.1-*", "*/large*2.1"),
                input_price=1e6,
                output_price=0.001,
                expected_output=1_000_000,
            ),
            Model(name="small", input_price=0.02),
            Model(name="own"),
        ),
        other_models=Price(output_price=20, expected_output=1),
        settle=Settle(
            unreported=Charge.INPUT, failed=Charge.RESERVED, lost=Charge.NOTHING, expire_s=86_400
        ),
        on_store_failure=OnStoreFailure.DENY,
    )
    assert policy.tenant == (
        Identity(source=IdentitySource.JWT, claim=("payload", "org")),
        Identity(source=IdentitySource.API_KEY, header="x-team-key"),
    )
    assert policy.routes[0].limits == Limits(output_tokens=4_096, choices=4, output_required=True)


def test_without_budgets_nothing_is_counted_and_nobody_has_a_tenant() -> None:
    policy = accepted("version: 1\ndefault: {}\n")
    assert policy.budgets == Budgets()
    assert policy.tenant == ()
    assert policy.default.limits.output_tokens is None
    assert policy.default.limits.choices is None
    assert not policy.default.limits.output_required


def test_what_is_left_out_of_budgets_has_the_value_of_the_reference() -> None:
    budgets = accepted(WHOLE).budgets
    assert budgets.settle == Settle(
        unreported=Charge.RESERVED, failed=Charge.NOTHING, lost=Charge.RESERVED, expire_s=900
    )
    assert budgets.on_store_failure is OnStoreFailure.LOCAL_SHARE
    assert budgets.other_models == Price(input_price=0, output_price=0, expected_output=1_024)


def test_the_key_of_a_tenant_is_shown_to_nobody_either() -> None:
    policy = accepted(GOLDEN)
    call = builders.call(headers={"x-team-key": "secret", "x-other": "1"})
    assert str(identify(call, policy.tenant)).startswith("key:")
    assert identified(call, "", "", policy.sources).headers == {"x-team-key": "", "x-other": "1"}


#: (file, line, what the message says). The line is the one to be changed.
FIELDS: list[tuple[str, int, str]] = [
    (HEAD + "budgets: []\n", 5, "found a list at budgets; expected a mapping with limits, models,"),
    (BUDGETS + "  limit: []\n", 6, "found an unknown key at budgets.limit; expected one of limits"),
    (
        LIMITS + "    - {name: x, amount: 9, every: day}\n",
        7,
        "found no key count at budgets.limits[0]",
    ),
    (
        LIMITS + "    - {name: x, count: tokens, amount: 9, every: day}\n",
        7,
        'found "tokens" at budgets.limits[0].count; expected one of requests, input_tokens',
    ),
    (
        OPEN + "      every: week\n",
        10,
        'found "week" at budgets.limits[0].every; expected one of second, minute, hour, day',
    ),
    (
        OPEN + "      calendar: minute\n",
        10,
        'found "minute" at budgets.limits[0].calendar; expected one of hour, day, month',
    ),
    (
        DAILY + "      by: [user]\n",
        11,
        'found "user" at budgets.limits[0].by[0]; expected one of principal, tenant, route, model',
    ),
    (
        WHOLE + "  settle: {lost: all}\n",
        8,
        'found "all" at budgets.settle.lost; expected one of reserved, input, nothing',
    ),
    (
        WHOLE + "  on_store_failure: error\n",
        8,
        'found "error" at budgets.on_store_failure; expected one of local_share, deny, allow',
    ),
    (WHOLE + "  other_models: {name: x}\n", 8, "found an unknown key at budgets.other_models.name"),
]
NOTHING_TO_LIMIT: list[tuple[str, int, str]] = [
    (
        HEAD + "budgets: {}\n",
        5,
        "found no limit at budgets; expected at least one, or no key budgets: it changes nothing",
    ),
    (BUDGETS + "  limits: []\n", 6, "found no limit at budgets.limits"),
    (BUDGETS + "  settle: {lost: input}\n", 5, "found no limit at budgets;"),
    (BUDGETS + "  on_store_failure: deny\n", 5, "found no limit at budgets;"),
    (BUDGETS + "  models: [{name: m}]\n", 5, "found no limit at budgets;"),
]
TOO_MUCH: list[tuple[str, int, str]] = [
    (
        LIMITS + "".join(map(limit, range(101))),
        6,
        "found 101 limits at budgets.limits; expected at most 100",
    ),
    (
        MODELS + "".join(f"    - {{name: m{i}}}\n" for i in range(201)),
        8,
        "found 201 models at budgets.models; expected at most 200",
    ),
    (
        MODELS + f"    - {{name: m, match: [{', '.join(f'm{i}' for i in range(1001))}]}}\n",
        8,
        "found 1001 patterns at budgets.models; expected at most 1000",
    ),
    (
        LIMITS + "".join(map(limit, range(17))),
        6,
        (
            'found 17 limits for one request (route "a", model "other") at budgets.limits; '
            "expected at most 16"
        ),
    ),
    (
        LIMITS
        + "".join(map(limit, range(14)))
        + limit(14, ", routes: [a]")
        + limit(15, ", models: [m]")
        + limit(16, ", routes: [a], models: [m, other]")
        + "  models: [{name: l}, {name: m}]\n",
        6,
        'found 17 limits for one request (route "a", model "m") at budgets.limits',
    ),
]
LIMIT: list[tuple[str, int, str]] = [
    (
        DAILY.replace("name: x", "name: X y"),
        7,
        (
            'found "X y" at budgets.limits[0].name; expected lower-case letters, digits, - and _, at '
            "most 64: it is part of a metric's label"
        ),
    ),
    (
        WHOLE + "    - {name: x, count: concurrent, amount: 9}\n",
        8,
        'found "x" again at budgets.limits[1].name; expected a name of its own',
    ),
    (
        OPEN,
        7,
        (
            "found neither every nor calendar at budgets.limits[0]; expected one of the two: a rate, or "
            "a window of the calendar"
        ),
    ),
    (
        DAILY + "      calendar: day\n",
        11,
        "found calendar beside every at budgets.limits[0].calendar; expected one of the two",
    ),
    (
        OPEN + "      calendar: day\n      burst: 5\n",
        11,
        (
            "found burst beside no every, where it changes nothing at budgets.limits[0].burst; expected "
            "no key burst, or every"
        ),
    ),
    *(
        (
            OPEN.replace("requests", "concurrent") + f"      {key}: {value}\n",
            10,
            (
                f"found {key} beside count: concurrent, where it changes nothing at "
                f"budgets.limits[0].{key}; expected no key {key}, or another count"
            ),
        )
        for key, value in {"every": "day", "calendar": "day", "burst": "1"}.items()
    ),
    *(
        (
            DAILY + f"      {key}: []\n",
            11,
            f"found an empty list at budgets.limits[0].{key}; expected at least one, or no key {key}",
        )
        for key in ("by", "routes", "models")
    ),
    *(
        (
            DAILY + f"      {key}:\n        - {value}\n        - {value}\n",
            13,
            f'found "{value}" again at budgets.limits[0].{key}[1]; expected each once',
        )
        for key, value in {"by": "route", "routes": "a", "models": "other"}.items()
    ),
    (
        DAILY + "      routes: [a, b]\n",
        11,
        'found "b" at budgets.limits[0].routes[1]; expected the name of a route, or "default"',
    ),
    (
        DAILY + "      routes: [default]\n",
        11,
        (
            'found "default", which says action: deny, so that nothing is counted at '
            "budgets.limits[0].routes[0]; expected a route that inspects or allows"
        ),
    ),
    (
        DAILY + "      models: [m2]\n  models: [{name: m, match: [m2]}]\n",
        11,
        'found "m2" at budgets.limits[0].models[0]; expected the name of a model, or "other"',
    ),
    (
        DAILY + "      by: [route, tenant]\n",
        11,
        (
            "found tenant beside no key tenant, where none is known at budgets.limits[0].by[1]; expected "
            "tenant at the top, with a source"
        ),
    ),
    (
        DAILY + "      by: [principal]\nidentity: []\n",
        11,
        (
            "found principal beside identity: [], where nobody is known at budgets.limits[0].by[0]; "
            "expected a source of identity"
        ),
    ),
    (
        DAILY + "      burst: 3295\n",
        11,
        (
            "found a burst that takes more than 366 days to come back at budgets.limits[0].burst; "
            "expected a smaller one, or a higher amount in each day"
        ),
    ),
]
MODEL: list[tuple[str, int, str]] = [
    (WHOLE + "  models: []\n", 8, "found an empty list at budgets.models; expected at least one"),
    (
        MODELS + "    - {name: large-2.1}\n",
        9,
        (
            'found "large-2.1" at budgets.models[0].name; expected lower-case letters, digits, - and _, '
            'at most 64, and not "other", which is every model that is not listed; what clients write '
            "goes under match"
        ),
    ),
    (MODELS + "    - {name: other}\n", 9, 'found "other" at budgets.models[0].name'),
    (
        MODELS + "    - {name: m}\n    - {name: m}\n",
        10,
        'found "m" again at budgets.models[1].name; expected a name of its own',
    ),
    (
        MODELS + "    - name: m\n      match: []\n",
        10,
        "found an empty list at budgets.models[0].match; expected at least one, or no key match",
    ),
    *(
        (
            MODELS + f"    - name: m\n      match:\n        - a\n        - {pattern}\n",
            12,
            "at budgets.models[0].match[1]; expected 1 to 128 printable characters",
        )
        for pattern in ('""', '"a\\u200b"', "x" * 129)
    ),
    (
        MODELS + '    - {name: m, match: [a, "B*"]}\n    - {name: k, match: [c, b*]}\n',
        10,
        'found "b*" again at budgets.models[1].match[1]; expected each once, in any case',
    ),
    (
        MODELS + "    - {name: m, match: [K]}\n    - {name: k}\n",
        10,
        'found "k" again at budgets.models[1].name; expected each once, in any case',
    ),
]
PRICES: list[tuple[str, int, str]] = [
    *(
        (
            text,
            line,
            (
                f"found {price} at budgets.{where}.{key}; expected money for a million tokens, from 0 to "
                "1000000, with at most 3 decimals"
            ),
        )
        for key in ("input_price", "output_price")
        for price in ("-1", "-0.1", "0.5000000001", "1000000.5", "1000001")
        for text, line, where in (
            (MODELS + f"    - name: m\n      {key}: {price}\n", 10, "models[0]"),
            (WHOLE + f"  other_models:\n    {key}: {price}\n", 9, "other_models"),
        )
    ),
    *(
        (
            text,
            line,
            f"found {tokens} at budgets.{where}.expected_output; expected a number from 1 to 1000000",
        )
        for tokens in ("0", "-1", "1000001")
        for text, line, where in (
            (MODELS + f"    - name: m\n      expected_output: {tokens}\n", 10, "models[0]"),
            (WHOLE + f"  other_models:\n    expected_output: {tokens}\n", 9, "other_models"),
        )
    ),
    (
        COST,
        5,
        (
            'found no price under other_models beside the limit "x" of cost, to which every model that '
            "is not listed is free at budgets; expected input_price or output_price above 0, or both as "
            "0 for what is free on purpose"
        ),
    ),
    (
        COST + "  other_models: {input_price: 0, expected_output: 9}\n",
        8,
        (
            'found no price under other_models beside the limit "x" of cost, to which every model that '
            "is not listed is free at budgets.other_models"
        ),
    ),
    (
        COST + "  other_models: {input_price: 1}\n  models:\n    - name: m\n      match: [mm]\n",
        10,
        (
            'found no price of "m" beside the limit "x" of cost at budgets.models[0]; expected '
            "input_price or output_price above 0, or both as 0 for what is free on purpose"
        ),
    ),
    (
        COST.replace("day}", "day, models: [m]}") + "  models:\n    - {name: m, output_price: 0}\n",
        9,
        'found no price of "m" beside the limit "x" of cost at budgets.models[0]',
    ),
    (
        COST.replace("day}", "day, models: [other]}"),
        5,
        'found no price under other_models beside the limit "x" of cost',
    ),
]
AROUND: list[tuple[str, int, str]] = [
    *(
        (
            WHOLE + f"  settle:\n    expire_s: {seconds}\n",
            9,
            f"found {seconds} at budgets.settle.expire_s; expected a number from 10 to 86400",
        )
        for seconds in (9, 86_401)
    ),
    (
        HEAD + "tenant: [{source: mtls}]\n",
        5,
        (
            "found tenant beside no limit by tenant, where it changes nothing at tenant; expected no key "
            "tenant, or a limit by tenant"
        ),
    ),
    (
        DAILY + "      by: [route]\ntenant: [{source: mtls}]\n",
        12,
        "found tenant beside no limit by tenant",
    ),
    (
        HEAD + "tenant: []\n",
        5,
        "found an empty list at tenant; expected at least one, or no key tenant",
    ),
    (TENANT + "  - {source: cookie}\n", 6, 'found "cookie" at tenant[0].source; expected one of'),
    *(
        (TENANT + source + LIMITS.removeprefix(HEAD) + limit(1, ", by: [tenant]"), line, words)
        for source, line, words in (
            ("  - {source: header}\n", 6, "found no key header beside source: header at tenant[0]"),
            (
                "  - {source: header, header: authorization}\n",
                6,
                (
                    'found "authorization" at tenant[0].header; expected a lower-case header that Envoy '
                    "overwrites"
                ),
            ),
            ("  - {source: mtls}\n" * 2, 7, "found the same source again at tenant[1]"),
            (
                "".join(f"  - {{source: api_key, header: x-{i}}}\n" for i in range(9)),
                5,
                "found 9 sources at tenant; expected at most 8",
            ),
        )
    ),
    *(
        (
            LIMIT_OF_ROUTE + f"      {key}: {value}\n",
            7,
            f"found {value} at routes[0].limits.{key}; expected a number from 1 to {most}",
        )
        for key, most in {"output_tokens": 10_000_000, "choices": 1_000}.items()
        for value in (0, most + 1)
    ),
    (
        LIMIT_OF_ROUTE + "      output_required: true\n      choices: 1\n",
        7,
        (
            "found output_required beside no output_tokens, where any length would do at "
            "routes[0].limits.output_required; expected output_tokens too, or no key output_required"
        ),
    ),
]


@pytest.mark.parametrize(
    ("text", "line", "words"),
    FIELDS + NOTHING_TO_LIMIT + TOO_MUCH + LIMIT + MODEL + PRICES + AROUND,
)
def test_a_mistake_is_refused_with_its_line(text: str, line: int, words: str) -> None:
    message = refused(text)
    assert "\n" not in message
    assert message.startswith(f"p.yaml:{line}: found ")
    assert words in message
    assert "; expected " in message


@pytest.mark.parametrize(
    ("count", "key"),
    [(one, "amount") for one in Count if one is not Count.COST]
    + [(one, "burst") for one in Count if one not in {Count.COST, Count.CONCURRENT}],
)
@pytest.mark.parametrize("value", ["0", "-1", "0.5", "1000000000001", "9" * 18])
def test_units_are_whole_and_bounded(count: Count, key: str, value: str) -> None:
    amounts = {"amount": "1000000000000", "burst": "1"} | {key: value}
    window = f", every: second, burst: {amounts['burst']}" if count is not Count.CONCURRENT else ""
    text = LIMITS + f"    - {{name: x, count: {count}, amount: {amounts['amount']}{window}}}\n"
    assert refused(text) == (
        f"p.yaml:7: found {value} at budgets.limits[0].{key}; "
        "expected a whole number from 1 to 1000000000000"
    )


@pytest.mark.parametrize("key", ["amount", "burst"])
@pytest.mark.parametrize("value", ["0", "-0.5", "0.0000001", "1.0000001", "1000000000.5"])
def test_money_is_above_zero_and_has_few_decimals(key: str, value: str) -> None:
    shown = "1e-7" if value == "0.0000001" else value
    amounts = {"amount": "1000000000", "burst": "1"} | {key: value}
    keys = ", ".join(f"{name}: {amount}" for name, amount in amounts.items())
    text = LIMITS + f"    - {{name: x, count: cost, every: day, {keys}}}\n"
    assert refused(text + "  other_models: {input_price: 1}\n") == (
        f"p.yaml:7: found {shown} at budgets.limits[0].{key}; "
        "expected money above 0 and at most 1000000000, with at most 6 decimals"
    )


@given(st.integers(1, 10**15), st.integers(0, 10**9))
def test_every_millionth_of_money_and_thousandth_of_a_price_can_be_written(
    millionths: int, thousandths: int
) -> None:
    amount = f"{millionths // 10**6}.{millionths % 10**6:06}"
    price = f"{thousandths // 10**3}.{thousandths % 10**3:03}"
    text = LIMITS + f"    - {{name: x, count: cost, amount: {amount}, calendar: day}}\n"
    budgets = accepted(
        text + f"  other_models: {{input_price: {price}, output_price: 0}}\n"
    ).budgets
    assert budgets.limits[0].amount == float(amount)
    assert budgets.other_models.input_price == float(price)


@pytest.mark.parametrize(
    "text",
    [
        COST.replace("day}", "day, models: [m]}") + "  models: [{name: m, input_price: 1}]\n",
        COST + "  other_models: {input_price: 0, output_price: 0}\n",
        COST + "  other_models: {output_price: 0.1}\n  models: [{name: m, input_price: 1}]\n",
        COST.replace("day}", "day, models: [other]}")
        + "  other_models: {input_price: 1}\n  models: [{name: m}]\n",
        WHOLE + "  models: [{name: m}]\n",
        WHOLE + "  models: [{name: m, input_price: 1}]\n  other_models: {input_price: 3}\n",
    ],
)
def test_only_what_money_is_counted_of_needs_a_price(text: str) -> None:
    assert accepted(text).budgets.limits


def test_limits_for_different_requests_are_counted_apart() -> None:
    text = LIMITS + "".join(map(limit, range(15)))
    text += limit(15, ", models: [m]") + limit(16, ", models: [k]") + limit(17, ", models: [other]")
    assert len(accepted(text + "  models: [{name: m}, {name: k}]\n").budgets.limits) == 18


def test_a_file_may_hold_as_much_as_it_is_told() -> None:
    routes = "".join(f"  - {{name: r{i}, match: {{paths: [/{i}]}}}}\n" for i in range(500))
    names = ", ".join(f"r{i}" for i in range(500))
    limits = "".join(limit(i, f", models: [m{i}], routes: [{names}]") for i in range(100))
    models = "".join(f"    - {{name: m{i}}}\n" for i in range(200))
    text = "version: 1\ndefault: {}\nroutes:\n" + routes
    data = (text + "budgets:\n  limits:\n" + limits + "  models:\n" + models).encode()
    assert len(parse(data, "p.yaml").budgets.limits) == 100


IDENTITY = Limit(name="x", count=Count.REQUESTS, amount=9, every=Every.DAY, by=(By.MODEL, By.ROUTE))


@pytest.mark.parametrize(
    ("changed", "same"),
    [
        ({"amount": 5.0}, True),
        ({"burst": 5.0}, True),
        ({"every": Every.SECOND}, True),
        ({"routes": ("a",)}, True),
        ({"models": ("other",)}, True),
        ({"shadow": True}, True),
        ({"by": (By.ROUTE, By.MODEL)}, True),
        ({"by": (By.ROUTE,)}, False),
        ({"name": "y"}, False),
        ({"count": Count.INPUT_TOKENS}, False),
        ({"every": None, "calendar": Calendar.DAY}, False),
        ({"every": None, "calendar": Calendar.HOUR}, False),
        ({"every": None}, False),
    ],
)
def test_a_reload_keeps_what_the_reference_says(changed: dict[str, object], same: bool) -> None:
    fields = {name: getattr(IDENTITY, name) for name in IDENTITY.__struct_fields__}
    assert (Limit(**fields | changed).identity == IDENTITY.identity) is same


@given(st.data())
def test_damaged_budgets_are_a_policy_or_a_policy_error(data: st.DataObject) -> None:
    start = data.draw(st.integers(GOLDEN.index("tenant:"), len(GOLDEN)))
    end = data.draw(st.integers(start, min(start + 9, len(GOLDEN))))
    middle = data.draw(st.text(st.sampled_from("{}[]:,-#*\"' \n0123.amnotrule"), max_size=9))
    try:
        parse((GOLDEN[:start] + middle + GOLDEN[end:]).encode(), "p.yaml")
    except PolicyError:
        return


DOCUMENT = (Path(__file__).parents[1] / "docs" / "policy.md").read_text()


@pytest.mark.parametrize("choices", [Count, By, Every, Calendar, Charge, OnStoreFailure])
def test_every_word_that_can_be_chosen_is_explained(choices: type[StrEnum]) -> None:
    told = set(re.findall(r"`(\w+)`", DOCUMENT.partition("\n## budgets\n")[2]))
    assert {choice.value for choice in choices} <= told
