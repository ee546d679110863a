"""Reads configuration files into documents whose kind is known."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

import yaml

from extauthz.lint.node import Node, Source, root

#: A configuration larger or deeper than this was not written to be read.
MAX_BYTES: Final = 8 * 1024 * 1024
MAX_DEPTH: Final = 64
#: Places of one file once every alias is followed: what an alias bomb multiplies.
MAX_PLACES: Final = 500_000

ENVOY: Final = "Envoy"
TRANSPORT_SOCKET: Final = "Envoy transport_socket"
MESH_CONFIG: Final = "MeshConfig"

#: Kubernetes resources that a rule reads, by API group.
_RESOURCES: Final = {
    "security.istio.io": {"AuthorizationPolicy", "RequestAuthentication"},
    "networking.istio.io": {"EnvoyFilter", "DestinationRule", "VirtualService"},
    "gateway.envoyproxy.io": {
        "SecurityPolicy",
        "EnvoyExtensionPolicy",
        "EnvoyProxy",
        "ClientTrafficPolicy",
        "BackendTrafficPolicy",
    },
    "gateway.networking.k8s.io": {"BackendTLSPolicy", "HTTPRoute"},
}
#: Where a resource keeps a MeshConfig.
_MESH_CONFIG_IN: Final = {
    "IstioOperator": "spec.mesh_config",
    "Istio": "spec.values.mesh_config",
}
_ENVOY_MEMBERS: Final = ("static_resources", "dynamic_resources", "admin", "resources")
_MESH_MEMBERS: Final = ("extension_providers", "default_config", "path_normalization")
#: Members of a ConfigMap that hold a configuration as text.
_HELD: Final = re.compile(r"^mesh$|\.(?:ya?ml|json)$")
_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_IGNORE: Final = re.compile(r"(?:^|\s)#\s*extauthz-lint:\s*ignore\s+(L\d+)\b[ \t]*(.*)$")


class UnreadableError(ValueError):
    """A file that cannot be judged. Says where and why."""


@dataclass(frozen=True, slots=True, eq=False)
class Document:
    """One configuration of a known kind."""

    kind: str
    root: Node


@dataclass(frozen=True, slots=True)
class Skipped:
    """A document that no rule reads."""

    file: str
    line: int
    what: str


@dataclass(frozen=True, slots=True)
class Ignore:
    """A comment that switches one rule off for one place, with the reason it gives."""

    file: str
    rule: str
    line: int
    reason: str


@dataclass(slots=True)
class File:
    """All that was found in one file."""

    name: str
    documents: list[Document] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    ignores: list[Ignore] = field(default_factory=list)


def read(name: str, data: bytes) -> File:
    """Read one file of YAML or JSON documents. Raises UnreadableError and nothing else."""
    if len(data) > MAX_BYTES:
        raise UnreadableError(f"{name}: larger than {MAX_BYTES} bytes")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadableError(f"{name}: byte {error.start} is not UTF-8") from None
    file = File(name, ignores=_ignores(name, text))
    for outer in _compose(Source(name), text):
        for here in _unwrapped(outer, text):
            kind, place = _recognised(here)
            if kind:
                file.documents.append(Document(kind, place))
            else:
                file.skipped.append(Skipped(name, here.line, _called(here)))
    if not (file.documents or file.skipped):
        file.skipped.append(Skipped(name, 1, "an empty file"))
    return file


def _compose(source: Source, text: str, path: str = "") -> list[Node]:
    try:
        _check_depth(source, text)
        found = list(yaml.compose_all(text, _LOADER))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = source.first_line + (mark.line if mark else 0) + 1
        problem = getattr(error, "problem", None) or str(error)
        raise UnreadableError(f"{source.file}:{line}: {problem}") from None
    for raw in found:
        _measure(source, raw, 0, {})
    places = [root(source, raw, path) for raw in found]
    return [place for place in places if place.present]


def _check_depth(source: Source, text: str) -> None:
    """Composing recurses, so depth is bounded before it."""
    depth = 0
    for event in yaml.parse(text, Loader=_LOADER):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            _refuse(source, event, f"more than {MAX_DEPTH} levels deep")


def _measure(
    source: Source, raw: yaml.Node, depth: int, known: dict[int, tuple[int, int]]
) -> tuple[int, int]:
    """Places and levels below a node with its aliases followed; bombs and cycles are refused."""
    if id(raw) not in known:
        if depth > MAX_DEPTH:
            _refuse(source, raw, f"more than {MAX_DEPTH} levels deep with its aliases followed")
        parts = [_measure(source, part, depth + 1, known) for part in _parts(source, raw)]
        size = 1 + sum(size for size, _ in parts)
        known[id(raw)] = size, 1 + max((levels for _, levels in parts), default=0)
    size, levels = known[id(raw)]
    if size > MAX_PLACES or depth + levels > MAX_DEPTH + 1:
        _refuse(source, raw, "too large or too deep with its aliases followed")
    return size, levels


def _parts(source: Source, raw: yaml.Node) -> list[yaml.Node]:
    if isinstance(raw, yaml.SequenceNode):
        return list(raw.value)
    if not isinstance(raw, yaml.MappingNode):
        return []
    seen: set[str] = set()
    for key, _ in raw.value:
        if not isinstance(key, yaml.ScalarNode):
            _refuse(source, key, "a key that is no string")
        if key.value in seen:
            _refuse(source, key, f"the key {key.value} again: readers differ in which one counts")
        if key.value == "<<":
            _refuse(source, key, "the merge key <<, which Envoy refuses: write the members out")
        seen.add(key.value)
    return [value for _, value in raw.value]


def _refuse(source: Source, at: yaml.Node | yaml.Event, problem: str) -> NoReturn:
    line = source.first_line + (at.start_mark.line if at.start_mark else 0) + 1
    raise UnreadableError(f"{source.file}:{line}: {problem}")


def _unwrapped(place: Node, text: str) -> Iterator[Node]:
    """What a List or a ConfigMap holds, or the document itself."""
    kind = place.get("kind").text
    held = [value for name, value in place.get("data").members() if _HELD.search(name)]
    if kind == "List":
        yield from place.get("items").items()
    elif kind == "ConfigMap" and held:
        for value in held:
            yield from _held_as_text(value, text)
    else:
        yield place


def _held_as_text(held: Node, text: str) -> list[Node]:
    """The documents in a block of text. Their lines are those of the file."""
    lines = text.splitlines()[held.line :]
    indent = next((len(line) - len(line.lstrip()) for line in lines if line.strip()), 0)
    return _compose(Source(held.source.file, held.line, indent), held.text, held.path)


def _recognised(place: Node) -> tuple[str, Node]:
    """The document's kind, or an empty one, and where what the rules read begins."""
    kind = place.get("kind").text
    if kind in _RESOURCES.get(place.get("api_version").text.partition("/")[0], ()):
        return kind, place
    if any(place.get(name).present for name in _ENVOY_MEMBERS) and not kind:
        return ENVOY, place
    if place.get("transport_socket").present and not kind:
        return TRANSPORT_SOCKET, place
    if any(place.get(name).present for name in _MESH_MEMBERS):
        return MESH_CONFIG, place
    mesh = place.get(_MESH_CONFIG_IN.get(kind, "mesh_config"))  # also of Helm values
    return (MESH_CONFIG, mesh) if mesh.present else ("", place)


def _called(place: Node) -> str:
    kind = place.get("kind").text
    name = place.get("metadata.name").text
    return f"{kind} {name}".strip() if kind else "a document of no kind that is known here"


def _ignores(name: str, text: str) -> list[Ignore]:
    found = ((line, _IGNORE.search(words)) for line, words in enumerate(text.splitlines(), 1))
    return [Ignore(name, match[1], line, match[2].strip()) for line, match in found if match]
