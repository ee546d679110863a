"""What an answer of the server may do to a request."""

from collections.abc import Iterator
from typing import Final

import re2

from extauthz.lint.estate import Estate
from extauthz.lint.node import Node
from extauthz.lint.rule import Family, Fault, Options, Severity, rule

#: Headers that delimit a message: setting one of them was request smuggling.
_FRAMING: Final = ("content-length", "transfer-encoding", "host")


@rule(
    "L11",
    Severity.ERROR,
    fix="Set validate_mutations: true. (Istio's provider and Envoy Gateway cannot; an "
    "EnvoyFilter can.)",
    families=(Family.ENVOY, Family.ISTIO),
)
def unvalidated_answers(estate: Estate, _: Options) -> Iterator[Fault]:
    """Answers are applied unread.

    Without validate_mutations a line break in a response header of the answer became a second
    header on the wire. With it such an answer is refused.
    """
    for check in estate.checks:
        if check.in_envoys_words and not check.at.get("validate_mutations").on:
            yield Fault(check.at.get("validate_mutations"), "validate_mutations is not true")


@rule(
    "L12",
    Severity.ERROR,
    fix="Set decoder_header_mutation_rules with disallow_system: true and a disallow_expression "
    "that matches host, content-length and transfer-encoding, or with disallow_all: true. "
    "envoy/envoy.yaml has one.",
    families=(Family.ENVOY, Family.ISTIO),
)
def unbounded_mutations(estate: Estate, _: Options) -> Iterator[Fault]:
    """An answer may change path, host and framing.

    Envoy applies :path, :method and host from an answer after routes were matched and text was
    checked, and a content-length from it left the rest of the body as a second request for the
    upstream (smuggling). validate_mutations prevents neither.
    """
    for check in estate.checks:
        rules = check.at.get("decoder_header_mutation_rules")
        if not check.in_envoys_words or rules.get("disallow_all").on:
            continue
        if not rules.present:
            yield Fault(rules, "there are no decoder_header_mutation_rules")
        elif not rules.get("disallow_system").on:
            yield Fault(rules.get("disallow_system"), "system headers may be changed")
        elif open_ := [name for name in _FRAMING if not _disallowed(rules, name)]:
            place = rules.get("disallow_expression")
            yield Fault(place, f"an answer may set {', '.join(open_)}")


def _disallowed(rules: Node, header: str) -> bool:
    pattern = rules.get("disallow_expression.regex").text
    try:
        return bool(pattern) and re2.fullmatch(pattern, header) is not None
    except re2.error:
        return False
