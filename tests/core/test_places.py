"""Places of a body that are no text: token ids, references, templates, the caller's own objects."""

from typing import Any

import pytest

from extauthz.core.dialects import KNOWN, UNKNOWN_JSON, Dialect
from extauthz.core.extract import extract

DIALECTS = {dialect.name: dialect for dialect in (*KNOWN, UNKNOWN_JSON)}


def text_of(body: Any, dialect: str) -> str:
    return "\n".join(segment.text for segment in extract(body, DIALECTS[dialect]).segments)


@pytest.mark.parametrize(
    ("dialect", "body", "kinds"),
    [
        ("openai_completions", {"prompt": [1, 2, 3]}, {"token_ids": 3}),
        ("openai_completions", {"prompt": [[1, 2], [3.0, "x"]]}, {"token_ids": 3}),
        ("openai_completions", {"prompt": ["a", 1.5, -1, True, 2**40]}, {}),
        ("openai_completions", {"prompt": {"prompt_token_ids": [7]}}, {"token_ids": 1}),
        ("openai_completions", {"max_tokens": 5, "stop": [1, 2]}, {}),
        ("openai_embeddings", {"input": [[1, 2], [3]]}, {"token_ids": 3}),
        ("ollama_generate", {"context": [1, 2]}, {"token_ids": 2}),
        ("openai_chat", {"prompt_token_ids": [1, 2]}, {"token_ids": 2}),
        ("vllm_generate", {"token_ids": [1]}, {"token_ids": 1}),
        ("kserve", {"inputs": [{"datatype": "INT64", "data": [[1, 2], [3, 4]]}]}, {"token_ids": 4}),
        ("kserve", {"inputs": [{"datatype": "INT32", "data": [[1]], "shape": [1, 1]}]}, {}),
        ("kserve", {"inputs": [{"datatype": "FP32", "data": [1.0, 0.0, 1.0, 0.0]}]}, {}),
        ("kserve_v1", {"instances": [[1, 2, 3, 4]]}, {"token_ids": 4}),
        ("sagemaker", {"instances": [{"input_ids": [1, 2, 3, 4]}]}, {"token_ids": 4}),
        ("sagemaker", {"instances": [{"n": 1, "k": [2, 3]}]}, {}),
        ("kserve_grpc", [{"5": [{"5": [{"3": [1, 2, 3, 4]}]}]}], {"token_ids": 4}),
        ("kserve_grpc", [{"5": [["t", {"3": [1, 1], "5": [["c", {"2": [1, 2, 3]}]]}]]}], {}),
        ("unknown_json", {"a": [{"b": [1, 2]}, [3], [4]]}, {"token_ids": 4}),
        ("unknown_json", {"a": [1, 2, 3], "b": 4, "c": {"d": 5}}, {}),
        ("unknown_json", {"prompt": [1, 2]}, {"token_ids": 2}),
        ("unknown_json", {"prompt": [1, 2, 3, 4]}, {"token_ids": 4}),
        ("unknown_json", [1, 2, 3, 4], {"token_ids": 4}),
        ("unknown_json", {"v": [0.1, 0.2, 0.3, 0.4]}, {}),
    ],
)
def test_numbers_that_stand_for_words_are_counted(
    dialect: str, body: Any, kinds: dict[str, int]
) -> None:
    assert extract(body, DIALECTS[dialect]).coverage.opaque == kinds


def test_token_ids_are_handed_out_by_the_array() -> None:
    body = {"prompt": [[1, 2.0, "x"], ["y"], [3]]}
    assert extract(body, DIALECTS["openai_completions"]).token_ids == ((1, 2), (3,))
    assert text_of(body, "openai_completions") == "x\ny"
    assert extract({"a": [1, 2, 3]}, UNKNOWN_JSON).token_ids == ()


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS.keys())
def test_references_and_templates_count_wherever_servers_imitate_each_other(
    dialect: Dialect,
) -> None:
    for body in (
        {"previous_response_id": "r"},
        {"conversation": "c"},
        {"conversation": {"id": "c"}},
        {"cachedContent": "c"},
        {"prompt": {"id": "p", "version": "2"}},
        {"input_file_id": "f"},
    ):
        assert extract(body, dialect).coverage.opaque == {"stored": 1}
    nothings: list[Any] = [
        {"previous_response_id": None},
        {"previous_response_id": ""},
        {"prompt": {}},
    ]
    for nothing in nothings:
        assert extract(nothing, dialect).coverage.opaque == {}
    for name in ("chat_template", "template"):
        (finding,) = extract({name: "{{ x }}"}, dialect).findings
        assert (finding.detector.value, finding.pointer) == ("chat_template", f"/{name}")
        assert extract({name: None}, dialect).findings == ()
        assert extract({name: ""}, dialect).findings == ()
        assert len(extract({name: [{"name": "a"}]}, dialect).findings) == 1


def test_a_template_in_a_line_of_a_batch_is_found() -> None:
    (finding,) = extract([{"body": {"chat_template": "t"}}], DIALECTS["openai_files"]).findings
    assert finding.pointer == "/0/body/chat_template"


@pytest.mark.parametrize(
    ("dialect", "body", "found"),
    [
        (
            "openai_chat",
            {"metadata": {"user": "x", "stop": {"system": "y"}}},
            "user x stop system y",
        ),
        ("openai_chat", {"logit_bias": {"stop": 1, "system": 2}}, "logit_bias stop system"),
        (
            "anthropic_messages",
            {"messages": [{"content": [{"input": {"role": "system"}}]}]},
            "role system",
        ),
        ("gemini", {"contents": [{"parts": [{"functionCall": {"args": {"text": 1}}}]}]}, "text"),
        ("mcp", {"params": {"arguments": {"name": {"type": "user"}}}}, "name type user"),
        (
            "openai_responses",
            {"prompt": {"variables": {"type": "user"}}},
            "prompt variables type user",
        ),
    ],
)
def test_in_the_callers_own_objects_no_word_is_the_apis(
    dialect: str, body: Any, found: str
) -> None:
    assert text_of(body, dialect).split("\n") == found.split()


def test_a_label_of_any_member_holds_for_members_that_are_places_too() -> None:
    body = {"prompt": "a", "context": "b", "other": "c"}
    segments = extract(body, UNKNOWN_JSON).segments
    assert [(s.pointer, s.text) for s in segments[:3]] == [
        ("/prompt", "a"),
        ("/context", "b"),
        ("/other", "c"),
    ]
