"""Whether rules can mean what they say: names, patterns and bounds, and what can have no effect."""

import ipaddress
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from extauthz.core.path import canonical_path
from extauthz.core.policy import OWN_HEADER_PREFIX, Action, Limits, Match, Mutate, Rule
from extauthz.policy_file.detectors import detect_faults, finds_nothing
from extauthz.policy_file.fields import Fault, shown
from extauthz.policy_file.grammar import HEADER, NAME, WORDS, Grammar
from extauthz.policy_file.strict_yaml import Path

_MAX_BODY_BYTES: Final = 64 * 1024 * 1024
_MAX_TOKENS: Final = 1_000_000
_MAX_OUTPUT_TOKENS: Final = 10_000_000
_MAX_CHOICES: Final = 1_000

_LABEL: Final = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST: Final = re.compile(rf"(?:\*\.)?{_LABEL}(?:\.{_LABEL})*")
_METHOD: Final = re.compile(r"[A-Z][A-Z-]{0,31}")
#: RFC 9110 section 5.5, ASCII only and without white space at the ends.
_HEADER_VALUE: Final = re.compile(r"(?:[!-~](?:[ -~]{0,254}[!-~])?)?")
#: RFC 3986 section 3.4 without the marks that end a parameter. Envoy writes these as they are.
_QUERY: Final = r"(?:[A-Za-z0-9._~!$'()*,;:@/?-]|%[0-9A-Fa-f]{2})"
_QUERY_NAME: Final = re.compile(_QUERY + "{1,128}")
_QUERY_VALUE: Final = re.compile(_QUERY + "{0,256}")

#: Headers that frame a message or belong to one connection (RFC 9110 sections 7.2, 7.6.1, 8.6).
_FRAMING: Final = frozenset(
    {
        "connection", "content-length", "host", "keep-alive", "te", "trailer",
        "transfer-encoding", "upgrade",
    }
)  # fmt: skip

#: Keys that change nothing under an action: nothing is inspected, nothing is let through.
_IDLE: Final = {
    Action.INSPECT: (),
    Action.ALLOW: ("detect", "limits", "on_failure", "deny_as", "shadow"),
    Action.DENY: ("detect", "limits", "on_failure", "mutate"),
}


def rule_faults(rule: Rule, raw: dict[str, Any], path: Path) -> Iterator[Fault]:
    """What is wrong with one rule. `raw` is the mapping it came from: what was written."""
    yield from _action_faults(rule, raw, path)
    yield from detect_faults(rule.detect, raw.get("detect", {}), (*path, "detect"))
    yield from _limit_faults(rule.limits, (*path, "limits"))
    if rule.mutate is not None:
        yield from _mutate_faults(rule.mutate, (*path, "mutate"))


def route_faults(rule: Rule, raw: dict[str, Any], path: Path) -> Iterator[Fault]:
    """What is wrong with a route: with its rule, its name, and what it matches."""
    yield from _ROUTE_NAME.faults([((*path, "name"), rule.name)])
    yield from _match_faults(rule.match, raw["match"], (*path, "match"))
    yield from rule_faults(rule, raw, path)


def order_faults(routes: list[Rule]) -> Iterator[Fault]:
    """Routes that share a name, or that never see a call because an earlier one takes it."""
    for index, route in enumerate(routes):
        for earlier in routes[:index]:
            if earlier.name == route.name:
                path: Path = ("routes", index, "name")
                yield Fault(path, f'"{route.name}" again', "a name of its own")
            if _takes_all(earlier.match, route.match):
                found = f'nothing left to match: "{earlier.name}" above takes it all'
                yield Fault(("routes", index, "match"), found, "the narrower route first")
                break


def _is_host(text: str) -> bool:
    if text.startswith("["):
        return _is_ipv6(text[1:].removesuffix("]")) and text.endswith("]")
    return _HOST.fullmatch(text) is not None


def _is_ipv6(text: str) -> bool:
    try:
        return str(ipaddress.IPv6Address(text)) == text
    except ValueError:
        return False


def _is_settable(name: str) -> bool:
    return (
        HEADER.fullmatch(name) is not None
        and name not in _FRAMING
        and not name.startswith(("proxy-", "x-envoy-", OWN_HEADER_PREFIX))
    )


def _is_name(text: str) -> bool:
    return NAME.fullmatch(text) is not None and text not in {"default", "none"}


_ROUTE_NAME: Final = Grammar(
    _is_name, 'lower-case letters, digits, - and _, at most 64, and neither "default" nor "none"'
)
_HOSTS: Final = Grammar(
    _is_host, 'a lower-case host such as "api.example.com" or "*.example.com", no port'
)
_PATHS: Final = Grammar(
    lambda text: text.startswith("/") and canonical_path(text) == text,
    'a path such as "/v1/models": from the root, decoded, no query, no empty or dot segment',
)
_METHODS: Final = Grammar(_METHOD.fullmatch, 'a method in upper case such as "POST"')
_HEADER_NAMES: Final = Grammar(
    _is_settable,
    "a lower-case header that is neither framing, nor of one connection, nor Envoy's "
    f"(x-envoy-*), nor ours ({OWN_HEADER_PREFIX}*, which a client can never send upstream)",
)
_HEADER_VALUES: Final = Grammar(
    _HEADER_VALUE.fullmatch,
    "at most 256 printable ASCII characters, none blank at the ends",
    secret=True,
)
_QUERY_NAMES: Final = Grammar(
    _QUERY_NAME.fullmatch, "1 to 128 characters, percent-encoded where a URL needs it"
)
_QUERY_VALUES: Final = Grammar(
    _QUERY_VALUE.fullmatch,
    "at most 256 characters, percent-encoded where a URL needs it",
    secret=True,
)


