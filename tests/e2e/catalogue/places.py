"""Where a text can stand in the requests of each API: the places that a filter may forget.

`@@` stands for the text, in values and in keys. `PLACES` is used by the catalogue and by the
coverage matrix.
"""

import json
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from tests.e2e.catalogue.wire import Wire, posted

_HERE: Final = "@@"
Headers = tuple[tuple[str, str], ...]


class Encoded(NamedTuple):
    """JSON inside a string, as in the arguments of a tool call."""

    value: Any


@dataclass(frozen=True, slots=True)
class Place:
    """One place in the requests of one API.

    `id` is the case of the catalogue that it belongs to; `flags` are what an honest request has.
    """

    id: str
    dialect: str
    name: str
    path: str
    body: Any
    headers: Headers = ()
    flags: str = ""

    def with_text(self, text: str) -> Wire:
        """The request with `text` in this place."""
        return posted(self.path, _filled(self.body, text), *self.headers)


def _filled(value: Any, text: str) -> Any:
    match value:
        case Encoded():
            return json.dumps(_filled(value.value, text), ensure_ascii=False)
        case str():
            return value.replace(_HERE, text)
        case dict():
            return {_filled(key, text): _filled(member, text) for key, member in value.items()}
        case list():
            return [_filled(member, text) for member in value]
    return value


def _places(
    dialect: str, path: str, frame: dict[str, Any], members: dict[str, tuple[Any, ...]]
) -> list[Place]:
    """Places that differ in some members of one plain request."""
    return [
        Place(case_id, dialect, name, path, frame | changed, flags=" ".join(flags))
        for name, (case_id, changed, *flags) in members.items()
    ]


def _user(content: Any = "Hello") -> dict[str, Any]:
    return {"role": "user", "content": content}


def _turn(role: str, content: Any = _HERE) -> dict[str, Any]:
    return {"role": role, "content": content}


def _call(arguments: Any, name: str = "lookup") -> dict[str, Any]:
    call = {"id": "c1", "type": "function", "function": {"name": name, "arguments": arguments}}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


def _tool(**parts: Any) -> list[dict[str, Any]]:
    schema = {"type": "object", "properties": {"q": {"type": "string"}}}
    function = {"name": "lookup", "description": "Look up", "parameters": schema} | parts
    return [{"type": "function", "function": function}]


def _properties(**of_q: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"q": {"type": "string"} | of_q}}


_RESULT: Final = {"role": "tool", "tool_call_id": "c1", "content": _HERE}
_CHAT: Final = "/v1/chat/completions"

