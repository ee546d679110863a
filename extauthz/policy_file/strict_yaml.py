"""YAML with one meaning: what every reader understands alike, and the line of each value.

Anchors, aliases, merge keys, tags, directives, duplicate keys, second documents and scalars that
YAML 1.1 and 1.2 read differently (`no`, `012`, `1:30`, `1e3`, a date) are refused, never guessed.
Values are made from parser events; no YAML constructor runs.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import yaml
from yaml.events import (
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)

#: Member names and list indices from the root to a value.
Path = tuple[str | int, ...]
Value = dict[str, Any] | list[Any] | str | int | float | bool | None

#: No configuration of ours is half as deep.
MAX_DEPTH: Final = 16

#: The parser in C where PyYAML has it: 1 MiB takes 0.2 s instead of 10 s.
_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_CONTROL: Final = re.compile(r"[^\t\n\r\x20-\x7e\x85\xa0-\ufffd\U00010000-\U0010ffff]")

_CONSTANTS: Final[Mapping[str, bool | None]] = {
    "true": True,
    "false": False,
    "null": None,
}
_INT: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,17})")
_FLOAT: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,17})\.[0-9]{1,18}")
#: Not strings to YAML 1.1 (the specification says more than PyYAML does) or to YAML 1.2.
_NOT_ALWAYS_A_STRING: Final = re.compile(
    r"[yYnN]|0o[0-7]+|[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)[eE][-+]?[0-9]+"
)
_YAML_1_1: Final[Any] = yaml.resolver.Resolver()
_STRING_TAG: Final = "tag:yaml.org,2002:str"


@dataclass(frozen=True, slots=True)
class Problem:
    """What stands on a line (counted from 1), and what should."""

    line: int
    found: str
    expected: str


class YamlError(ValueError):
    """The text is not YAML, or not the part of YAML that has one meaning."""

    def __init__(self, problems: list[Problem]) -> None:
        """Carry every problem found, in the order of the text."""
        super().__init__(problems)
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Document:
    """A value, and the line where each part of it begins: its key's, if it has one."""

    value: Value
    lines: Mapping[Path, int]


def read(data: bytes) -> Document:
    """Read one YAML document in UTF-8. Raises `YamlError` and nothing else."""
    reader = _Reader()
    try:
        value = reader.document(_decode(data))
    except _Unreadable as stop:
        reader.problems.append(stop.problem)
    except yaml.YAMLError as error:
        reader.problems.append(_syntax(error))
    if reader.problems:
        raise YamlError(reader.problems)
    return Document(value, reader.lines)


