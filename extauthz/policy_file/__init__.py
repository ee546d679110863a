"""A policy file into a `Policy`, or every reason why not, each with file and line."""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path as FilePath
from typing import Any, Final, Literal

import msgspec

from extauthz.core.budget.limits import Budgets
from extauthz.core.policy import Identity, IdentitySource, Policy, Rule
from extauthz.policy_file import strict_yaml
from extauthz.policy_file.budgets import budget_faults
from extauthz.policy_file.fields import DEFAULT, ROUTE, Fault, faults
from extauthz.policy_file.identities import identity_faults, tenant_faults
from extauthz.policy_file.meaning import order_faults, route_faults, rule_faults
from extauthz.policy_file.strict_yaml import Document, Path, Problem, YamlError

__all__ = ["PolicyError", "load", "parse"]

_MAX_BYTES: Final = 1024 * 1024
#: Routes are tried one after another: 500 cost 0.35 ms of each call.
_MAX_ROUTES: Final = 500
_SHOWN_PROBLEMS: Final = 20
_SHOWN_CHARS: Final = 200


class PolicyError(ValueError):
    """A policy file that cannot be used.

    The message has one line for each problem: `file:line: found this; expected that`.
    """

    def __init__(self, name: str, problems: Iterable[Problem]) -> None:
        """Write out `problems`, by line, as those of the file `name`."""
        told = sorted(problems, key=lambda problem: problem.line)
        lines = [
            f"{name}:{problem.line}: found {_printable(problem.found)}; expected {problem.expected}"
            for problem in told[:_SHOWN_PROBLEMS]
        ]
        if len(told) > _SHOWN_PROBLEMS:
            lines.append(f"{name}: and {len(told) - _SHOWN_PROBLEMS} more")
        super().__init__("\n".join(lines))


def _printable(text: str) -> str:
    """What the file says, safe for one line of a terminal or a log."""
    shown = "".join(char if char.isprintable() else "?" for char in text[:_SHOWN_CHARS])
    return shown + "..." if len(text) > _SHOWN_CHARS else shown


class _File(msgspec.Struct):
    """The top of a policy file. Rules are checked one by one."""

    version: Literal[1]
    default: dict[str, Any]
    routes: list[dict[str, Any]] = []
    identity: tuple[Identity, ...] = (Identity(source=IdentitySource.MTLS),)
    tenant: tuple[Identity, ...] = ()
    budgets: Budgets = Budgets()


_FILE: Final = msgspec.inspect.type_info(_File)


def load(path: FilePath) -> Policy:
    """Read the policy file at `path`. Raises `PolicyError`, also when it cannot be read."""
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_BYTES + 1)
    except OSError as error:
        found = f"that it cannot be read ({error.strerror})"
        raise PolicyError(str(path), [Problem(1, found, "a policy file")]) from None
    return parse(text, str(path))


def parse(text: bytes, name: str) -> Policy:
    """Compile the policy in `text`. `name` is the file's, for the messages of `PolicyError`."""
    if len(text) > _MAX_BYTES:
        found = f"more than {_MAX_BYTES} bytes"
        raise PolicyError(name, [Problem(1, found, "a smaller file")])
    try:
        document = strict_yaml.read(text)
    except YamlError as error:
        raise PolicyError(name, error.problems) from None
    _refuse(faults(document.value, _FILE, ()), document, name)
    file = msgspec.convert(document.value, _File)
    _refuse(_rule_shapes(file), document, name)
    routes = [msgspec.convert(route, Rule) for route in file.routes]
    default = msgspec.convert(file.default, Rule)
    policy = Policy(
        digest=hashlib.sha256(text).hexdigest(),
        routes=tuple(routes),
        default=default,
        identity=file.identity,
        tenant=file.tenant,
        budgets=file.budgets,
    )
    _refuse(_meaning(file, policy, document.value), document, name)
    return policy


def _rule_shapes(file: _File) -> Iterator[Fault]:
    yield from faults(file.default, DEFAULT, ("default",))
    for index, route in enumerate(file.routes):
        yield from faults(route, ROUTE, ("routes", index))


def _meaning(file: _File, policy: Policy, raw: Any) -> Iterator[Fault]:  # noqa: ANN401 - checked YAML
    routes = list(policy.routes)
    if len(routes) > _MAX_ROUTES:
        yield Fault(("routes",), f"{len(routes)} routes", f"at most {_MAX_ROUTES}")
        return
    yield from rule_faults(policy.default, file.default, ("default",))
    for index, (route, written) in enumerate(zip(routes, file.routes, strict=True)):
        yield from route_faults(route, written, ("routes", index))
    yield from order_faults(routes)
    if "identity" in raw:
        yield from identity_faults(policy, raw["identity"])
    if "tenant" in raw:
        yield from tenant_faults(policy, raw["tenant"])
    if "budgets" in raw:
        yield from budget_faults(policy, raw["budgets"])


def _refuse(found: Iterable[Fault], document: Document, name: str) -> None:
    problems = [
        Problem(
            document.lines[fault.path],
            f"{fault.found} at {_spelled(fault.path)}",
            fault.expected,
        )
        for fault in found
    ]
    if problems:
        raise PolicyError(name, problems)


def _spelled(path: Path) -> str:
    """A path as it is usually written: `routes[0].match.hosts[1]`."""
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return "".join(steps).removeprefix(".") or "the top"
