"""The rules L1 to L25, by subject. A new one is one function in one of these files."""

from typing import Final

from extauthz.lint.rule import Rule
from extauthz.lint.rules import body, cluster, deployment, failure, flow, identity, mutation, routes

_SUBJECTS: Final = (body, cluster, deployment, failure, flow, identity, mutation, routes)

RULES: Final = tuple(
    sorted(
        (one for subject in _SUBJECTS for one in vars(subject).values() if isinstance(one, Rule)),
        key=lambda rule: rule.number,
    )
)
