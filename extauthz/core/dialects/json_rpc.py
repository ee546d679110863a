"""Agents' protocols over JSON-RPC 2.0: MCP (tools, resources, prompts) and A2A (messages, tasks)."""

from collections.abc import Mapping
from typing import Final

import orjson

from extauthz.core.call import Provenance
from extauthz.core.dialects.dialect import (
    FREE_FORM,
    PAYLOAD,
    REMOTE,
    STORED,
    ByMember,
    Dialect,
    Label,
    Place,
    under,
    words,
)
from extauthz.core.dialects.messages import MESSAGE, SCHEMA_WORDS

_MEDIA: Final[Mapping[str, Place]] = {
    "data": PAYLOAD.when("type", "image", "audio"),
    "resource/blob": PAYLOAD,
}
_MCP_LABELS: Final[Mapping[str, Label]] = {
    "params": Provenance.USER,
    "params/messages/*": MESSAGE,  # what a server asks a client's model (sampling)
    "params/systemPrompt": Provenance.SYSTEM,
    "result": Provenance.TOOL_RESULT,
    "result/tools/*": Provenance.TOOL_DEFINITION,
    "result/prompts/*": Provenance.TOOL_DEFINITION,
    "result/resources/*": Provenance.TOOL_DEFINITION,
    "result/messages/*": MESSAGE,
    "result/contents/*": Provenance.DOCUMENT,
}
_MCP_PLACES: Final[Mapping[str, Place]] = {
    "params/arguments": FREE_FORM,
    "params/_meta": FREE_FORM,
    "params/uri": REMOTE,
    **under("params/messages/*/content", _MEDIA),
    "result/structuredContent": FREE_FORM,
    **under("result/content/*", _MEDIA),
    **under("result/content", _MEDIA),
    **under("result/messages/*/content", _MEDIA),
    "result/contents/*/blob": PAYLOAD,
}
_WORDS: Final = words("jsonrpc id method params result error code message name")


def _error(message: str, status: int) -> bytes:
    """Without the request's id, which a denial does not know. -32600: the request is invalid."""
    code = -32600 if status < 500 else -32603
    error = {"code": code, "message": message}
    return orjson.dumps({"jsonrpc": "2.0", "id": None, "error": error})


MCP: Final = Dialect(
    name="mcp",
    endpoints=("/mcp",),
    labels={**under("*", _MCP_LABELS), **_MCP_LABELS},
    places={**under("*", _MCP_PLACES), **_MCP_PLACES},
    vocabulary=_WORDS
    | SCHEMA_WORDS
    | words(
        "arguments uri content type text tools resources prompts messages role user assistant "
        "inputSchema contents isError"
    ),
    model="",
    max_tokens=("params/maxTokens",),
    choices=(),
    echoes={"mcp-method": ("method",), "mcp-name": ("params/name", "params/uri")},
    error=_error,
)

_SPEAKER: Final = ByMember(
    "role",
    {
        "user": Provenance.USER,
        "ROLE_USER": Provenance.USER,
        "agent": Provenance.ASSISTANT,
        "ROLE_AGENT": Provenance.ASSISTANT,
    },
    otherwise=Provenance.USER,
)
_PART: Final[Mapping[str, Place]] = {
    "file/bytes": PAYLOAD,
    "file/fileWithBytes": PAYLOAD,
    "raw": PAYLOAD,
    "file/uri": REMOTE,
    "file/fileWithUri": REMOTE,
    "url": REMOTE,
    "data": FREE_FORM,
}
_MESSAGE: Final[Mapping[str, Place]] = {
    **under("parts/*", _PART),
    "metadata": FREE_FORM,
    "taskId": STORED,
    "contextId": STORED,
    "referenceTaskIds": STORED,
}
_A2A_PLACES: Final[Mapping[str, Place]] = {
    **under("message", _MESSAGE),
    "configuration/pushNotificationConfig/url": REMOTE,
    "metadata": FREE_FORM,
    "id": STORED,
}

A2A: Final = Dialect(
    name="a2a",
    endpoints=("/a2a", "/message:send", "/message:stream"),
    labels={"params/message": _SPEAKER, "message": _SPEAKER},
    places={
        **under("params", _A2A_PLACES),
        **under("message", _MESSAGE),
        "configuration/pushNotificationConfig/url": REMOTE,
        "metadata": FREE_FORM,
    },
    vocabulary=_WORDS
    | words(
        "role parts kind text file data bytes uri mimeType messageId taskId contextId user agent"
    ),
    model="",
    stream_paths=("/message:stream",),
    max_tokens=(),
    choices=(),
    error=_error,
)