_OPENAI_CHAT = _places(
    "openai chat",
    _CHAT,
    {"model": "m", "messages": [_user()]},
    {
        "user": ("A11", {"messages": [_turn("user")]}),
        "system": ("A11", {"messages": [_turn("system"), _user()]}),
        "developer": ("A11", {"messages": [_turn("developer"), _user()]}),
        "first turn": ("A11", {"messages": [_turn("user"), _turn("assistant", "Yes?"), _user()]}),
        "middle turn": ("A11", {"messages": [_user(), _turn("user"), _turn("assistant", "Yes?"), _user()]}),
        "assistant": ("A11", {"messages": [_user(), _turn("assistant"), _user()]}),
        "unknown role": ("A11", {"messages": [_turn("narrator"), _user()]}),
        "role itself": ("A11", {"messages": [_turn(_HERE, "Hello")]}),
        "text part": ("A11", {"messages": [_turn("user", [{"type": "text", "text": _HERE}])]}),
        "name": ("A11", {"messages": [_user() | {"name": _HERE}]}),
        "refusal": ("A11", {"messages": [_user(), _turn("assistant", None) | {"refusal": _HERE}]}),
        "reasoning": ("A11", {"messages": [_user(), _turn("assistant", "Hm") | {"reasoning_content": _HERE}]}),
        "last turn a prefill": ("A11", {"messages": [_user(), _turn("assistant")], "continue_final_message": True}),
        "tool result": ("B09", {"messages": [_user(), _call("{}"), _RESULT]}),
        "tool result part": ("B09", {"messages": [_user(), _call("{}"), _RESULT | {"content": [{"type": "text", "text": _HERE}]}]}),
        "function result": ("B09", {"messages": [_user(), {"role": "function", "name": "lookup", "content": _HERE}]}),
        "tool arguments": ("B09", {"messages": [_user(), _call(Encoded({"q": _HERE})), _RESULT | {"content": "ok"}]}),
        "tool arguments twice nested": ("B09", {"messages": [_user(), _call(Encoded({"q": Encoded({"deep": _HERE})})), _RESULT | {"content": "ok"}]}),
        "tool arguments key": ("B09", {"messages": [_user(), _call(Encoded({_HERE: 1}))]}),
        "called tool": ("B09", {"messages": [_user(), _call("{}", _HERE)]}),
        "tool name": ("B08", {"tools": _tool(name=_HERE)}),
        "tool description": ("B08", {"tools": _tool(description=_HERE)}),
        "parameter name": ("B08", {"tools": _tool(parameters={"type": "object", "properties": {_HERE: {}}})}),
        "parameter description": ("B08", {"tools": _tool(parameters=_properties(description=_HERE))}),
        "parameter enum": ("B08", {"tools": _tool(parameters=_properties(enum=["a", _HERE]))}),
        "parameter default": ("B08", {"tools": _tool(parameters=_properties(default=_HERE))}),
        "parameter type": ("B08", {"tools": _tool(parameters=_properties(type=_HERE))}),
        "functions": ("B08", {"functions": [{"name": "f", "description": _HERE, "parameters": {}}]}),
        "tool choice": ("B08", {"tool_choice": {"type": "function", "function": {"name": _HERE}}}),
        "response format": ("B08", {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "description": _HERE, "schema": {}}}}),
        "response schema key": ("B08", {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"properties": {_HERE: {}}}}}}),
        "guided regex": ("B08", {"guided_regex": f"({_HERE})+"}),
        "grammar": ("B08", {"structured_outputs": {"grammar": f'root ::= "{_HERE}"'}}),
        "choice": ("B08", {"guided_choice": ["yes", _HERE]}),
        "stop": ("B08", {"stop": [_HERE]}),
        "bad words": ("B08", {"bad_words": [_HERE]}),
        "logit bias key": ("B08", {"logit_bias": {_HERE: -100}}),
        "documents": ("B10", {"documents": [{"title": "t", "text": _HERE}]}),
        "metadata": ("B10", {"metadata": {"note": _HERE}}),
        "metadata key": ("C13", {"metadata": {_HERE: "note"}}),
        "user field": ("B10", {"user": _HERE}),
        "prediction": ("B10", {"prediction": {"type": "content", "content": _HERE}}),
        "template arguments": ("B10", {"chat_template_kwargs": {"persona": _HERE}}),
        "web search": ("B10", {"web_search_options": {"user_location": {"approximate": {"city": _HERE}}}}),
        "extra body": ("B10", {"vllm_xargs": {"anything": [{"deep": [_HERE]}]}}),
        "top level key": ("C13", {_HERE: True}),
        "model name": ("C13", {"model": _HERE}),
    },
)  # fmt: skip

