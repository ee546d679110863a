"""CheckRequest bytes to `Call`, and `Decision` to CheckResponse bytes.

To Envoy an empty CheckResponse is an allow, and so is status 0 beside a denial. Responses are
therefore built here and nowhere else, and an allow is written only for a decision that carries no
denial and whose verdict says so.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from google.protobuf.message import DecodeError
from google.protobuf.struct_pb2 import Struct, Value

from extauthz.core import receipts
from extauthz.core.call import Call
from extauthz.core.decision import Decision, Verdict
from extauthz.core.reasons import Failure
from extauthz.protocol._pb import check_pb2, core_pb2

METHOD: Final = "/envoy.service.auth.v3.Authorization/Check"

#: google.rpc.Code. Envoy looks only at whether it is 0.
_OK, _PERMISSION_DENIED, _UNAVAILABLE = 0, 7, 14
_ALLOWING: Final = frozenset({Verdict.ALLOW, Verdict.MUTATE})
#: Header values that cannot split a response or start a new header.
_PRINTABLE: Final = frozenset(map(chr, range(0x20, 0x7F)))
#: Of what earlier filters found out. Claims of a JWT come in a header, and those are shorter.
_MAX_METADATA_BYTES: Final = 64 * 1024

#: What goes into dynamic metadata, beside the verdict.
Metadata = Mapping[str, str | float | bool]


def read(message: bytes) -> Call | Failure:
    """What is asked. CHECK_MALFORMED when `message` is no CheckRequest about an HTTP request."""
    try:
        attributes = check_pb2.CheckRequest.FromString(message).attributes
    except DecodeError:
        return Failure.CHECK_MALFORMED
    http = attributes.request.http
    if not http.method or not http.path:
        return Failure.CHECK_MALFORMED
    if attributes.metadata_context.ByteSize() > _MAX_METADATA_BYTES:
        return Failure.CHECK_MALFORMED
    return Call(
        id=http.id,
        method=http.method,
        scheme=http.scheme,
        host=http.host,
        path=http.path,
        headers=_headers(http),
        # Envoy Gateway cannot ask for raw_body; bytes that were no UTF-8 are "!" in `body`.
        body=http.raw_body or http.body.encode(),
        principal=attributes.source.principal,
        source=attributes.source.address.socket_address.address,
        context=dict(attributes.context_extensions),
        metadata=_metadata(attributes.metadata_context),
    )


def write(decision: Decision, metadata: Metadata, receipt: str = "") -> bytes:
    """The answer. `metadata` goes to access logs and later filters, never to the client.

    An allow takes its `receipt` along, to the upstream and in the metadata; no other answer does.
    """
    if decision.verdict in _ALLOWING and decision.denial is None:
        response = _allowed(decision, {receipts.HEADER: receipt} if receipt else {})
        if receipt:
            response.dynamic_metadata["receipt"] = receipt
    else:
        response = _denied(decision)
    for key, value in metadata.items():
        response.dynamic_metadata[key] = value
    return response.SerializeToString()


def _allowed(decision: Decision, ours: Mapping[str, str]) -> check_pb2.CheckResponse:
    """`ours` are written over what the client sent: Envoy removes after it writes."""
    change = decision.mutate
    forged = [name for name in decision.removed_headers if name not in ours]
    return check_pb2.CheckResponse(
        status=core_pb2.Status(code=_OK),
        ok_response=check_pb2.OkHttpResponse(
            headers=_options({**change.set_headers, **ours}),
            headers_to_remove=[*change.remove_headers, *forged],
            response_headers_to_add=_options({**decision.limit_headers, **change.response_headers}),
            query_parameters_to_set=[
                core_pb2.QueryParameter(key=key, value=value)
                for key, value in change.set_query.items()
            ],
            query_parameters_to_remove=change.remove_query,
        ),
    )


def _denied(decision: Decision) -> check_pb2.CheckResponse:
    denied = check_pb2.DeniedHttpResponse(status=core_pb2.HttpStatus(code=core_pb2.Forbidden))
    if decision.denial is not None:
        denied.status.code = core_pb2.StatusCode.ValueType(decision.denial.status)
        denied.headers.extend(_options(decision.denial.headers))
        denied.body = decision.denial.body.decode()
    if decision.verdict is Verdict.ERROR:
        status = core_pb2.Status(code=_UNAVAILABLE)
        return check_pb2.CheckResponse(status=status, error_response=denied)
    status = core_pb2.Status(code=_PERMISSION_DENIED)
    return check_pb2.CheckResponse(status=status, denied_response=denied)


def _options(headers: Mapping[str, str]) -> Iterable[core_pb2.HeaderValueOption]:
    for key, value in headers.items():
        if not _PRINTABLE.issuperset(value):
            msg = f"header {key}: a value of ours must be printable ASCII"
            raise ValueError(msg)
        yield core_pb2.HeaderValueOption(
            header=core_pb2.HeaderValue(key=key, value=value),
            append_action=core_pb2.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD,
        )


def _metadata(context: core_pb2.Metadata) -> Mapping[str, Any]:
    """Metadata as JSON values. Its depth is bounded by protobuf, to 100 messages."""
    return {name: _members(one) for name, one in context.filter_metadata.items()}


def _members(struct: Struct) -> dict[str, Any]:
    return {name: _plain(value) for name, value in struct.fields.items()}


def _plain(value: Value) -> Any:  # noqa: ANN401 - JSON
    match value.WhichOneof("kind"):
        case "struct_value":
            return _members(value.struct_value)
        case "list_value":
            return [_plain(one) for one in value.list_value.values]
        case "string_value":
            return value.string_value
        case "number_value":
            return value.number_value
        case "bool_value":
            return value.bool_value
        case _:
            return None


def _headers(http: check_pb2.AttributeContext.HttpRequest) -> Mapping[str, str]:
    """Lower-case names; repeated headers joined by a comma, as Envoy does in the map form."""
    if http.headers:
        return dict(http.headers)
    joined: dict[str, str] = {}
    for header in http.header_map.headers:
        value = header.value or header.raw_value.decode("utf-8", "replace")
        name = header.key.lower()
        joined[name] = f"{joined[name]},{value}" if name in joined else value
    return joined
