"""Which strings a policy may hold, in code and in words."""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, NamedTuple

from extauthz.policy_file.fields import Fault, shown
from extauthz.policy_file.strict_yaml import Path

#: Names appear in metrics, records and metadata.
NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
#: RFC 9110 section 5.6.2 (token), lower case as in HTTP/2.
HEADER: Final = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]{1,128}")


class Grammar(NamedTuple):
    """Which strings are accepted, in code and in words."""

    accepts: Callable[[str], object]
    expected: str
    secret: bool = False

    def faults(self, values: Iterable[tuple[Path, str]]) -> Iterator[Fault]:
        """One for each of `values`, pairs of a path and what stands there, that is not accepted."""
        for path, value in values:
            if not self.accepts(value):
                yield Fault(
                    path, "what is not shown" if self.secret else shown(value), self.expected
                )


WORDS: Final = Grammar(lambda text: text != "" and text.isprintable(), "printable text")


def empty_lists(raw: dict[str, Any], keys: Iterable[str], path: Path) -> Iterator[Fault]:
    """One fault for each of `keys` of the mapping `raw`, at `path`, that lists nothing."""
    for key in keys:
        if raw.get(key) == []:
            yield Fault((*path, key), "an empty list", f"at least one, or no key {key}")


def repetitions(texts: Iterable[str], path: Path) -> Iterator[Fault]:
    """One fault for each of the list `texts`, at `path`, that is there already."""
    seen: set[str] = set()
    for index, text in enumerate(texts):
        if text in seen:
            yield Fault((*path, index), f"{shown(text)} again", "each once")
        seen.add(text)
