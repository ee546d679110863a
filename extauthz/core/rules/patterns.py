"""The operator's own lists of regular expressions and literals."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from extauthz.core.rules.linear import NamedSet, either


class PatternList(Protocol):
    """A list as the policy has it (`policy.Patterns`)."""

    @property
    def name(self) -> str:
        """What a finding is called."""

    @property
    def regex(self) -> Sequence[str]:
        """RE2 patterns."""

    @property
    def literals(self) -> Sequence[str]:
        """Texts, in any case."""


def compile_patterns(lists: Iterable[PatternList]) -> NamedSet:
    """All lists of a rule as one set, which finds their names.

    Raises as `NamedSet` does.
    """
    return NamedSet(_patterns(lists))


def _patterns(lists: Iterable[PatternList]) -> Iterator[tuple[str, str]]:
    for one in lists:
        for regex in one.regex:
            yield one.name, regex
        if one.literals:
            yield one.name, either(one.literals)
