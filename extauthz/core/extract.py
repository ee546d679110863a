"""Every string of a parsed body, gathered into segments, with an account of every byte."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Final, NamedTuple

import numpy as np

from extauthz.core.call import Provenance, Segment
from extauthz.core.dialects import KNOWN, UNKNOWN_JSON, Dialect
from extauthz.core.dialects.dialect import EVERYWHERE, ByMember, Kind, Label, Place
from extauthz.core.findings import Detector, Finding
from extauthz.core.media import Tree
from extauthz.core.opaque import MEANINGFUL_BYTES, Blob, Content, Opaque, carried, doubted, identify
from extauthz.core.views.pairs import PAIRS

#: Members whose value, when the dialect defines it, is as constant as the member name.
_ENUMERATED: Final = frozenset({"role", "type"})
#: Longest part of a key that a pointer shows: a key of a megabyte would be copied per element.
_POINTER_KEY_CHARS: Final = 64
#: Members that name the format of the bytes beside them, in any API.
_CLAIMS: Final = ("mimeType", "mime_type", "media_type", "content_type", "filename", "fileName")
#: Half bits from which on letters, one after the other, are English and no coincidence.
_READABLE: Final = 40
#: (128,) int8: 1 to 26 for letters in either case, 0 for what stands between words, otherwise -1.
_LETTERS: Final = np.array(
    [
        ord(char) - 96 if "a" <= char <= "z" else -(char not in " ,.!?'\"\n")
        for char in map(str.lower, map(chr, range(128)))
    ],
    np.int8,
)
#: No vocabulary has more words.
_TOKEN_IDS: Final = 2**31


@dataclass(frozen=True, slots=True)
class Coverage:
    """UTF-8 bytes of text in a request. `scanned + exempt == total` for every allow.

    `exempt` has its reasons: `vocabulary` (the API's own words), `decoded` (base64 whose text was
    scanned instead), or the kind of content that has no text. `opaque` counts what is there and
    cannot be read: pictures, token ids, references; not bytes.
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
    """What was found in a body. `token_ids` are the arrays that count as such, for a tokenizer."""

    segments: tuple[Segment, ...]
    coverage: Coverage
    findings: tuple[Finding, ...] = ()
    token_ids: tuple[tuple[int, ...], ...] = ()


def extract(body: Tree, dialect: Dialect, besides: Iterable[str] = ()) -> Extraction:
    """Gather every string leaf and key of `body` into segments, and the texts `besides` it.

    Each node that the dialect labels becomes one segment: its strings in document order, one a
    line, so that text split over the parts of a message is whole again. Strings outside any
    label, and those `besides`, are joined into one segment of provenance USER. Text found inside
    base64 or bytes is a segment of its own, and so is what numbers say as codes of characters.
    """
    walk = _Walk(dialect.vocabulary)
    loose: list[str] = []
    walk.visit(body, None, "", _trie(dialect), loose)
    for text in besides:
        walk.scan(text, loose)
    walk.close(Provenance.USER, "", loose)
    spelled: list[str] = []
    walk.scan(_spelled(walk.codes), spelled)
    walk.close(Provenance.USER, "", spelled)
    coverage = Coverage(walk.total, walk.scanned, dict(walk.exempt), dict(walk.opaque))
    found = tuple(walk.findings), tuple(walk.token_ids)
    return Extraction(tuple(walk.segments), coverage, *found)


@dataclass(slots=True)
class _Node:
    label: Label | None = None
    place: Place | None = None
    children: dict[str, "_Node"] = field(default_factory=dict)

    def child(self, name: str) -> "_Node":
        return self.children.get(name) or self.children.get("*") or _NOWHERE

    def at(self, path: str) -> "_Node":
        """The node at a path, made where there is none."""
        node = self
        for step in path.split("/") if path else ():
            node = node.children.setdefault(step, _Node())
        return node

    def settle(self) -> None:
        """Let what is said of any member hold for the named ones too, where nothing else is said."""
        anyone = self.children.get("*")
        for child in self.children.values():
            if anyone is not None and child is not anyone:
                child.inherit(anyone)
            child.settle()

    def inherit(self, other: "_Node") -> None:
        self.label = self.label or other.label
        self.place = self.place or other.place
        for name, child in other.children.items():
            self.children.setdefault(name, _Node()).inherit(child)


_NOWHERE: Final = _Node()


@cache
def _trie(dialect: Dialect) -> _Node:
    root = _Node()
    for path, label in dialect.labels.items():
        root.at(path).label = label
    for path, place in {**EVERYWHERE, **dialect.places}.items():
        root.at(path).place = place
    root.settle()
    return root