_ITEMS = [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hello"}]}]
_OPENAI_RESPONSES = _places(
    "openai responses",
    "/v1/responses",
    {"model": "m", "input": "Hello"},
    {
        "input": ("A09", {"input": _HERE}),
        "input item": ("A09", {"input": [_turn("user", [{"type": "input_text", "text": _HERE}])]}),
        "instructions": ("A09", {"instructions": _HERE}),
        "output item": ("A09", {"input": [*_ITEMS, _turn("assistant", [{"type": "output_text", "text": _HERE}])]}),
        "call arguments": ("B09", {"input": [*_ITEMS, {"type": "function_call", "call_id": "c", "name": "f", "arguments": Encoded({"q": _HERE})}]}),
        "call output": ("B09", {"input": [*_ITEMS, {"type": "function_call_output", "call_id": "c", "output": _HERE}]}),
        "reasoning summary": ("A09", {"input": [{"type": "reasoning", "id": "r", "summary": [{"type": "summary_text", "text": _HERE}]}, *_ITEMS]}),
        "mcp description": ("B08", {"tools": [{"type": "mcp", "server_label": "s", "server_url": "https://tools.example.com", "server_description": _HERE}]}, "uninspected_remote"),
        "prompt variable": ("B10", {"prompt": {"id": "pmpt_1", "variables": {"who": _HERE}}}, "uninspected_stored"),
        "text format": ("B08", {"text": {"format": {"type": "json_schema", "name": "n", "schema": {"description": _HERE}}}}),
    },
)  # fmt: skip

_OPENAI_OTHERS = [
    Place("A09", "openai completions", "prompt", "/v1/completions", {"model": "m", "prompt": _HERE}),
    Place("A09", "openai completions", "prompt list", "/v1/completions", {"model": "m", "prompt": ["a", _HERE]}),
    Place("A09", "openai completions", "suffix", "/v1/completions", {"model": "m", "prompt": "a", "suffix": _HERE}),
    Place("A09", "openai embeddings", "input", "/v1/embeddings", {"model": "m", "input": _HERE}),
    Place("A09", "openai embeddings", "input list", "/v1/embeddings", {"model": "m", "input": ["a", _HERE]}),
    Place("A09", "openai moderations", "input", "/v1/moderations", {"model": "m", "input": _HERE}),
    Place("A09", "openai images", "prompt", "/v1/images/generations", {"model": "m", "prompt": _HERE}),
    Place("A09", "openai speech", "input", "/v1/audio/speech", {"model": "m", "input": _HERE, "voice": "alloy"}),
    Place("A09", "openai threads", "message", "/v1/threads/thread_1/messages", _turn("user")),
    Place("A09", "openai threads", "run instructions", "/v1/threads/thread_1/runs", {"assistant_id": "asst_1", "additional_instructions": _HERE}, flags="uninspected_stored"),
    Place("A09", "openai assistants", "instructions", "/v1/assistants", {"model": "m", "instructions": _HERE}),
    Place("A09", "azure chat", "user", "/openai/deployments/d/chat/completions?api-version=2025-01-01", {"messages": [_turn("user")]}),
    Place("B10", "azure chat", "data source", "/openai/deployments/d/chat/completions?api-version=2025-01-01", {"messages": [_user()], "data_sources": [{"type": "azure_search", "parameters": {"role_information": _HERE}}]}),
]  # fmt: skip

_ANTHROPIC_FRAME: Final = {"model": "m", "max_tokens": 64, "messages": [_user()]}
_ANTHROPIC = _places(
    "anthropic messages",
    "/v1/messages",
    _ANTHROPIC_FRAME,
    {
        "user": ("A09", {"messages": [_turn("user")]}),
        "text block": ("A09", {"messages": [_turn("user", [{"type": "text", "text": _HERE}])]}),
        "system": ("A11", {"system": _HERE}),
        "system block": ("A11", {"system": [{"type": "text", "text": _HERE}]}),
        "assistant": ("A11", {"messages": [_user(), _turn("assistant"), _user()]}),
        "tool result": ("B09", {"messages": [_user([{"type": "tool_result", "tool_use_id": "t", "content": _HERE}])]}),
        "tool result block": ("B09", {"messages": [_user([{"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": _HERE}]}])]}),
        "tool use input": ("B09", {"messages": [_user(), _turn("assistant", [{"type": "tool_use", "id": "t", "name": "f", "input": {"q": _HERE}}])]}),
        "document": ("B10", {"messages": [_user([{"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": _HERE}}])]}),
        "document title": ("B10", {"messages": [_user([{"type": "document", "title": _HERE, "source": {"type": "text", "media_type": "text/plain", "data": "a"}}])]}),
        "search result": ("B10", {"messages": [_user([{"type": "search_result", "source": "s", "title": "t", "content": [{"type": "text", "text": _HERE}]}])]}),
        "tool description": ("B08", {"tools": [{"name": "f", "description": _HERE, "input_schema": {"type": "object"}}]}),
        "stop sequence": ("B08", {"stop_sequences": [_HERE]}),
        "mcp server": ("B08", {"mcp_servers": [{"type": "url", "url": "https://tools.example.com", "name": _HERE}]}, "uninspected_remote"),
        "thinking": ("A11", {"messages": [_user(), _turn("assistant", [{"type": "thinking", "thinking": _HERE, "signature": "s"}])]}),
    },
)  # fmt: skip

