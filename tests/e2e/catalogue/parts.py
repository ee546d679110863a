"""Attacks in pieces: split over messages, parts, tools and keys, so that no piece is one."""

from collections.abc import Callable, Sequence
from typing import Any

from tests.e2e.catalogue.case import Case, pair
from tests.e2e.catalogue.wire import Wire, chat_of, posted

Pieces = Callable[[Sequence[str]], Wire]


def _user(*texts: str) -> dict[str, Any]:
    return {"role": "user", "content": [{"type": "text", "text": text} for text in texts]}


def _messages(role: str) -> Pieces:
    return lambda pieces: chat_of({"role": role, "content": piece} for piece in pieces)


def _between_answers(pieces: Sequence[str]) -> Wire:
    turns: list[dict[str, Any]] = []
    for piece in pieces:
        turns += [{"role": "user", "content": piece}, {"role": "assistant", "content": "Go on."}]
    return chat_of(turns[:-1])


def _alternating(pieces: Sequence[str]) -> Wire:
    roles = ("user", "assistant")
    return chat_of({"role": roles[i % 2], "content": piece} for i, piece in enumerate(pieces))


def _tool_results(pieces: Sequence[str]) -> Wire:
    calls = [
        {"id": f"c{i}", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        for i in range(len(pieces))
    ]
    results = [
        {"role": "tool", "tool_call_id": f"c{i}", "content": piece}
        for i, piece in enumerate(pieces)
    ]
    return chat_of([{"role": "user", "content": "Hi"}, {"role": "assistant", "content": None, "tool_calls": calls}, *results])  # fmt: skip


def _tool_descriptions(pieces: Sequence[str]) -> Wire:
    tools = [
        {"type": "function", "function": {"name": f"f{i}", "description": piece}}
        for i, piece in enumerate(pieces)
    ]
    body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "tools": tools}
    return posted("/v1/chat/completions", body)


def _keys(pieces: Sequence[str]) -> Wire:
    return posted("/v1/made-up", dict.fromkeys(pieces, 1))


def _prompt_list(pieces: Sequence[str]) -> Wire:
    return posted("/v1/completions", {"model": "m", "prompt": list(pieces)})


def _anthropic_blocks(pieces: Sequence[str]) -> Wire:
    content = [{"type": "text", "text": piece} for piece in pieces]
    body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": content}]}
    return posted("/v1/messages", body)


def _gemini_parts(pieces: Sequence[str]) -> Wire:
    body = {"contents": [{"role": "user", "parts": [{"text": piece} for piece in pieces]}]}
    return posted("/v1beta/models/gemini-2.0-flash:generateContent", body)


def _responses_items(pieces: Sequence[str]) -> Wire:
    items = [{"role": "user", "content": piece} for piece in pieces]
    return posted("/v1/responses", {"model": "m", "input": items})


_OVER: dict[str, Pieces] = {
    "content-parts": lambda pieces: chat_of([_user(*pieces)]),
    "user-messages": _messages("user"),
    "system-messages": _messages("system"),
    "turns-with-answers-between": _between_answers,
    "user-and-assistant": _alternating,
    "tool-results": _tool_results,
    "tool-descriptions": _tool_descriptions,
    "keys": _keys,
    "prompt-list": _prompt_list,
    "anthropic-blocks": _anthropic_blocks,
    "gemini-parts": _gemini_parts,
    "responses-items": _responses_items,
}


def _halves(text: str) -> list[str]:
    """Cut inside the word that the model knows."""
    at = text.index(" ") + 3
    return [text[:at], text[at:]]


def _thirds(text: str) -> list[str]:
    at = text.index(" ")
    return [text[: at + 2], text[at + 2 : at + 4], text[at + 4 :]]


def cases() -> list[Case]:
    """All of this subject."""
    return [
        pair("B15", f"{name}-{count}", lambda text, send=send, cut=cut: send(cut(text)))  # type: ignore[misc]
        for name, send in _OVER.items()
        for count, cut in (("halves", _halves), ("thirds", _thirds))
    ]
