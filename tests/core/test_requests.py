"""Every request of `tests/fixtures` is read as `expected.txt` says, and hides nothing anywhere."""

import base64
import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from extauthz.core.call import Segment
from extauthz.core.dialects import KNOWN, UNKNOWN_JSON, Dialect
from extauthz.core.extract import extract
from extauthz.core.media import Tree
from extauthz.core.opaque import Blob
from tests import fixtures
from tests.fixtures import sdk_calls, sdk_dialect, sdk_path, sdk_tree

FIXTURES = sdk_calls()
_EXPECTED = (Path(fixtures.__file__).parent / "expected.txt").read_text("utf-8")
EXPECTED = {block.split("]")[0][1:]: block for block in _EXPECTED.strip().split("\n\n")[1:]}
MARKER = "§marker§"
IN_BASE64 = base64.b64encode(MARKER.encode()).decode()

each_fixture = pytest.mark.parametrize("name", FIXTURES)


Replace = Callable[[Any], Any]


def placements(
    value: Tree, marker: str = MARKER, wrap: Replace = lambda changed: changed
) -> Iterator[Any]:
    """Copies of `value`, each with the marker in one more place: every leaf, key and end of list."""
    if isinstance(value, dict):
        yield wrap({**value, marker: 1})
        yield wrap({**value, "note": marker})
        for name, member in value.items():
            yield wrap({marker if key == name else key: v for key, v in value.items()})
            yield from placements(member, marker, lambda m, k=name: wrap({**value, k: m}))  # type: ignore[misc]
    elif isinstance(value, list):
        yield wrap([*value, marker])
        for index, member in enumerate(value):
            yield from placements(
                member,
                marker,
                lambda m, i=index: wrap([*value[:i], m, *value[i + 1 :]]),  # type: ignore[misc]
            )
    elif isinstance(value, Blob):
        yield wrap(Blob(marker.encode()))
        yield wrap(marker)
    else:
        yield wrap(marker)
        yield wrap(f"{value} {marker}")


def holding(text: str, body: Tree, dialect: Dialect) -> list[Segment]:
    return [s for s in extract(body, dialect).segments if text in s.text]


def shown(name: str) -> str:
    """A request as it stands in `expected.txt`."""
    dialect, tree, path = sdk_dialect(name), sdk_tree(name), sdk_path(name)
    segments, coverage, findings, _ = extract(tree, dialect)
    pointers: dict[str, list[str]] = {}
    for segment in segments:
        pointers.setdefault(segment.provenance.value, []).append(segment.pointer or "/")
    model = dialect.model_of(path, tree)
    lines = [
        f"[{name}]",
        dialect.name + (" stream" if dialect.wants_stream(path, tree) else ""),
        *([f"model {model}"] if model else []),
        *(f"{provenance} {' '.join(where)}" for provenance, where in sorted(pointers.items())),
        *(f"{kind.value} {count}" for kind, count in sorted(coverage.opaque.items())),
        *(f"{finding.detector.value} {finding.pointer}" for finding in findings),
    ]
    return "\n".join(lines)


@each_fixture
def test_a_request_is_read_as_expected(name: str) -> None:
    assert shown(name) == EXPECTED.get(name)


def test_nothing_is_expected_that_is_not_there() -> None:
    assert list(EXPECTED) == FIXTURES


def test_every_dialect_has_a_request() -> None:
    assert {sdk_dialect(name).name for name in FIXTURES} == {dialect.name for dialect in KNOWN}


@each_fixture
def test_a_request_is_named_after_its_dialect(name: str) -> None:
    assert name.startswith(sdk_dialect(name).name)


@each_fixture
@pytest.mark.parametrize("marker", [MARKER, IN_BASE64], ids=["plain", "base64"])
def test_a_marker_in_any_place_of_a_request_is_found(name: str, marker: str) -> None:
    """In base64 it may be there as it was written, for the decoded view, or decoded already."""
    tree = sdk_tree(name)
    bodies = list(placements(tree, marker))
    assert len(bodies) > 4
    for body in bodies:
        for dialect in (sdk_dialect(name), UNKNOWN_JSON):
            assert holding(MARKER, body, dialect) or holding(marker, body, dialect), body
            assert extract(body, dialect).coverage.complete


@each_fixture
def test_a_wrong_guess_of_the_dialect_hides_nothing(name: str) -> None:
    for body in list(placements(sdk_tree(name)))[::7]:
        assert all(holding(MARKER, body, dialect) for dialect in KNOWN), body


@each_fixture
def test_extraction_leaves_the_body_as_it_is(name: str) -> None:
    body = sdk_tree(name)
    before = copy.deepcopy(body)
    extract(body, sdk_dialect(name))
    assert body == before


@each_fixture
def test_every_string_is_scanned_but_for_vocabulary_and_media(name: str) -> None:
    """What a request exempts is short and listed here, so that nobody adds to it unseen."""
    exempt = dict(extract(sdk_tree(name), sdk_dialect(name)).coverage.exempt)
    del exempt["vocabulary"]
    assert exempt == {
        "a2a": {"image": 24},
        "anthropic_messages_blocks": {"image": 48, "document": 20},
        "bedrock_converse": {"image": 8},
        "cohere_embed_image": {"image": 46},
        "gemini": {"image": 8},
        "kserve_grpc": {"decoded": 75},
        "kserve_tensors": {"token_ids": 48},
        "mcp_result": {"image": 24, "decoded": 52},
        "ollama_chat_image": {"image": 24},
        "openai_chat_image": {"image": 114, "decoded": 44},
        "openai_chat_vllm": {"audio": 34},
        "openai_images_edits": {"image": 16},
        "openai_moderations_parts": {"image": 46},
        "openai_responses_items": {"image": 46, "decoded": 75},
    }.get(name, {})


def test_the_lines_of_a_batch_have_the_labels_of_what_they_ask_for() -> None:
    lines = [
        {"url": "/v1/responses", "body": {"instructions": "s", "input": [{"role": "user"}]}},
        {"url": "/v1/chat/completions", "body": {"messages": [{"role": "tool", "content": "t"}]}},
        {"url": "/v1/completions", "body": {"prompt": [[1, 2]]}},
    ]
    (dialect,) = (one for one in KNOWN if one.name == "openai_files")
    for body, where in (
        (lines, ""),
        ([{"name": "file", "content": lines}], "/0/content"),
        ([{"name": "file", "content": [json.dumps(lines), lines]}], "/0/content/1"),
    ):
        segments, coverage, *_ = extract(body, dialect)
        found = {segment.pointer: segment.provenance for segment in segments}
        assert found[f"{where}/0/body/instructions"] == "system"
        assert found[f"{where}/1/body/messages/0"] == "tool_result"
        assert coverage.opaque == {"token_ids": 2}
