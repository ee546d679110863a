"""Every string of a parsed body, gathered into segments, with an account of every byte."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Final, NamedTuple

from extauthz.core.body import Json
from extauthz.core.call import Provenance, Segment
from extauthz.core.dialects import Dialect
from extauthz.core.dialects.dialect import ByMember, Label
from extauthz.core.findings import Finding
from extauthz.core.opaque import Opaque

#: Members whose value, when the dialect defines it, is as constant as the member name.
_ENUMERATED: Final = frozenset({"role", "type"})
#: Longest part of a key that a pointer shows: a key of a megabyte would be copied per element.
_POINTER_KEY_CHARS: Final = 64


@dataclass(frozen=True, slots=True)
class Coverage:
    """UTF-8 bytes of text in a request. `scanned + exempt == total` for every allow.

    `opaque` counts what is there and cannot be read as text: pictures, token ids, references.
    """

    total: int = 0
    scanned: int = 0
    exempt: Mapping[str, int] = field(default_factory=dict)
    opaque: Mapping[Opaque, int] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether every byte is accounted for."""
        return self.scanned + sum(self.exempt.values()) == self.total


class Extraction(NamedTuple):
    """What was found in a body."""

    segments: tuple[Segment, ...]
    coverage: Coverage
    findings: tuple[Finding, ...] = ()


def extract(body: Json, dialect: Dialect) -> Extraction:
    """Gather every string leaf and key of `body` into segments.

    Each node that the dialect labels becomes one segment: its strings in document order, one a
    line, so that text split over the parts of a message is whole again. Strings outside any
    label are joined into one segment of provenance USER.
    """
    walk = _Walk(dialect.vocabulary)
    loose: list[str] = []
    walk.gather(body, "", _trie(dialect), loose)
    walk.close(Provenance.USER, "", loose)
    coverage = Coverage(walk.total, walk.scanned, {"vocabulary": walk.exempt})
    return Extraction(tuple(walk.segments), coverage)


@dataclass(slots=True)
class _Node:
    label: Label | None = None
    children: dict[str, "_Node"] = field(default_factory=dict)

    def child(self, name: str) -> "_Node":
        return self.children.get(name) or self.children.get("*") or _NOWHERE


_NOWHERE: Final = _Node()


def _compile(labels: Mapping[str, Label]) -> _Node:
    root = _Node()
    for path, label in labels.items():
        node = root
        for step in path.split("/"):
            node = node.children.setdefault(step, _Node())
        node.label = label
    return root


@cache
def _trie(dialect: Dialect) -> _Node:
    return _compile(dialect.labels)


class _Walk:
    """One pass over a body. Its depth is bounded by the parser."""

    def __init__(self, vocabulary: frozenset[str]) -> None:
        self.vocabulary = vocabulary
        self.segments: list[Segment] = []
        self.total = 0
        self.scanned = 0
        self.exempt = 0

    def gather(self, value: Json, pointer: str, node: _Node, texts: list[str]) -> None:
        """Add the strings of `value` to `texts`, or to a segment of their own if it is labelled."""
        label = node.label
        provenance = label.of(value) if isinstance(label, ByMember) else label
        if provenance is None:
            self._inside(value, pointer, node, texts)
            return
        own: list[str] = []
        self._inside(value, pointer, node, own)
        self.close(provenance, pointer, own)

    def close(self, provenance: Provenance, pointer: str, texts: list[str]) -> None:
        """Make a segment of `texts`, if there are any. Only what is in a segment counts as scanned."""
        if texts:
            text = "\n".join(texts)
            self.segments.append(Segment(provenance, pointer, text, tuple(texts)))
            self.scanned += _utf8_bytes(text) - (len(texts) - 1)

    def _inside(self, value: Json, pointer: str, node: _Node, texts: list[str]) -> None:
        if isinstance(value, str):
            self._scan(value, texts)
        elif isinstance(value, dict):
            for key, member in value.items():
                self._word(key, texts)
                if key in _ENUMERATED and isinstance(member, str):
                    self._word(member, texts)
                else:
                    self._child(member, pointer, key, node.child(key), texts)
        elif isinstance(value, list):
            element = node.child("*")
            for index, member in enumerate(value):
                self._child(member, pointer, str(index), element, texts)

    def _child(self, value: Json, pointer: str, step: str, node: _Node, texts: list[str]) -> None:
        """Go one step down. Below the last label no pointer is needed, so none is built."""
        if node is _NOWHERE:
            self._inside(value, pointer, node, texts)
        else:
            self.gather(value, f"{pointer}/{_escape(step)}", node, texts)

    def _word(self, word: str, texts: list[str]) -> None:
        if word in self.vocabulary:
            self.total += len(word)
            self.exempt += len(word)
        else:
            self._scan(word, texts)

    def _scan(self, text: str, texts: list[str]) -> None:
        if text:
            self.total += _utf8_bytes(text)
            texts.append(text)


def _utf8_bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def _escape(key: str) -> str:
    """One reference token of a JSON pointer (RFC 6901), cut short where the key is long."""
    if len(key) > _POINTER_KEY_CHARS:
        key = key[:_POINTER_KEY_CHARS] + "…"
    return key.replace("~", "~0").replace("/", "~1")