for _known in (*KNOWN, UNKNOWN_JSON):
    _trie(_known)  # now, and not in the first request of its kind


class _Walk:
    """One pass over a body. Its depth is bounded by the parser."""

    def __init__(self, vocabulary: frozenset[str]) -> None:
        self.vocabulary = vocabulary
        self.segments: list[Segment] = []
        self.findings: list[Finding] = []
        self.token_ids: list[tuple[int, ...]] = []
        self.total = 0
        self.scanned = 0
        self.exempt = Counter(vocabulary=0)
        self.opaque: Counter[Opaque] = Counter()
        self.codes = bytearray()
        self.ids_counted = False

    def visit(self, value: Tree, around: Tree, pointer: str, node: _Node, texts: list[str]) -> None:
        """Read `value` as its place in the object `around` it asks for."""
        if node.place is None or not node.place.holds(around):
            self._gather(value, pointer, node, texts)
        elif node.place.kind is Kind.PAYLOAD and isinstance(value, str):
            self._payload(value, around, pointer, node, texts)
        elif node.place.kind is Kind.TOKEN_IDS and isinstance(value, Blob):
            self._blob(value.data, pointer, node, texts, Opaque.TOKEN_IDS)
        elif node.place.kind is Kind.FREE_FORM:
            known, self.vocabulary = self.vocabulary, frozenset()
            self._gather(value, pointer, node, texts)
            self.vocabulary = known
        else:
            counted = self.ids_counted
            self._note(value, around, pointer, node.place)
            self._gather(value, pointer, node, texts)
            self.ids_counted = counted

    def close(self, provenance: Provenance, pointer: str, texts: list[str]) -> None:
        """Make a segment of `texts`, if there are any. Only what is in a segment counts as scanned."""
        if texts:
            text = "\n".join(texts)
            self.segments.append(Segment(provenance, pointer, text, tuple(texts)))
            self.scanned += _utf8_bytes(text) - (len(texts) - 1)

    def _gather(self, value: Tree, pointer: str, node: _Node, texts: list[str]) -> None:
        """Add the strings of `value` to `texts`, or to a segment of their own if it is labelled."""
        provenance = _provenance(value, node)
        if provenance is None:
            self._inside(value, pointer, node, texts)
            return
        own: list[str] = []
        self._inside(value, pointer, node, own)
        self.close(provenance, pointer, own)

    def _inside(self, value: Tree, pointer: str, node: _Node, texts: list[str]) -> None:
        if isinstance(value, str):
            self.scan(value, texts)
        elif isinstance(value, dict):
            for key, member in value.items():
                self._word(key, texts)
                if key in _ENUMERATED and isinstance(member, str):
                    self._word(member, texts)
                else:
                    self._child(member, value, pointer, key, node.child(key), texts)
        elif isinstance(value, list):
            element = node.child("*")
            for index, member in enumerate(value):
                self._child(member, value, pointer, str(index), element, texts)
        elif isinstance(value, Blob):
            self._blob(value.data, pointer, node, texts)
        elif isinstance(value, int | float):
            code = _code(value)
            if code or self.codes[-1:] != b"\0":
                self.codes.append(code)

    def _child(
        self, value: Tree, around: Tree, pointer: str, step: str, node: _Node, texts: list[str]
    ) -> None:
        """Go one step down. Below the last label no pointer is needed, so none is built."""
        if node is _NOWHERE:
            self._inside(value, pointer, node, texts)
        else:
            self.visit(value, around, f"{pointer}/{_escape(step)}", node, texts)

    def _note(self, value: Tree, around: Tree, pointer: str, place: Place) -> None:
        """Count what the strings of `value` do not say."""
        match place.kind:
            case Kind.TOKEN_IDS if not self.ids_counted:
                arrays = list(_token_ids(value))
                if (count := sum(map(len, arrays))) >= place.least:
                    self.opaque[Opaque.TOKEN_IDS] += count
                    self.token_ids += arrays
                    self.ids_counted = True  # not again for a place further down
            case Kind.STORED:
                self._count(Opaque.STORED, _references(value))
            case Kind.REMOTE:
                self._count(Opaque.REMOTE, _references(value))
            case Kind.FILE if isinstance(value, str):
                kind = identify(value.encode()).kind
                if kind not in {None, Opaque.BINARY}:
                    self._count(kind, 1)
            case Kind.FILE if isinstance(value, Blob):
                content = identify(value.data)
                self._count(Opaque.BINARY, doubted(content, _claims(around)) != content)
            case Kind.TEMPLATE if value:
                self.findings.append(Finding(Detector.CHAT_TEMPLATE, pointer, "raw"))

    def _payload(
        self, text: str, around: Tree, pointer: str, node: _Node, texts: list[str]
    ) -> None:
        shown, content, remote = carried(text)
        self.scan(shown, texts)
        self._count(Opaque.REMOTE, remote)
        if content is not None:
            size = _utf8_bytes(text) - _utf8_bytes(shown)
            claims = [*_claims(around), node.place and node.place.claim]
            self._content(doubted(content, claims), size, pointer, node, texts)

    def _blob(
        self,
        data: bytes,
        pointer: str,
        node: _Node,
        texts: list[str],
        unread: Opaque = Opaque.BINARY,
    ) -> None:
        """Bytes that are no text and of no format are `unread`; so are numbers that look like text."""
        content = identify(data)
        size = len(data) if content.text is None else 0
        if content.kind is Opaque.BINARY or unread is Opaque.TOKEN_IDS:
            content = content._replace(kind=unread if len(data) >= MEANINGFUL_BYTES else None)
        self._content(content, size, pointer, node, texts)

    def _content(
        self, content: Content, size: int, pointer: str, node: _Node, texts: list[str]
    ) -> None:
        """Account for `content`, and for the `size` bytes of text that stood for it."""
        if content.kind is not None:
            self.opaque[content.kind] += 1
        if content.text is None:
            self._exempt((content.kind or Opaque.BINARY).value, size)
        elif texts[-1:] == [content.text]:  # given both as text and as bytes, and read
            self._exempt("decoded", size + _utf8_bytes(content.text))
        else:
            self._exempt("decoded", size)
            own: list[str] = []
            self.scan(content.text, own)
            self.close(_provenance(None, node) or Provenance.DOCUMENT, pointer, own)

    def _count(self, kind: Opaque, number: int) -> None:
        if number:
            self.opaque[kind] += number

    def _word(self, word: str, texts: list[str]) -> None:
        if word in self.vocabulary:
            self._exempt("vocabulary", len(word))
        else:
            self.scan(word, texts)

    def _exempt(self, reason: str, size: int) -> None:
        if size:
            self.total += size
            self.exempt[reason] += size

    def scan(self, text: str, texts: list[str]) -> None:
        if text:
            self.total += _utf8_bytes(text)
            texts.append(text)


