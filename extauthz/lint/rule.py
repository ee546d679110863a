"""What a rule is: a function that finds places, and what people should know about it."""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from extauthz.lint.estate import Estate
from extauthz.lint.node import Node
from extauthz.transport.options import MAX_DEADLINE_S, MAX_MESSAGE_BYTES


class Severity(StrEnum):
    """An error lets something pass, or in; a warning costs availability or certainty."""

    ERROR = "error"
    WARNING = "warning"


class Family(StrEnum):
    """In whose words a configuration is written."""

    ENVOY = "Envoy"
    ISTIO = "Istio"
    GATEWAY = "Envoy Gateway"


@dataclass(frozen=True, slots=True)
class Options:
    """What no configuration file says. Sizes are in bytes; the defaults are those of our server."""

    max_message_bytes: int = MAX_MESSAGE_BYTES
    min_timeout_s: float = 0.25
    max_deadline_s: float = MAX_DEADLINE_S
    memory_limit: int | None = None
    envoy_version: str = ""
    identity_headers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Fault:
    """A place, and what is wrong with it."""

    at: Node
    what: str


Find = Callable[[Estate, Options], Iterator[Fault]]


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. `why` says what can happen, `fix` what to write instead."""

    id: str
    severity: Severity
    title: str
    why: str
    fix: str
    families: tuple[Family, ...]
    find: Find

    @property
    def number(self) -> int:
        """The rule's place in the list."""
        return int(self.id.removeprefix("L"))


def rule(
    id_: str, severity: Severity, *, fix: str, families: tuple[Family, ...]
) -> Callable[[Find], Rule]:
    """Make a rule of a function, whose docstring is the rule's title and its reason."""

    def made(find: Find) -> Rule:
        title, _, why = inspect.cleandoc(find.__doc__ or "").partition("\n\n")
        return Rule(id_, severity, title.rstrip("."), " ".join(why.split()), fix, families, find)

    return made
