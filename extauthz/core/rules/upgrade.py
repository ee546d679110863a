"""Requests that become another protocol, of which ext_authz sees the first message only."""

from extauthz.core.call import Call


def is_upgrade(call: Call) -> bool:
    """Whether what follows this request will pass unseen: websocket, CONNECT, or any other upgrade.

    `Upgrade: h2c` is none: Envoy answers it with HTTP/1.1 and hands over the whole body (measured
    with 1.40).
    """
    offered = call.headers.get("upgrade", "").split(",")
    return (
        call.method.upper() == "CONNECT"
        or ":protocol" in call.headers
        or any(name.startswith("sec-websocket-") for name in call.headers)
        or any(name.strip().lower() not in {"", "h2c"} for name in offered)
    )
