"""Files become documents of a known kind, with true positions; what cannot be judged is refused."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from extauthz.lint.documents import MAX_BYTES, MAX_DEPTH, UnreadableError, read
from tests.lint.fixture_files import FOLDER, linted

MESH = """\
pathNormalization: { normalization: DECODE_AND_MERGE_SLASHES }
extensionProviders:
  - name: extauthz
    envoyExtAuthzGrpc:
      service: extauthz
      timeout: 2s
      failOpen: true
      includeRequestBodyInCheck: { maxRequestBytes: 8388608, packAsBytes: true }
"""
KINDS = {
    "a bootstrap": ("static_resources: {}", "Envoy"),
    "xDS resources": ("resources: [{'@type': x}]", "Envoy"),
    "a transport socket": ("transport_socket: {}", "Envoy transport_socket"),
    "a MeshConfig": (MESH, "MeshConfig"),
    "Helm values": ("meshConfig: { enableTracing: true }", "MeshConfig"),
    "an IstioOperator": (
        "{apiVersion: install.istio.io/v1alpha1, kind: IstioOperator, spec: {meshConfig: {a: b}}}",
        "MeshConfig",
    ),
    "an Istio resource": (
        "{apiVersion: sailoperator.io/v1, kind: Istio, spec: {values: {meshConfig: {a: b}}}}",
        "MeshConfig",
    ),
    "a SecurityPolicy": (
        "{apiVersion: gateway.envoyproxy.io/v1alpha1, kind: SecurityPolicy}",
        "SecurityPolicy",
    ),
}


def indented(text: str, by: str) -> str:
    return "".join(by + line for line in text.splitlines(keepends=True))


@pytest.mark.parametrize("name", KINDS)
def test_the_kind_is_seen_in_the_content(name: str) -> None:
    text, kind = KINDS[name]
    file = read("one.yaml", text.encode())
    assert [document.kind for document in file.documents] == [kind]
    assert file.skipped == []


@pytest.mark.parametrize(
    ("text", "called"),
    [
        ("{apiVersion: v1, kind: Service, metadata: {name: web}}", "Service web"),
        ("{apiVersion: example.org/v1, kind: SecurityPolicy}", "SecurityPolicy"),
        ("{apiVersion: v1, kind: ConfigMap, data: {motd: hello}}", "ConfigMap"),
        ("# nothing else", "an empty file"),
        ("[1, 2]", "a document of no kind that is known here"),
    ],
)
def test_what_no_rule_reads_is_named(text: str, called: str) -> None:
    file = read("one.yaml", text.encode())
    assert file.documents == []
    assert [(one.line, one.what) for one in file.skipped] == [(1, called)]


def test_several_documents_lists_and_blank_ones_are_taken_apart() -> None:
    text = "---\n---\nkind: List\nitems:\n  - {kind: Service}\n---\nadmin: {}\n---\n" + MESH
    file = read("one.yaml", text.encode())
    assert [document.kind for document in file.documents] == ["Envoy", "MeshConfig"]
    assert [one.what for one in file.skipped] == ["Service"]


def test_a_finding_inside_a_config_map_has_the_line_and_column_of_the_file(tmp_path: Path) -> None:
    head = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio}\ndata:\n  mesh: |-\n"
    path = tmp_path / "map.yaml"
    path.write_text(head + indented(MESH, "    "))

    (found,) = [one for one in linted(path).findings if one.rule.id == "L1"]

    line = path.read_text().splitlines()[found.at.line - 1]
    assert line[found.at.column - 1 :] == "failOpen: true"
    assert found.at.path == "data.mesh.extensionProviders[0].envoyExtAuthzGrpc.failOpen"


def test_a_finding_has_line_column_and_path() -> None:
    report = linted(FOLDER / "L07" / "fail-envoy-prefix.yaml")
    (found,) = report.findings
    line = (FOLDER / "L07" / "fail-envoy-prefix.yaml").read_text().splitlines()[found.at.line - 1]
    assert line[found.at.column - 1 :].startswith("disabled: true")
    assert found.at.path == (
        "static_resources.listeners[0].filter_chains[0].filters[0].typed_config.route_config"
        '.virtual_hosts[0].routes[0].typed_per_filter_config["envoy.filters.http.ext_authz"].disabled'
    )


def test_json_is_read_like_yaml(tmp_path: Path) -> None:
    path = tmp_path / "mesh.json"
    provider = {"envoyExtAuthzGrpc": {"failOpen": True, "timeout": "2s", "statusOnError": "503"}}
    path.write_text(json.dumps({"extensionProviders": [provider]}, indent=1))
    assert {one.rule.id for one in linted(path).findings} == {"L1", "L2", "L8"}


def test_aliases_stand_for_what_they_name(tmp_path: Path) -> None:
    good = (FOLDER / "L01" / "pass-envoy-marked.yaml").read_text()
    path = tmp_path / "alias.yaml"
    path.write_text(
        good.replace("failure_mode_allow: true", "failure_mode_allow: &yes true")
        .replace("failure_mode_allow_header_add: true", "failure_mode_allow_header_add: false")
        .replace("validate_mutations: true", "validate_mutations: *yes")
    )
    assert [one.rule.id for one in linted(path).findings] == ["L1"]


def refused() -> Iterator[tuple[str, str]]:
    bomb = ["a0: &a0 [x, x]"]
    bomb += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    yield "\n".join(bomb), "too large or too deep"
    chain = ["a0: &a0 x"] + [f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 80)]
    yield "\n".join(chain), "too large or too deep"
    yield "a: &a [*a]", "levels deep"
    yield "[" * 200 + "]" * 200, f"more than {MAX_DEPTH} levels"
    yield "[" * 100_000, f"more than {MAX_DEPTH} levels"
    yield "a: 1\na: 2", "the key a again"
    yield "a: &a {b: 1}\nc: {<<: *a}", "merge key"
    yield "? [a]\n: b", "no string"
    yield "a: {{ .Values.x }}", "one.yaml:1: "
    yield "a: b: c", "one.yaml:1: "
    yield "a: *unknown", "one.yaml:1: "
    yield "a: \x07", "one.yaml:1: "
    yield "# " + "x" * MAX_BYTES, "larger than"


@pytest.mark.parametrize(("text", "problem"), list(refused()), ids=lambda one: str(one)[:20])
def test_what_cannot_be_judged_is_refused_with_its_place(text: str, problem: str) -> None:
    with pytest.raises(UnreadableError, match=r"^one\.yaml") as refusal:
        read("one.yaml", text.encode())
    assert problem in str(refusal.value)


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(UnreadableError, match="byte 3 is not UTF-8"):
        read("one.yaml", b"a: \xff")


def test_no_python_object_is_ever_made() -> None:
    text = "admin: !!python/object/apply:os.abort []"
    assert [one.kind for one in read("one.yaml", text.encode()).documents] == ["Envoy"]
