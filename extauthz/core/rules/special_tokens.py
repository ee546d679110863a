"""Markers of chat templates, written as text.

An upstream that parses special tokens in what users write takes such a text for the end of their
turn and the start of another. Our own classifier reads them as the characters they are.
"""

from typing import Final

from extauthz.core.rules.linear import NamedSet, either

#: Family to its markers, from the `tokenizer_config.json` and chat template that a model is
#: published with; harmony's from the openai-harmony format guide. Added tokens that people write
#: for other reasons are left out: `<s>` (struck out in HTML), `<mask>` (SVG), `<think>` (clients
#: send their model's reasoning back).
FAMILIES: Final[dict[str, tuple[str, ...]]] = {
    "chatml": ("<|im_start|>", "<|im_end|>", "<|im_sep|>"),
    "llama2": ("<<SYS>>", "<</SYS>>"),
    "llama3": (
        "<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>",
        "<|eom_id|>", "<|python_tag|>",
    ),
    "llama4": ("<|header_start|>", "<|header_end|>", "<|eot|>", "<|eom|>"),
    "gemma": ("<start_of_turn>", "<end_of_turn>"),
    "phi": ("<|system|>", "<|user|>", "<|assistant|>", "<|tool|>", "<|end|>"),
    "gpt": (
        "<|endoftext|>", "<|endofprompt|>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>",
    ),
    "harmony": (
        "<|start|>", "<|message|>", "<|channel|>", "<|constrain|>", "<|return|>", "<|call|>",
    ),
    "qwen": ("<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>"),
    "command_r": (
        "<BOS_TOKEN>", "<EOS_TOKEN>", "<|START_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>",
        "<|SYSTEM_TOKEN|>", "<|USER_TOKEN|>", "<|CHATBOT_TOKEN|>",
    ),
    "granite": ("<|start_of_role|>", "<|end_of_role|>", "<|end_of_text|>"),
    "glm": ("[gMASK]", "<sop>", "<|observation|>"),
}  # fmt: skip

#: Those that need more than a list. Square brackets are everyday text in lower case; a bare `</s>`
#: is HTML, and one before a turn is not.
_GRAMMARS: Final = {
    "mistral": (
        r"\[/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|TOOL_CONTENT)\]"
        r"|<s>\s{0,4}\[INST\]|</s>\s{0,4}(?:<s>|\[INST\])"
    ),
    "bert": r"\[(?:CLS|SEP|MASK|PAD|UNK)\]|(?i:<(?:pad|unk|bos|eos)>)",
    # Its bars are fullwidth and its blanks U+2581: <｜User｜>, <｜end▁of▁sentence｜>.
    "deepseek": r"<｜[A-Za-z\x{2581}_ ]{2,40}｜>",
}
#: Any marker of this shape that no family names.
OTHER: Final = "other"
_ANY: Final = r"(?i:<\|/?[a-z][a-z0-9_]{1,40}\|>)"

_MARKERS: Final = NamedSet(
    [
        *((name, either(markers)) for name, markers in FAMILIES.items()),
        *_GRAMMARS.items(),
        (OTHER, _ANY),
    ]
)


def find_special_tokens(utf8: bytes) -> frozenset[str]:
    """Families whose markers stand in a text; `other` if they are nobody's that we know."""
    if b"<" not in utf8 and b"[" not in utf8:
        return frozenset()
    found = _MARKERS.find(utf8)
    return found if found <= {OTHER} else found - {OTHER}
