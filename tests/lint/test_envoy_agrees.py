"""Envoy 1.40 knows what the rules look for: a misspelt field or type could never be found."""

import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool

from extauthz.demo.processes import ENVOY_YAML, envoy_binary
from extauthz.lint import envoy_model
from extauthz.lint.node import Node
from extauthz.lint.rules import cluster, deployment
from tests.lint.fixture_files import Fixture, all_fixtures, linted

BOOTSTRAPS = [one for one in all_fixtures() if one.is_bootstrap]
EXTRACTOR = Path(__file__).parents[1] / "protocol" / "envoy_descriptors.py"
HTTP = "envoy/extensions/filters/http"
#: Where everything is defined that a fixture or a rule names.
FILES = (
    "envoy/config/bootstrap/v3/bootstrap.proto",
    "envoy/extensions/common/matching/v3/extension_matcher.proto",
    "envoy/extensions/compression/gzip/decompressor/v3/gzip.proto",
    "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.proto",
    "envoy/extensions/filters/network/tcp_proxy/v3/tcp_proxy.proto",
    "envoy/extensions/http/early_header_mutation/header_mutation/v3/header_mutation.proto",
    "envoy/extensions/http/original_ip_detection/custom_header/v3/custom_header.proto",
    "envoy/extensions/resource_monitors/downstream_connections/v3/downstream_connections.proto",
    "envoy/extensions/resource_monitors/fixed_heap/v3/fixed_heap.proto",
    "envoy/extensions/transport_sockets/tls/v3/tls.proto",
    "envoy/extensions/upstreams/http/v3/http_protocol_options.proto",
    f"{HTTP}/api_key_auth/v3/api_key_auth.proto",
    f"{HTTP}/basic_auth/v3/basic_auth.proto",
    f"{HTTP}/decompressor/v3/decompressor.proto",
    f"{HTTP}/dynamic_modules/v3/dynamic_modules.proto",
    f"{HTTP}/ext_authz/v3/ext_authz.proto",
    f"{HTTP}/ext_proc/v3/ext_proc.proto",
    f"{HTTP}/grpc_http1_reverse_bridge/v3/config.proto",
    f"{HTTP}/grpc_json_reverse_transcoder/v3/transcoder.proto",
    f"{HTTP}/grpc_json_transcoder/v3/transcoder.proto",
    f"{HTTP}/header_mutation/v3/header_mutation.proto",
    f"{HTTP}/jwt_authn/v3/config.proto",
    f"{HTTP}/lua/v3/lua.proto",
    f"{HTTP}/mcp_json_rest_bridge/v3/mcp_json_rest_bridge.proto",
    f"{HTTP}/router/v3/router.proto",
    f"{HTTP}/transform/v3/transform.proto",
    f"{HTTP}/wasm/v3/wasm.proto",
    "xds/type/v3/typed_struct.proto",
    "udpa/type/v1/typed_struct.proto",
)
#: Looked up everywhere to tell kinds of documents and wrappers apart.
ANYWHERE = {"@type", "kind", "api_version", "items", "data", "resources", "mesh_config"}
STEP = re.compile(r'\["([^"]+)"\]|\[(\d+)\]|([^.\[\]]+)')


@pytest.fixture(scope="module")
def objections() -> dict[Path, str]:
    """What Envoy has against each configuration, asked two at a time."""
    paths = [ENVOY_YAML, *(one.path for one in BOOTSTRAPS)]
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(paths, pool.map(what_envoy_has_against, paths), strict=True))


@pytest.mark.parametrize("fixture", BOOTSTRAPS, ids=str)
def test_envoy_accepts_every_fixture_whether_it_fails_or_passes(
    fixture: Fixture, objections: dict[Path, str]
) -> None:
    assert objections[fixture.path] == ""


def test_envoy_accepts_our_example(objections: dict[Path, str]) -> None:
    assert objections[ENVOY_YAML] == ""


def what_envoy_has_against(path: Path) -> str:
    flags = ["--mode", "validate", "--disable-hot-restart", "--log-level", "critical"]
    command = [str(envoy_binary()), *flags, "-c", str(path)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    return done.stderr + done.stdout if done.returncode else ""


@pytest.mark.parametrize("fixture", BOOTSTRAPS, ids=str)
def test_every_field_that_is_looked_up_is_one_of_the_message_that_stands_there(
    fixture: Fixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: set[tuple[str, str]] = set()
    child = Node.child

    def noted(self: Node, name: str) -> Node:
        asked.add((self.path, name))
        return child(self, name)

    monkeypatch.setattr(Node, "child", noted)
    linted(fixture.path, options=fixture.options)

    document = yaml.load(fixture.path.read_text(), yaml.CSafeLoader)
    known = [(path, name, message_at(document, path)) for path, name in asked]
    unknown = {
        f"{message.full_name} has no {name}"
        for path, name, message in known
        if message and name not in message.fields_by_name and not (path == "" or name in ANYWHERE)
    }
    assert unknown == set()
    assert sum(message is not None for _, _, message in known) > 10


def test_every_type_that_is_looked_for_exists() -> None:
    constants = [
        value for module in (envoy_model, cluster, deployment) for value in vars(module).values()
    ]
    types = {one for one in constants if isinstance(one, str) and re.search(r"\.v\d\.[A-Z]", one)}
    types |= envoy_model.REWRITERS | envoy_model._STRUCTS
    types -= {"envoy.extensions.filters.http.golang.v3alpha.Config"}  # in contrib builds alone

    for name in types:
        assert pool().FindMessageTypeByName(name).full_name == name
    assert len(types) > 20


@cache
def pool() -> DescriptorPool:
    command = [sys.executable, str(EXTRACTOR), str(envoy_binary()), *FILES]
    found = subprocess.run(command, check=True, capture_output=True, timeout=60)
    made = DescriptorPool()
    for file in FileDescriptorSet.FromString(found.stdout).file:
        made.Add(file)
    return made


def message_at(document: Any, path: str) -> Descriptor | None:
    """The message that a path from a bootstrap leads to; None where no message stands."""
    name = "envoy.config.bootstrap.v3.Bootstrap"
    here: Descriptor | None = pool().FindMessageTypeByName(name)
    value, keyed = document, False
    for quoted, index, member in STEP.findall(path):
        if here is None:
            return None
        if index:
            value = value[int(index)] if isinstance(value, list) else None
            here = unwrapped(here, value)
            continue
        key = quoted or member
        value = value.get(key) if isinstance(value, dict) else None
        if keyed:
            here, keyed = unwrapped(here, value), False
        else:
            here, keyed = field_of(here, key, value)
    return None if keyed else here


def field_of(message: Descriptor, key: str, value: Any) -> tuple[Descriptor | None, bool]:
    """The message of a field, and whether it is a map of such messages."""
    field: FieldDescriptor | None = message.fields_by_name.get(
        key
    ) or message.fields_by_camelcase_name.get(key)
    if field is None or field.message_type is None:
        return None, False
    if field.message_type.GetOptions().map_entry:
        return field.message_type.fields_by_name["value"].message_type, True
    repeated = isinstance(value, list)
    return (field.message_type if repeated else unwrapped(field.message_type, value)), False


def unwrapped(message: Descriptor | None, value: Any) -> Descriptor | None:
    """An Any is the message that it names."""
    if message is None or message.full_name != "google.protobuf.Any":
        return message
    name = value.get("@type", "") if isinstance(value, dict) else ""
    return pool().FindMessageTypeByName(name.rpartition("/")[2]) if name else None
