"""Whether budgets can be kept: whom they are for, in which time, of what, and at which price."""

from collections.abc import Iterable, Iterator
from typing import Any, Final

from extauthz.core.budget.limits import (
    EVERY_S,
    OTHER,
    Budgets,
    By,
    Count,
    Every,
    Limit,
    Model,
    Price,
)
from extauthz.core.policy import Action, Policy
from extauthz.policy_file.fields import Fault, shown
from extauthz.policy_file.grammar import NAME, Grammar, empty_lists, repetitions
from extauthz.policy_file.strict_yaml import Path

_MAX_LIMITS: Final = 100
#: Each of them is a counter that the request is compared with.
_MAX_LIMITS_OF_A_REQUEST: Final = 16
_MAX_MODELS: Final = 200
#: Of all models: those with a `*` are tried one after another.
_MAX_PATTERNS: Final = 1_000
_MAX_PATTERN_CHARS: Final = 128
_MAX_UNITS: Final = 10**12
_MAX_MONEY: Final = 10**9
_MONEY_DECIMALS: Final = 6
#: How long a rate may take to give back its burst. Counters hold instants, in ns.
_MAX_REFILL_DAYS: Final = 366
_MAX_PRICE: Final = 10**6
_PRICE_DECIMALS: Final = 3
_MAX_EXPECTED_OUTPUT: Final = 1_000_000
_MIN_EXPIRE_S: Final = 10
_MAX_EXPIRE_S: Final = 24 * 60 * 60

_PRICES: Final = ("input_price", "output_price")
_PRICED: Final = "input_price or output_price above 0, or both as 0 for what is free on purpose"

_LIMIT_NAME: Final = Grammar(
    NAME.fullmatch,
    "lower-case letters, digits, - and _, at most 64: it is part of a metric's label",
)
_MODEL_NAME: Final = Grammar(
    lambda text: NAME.fullmatch(text) is not None and text != OTHER,
    f'lower-case letters, digits, - and _, at most 64, and not "{OTHER}", which is every model that '
    "is not listed; what clients write goes under match",
)
_PATTERN: Final = Grammar(
    lambda text: text.isprintable() and 0 < len(text) <= _MAX_PATTERN_CHARS,
    f"1 to {_MAX_PATTERN_CHARS} printable characters",
)


def budget_faults(policy: Policy, raw: dict[str, Any]) -> Iterator[Fault]:
    """What is wrong with the budgets of `policy`; `raw` is the mapping they came from.

    What is too much is not looked at any further, and prices only where there are models to have them.
    """
    budgets, path = policy.budgets, ("budgets",)
    if found := list(_number_faults(budgets, raw, path)):
        yield from found
        return
    yield from _limits_faults(policy, raw["limits"], (*path, "limits"))
    yield from _settle_faults(budgets, (*path, "settle"))
    found = list(_models_faults(budgets, raw, path))
    yield from found or _cost_faults(budgets, raw, path)


def _number_faults(budgets: Budgets, raw: dict[str, Any], path: Path) -> Iterator[Fault]:
    if not budgets.limits:
        where = (*path, "limits") if "limits" in raw else path
        yield Fault(where, "no limit", "at least one, or no key budgets: it changes nothing")
    for key, count, most, what in (
        ("limits", len(budgets.limits), _MAX_LIMITS, "limits"),
        ("models", len(budgets.models), _MAX_MODELS, "models"),
        ("models", sum(len(one.match) for one in budgets.models), _MAX_PATTERNS, "patterns"),
    ):
        if count > most:
            yield Fault((*path, key), f"{count} {what}", f"at most {most}")


def _limits_faults(policy: Policy, raw: list[dict[str, Any]], path: Path) -> Iterator[Fault]:
    """A name of its own is an identity of its own: no two limits share a counter."""
    limits = policy.budgets.limits
    yield from _own_names([limit.name for limit in limits], _LIMIT_NAME, path)
    for index, (limit, written) in enumerate(zip(limits, raw, strict=True)):
        where: Path = (*path, index)
        yield from _window_faults(limit, where)
        found = list(_amount_faults(limit, written, where))
        yield from found or _refill_faults(limit, where)
        yield from empty_lists(written, ("by", "routes", "models"), where)
        for key in ("by", "routes", "models"):
            yield from repetitions(getattr(limit, key), (*where, key))
        yield from _whose_faults(limit, policy, (*where, "by"))
        yield from _route_faults(limit, policy, (*where, "routes"))
        yield from _unlisted_faults(limit, policy.budgets, (*where, "models"))
    yield from _crowd_faults(policy, path)


