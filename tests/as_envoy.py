"""Envoy's side of a Check: how it asks, and how it reads the answer."""

from collections.abc import Iterable, Mapping

from google.protobuf.json_format import MessageToDict

from extauthz.core.call import Call
from extauthz.protocol._pb.check_pb2 import AttributeContext, CheckRequest, CheckResponse
from extauthz.protocol._pb.core_pb2 import Address, HeaderValueOption, SocketAddress


def ask(call: Call, *, as_text: bool = False) -> bytes:
    """CheckRequest bytes about `call`; `as_text` is what Envoy sends without `pack_as_bytes`."""
    text, raw = (call.body.decode(), b"") if as_text else ("", call.body)
    http = AttributeContext.HttpRequest(
        id=call.id,
        method=call.method,
        scheme=call.scheme,
        host=call.host,
        path=call.path,
        headers=dict(call.headers),
        body=text,
        raw_body=raw,
        size=len(call.body),
    )
    address = Address(socket_address=SocketAddress(address=call.source))
    attributes = AttributeContext(
        source=AttributeContext.Peer(address=address, principal=call.principal),
        request=AttributeContext.Request(http=http),
        context_extensions=dict(call.context),
    )
    for name, found in call.metadata.items():
        attributes.metadata_context.filter_metadata[name].update(found)
    return CheckRequest(attributes=attributes).SerializeToString()


def allows(answer: bytes) -> bool:
    """Whether Envoy lets the request through: it looks at the status code alone."""
    return CheckResponse.FromString(answer).status.code == 0


def metadata(answer: bytes) -> Mapping[str, object]:
    """The dynamic metadata of an answer, as plain values."""
    found = MessageToDict(CheckResponse.FromString(answer).dynamic_metadata)
    assert isinstance(found, dict)
    return found


def shown_to_client(answer: bytes) -> bytes:
    """What of an answer leaves the mesh: all of it but the dynamic metadata."""
    response = CheckResponse.FromString(answer)
    response.ClearField("dynamic_metadata")
    return response.SerializeToString()


def written(options: Iterable[HeaderValueOption]) -> dict[str, str]:
    """Headers to write, each of which must overwrite what a client sent under that name."""
    found: dict[str, str] = {}
    for option in options:
        assert option.append_action == HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD
        assert option.header.key not in found
        found[option.header.key] = option.header.value
    return found