def _provenance(value: Tree, node: _Node) -> Provenance | None:
    return node.label.of(value) if isinstance(node.label, ByMember) else node.label


def _claims(around: Tree) -> list[object]:
    """What stands beside some bytes and names their format."""
    return [around.get(name) for name in _CLAIMS] if isinstance(around, dict) else []


def _spelled(codes: bytearray) -> str:
    """What numbers say as codes of characters, 0 between those; empty if it is no text.

    A number is no text, but a list of them is written out for the model as one.
    """
    letters = _LETTERS[np.frombuffer(codes, np.uint8)]
    pairs = PAIRS[letters[:-1], letters[1:]]
    pairs[(letters[:-1] < 0) | (letters[1:] < 0)] = -_READABLE
    evidence = np.cumsum(pairs, dtype=np.int32)
    if not (evidence - np.minimum.accumulate(evidence) >= _READABLE).any():
        return ""
    return codes.replace(b"\0", b" ").decode("ascii")


def _code(number: float) -> int:
    """The number if it is the code of a character of ASCII, otherwise 0."""
    return int(number) if 9 <= number < 127 and number == int(number) else 0


def _references(value: Tree) -> int:
    """How many ids or URLs: a string, several, or an object with an `id`."""
    if isinstance(value, list):
        return sum(map(_references, value))
    if isinstance(value, dict):
        return _references(value.get("id"))
    return 1 if isinstance(value, str) and value else 0


def _token_ids(value: Tree) -> Iterator[tuple[int, ...]]:
    """The whole numbers of each array in `value`, at any depth."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if isinstance(value, list):
        ids = tuple(int(one) for one in value if _is_token_id(one))
        if ids:
            yield ids
    for member in inner:
        if isinstance(member, list | dict):
            yield from _token_ids(member)


def _is_token_id(value: Tree) -> bool:
    """JSON writes whole numbers with and without a fraction; `true` is none."""
    if type(value) is float:
        return value.is_integer() and 0 <= value < _TOKEN_IDS
    return type(value) is int and 0 <= value < _TOKEN_IDS


def _utf8_bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def _escape(key: str) -> str:
    """One reference token of a JSON pointer (RFC 6901), cut short where the key is long."""
    if len(key) > _POINTER_KEY_CHARS:
        key = key[:_POINTER_KEY_CHARS] + "…"
    return key.replace("~", "~0").replace("/", "~1")