def _own_names(names: list[str], grammar: Grammar, path: Path) -> Iterator[Fault]:
    for index, name in enumerate(names):
        where: Path = (*path, index, "name")
        yield from grammar.faults([(where, name)])
        if name in names[:index]:
            yield Fault(where, f"{shown(name)} again", "a name of its own")


def _window_faults(limit: Limit, path: Path) -> Iterator[Fault]:
    if limit.count is Count.CONCURRENT:
        for key in ("every", "calendar", "burst"):
            if getattr(limit, key) is not None:
                found = f"{key} beside count: concurrent, where it changes nothing"
                yield Fault((*path, key), found, f"no key {key}, or another count")
        return
    if limit.every and limit.calendar:
        yield Fault((*path, "calendar"), "calendar beside every", "one of the two")
    elif not (limit.every or limit.calendar):
        expected = "one of the two: a rate, or a window of the calendar"
        yield Fault(path, "neither every nor calendar", expected)
    if limit.burst is not None and not limit.every:
        found = "burst beside no every, where it changes nothing"
        yield Fault((*path, "burst"), found, "no key burst, or every")


def _amount_faults(limit: Limit, raw: dict[str, Any], path: Path) -> Iterator[Fault]:
    is_money = limit.count is Count.COST
    most, decimals = (_MAX_MONEY, _MONEY_DECIMALS) if is_money else (_MAX_UNITS, 0)
    expected = (
        f"money above 0 and at most {_MAX_MONEY}, with at most {_MONEY_DECIMALS} decimals"
        if is_money
        else f"a whole number from 1 to {_MAX_UNITS}"
    )
    for key in ("amount", "burst"):
        value = getattr(limit, key)
        if value is not None and not (value > 0 and _is_within(value, most, decimals)):
            yield Fault((*path, key), shown(raw[key]), expected)


def _refill_faults(limit: Limit, path: Path) -> Iterator[Fault]:
    if limit.every is None or limit.burst is None:
        return
    if limit.burst / limit.amount * EVERY_S[limit.every] > _MAX_REFILL_DAYS * EVERY_S[Every.DAY]:
        found = f"a burst that takes more than {_MAX_REFILL_DAYS} days to come back"
        expected = f"a smaller one, or a higher amount in each {limit.every}"
        yield Fault((*path, "burst"), found, expected)


def _is_within(value: float, most: int, decimals: int) -> bool:
    """Whether `value` is from 0 to `most`, and has no more decimals."""
    return 0 <= value <= most and round(value, decimals) == value


def _whose_faults(limit: Limit, policy: Policy, path: Path) -> Iterator[Fault]:
    for index, by in enumerate(limit.by):
        if by is By.PRINCIPAL and not policy.identity:
            found = "principal beside identity: [], where nobody is known"
            yield Fault((*path, index), found, "a source of identity")
        if by is By.TENANT and not policy.tenant:
            found = "tenant beside no key tenant, where none is known"
            yield Fault((*path, index), found, "tenant at the top, with a source")


def _route_faults(limit: Limit, policy: Policy, path: Path) -> Iterator[Fault]:
    rules = {rule.name: rule for rule in policy.routes} | {"default": policy.default}
    for index, name in enumerate(limit.routes):
        rule = rules.get(name)
        if rule is None:
            yield Fault((*path, index), shown(name), 'the name of a route, or "default"')
        elif rule.action is Action.DENY:
            found = f"{shown(name)}, which says action: deny, so that nothing is counted"
            yield Fault((*path, index), found, "a route that inspects or allows")


def _unlisted_faults(limit: Limit, budgets: Budgets, path: Path) -> Iterator[Fault]:
    names = {OTHER, *(model.name for model in budgets.models)}
    for index, name in enumerate(limit.models):
        if name not in names:
            yield Fault((*path, index), shown(name), f'the name of a model, or "{OTHER}"')


def _crowd_faults(policy: Policy, path: Path) -> Iterator[Fault]:
    limits, models = policy.budgets.limits, policy.budgets.models
    routes = _subjects(
        ["default", *(rule.name for rule in policy.routes)], [limit.routes for limit in limits]
    )
    named = _subjects([OTHER, *(one.name for one in models)], [limit.models for limit in limits])
    most, route, model = max(
        ((on_route & for_model).bit_count(), route, model)
        for on_route, route in routes.items()
        for for_model, model in named.items()
    )
    if most > _MAX_LIMITS_OF_A_REQUEST:
        found = f"{most} limits for one request (route {shown(route)}, model {shown(model)})"
        yield Fault(path, found, f"at most {_MAX_LIMITS_OF_A_REQUEST}")


