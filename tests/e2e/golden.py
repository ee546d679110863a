"""CheckRequests as a real Envoy sends them, kept as files: `python -m tests.e2e.golden` renews them.

The parser's tests read the files without an Envoy; one end-to-end test sees that Envoy still sends
the same.
"""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from extauthz.demo.client import Request
from extauthz.demo.upstream import Upstream
from extauthz.model import directory
from extauthz.model.session import Session
from tests import canary_model
from tests.e2e.conftest import chat
from tests.e2e.running import Change, Filter, Gateway, ext_authz, scorer

FOLDER = Path(__file__).parents[1] / "fixtures" / "check_requests"

_PARTIAL = {"max_request_bytes": 64, "allow_partial_message": True}
_HEADERS = (("x-team", "a"), ("x-team", "b"), ("user-agent", "OpenAI/Python 2.8.0"))


def _change(**settings: Any) -> Change:
    def change(config: dict[str, Any]) -> None:
        ext_authz(config).update(settings)

    return change


def _body(**settings: Any) -> Change:
    def change(config: dict[str, Any]) -> None:
        ext_authz(config)["with_request_body"] |= settings

    return change


_CHAT = replace(chat("caf\u00e9"), headers=_HEADERS)

#: Name of each file: the request, and what is changed in Envoy's configuration.
CASES: dict[str, tuple[Request, Change]] = {
    "chat": (_CHAT, _change()),
    "chat_chunked": (replace(_CHAT, body=[b'{"messages"', b":[]}"]), _change()),
    "chat_raw_headers": (_CHAT, _change(encode_raw_headers=True)),
    "chat_as_text": (_CHAT, _body(pack_as_bytes=False)),
    "chat_cut": (_CHAT, _body(**_PARTIAL)),
    "models": (Request("/v1/models?limit=3", method="GET"), _change()),
}


def _renew() -> None:
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, Upstream() as upstream:
        model = directory.load(canary_model.build(Path(folder) / "canary"))
        session = Session(model, "cpu", 1)
        with Filter("grpcio", lambda: scorer(model, session)) as served:
            for name, (request, change) in CASES.items():
                with Gateway(Path(folder), upstream, [served.address], change) as gateway:
                    gateway.send(request)
                (FOLDER / f"{name}.bin").write_bytes(served.checks[-1])


if __name__ == "__main__":
    _renew()
