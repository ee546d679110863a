"""Which strings a policy may hold, in code and in words."""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple

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
