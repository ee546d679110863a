"""Values for tests: each builder makes the plainest one, and a test names only what matters to it."""

from typing import Any

import msgspec

from extauthz.core.call import Call, Provenance
from extauthz.core.decision import Scored, Signals
from extauthz.core.policy import Rule

_CALL = Call(
    id="7",
    method="POST",
    scheme="https",
    host="api.example.com",
    path="/v1/chat/completions",
    headers={"content-type": "application/json"},
    body=b'{"messages":[{"role":"user","content":"Hello"}]}',
    principal="spiffe://example.com/app",
    source="10.0.0.7",
)


def call(**changes: Any) -> Call:
    """A chat completion that says hello, changed in the named fields of `Call`."""
    fields = {name: getattr(_CALL, name) for name in _CALL.__slots__}
    return Call(**fields | changes)


def rule(**fields: Any) -> Rule:
    """A rule as a policy file would give it: enums and nested parts as plain values.

    `rule(name="chat", match={"paths": ["/v1"]}, on_failure="error")`
    """
    return msgspec.convert(fields, Rule)


def scored(score: float = 0.0, **fields: Any) -> Scored:
    """One scored view of a user's text, with threshold 0.5."""
    plain: dict[str, Any] = {
        "provenance": Provenance.USER,
        "pointer": "/messages/0",
        "view": "raw",
        "windows": 1,
        "tokens": 4,
        "threshold": 0.5,
    }
    return Scored(score=score, **plain | fields)


def signals(*scores: float, **fields: Any) -> Signals:
    """Facts of a call that was read; each of `scores` becomes one `scored()`, threshold 0.5."""
    found = {"scored": tuple(scored(score) for score in scores)}
    return Signals(**found | fields)
