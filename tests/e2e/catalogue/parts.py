"""Attacks in pieces: split over messages, parts, tools and keys, so that no piece is one.

A word in two tool results has the id of the second one in its middle, for the model as well as for
us, and so have tools their names: such pieces are not put together.
"""

from collections.abc import Callable, Sequence
from typing import Any

from tests.canary_model import CANARY
from tests.e2e.catalogue.case import ATTACK, Case, pair
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


def _tool_result_parts(pieces: Sequence[str]) -> Wire:
    content = [{"type": "text", "text": piece} for piece in pieces]
    return posted("/mcp", {"jsonrpc": "2.0", "id": 1, "result": {"content": content}})


def _tool_enum(pieces: Sequence[str]) -> Wire:
    schema = {"type": "object", "properties": {"q": {"enum": list(pieces)}}}
    tool = {"type": "function", "function": {"name": "f", "parameters": schema}}
    body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "tools": [tool]}
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
    "tool-result-parts": _tool_result_parts,
    "tool-enum": _tool_enum,
    "keys": _keys,
    "prompt-list": _prompt_list,
    "anthropic-blocks": _anthropic_blocks,
    "gemini-parts": _gemini_parts,
    "responses-items": _responses_items,
}


_AT = ATTACK.index(CANARY)


def _halves(text: str) -> list[str]:
    """Cut inside the word that the model knows."""
    return [text[: _AT + 2], text[_AT + 2 :]]


def _thirds(text: str) -> list[str]:
    return [text[: _AT + 1], text[_AT + 1 : _AT + 3], text[_AT + 3 :]]


def cases() -> list[Case]:
    """All of this subject."""
    return [
        pair("B15", f"{name}-{count}", lambda text, send=send, cut=cut: send(cut(text)))  # type: ignore[misc]
        for name, send in _OVER.items()
        for count, cut in (("halves", _halves), ("thirds", _thirds))
    ]
