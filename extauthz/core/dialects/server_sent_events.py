"""How a streamed refusal is written on the wire."""

from typing import Any

import orjson


def event(data: dict[str, Any], name: str = "") -> bytes:
    """One server-sent event, named when the API names its events."""
    head = f"event: {name}\n".encode() if name else b""
    return head + b"data: " + orjson.dumps(data) + b"\n\n"


def typed_events(*events: dict[str, Any]) -> bytes:
    """Events whose name is their own `type`, as the Responses and Messages APIs send them."""
    return b"".join(event(data, data["type"]) for data in events)
