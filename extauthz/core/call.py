"""What a Check asks, free of protobuf: the request as Envoy saw it, and the text found in it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, NamedTuple

_EMPTY: Mapping[str, Any] = MappingProxyType({})


class Provenance(StrEnum):
    """Where a text came from. Thresholds are set per provenance."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL_RESULT = "tool_result"
    TOOL_DEFINITION = "tool_definition"
    DOCUMENT = "document"


@dataclass(frozen=True, slots=True)
class Call:
    """One request to be authorized.

    `id` is Envoy's own per-request id (`attributes.request.http.id`), never `x-request-id`,
    which a client may choose. `headers` have lower-case names; Envoy joins repeated ones with a
    comma. `path` includes the query string. `principal` is who asks, by the policy's `identity`, and
    until that was looked at the peer identity that Envoy verified (a SPIFFE id under mTLS); empty
    when nobody is known. `tenant` is to whom that belongs, by the policy's `tenant`. `context` holds the route's `context_extensions`, `metadata` what earlier
    Envoy filters found out, by filter (such as the verified claims of a JWT).
    """

    id: str = ""
    method: str = "GET"
    scheme: str = ""
    host: str = ""
    path: str = "/"
    headers: Mapping[str, str] = field(default_factory=lambda: _EMPTY)
    body: bytes = b""
    principal: str = ""
    tenant: str = ""
    source: str = ""
    context: Mapping[str, str] = field(default_factory=lambda: _EMPTY)
    metadata: Mapping[str, Any] = field(default_factory=lambda: _EMPTY)


class Passage(NamedTuple):
    """A text for the classifier, and where it is from: the same words mean different things there."""

    provenance: Provenance
    text: str


@dataclass(frozen=True, slots=True)
class Segment:
    """A text to be scored on its own: one message, one tool result, one group of loose strings.

    `pointer` is the JSON pointer of the node the text was gathered from. It may hold keys the
    client chose, so it is shown by `explain` and never logged. `parts` are the strings that were
    gathered, in document order; `text` is their lines together.
    """

    provenance: Provenance
    pointer: str
    text: str
    parts: tuple[str, ...] = ()
