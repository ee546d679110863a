"""Whether the detectors of a rule can find something, and can be told apart."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from extauthz.core.call import Provenance
from extauthz.core.policy import Detect, Patterns, Reaction
from extauthz.core.rules.linear import TooLargeError, instructions, refusal
from extauthz.policy_file.fields import Fault, shown
from extauthz.policy_file.grammar import NAME, Grammar, empty_lists, repetitions
from extauthz.policy_file.strict_yaml import Path

#: Of one rule. As many literals as that compile in 0.2 s.
_MAX_LISTS: Final = 50
_MAX_REGEXES: Final = 200
_MAX_LITERALS: Final = 5_000
_MAX_LITERALS_CHARS: Final = 100_000
_MAX_REGEX_CHARS: Final = 1_000
#: `\p{L}+` has 1,201, `.{100}` 804; patterns for keys, card numbers or phrases have 20 to 200.
_MAX_INSTRUCTIONS: Final = 4_000
_MAX_INSTRUCTIONS_TOGETHER: Final = 20_000
_MAX_LITERAL_CHARS: Final = 200
#: A request of 8 MiB holds no more turns than a few times this.
_MAX_TURNS: Final = 1_000_000

_LIST_NAME: Final = Grammar(
    NAME.fullmatch,
    "lower-case letters, digits, - and _, at most 64: it is part of a metric's label",
)
_LITERAL: Final = Grammar(
    lambda text: text.isprintable() and text.strip() != "" and len(text) <= _MAX_LITERAL_CHARS,
    f"1 to {_MAX_LITERAL_CHARS} printable characters, not all blank",
)


def finds_nothing(detect: Detect) -> bool:
    """Whether every detector is off."""
    reactions = (
        detect.hidden_text,
        detect.special_tokens,
        detect.role_lookalikes,
        detect.chat_template,
        detect.many_shot.reaction,
        *(one.reaction for one in detect.patterns),
    )
    return detect.prompt_injection is None and set(reactions) == {Reaction.IGNORE}


def detect_faults(detect: Detect, raw: dict[str, Any], path: Path) -> Iterator[Fault]:
    """What is wrong with the detectors of a rule. Compiles their patterns if nothing is.

    `raw` is the mapping they came from.
    """
    yield from _injection_faults(detect, (*path, "prompt_injection"))
    if detect.prompt_injection is None and "unreadable" in raw:
        found = "unreadable beside prompt_injection: null, where nothing is read"
        yield Fault((*path, "unreadable"), found, "no key unreadable, or the classifier")
    if not 1 <= detect.many_shot.turns <= _MAX_TURNS:
        where = (*path, "many_shot", "turns")
        yield Fault(where, shown(detect.many_shot.turns), f"a number from 1 to {_MAX_TURNS}")
    if "patterns" in raw:
        yield from _patterns_faults(detect, raw["patterns"], (*path, "patterns"))


def _injection_faults(detect: Detect, path: Path) -> Iterator[Fault]:
    detector = detect.prompt_injection
    if detector is None:
        return
    rate, thresholds = detector.false_positive_rate, detector.thresholds
    if rate is not None:
        yield from _rate_faults(rate, thresholds, (*path, "false_positive_rate"))
    for provenance, threshold in thresholds.items():
        if not 0 < threshold <= 1:
            where = (*path, "thresholds", provenance.value)
            yield Fault(where, shown(threshold), "a number above 0 and at most 1")


def _rate_faults(
    rate: float, thresholds: Mapping[Provenance, float], path: Path
) -> Iterator[Fault]:
    if not 0 < rate < 1:
        yield Fault(path, shown(rate), "a share of honest texts, above 0 and below 1")
    if not set(Provenance) - set(thresholds):
        found = "false_positive_rate beside a threshold for everything, where it changes nothing"
        yield Fault(path, found, "one of the two")


def _patterns_faults(detect: Detect, raw: list[dict[str, Any]], path: Path) -> Iterator[Fault]:
    """Faults of the lists. What is too much is not looked at any further."""
    if found := list(_amount_faults(detect.patterns, path)):
        yield from found
        return
    for index, one in enumerate(detect.patterns):
        found += _list_faults(one, raw[index], (*path, index))
        if one.name in {earlier.name for earlier in detect.patterns[:index]}:
            found.append(Fault((*path, index, "name"), f'"{one.name}" again', "a name of its own"))
    yield from found
    if not found:
        yield from _size_faults(detect, path)


def _amount_faults(lists: tuple[Patterns, ...], path: Path) -> Iterator[Fault]:
    if not lists:
        yield Fault(path, "an empty list", "at least one, or no key patterns")
    for count, most, what in (
        (len(lists), _MAX_LISTS, "lists"),
        (sum(len(one.regex) for one in lists), _MAX_REGEXES, "regular expressions"),
        (sum(len(one.literals) for one in lists), _MAX_LITERALS, "literals"),
        (
            sum(len(text) for one in lists for text in one.literals),
            _MAX_LITERALS_CHARS,
            "characters of literals",
        ),
    ):
        if count > most:
            yield Fault(path, f"{count} {what}", f"at most {most} in one rule")


def _list_faults(one: Patterns, raw: dict[str, Any], path: Path) -> Iterator[Fault]:
    yield from _LIST_NAME.faults([((*path, "name"), one.name)])
    if one.reaction is Reaction.IGNORE:
        where = (*path, "reaction")
        yield Fault(where, "ignore, with which the list changes nothing", "deny, flag, or no list")
    if not (one.regex or one.literals):
        yield Fault(path, "nothing to look for", "at least one regex or literal")
    yield from empty_lists(raw, ("regex", "literals"), path)
    for index, regex in enumerate(one.regex):
        yield from _regex_faults(regex, (*path, "regex", index))
    literals = [((*path, "literals", i), text) for i, text in enumerate(one.literals)]
    yield from _LITERAL.faults(literals)
    yield from repetitions(one.regex, (*path, "regex"))
    yield from repetitions([text.casefold() for text in one.literals], (*path, "literals"))


def _regex_faults(regex: str, path: Path) -> Iterator[Fault]:
    if len(regex) > _MAX_REGEX_CHARS:
        yield Fault(path, f"{len(regex)} characters", f"at most {_MAX_REGEX_CHARS}")
    elif why := refusal(regex):
        expected = "an RE2 pattern (no lookaround, no backreference) for some texts and not for all"
        yield Fault(path, f"{shown(regex)}, which is refused: {why}", expected)
    elif (length := instructions(regex)) > _MAX_INSTRUCTIONS:
        found = f"{shown(regex)}, which compiles to {length} instructions"
        yield Fault(path, found, f"at most {_MAX_INSTRUCTIONS}: repeat less, or simpler classes")


def _size_faults(detect: Detect, path: Path) -> Iterator[Fault]:
    together = sum(instructions(regex) for one in detect.patterns for regex in one.regex)
    if together > _MAX_INSTRUCTIONS_TOGETHER:
        found = f"regular expressions that compile to {together} instructions together"
        yield Fault(path, found, f"at most {_MAX_INSTRUCTIONS_TOGETHER} in one rule")
        return
    try:
        detect.pattern_set  # noqa: B018 - compiled here, so that no request waits for it
    except TooLargeError:
        yield Fault(path, "more than one automaton can hold", "fewer or shorter literals")
