"""Whether the places where principal and tenant are looked for are complete, and no client's choice."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from extauthz.core.budget.limits import By
from extauthz.core.policy import OWN_HEADER_PREFIX, Identity, IdentitySource, Policy, Rule
from extauthz.policy_file.fields import Fault
from extauthz.policy_file.grammar import HEADER, WORDS, Grammar, empty_lists
from extauthz.policy_file.strict_yaml import Path

_MAX_SOURCES: Final = 8
_MAX_CLAIM_STEPS: Final = 8

#: Key to the sources that read it; beside others it would change nothing.
_READ_BY: Final[Mapping[str, frozenset[IdentitySource]]] = {
    "header": frozenset({IdentitySource.API_KEY, IdentitySource.HEADER}),
    "claim": frozenset({IdentitySource.JWT}),
    "namespace": frozenset({IdentitySource.JWT}),
}
#: What clients send about themselves, and proxies pass on as it is or only add to.
_CLIENTS_OWN: Final = frozenset(
    {
        "api-key", "authorization", "cookie", "forwarded", "from", "host", "origin",
        "proxy-authorization", "referer", "user-agent", "via", "x-api-key", "x-forwarded-for",
        "x-goog-api-key", "x-real-ip", "x-request-id",
    }
)  # fmt: skip


def _is_key_header(name: str) -> bool:
    return HEADER.fullmatch(name) is not None and not name.startswith(OWN_HEADER_PREFIX)


_KEY_HEADER: Final = Grammar(
    _is_key_header, f"a lower-case header that is not {OWN_HEADER_PREFIX}*"
)
_SET_HEADER: Final = Grammar(
    lambda name: _is_key_header(name) and name not in _CLIENTS_OWN,
    f"a lower-case header that Envoy overwrites: not {OWN_HEADER_PREFIX}*, and none that clients "
    "send about themselves",
)


def identity_faults(policy: Policy, raw: list[dict[str, Any]]) -> Iterator[Fault]:
    """What is wrong with where the principal is looked for; `raw` is the list it came from."""
    yield from _sources_faults(policy.identity, raw, ("identity",))
    if not raw:
        yield from _unknown_faults(policy.routes)


def tenant_faults(policy: Policy, raw: list[dict[str, Any]]) -> Iterator[Fault]:
    """What is wrong with where the tenant is looked for; `raw` is the list it came from."""
    yield from empty_lists({"tenant": raw}, ("tenant",), ())
    yield from _sources_faults(policy.tenant, raw, ("tenant",))
    if raw and not any(By.TENANT in limit.by for limit in policy.budgets.limits):
        found = "tenant beside no limit by tenant, where it changes nothing"
        yield Fault(("tenant",), found, "no key tenant, or a limit by tenant")


def _sources_faults(
    sources: tuple[Identity, ...], raw: list[dict[str, Any]], path: Path
) -> Iterator[Fault]:
    if len(raw) > _MAX_SOURCES:
        yield Fault(path, f"{len(raw)} sources", f"at most {_MAX_SOURCES}")
        return
    for index, (one, written) in enumerate(zip(sources, raw, strict=True)):
        yield from _source_faults(one, written, (*path, index))
        if one in sources[:index]:
            yield Fault((*path, index), "the same source again", "each once")


def _unknown_faults(routes: tuple[Rule, ...]) -> Iterator[Fault]:
    """Routes for principals where nobody is ever known."""
    for index, route in enumerate(routes):
        if route.match.principals:
            where = ("routes", index, "match", "principals")
            yield Fault(where, "principals beside identity: []", "a source of identity")


def _source_faults(one: Identity, raw: dict[str, Any], path: Path) -> Iterator[Fault]:
    for key, sources in _READ_BY.items():
        if key in raw and one.source not in sources:
            found = f"{key} beside source: {one.source}, where it changes nothing"
            yield Fault((*path, key), found, f"no key {key}, or another source")
        elif key != "namespace" and key not in raw and one.source in sources:
            yield Fault(path, f"no key {key} beside source: {one.source}", "this key")
    yield from _value_faults(one, raw, path)


def _value_faults(one: Identity, raw: dict[str, Any], path: Path) -> Iterator[Fault]:
    header = _SET_HEADER if one.source is IdentitySource.HEADER else _KEY_HEADER
    if "header" in raw:
        yield from header.faults([((*path, "header"), one.header)])
    yield from WORDS.faults([((*path, "namespace"), one.namespace)])
    yield from WORDS.faults(((*path, "claim", i), step) for i, step in enumerate(one.claim))
    if "claim" in raw and not 1 <= len(one.claim) <= _MAX_CLAIM_STEPS:
        found = f"{len(one.claim)} names" if one.claim else "an empty list"
        yield Fault((*path, "claim"), found, f"1 to {_MAX_CLAIM_STEPS} member names")
