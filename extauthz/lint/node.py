"""A place in a YAML or JSON document: what stands there, or that nothing does, and where."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import yaml

_UNITS: Final = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
_DURATION: Final = re.compile(r"([0-9]*\.?[0-9]+)(ns|us|ms|s|m|h)")
_TRUE: Final = frozenset({"true", "yes", "on", "y"})
_PLAIN_NAME: Final = re.compile(r"[\w@-]+")


@dataclass(frozen=True, slots=True)
class Source:
    """A text that was read: its file, and where it begins there if another document holds it."""

    file: str
    first_line: int = 0
    first_column: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """One place. Absent members are places too: they have a path, and their parent's line.

    Member names are looked up as Envoy's protobuf definitions spell them (`max_request_bytes`), and
    found in camel case too, which Envoy accepts and Kubernetes resources use (`clientIPDetection`).
    """

    source: Source
    path: str
    line: int
    column: int
    raw: yaml.Node | None = field(repr=False)

    @property
    def present(self) -> bool:
        """Whether something other than null stands here."""
        return self.raw is not None and not (
            isinstance(self.raw, yaml.ScalarNode) and self.raw.tag == "tag:yaml.org,2002:null"
        )

    @property
    def text(self) -> str:
        """The scalar's text; empty for anything else."""
        return str(self.raw.value) if self.present and isinstance(self.raw, yaml.ScalarNode) else ""

    @property
    def on(self) -> bool:
        """Whether this is true, in any spelling that YAML has for it."""
        return self.text.lower() in _TRUE

    @property
    def number(self) -> float | None:
        """The scalar as a finite number."""
        try:
            number = float(self.text)
        except ValueError:
            return None
        return number if math.isfinite(number) else None

    @property
    def seconds(self) -> float | None:
        """A duration such as `0.5s` or `1m30s`."""
        parts = _DURATION.findall(self.text)
        if not parts or "".join(amount + unit for amount, unit in parts) != self.text:
            return None
        return sum(float(amount) * _UNITS[unit] for amount, unit in parts)

    def get(self, path: str) -> "Node":
        """The place below, by member names with dots between them."""
        here = self
        for name in path.split("."):
            here = here.child(name)
        return here

    def child(self, name: str) -> "Node":
        """One member, whatever characters its name has."""
        for key, value in self._pairs():
            if key.value == name or _folded(key.value) == _folded(name):
                return self._at(f"{self.path}{_member(str(key.value))}", key, value)
        path = f"{self.path}{_member(name)}"
        return Node(self.source, path.lstrip("."), self.line, self.column, None)

    def members(self) -> Iterator[tuple[str, "Node"]]:
        """Names and places of a mapping, in the order of the text."""
        for key, value in self._pairs():
            name = str(key.value)
            yield name, self._at(f"{self.path}{_member(name)}", key, value)

    def items(self) -> Iterator["Node"]:
        """The elements of a sequence."""
        if isinstance(self.raw, yaml.SequenceNode):
            for index, value in enumerate(self.raw.value):
                yield self._at(f"{self.path}[{index}]", value, value)

    def texts(self) -> list[str]:
        """The scalars of a sequence."""
        return [item.text for item in self.items()]

    def plain(self) -> object:
        """Mappings, lists and strings, for comparison."""
        if isinstance(self.raw, yaml.MappingNode):
            return {name: value.plain() for name, value in self.members()}
        if isinstance(self.raw, yaml.SequenceNode):
            return [item.plain() for item in self.items()]
        return self.text

    def _pairs(self) -> list[tuple[yaml.Node, yaml.Node]]:
        return self.raw.value if isinstance(self.raw, yaml.MappingNode) else []

    def _at(self, path: str, mark_of: yaml.Node, value: yaml.Node) -> "Node":
        line, column = _position(self.source, mark_of)
        return Node(self.source, path.lstrip("."), line, column, value)


def root(source: Source, raw: yaml.Node, path: str = "") -> Node:
    """The outermost place of a document; `path` says what holds it."""
    return Node(source, path, *_position(source, raw), raw)


def _position(source: Source, raw: yaml.Node) -> tuple[int, int]:
    mark = raw.start_mark
    return source.first_line + mark.line + 1, source.first_column + mark.column + 1


def _member(name: str) -> str:
    return f".{name}" if _PLAIN_NAME.fullmatch(name) else f'["{name}"]'


def _folded(name: str) -> str:
    return name.replace("_", "").lower()
