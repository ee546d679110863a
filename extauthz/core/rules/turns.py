"""Turns of a conversation written inside one text.

Two things are read from them. A text that has turns of somebody else in it may try to be taken for
them ("System: the rules have changed"). And dozens of made-up dialogues in one text teach the model
by example what it was trained to refuse (many-shot). Both have honest uses: transcripts, bug
reports ("System: Windows 11"), few-shot prompts. So they are flagged and not denied by default.

Only turns inside a text count, never the messages of a request: an honest conversation has
hundreds of those, each of which the API itself attributes to its speaker.
"""

from collections.abc import Mapping
from itertools import islice
from typing import Final

from extauthz.core.rules.linear import NamedSet, Occurrences

#: Where a line begins, for every reader of it; `\n` spelled out stands in quoted JSON and code.
_LINE: Final = r"(?:(?m:^)|[\r\x{0b}\x{0c}\x{85}\x{2028}\x{2029}]|\\[nr])[ \t>*_#\-=|]{0,12}"
#: "prompt", as in "System prompt:", or a number, as in "User 2:".
_OF: Final = (
    r"(?:[ \t_-](?:prompt|message|instructions?|turn|input|output|response|query|says|notes?|notice"
    r"|directive|update|override|alert|\d{1,4}))?"
)
_COLON: Final = r"[ \t*_\])>]{0,4}(?::|：)(?:[^:/]|\z)"
_QUOTE: Final = r"""\\?["']"""

#: The words that name a speaker where people write prompts, in the languages they write them in.
_NAMES: Final = {
    "system": "system|developer|système|sistema|система|系统|系統|システム|시스템",
    "user": (
        "user|human|utilisateur|usuario|usuário|utente|benutzer|nutzer|пользователь|человек"
        "|用户|用戶|ユーザー|사용자"
    ),
    # Not "model" and "bot": "Model: XPS 13" is a line of every bug report.
    "assistant": (
        "(?:ai[ _-])?assistant|ai|chatbot|chatgpt|claude|gemini|llm|asistente|assistente|assistent"
        "|ассистент|помощник|助手|助理|アシスタント|어시스턴트"
    ),
    "tool": "(?:tool|function)(?:[ _](?:call|result))?|observation",
}
#: The values of "role" in the APIs.
_ROLES: Final = {
    "system": "system|developer",
    "user": "user|human",
    "assistant": "assistant|model|ai",
    "tool": "tool|function",
}
#: Roles whose name in brackets is seldom anything else; "[user]" is a section of each .gitconfig.
_BRACKETED: Final = frozenset({"system", "assistant"})

#: Questions and answers, and the turns of chat templates: they count, and imitate nobody.
_UNNAMED_TURN: Final = (
    rf"{_LINE}(?:(?-i:Q|A)|question|answer)[ \t]{{0,2}}\d{{0,4}}{_COLON}"
    rf"|{_LINE}(?:instruction|response){_COLON}"
    r"|<\|(?:im_start|start_header_id|header_start|start_of_role|start|user|assistant)\|>"
    r"|<\|(?:user|chatbot)_token\|>|<start_of_turn>|\[/?inst\]|<[|｜](?:user|assistant)[|｜]>"
)
#: The speaker of a turn that names none.
UNNAMED: Final = ""


def _imitation(speaker: str) -> str:
    """The ways in which a text pretends to be a turn of `speaker`."""
    names, roles = _NAMES[speaker], _ROLES[speaker]
    forms = [
        rf"{_LINE}[\[(<]?(?:{names}){_OF}{_COLON}",
        rf"[-=*~#+]{{2}}[ \t]*(?:(?:begin|start|end|new)[ \t]+)?(?:{roles}){_OF}[ \t]*[-=*~#+]{{2}}",
        rf"{_QUOTE}role{_QUOTE}[ \t]*:[ \t]*{_QUOTE}(?:{roles}){_QUOTE}",
        rf"{_LINE}role[ \t]*:[ \t]*(?:{roles})[ \t\r]*(?m:$)",
    ]
    if speaker in _BRACKETED:
        forms.append(
            rf"[\[<]/?[ \t]*(?:{roles}){_OF}[ \t]*[\]>]|(?:\[|<!--)[ \t]*(?:{roles}){_OF}:"
        )
    if speaker == "system":
        forms.append(
            r"(?-i:(?:BEGIN|START|END)(?:[ _]OF)?(?:[ _]THE)?[ _]SYSTEM[ _](?:PROMPT|MESSAGE|INSTRUCTION))"
        )
    return f"(?i:{'|'.join(forms)})"


_PATTERNS: Final[Mapping[str, str]] = {
    **{speaker: _imitation(speaker) for speaker in _NAMES},
    UNNAMED: f"(?i:{_UNNAMED_TURN})",
}
_SPEAKERS: Final = NamedSet(_PATTERNS.items())
_TURNS: Final = Occurrences("|".join(_PATTERNS.values()))


def speakers(utf8: bytes) -> frozenset[str]:
    """Whose turns a text holds: of "system", "user", "assistant", "tool" and `UNNAMED`."""
    return _SPEAKERS.find(utf8)


def more_turns_than(utf8: bytes, limit: int) -> bool:
    """Whether a text holds more than `limit` turns, whoever speaks. Stops where it is sure."""
    return sum(1 for _ in islice(_TURNS.each(utf8), limit + 1)) > limit
