"""What the APIs that imitate OpenAI have in common: roles, parts of a content, tool schemas."""

from collections.abc import Mapping
from typing import Final

from extauthz.core.call import Provenance
from extauthz.core.dialects.dialect import PAYLOAD, STORED, ByMember, Place, words

ROLES: Final = {
    "system": Provenance.SYSTEM,
    "developer": Provenance.SYSTEM,
    "user": Provenance.USER,
    "assistant": Provenance.ASSISTANT,
    "tool": Provenance.TOOL_RESULT,
    "function": Provenance.TOOL_RESULT,
}
MESSAGE: Final = ByMember("role", ROLES, otherwise=Provenance.USER)

#: Media in one part of a content. The URLs are objects, or bare strings for lenient servers.
PART: Final[Mapping[str, Place]] = {
    f"{name}{inner}": PAYLOAD
    for name in ("image_url", "audio_url", "video_url", "document_url")
    for inner in ("", "/url")
} | {
    "input_audio/data": PAYLOAD,
    "file/file_data": PAYLOAD,
    "file/file_id": STORED,
    "image_file/file_id": STORED,
    "file_id": STORED,
    "image_embeds": PAYLOAD,  # vLLM: tensors in place of a picture
    "image_embeds/*": PAYLOAD,
    "audio_embeds": PAYLOAD,
    "audio_embeds/*": PAYLOAD,
}

#: Members of a request, a message and a part, in every API of this kind.
CHAT_WORDS: Final = words(
    "messages role content type text name system developer user assistant tool function model "
    "stream stream_options include_usage temperature top_p n max_tokens seed stop tools "
    "tool_choice tool_calls tool_call_id id arguments image_url url detail"
)
#: Members of a tool's JSON schema.
SCHEMA_WORDS: Final = words(
    "description parameters properties required strict schema object string number integer "
    "boolean array enum items additionalProperties"
)