def _subjects(names: Iterable[str], lists: Iterable[tuple[str, ...]]) -> dict[int, str]:
    """Which of `lists` hold for a name, a bit for each; and one name of all for which these hold."""
    members = [frozenset(one) for one in lists]
    return {
        sum(1 << bit for bit, some in enumerate(members) if not some or name in some): name
        for name in names
    }


def _settle_faults(budgets: Budgets, path: Path) -> Iterator[Fault]:
    expire_s = budgets.settle.expire_s
    if not _MIN_EXPIRE_S <= expire_s <= _MAX_EXPIRE_S:
        expected = f"a number from {_MIN_EXPIRE_S} to {_MAX_EXPIRE_S}"
        yield Fault((*path, "expire_s"), shown(expire_s), expected)


def _models_faults(budgets: Budgets, raw: dict[str, Any], path: Path) -> Iterator[Fault]:
    yield from empty_lists(raw, ("models",), path)
    models, where = budgets.models, (*path, "models")
    found = list(_own_names([model.name for model in models], _MODEL_NAME, where))
    for index, (model, written) in enumerate(zip(models, raw.get("models", []), strict=True)):
        found += empty_lists(written, ("match",), (*where, index))
        found += _PATTERN.faults(_patterns(model, (*where, index)))
        found += _price_faults(model, written, (*where, index))
    yield from found or _claimed_faults(models, where)
    yield from _price_faults(
        budgets.other_models, raw.get("other_models", {}), (*path, "other_models")
    )


def _patterns(model: Model, path: Path) -> list[tuple[Path, str]]:
    """What clients may call a model, and where that is written."""
    if not model.match:
        return [((*path, "name"), model.name)]
    return [((*path, "match", index), one) for index, one in enumerate(model.match)]


def _claimed_faults(models: Iterable[Model], path: Path) -> Iterator[Fault]:
    """What is looked for without regard to case can be of one model only."""
    seen: set[str] = set()
    for index, model in enumerate(models):
        for where, pattern in _patterns(model, (*path, index)):
            if pattern.lower() in seen:
                yield Fault(where, f"{shown(pattern)} again", "each once, in any case")
            seen.add(pattern.lower())


def _price_faults(one: Model | Price, raw: dict[str, Any], path: Path) -> Iterator[Fault]:
    for key in _PRICES:
        if not _is_within(getattr(one, key), _MAX_PRICE, _PRICE_DECIMALS):
            expected = (
                f"money for a million tokens, from 0 to {_MAX_PRICE}, "
                f"with at most {_PRICE_DECIMALS} decimals"
            )
            yield Fault((*path, key), shown(raw[key]), expected)
    if not 1 <= one.expected_output <= _MAX_EXPECTED_OUTPUT:
        expected = f"a number from 1 to {_MAX_EXPECTED_OUTPUT}"
        yield Fault((*path, "expected_output"), shown(one.expected_output), expected)


def _cost_faults(budgets: Budgets, raw: dict[str, Any], path: Path) -> Iterator[Fault]:
    """What a limit of cost would count as nothing although nobody said that it is free."""
    costs = [limit for limit in budgets.limits if limit.count is Count.COST]
    written = zip(budgets.models, raw.get("models", []), strict=True)
    for index, (model, keys) in enumerate(written):
        if (limit := _first_for(model.name, costs)) and not _is_priced(model, keys):
            found = f"no price of {shown(model.name)} beside the limit {shown(limit.name)} of cost"
            yield Fault((*path, "models", index), found, _PRICED)
    limit = _first_for(OTHER, costs)
    if limit and not _is_priced(budgets.other_models, raw.get("other_models", {})):
        where = (*path, "other_models") if "other_models" in raw else path
        found = (
            f"no price under other_models beside the limit {shown(limit.name)} of cost, to which "
            "every model that is not listed is free"
        )
        yield Fault(where, found, _PRICED)


def _first_for(model: str, limits: Iterable[Limit]) -> Limit | None:
    return next((one for one in limits if not one.models or model in one.models), None)


def _is_priced(one: Model | Price, raw: dict[str, Any]) -> bool:
    return one.input_price > 0 or one.output_price > 0 or all(key in raw for key in _PRICES)