_PART: Final = {"parts": [{"text": _HERE}]}
_GEMINI = _places(
    "gemini generate",
    "/v1beta/models/gemini-2.0-flash:generateContent",
    {"contents": [{"role": "user", "parts": [{"text": "Hello"}]}]},
    {
        "user": ("A09", {"contents": [{"role": "user"} | _PART]}),
        "model turn": ("A11", {"contents": [{"role": "model"} | _PART]}),
        "system": ("A11", {"systemInstruction": _PART}),
        "system in snake case": ("A11", {"system_instruction": _PART}),
        "function response": ("B09", {"contents": [{"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {"result": _HERE}}}]}]}),
        "function call": ("B09", {"contents": [{"role": "model", "parts": [{"functionCall": {"name": "f", "args": {"q": _HERE}}}]}]}),
        "tool description": ("B08", {"tools": [{"functionDeclarations": [{"name": "f", "description": _HERE}]}]}),
        "response schema": ("B08", {"generationConfig": {"responseSchema": {"type": "OBJECT", "description": _HERE}}}),
    },
)  # fmt: skip
_GEMINI_OTHERS = [
    Place("A09", "gemini stream", "user", "/v1beta/models/gemini-2.0-flash:streamGenerateContent?alt=sse", {"contents": [_PART]}),
    Place("A09", "gemini embed", "content", "/v1beta/models/embedding-001:embedContent", {"content": _PART}),
    Place("A09", "gemini batch embed", "content", "/v1beta/models/embedding-001:batchEmbedContents", {"requests": [{"model": "m", "content": _PART}]}),
]  # fmt: skip

_BEDROCK = _places(
    "bedrock converse",
    "/model/anthropic.claude-3/converse",
    {"messages": [_user([{"text": "Hello"}])]},
    {
        "user": ("A09", {"messages": [_user([{"text": _HERE}])]}),
        "system": ("A11", {"system": [{"text": _HERE}]}),
        "tool result": ("B09", {"messages": [_user([{"toolResult": {"toolUseId": "t", "content": [{"text": _HERE}]}}])]}),
        "tool result json": ("B09", {"messages": [_user([{"toolResult": {"toolUseId": "t", "content": [{"json": {"a": _HERE}}]}}])]}),
        "tool description": ("B08", {"toolConfig": {"tools": [{"toolSpec": {"name": "f", "description": _HERE, "inputSchema": {"json": {}}}}]}}),
        "guard content": ("A11", {"messages": [_user([{"guardContent": {"text": {"text": _HERE}}}])]}),
    },
)  # fmt: skip
_BEDROCK_INVOKE = [
    Place("A09", "bedrock invoke", "anthropic body", "/model/anthropic.claude-3/invoke", {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 9, "messages": [_turn("user")]}),
    Place("A09", "bedrock invoke", "titan body", "/model/amazon.titan-text/invoke", {"inputText": _HERE}),
    Place("A09", "bedrock invoke", "llama body", "/model/meta.llama3/invoke", {"prompt": _HERE}),
]  # fmt: skip

_OTHERS = [
    Place("A09", "anthropic count_tokens", "user", "/v1/messages/count_tokens", {"model": "m", "messages": [_turn("user")]}),
    Place("A09", "cohere chat", "user", "/v2/chat", {"model": "m", "messages": [_turn("user")]}),
    Place("B10", "cohere chat", "document", "/v2/chat", {"model": "m", "messages": [_user()], "documents": [{"id": "1", "data": {"text": _HERE}}]}),
    Place("A09", "cohere embed", "texts", "/v2/embed", {"model": "m", "input_type": "search_query", "texts": ["a", _HERE]}),
    Place("A09", "cohere rerank", "query", "/v2/rerank", {"model": "m", "query": _HERE, "documents": ["a"]}),
    Place("A09", "cohere rerank", "document", "/v2/rerank", {"model": "m", "query": "a", "documents": ["b", _HERE]}),
    Place("A11", "mistral chat", "prefix", "/v1/chat/completions", {"model": "m", "messages": [_user(), _turn("assistant") | {"prefix": True}]}),
    Place("A09", "mistral fim", "prompt", "/v1/fim/completions", {"model": "m", "prompt": _HERE, "suffix": "b"}),
    Place("A09", "mistral fim", "suffix", "/v1/fim/completions", {"model": "m", "prompt": "a", "suffix": _HERE}),
    Place("A09", "ollama chat", "user", "/api/chat", {"model": "m", "messages": [_turn("user")]}),
    Place("A09", "ollama generate", "prompt", "/api/generate", {"model": "m", "prompt": _HERE}),
    Place("A09", "ollama generate", "system", "/api/generate", {"model": "m", "prompt": "a", "system": _HERE}),
    Place("B10", "ollama generate", "raw prompt", "/api/generate", {"model": "m", "prompt": _HERE, "raw": True}),
    Place("A09", "ollama embed", "input", "/api/embed", {"model": "m", "input": ["a", _HERE]}),
    Place("A09", "tgi generate", "inputs", "/generate", {"inputs": _HERE, "parameters": {"max_new_tokens": 9}}),
    Place("A09", "tgi stream", "inputs", "/generate_stream", {"inputs": _HERE}),
    Place("B08", "tgi generate", "grammar", "/generate", {"inputs": "a", "parameters": {"grammar": {"type": "regex", "value": _HERE}}}),
    Place("A09", "vllm score", "text", "/score", {"model": "m", "text_1": "a", "text_2": _HERE}),
    Place("A09", "vllm tokenize", "prompt", "/tokenize", {"model": "m", "prompt": _HERE}),
    Place("A09", "sagemaker", "inputs", "/endpoints/e/invocations", {"inputs": _HERE}),
    Place("A09", "sagemaker", "container", "/invocations", {"inputs": [_HERE]}),
    Place("A09", "kserve v2 json", "bytes tensor", "/v2/models/m/infer", {"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": [_HERE]}]}),
    Place("A09", "kserve v2 json", "parameter", "/v2/models/m/infer", {"parameters": {"system": _HERE}, "inputs": []}),
    Place("B09", "mcp", "tool call arguments", "/mcp", {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "f", "arguments": {"q": _HERE}}}),
    Place("B09", "mcp", "tool result", "/mcp", {"jsonrpc": "2.0", "id": 1, "result": {"content": [{"type": "text", "text": _HERE}]}}),
    Place("B08", "mcp", "tool description", "/mcp", {"jsonrpc": "2.0", "id": 1, "result": {"tools": [{"name": "f", "description": _HERE, "inputSchema": {}}]}}),
    Place("B09", "mcp", "sampling", "/mcp", {"jsonrpc": "2.0", "id": 1, "method": "sampling/createMessage", "params": {"messages": [{"role": "user", "content": {"type": "text", "text": _HERE}}], "systemPrompt": "a", "maxTokens": 9}}),
    Place("A09", "a2a", "message part", "/a2a", {"jsonrpc": "2.0", "id": 1, "method": "message/send", "params": {"message": {"role": "user", "messageId": "1", "parts": [{"kind": "text", "text": _HERE}]}}}),
    Place("B09", "a2a", "data part", "/a2a", {"jsonrpc": "2.0", "id": 1, "method": "message/send", "params": {"message": {"role": "user", "messageId": "1", "parts": [{"kind": "data", "data": {"a": _HERE}}]}}}),
    Place("A10", "unknown json", "anywhere", "/v1/made-up", {"a": [{"b": {"c": _HERE}}]}),
    Place("C13", "unknown json", "key", "/v1/made-up", {"a": [{_HERE: 1}]}),
    Place("C09", "unknown json", "top level string", "/v1/made-up", _HERE),
    Place("C09", "unknown json", "top level list", "/v1/made-up", [_HERE]),
]  # fmt: skip

PLACES: Final = (
    *_OPENAI_CHAT,
    *_OPENAI_RESPONSES,
    *_OPENAI_OTHERS,
    *_ANTHROPIC,
    *_GEMINI,
    *_GEMINI_OTHERS,
    *_BEDROCK,
    *_BEDROCK_INVOKE,
    *_OTHERS,
)
