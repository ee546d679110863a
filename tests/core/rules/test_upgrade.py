"""What becomes another protocol passes unseen, and is recognised by whatever gives it away."""

import pytest

from extauthz.core.call import Call
from extauthz.core.rules.upgrade import is_upgrade


@pytest.mark.parametrize(
    "call",
    [
        Call(headers={"connection": "Upgrade", "upgrade": "websocket"}),
        Call(headers={"upgrade": "WebSocket"}),
        Call(headers={"upgrade": "websocket/13"}),
        Call(headers={"upgrade": "h2c, websocket"}),
        Call(headers={"upgrade": "h2c,websocket"}),
        Call(headers={"upgrade": " tcp"}),
        Call(headers={"upgrade": "connect-udp"}),
        Call(headers={"upgrade": "spdy/3.1"}),
        Call(headers={"sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ=="}),
        Call(headers={"sec-websocket-protocol": "realtime"}),
        Call(headers={":protocol": "websocket"}),
        Call(method="CONNECT"),
        Call(method="connect"),
        Call(method="POST", headers={"upgrade": "websocket"}, body=b"{}"),
    ],
)
def test_an_upgrade_is_recognised(call: Call) -> None:
    assert is_upgrade(call)


@pytest.mark.parametrize(
    "call",
    [
        Call(),
        Call(headers={"upgrade": "h2c"}),
        Call(headers={"upgrade": "H2C", "http2-settings": "AAMAAABkAARAAAAAAAIAAAAA"}),
        Call(headers={"upgrade": ""}),
        Call(headers={"upgrade": "h2c,"}),
        Call(headers={"upgrade-insecure-requests": "1", "connection": "upgrade"}),
        Call(method="GET", path="/v1/realtime"),
    ],
)
def test_what_stays_http_is_none(call: Call) -> None:
    assert not is_upgrade(call)