class _Unreadable(Exception):  # noqa: N818 (control flow, never leaves this file)
    """What follows the problem cannot be read in a useful way."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self.problem = problem


def _decode(data: bytes) -> str:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        problem = Problem(line, f"byte 0x{data[error.start]:02x}", "UTF-8 text")
        raise _Unreadable(problem) from None
    if control := _CONTROL.search(text):
        line = text.count("\n", 0, control.start()) + 1
        code = f"U+{ord(control[0]):04X}"
        raise _Unreadable(Problem(line, f"control character {code}", "printable text"))
    return text


def _syntax(error: yaml.YAMLError) -> Problem:
    mark = getattr(error, "problem_mark", None)
    words = (getattr(error, "problem", None) or str(error)).removeprefix("found ")
    return Problem(mark.line + 1 if mark else 1, words, "well-formed YAML")


class _Reader:
    """One pass over parser events. Recursion is bounded by MAX_DEPTH."""

    def __init__(self) -> None:
        self.lines: dict[Path, int] = {}
        self.problems: list[Problem] = []
        self.events: Iterator[Event] = iter(())

    def document(self, text: str) -> Value:
        self.events = iter(yaml.parse(text, Loader=_LOADER))
        next(self.events)
        start = next(self.events)
        if not isinstance(start, DocumentStartEvent):
            raise _Unreadable(Problem(1, "an empty file", "a YAML document"))
        if start.version or start.tags:
            self.refuse(start, "a directive", "none: remove the line with %")
        value = self.value((), next(self.events))
        next(self.events)
        after = next(self.events)
        if not isinstance(after, StreamEndEvent):
            self.refuse(after, "a second document", "one document in the file")
        return value

    def refuse(self, event: Event, found: str, expected: str) -> None:
        self.problems.append(Problem(_line(event), found, expected))

    def value(self, path: Path, event: Event) -> Value:
        self.lines.setdefault(path, _line(event))
        if isinstance(event, ScalarEvent):
            return self.scalar(event)
        if isinstance(event, SequenceStartEvent):
            return self.sequence(path, event)
        if isinstance(event, MappingStartEvent):
            return self.mapping(path, event)
        self.refuse(event, "an alias", "the value itself")
        return None

    def enter(self, path: Path, start: SequenceStartEvent | MappingStartEvent) -> None:
        self.check_properties(start)
        if len(path) >= MAX_DEPTH:
            found = f"more than {MAX_DEPTH} levels of nesting"
            raise _Unreadable(Problem(_line(start), found, "a flatter document"))

    def check_properties(self, event: ScalarEvent | SequenceStartEvent | MappingStartEvent) -> None:
        if event.anchor is not None:
            self.refuse(event, f"the anchor &{event.anchor}", "the value alone")
        if event.tag is not None:
            self.refuse(event, f"the tag {event.tag}", "the value alone")

    def sequence(self, path: Path, start: SequenceStartEvent) -> list[Value]:
        self.enter(path, start)
        items: list[Value] = []
        while not isinstance(event := next(self.events), SequenceEndEvent):
            items.append(self.value((*path, len(items)), event))
        return items

    def mapping(self, path: Path, start: MappingStartEvent) -> dict[str, Value]:
        self.enter(path, start)
        members: dict[str, Value] = {}
        while not isinstance(event := next(self.events), MappingEndEvent):
            key = self.key(event)
            if key in members:
                first = self.lines[(*path, key)]
                found = f"the key {key} again (first on line {first})"
                self.refuse(event, found, "each key once")
            self.lines.setdefault((*path, key), _line(event))
            members[key] = self.value((*path, key), next(self.events))
        return members

    def key(self, event: Event) -> str:
        if not isinstance(event, ScalarEvent):
            problem = Problem(_line(event), "a key that is no string", "a string")
            raise _Unreadable(problem)
        if _is_plain(event) and event.value == "<<":
            self.refuse(event, "the merge key <<", "each key written out")
            return "<<"
        key = self.scalar(event)
        if not isinstance(key, str):
            found = f"the key {event.value}"
            self.refuse(event, found, f'a string: write "{event.value}"')
        return str(event.value)

    def scalar(self, event: ScalarEvent) -> str | int | float | bool | None:
        self.check_properties(event)
        text: str = event.value
        if control := _CONTROL.search(text):
            escape = f"U+{ord(control[0]):04X} in a string"
            self.refuse(event, escape, "printable text")
        if not _is_plain(event):
            return text
        if text in _CONSTANTS:
            return _CONSTANTS[text]
        if _INT.fullmatch(text):
            return int(text)
        if _FLOAT.fullmatch(text):
            return float(text)
        if text == "":
            self.refuse(event, "nothing", "a value (or the key removed)")
        elif not _is_always_a_string(text):
            found = f"{text}, which YAML readers do not agree on"
            self.refuse(event, found, 'a "quoted" string, 12, 0.5, true, false or null')
        return text


def _line(event: Event) -> int:
    mark = event.start_mark
    return mark.line + 1 if mark else 1


def _is_plain(event: ScalarEvent) -> bool:
    """Whether a scalar has neither quotes nor a tag, so that its text decides what it is."""
    plain: bool = event.implicit[0]
    return plain


def _is_always_a_string(text: str) -> bool:
    tag = _YAML_1_1.resolve(yaml.ScalarNode, text, (True, False))
    return bool(tag == _STRING_TAG) and not _NOT_ALWAYS_A_STRING.fullmatch(text)