def _match_faults(match: Match, raw: dict[str, Any], path: Path) -> Iterator[Fault]:
    if not raw:
        yield Fault(path, "no condition", "at least one; the rest goes under default")
    for key, value in raw.items():
        if not value:
            expected = f"at least one, or no key {key}: an empty one holds for every call"
            yield Fault((*path, key), "an empty condition", expected)
    yield from _HOSTS.faults(_items(match.hosts, path, "hosts"))
    yield from _PATHS.faults(_items(match.paths, path, "paths"))
    yield from _PATHS.faults(_items(match.path_prefixes, path, "path_prefixes"))
    yield from _METHODS.faults(_items(match.methods, path, "methods"))
    yield from WORDS.faults(_items(match.principals, path, "principals"))
    yield from WORDS.faults(_keys(match.context, path, "context"))


def _action_faults(rule: Rule, raw: dict[str, Any], path: Path) -> Iterator[Fault]:
    for key in _IDLE[rule.action]:
        if key in raw:
            found = f"{key} beside action: {rule.action}, where it changes nothing"
            yield Fault((*path, key), found, f"no key {key}, or another action")
    if rule.action is Action.INSPECT and finds_nothing(rule.detect):
        yield Fault((*path, "detect"), "no detector", "one, or action: allow")


def _limit_faults(limits: Limits, path: Path) -> Iterator[Fault]:
    bounds = {
        "body_bytes": _MAX_BODY_BYTES,
        "tokens": _MAX_TOKENS,
        "output_tokens": _MAX_OUTPUT_TOKENS,
        "choices": _MAX_CHOICES,
    }
    for name, most in bounds.items():
        value = getattr(limits, name)
        if value is not None and not 1 <= value <= most:
            yield Fault((*path, name), shown(value), f"a number from 1 to {most}")
    if limits.output_required and limits.output_tokens is None:
        found = "output_required beside no output_tokens, where any length would do"
        expected = "output_tokens too, or no key output_required"
        yield Fault((*path, "output_required"), found, expected)


def _mutate_faults(mutate: Mutate, path: Path) -> Iterator[Fault]:
    if mutate == Mutate():
        yield Fault(path, "no change", "at least one, or no key mutate")
    for name in ("set_headers", "response_headers"):
        headers = getattr(mutate, name)
        yield from _HEADER_NAMES.faults(_keys(headers, path, name))
        yield from _HEADER_VALUES.faults(_members(headers, path, name))
    yield from _HEADER_NAMES.faults(_items(mutate.remove_headers, path, "remove_headers"))
    yield from _QUERY_NAMES.faults(_keys(mutate.set_query, path, "set_query"))
    yield from _QUERY_VALUES.faults(_members(mutate.set_query, path, "set_query"))
    yield from _QUERY_NAMES.faults(_items(mutate.remove_query, path, "remove_query"))
    yield from _both_faults(mutate, path)


def _both_faults(mutate: Mutate, path: Path) -> Iterator[Fault]:
    for key, is_set in (
        ("remove_headers", mutate.set_headers),
        ("remove_query", mutate.set_query),
    ):
        for where, name in _items(getattr(mutate, key), path, key):
            if name in is_set:
                yield Fault(where, f"{shown(name)} set and removed", "one of the two")


def _items(values: Iterable[str], path: Path, key: str) -> Iterator[tuple[Path, str]]:
    return (((*path, key, index), value) for index, value in enumerate(values))


def _keys(values: dict[str, str], path: Path, key: str) -> Iterator[tuple[Path, str]]:
    return (((*path, key, name), name) for name in values)


def _members(values: dict[str, str], path: Path, key: str) -> Iterator[tuple[Path, str]]:
    return (((*path, key, name), value) for name, value in values.items())


def _takes_all(earlier: Match, later: Match) -> bool:
    """Whether every call that `later` is for is one that `earlier` is for."""
    return (
        _within(later.methods, earlier.methods)
        and _within(later.principals, earlier.principals)
        and earlier.context.items() <= later.context.items()
        and _hosts_within(later.hosts, earlier.hosts)
        and _paths_within(later, earlier)
    )


def _within(later: tuple[str, ...], earlier: tuple[str, ...]) -> bool:
    return not earlier or (bool(later) and set(later) <= set(earlier))


def _hosts_within(later: tuple[str, ...], earlier: tuple[str, ...]) -> bool:
    below = tuple(pattern[1:] for pattern in earlier if pattern.startswith("*."))
    return not earlier or (
        bool(later) and all(host in earlier or host.endswith(below) for host in later)
    )


def _paths_within(later: Match, earlier: Match) -> bool:
    if not (earlier.paths or earlier.path_prefixes):
        return True
    trees = tuple(prefix.rstrip("/") + "/" for prefix in earlier.path_prefixes)
    roots = {*earlier.path_prefixes}
    exact = roots.union(earlier.paths)
    return bool(later.paths or later.path_prefixes) and (
        all(path in exact or path.startswith(trees) for path in later.paths)
        and all(p in roots or p.startswith(trees) for p in later.path_prefixes)
    )
