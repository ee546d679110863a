"""What a dialect says: whose words each part of a body is, what is no text, how a refusal looks."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import Any, Final, TypeVar

from extauthz.core.call import Provenance
from extauthz.core.dialects.endpoint import model_in
from extauthz.core.media import Media, Tree

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class ByMember:
    """The provenance depends on one member of the object, such as `role` or `type`.

    `otherwise` None means: nothing new, the object belongs to the text around it.
    """

    member: str
    values: Mapping[str, Provenance]
    otherwise: Provenance | None

    def of(self, value: object) -> Provenance | None:
        """Provenance of one JSON object; None for anything else."""
        if not isinstance(value, dict):
            return None
        name = value.get(self.member)
        return self.values.get(name, self.otherwise) if isinstance(name, str) else self.otherwise


Label = Provenance | ByMember


class Kind(Enum):
    """What may stand at a place besides text. All strings there are scanned, but for PAYLOAD's."""

    #: Media as base64 or data URL, or the URL of some. Base64 is decoded instead of scanned.
    PAYLOAD = auto()
    #: Whole numbers in arrays, at any depth, that stand for words.
    TOKEN_IDS = auto()
    #: A reference to what the upstream kept.
    STORED = auto()
    #: The URL of what the upstream fetches.
    REMOTE = auto()
    #: An uploaded file: a text may be of a format whose text is not all it shows.
    FILE = auto()
    #: A chat template.
    TEMPLATE = auto()
    #: An object of the caller's own: no member name in it is the API's.
    FREE_FORM = auto()


@dataclass(frozen=True, slots=True)
class Place:
    """A place of `kind`, if the object around it has `member`, with one of `values` (where given).

    Token ids are told from other numbers by how many there are: at `least` so many. `claim` is the
    MIME type that the API itself gives to a payload.
    """

    kind: Kind
    member: str = ""
    values: tuple[str, ...] = ()
    least: int = 1
    claim: str = ""

    def when(self, member: str, *values: str) -> "Place":
        """The same, under the condition that a sibling says so."""
        return replace(self, member=member, values=values)

    def holds(self, around: object) -> bool:
        """Whether the object around the place fulfils the condition."""
        if not self.member:
            return True
        if not isinstance(around, dict) or self.member not in around:
            return False
        return not self.values or around[self.member] in self.values


PAYLOAD: Final = Place(Kind.PAYLOAD)
TOKEN_IDS: Final = Place(Kind.TOKEN_IDS)
STORED: Final = Place(Kind.STORED)
REMOTE: Final = Place(Kind.REMOTE)
TEMPLATE: Final = Place(Kind.TEMPLATE)
FREE_FORM: Final = Place(Kind.FREE_FORM)
#: How parts of multipart/form-data look once they are read.
_FILE: Final = Place(Kind.FILE, member="filename")

#: What counts in every dialect, because servers imitate each other.
EVERYWHERE: Final[Mapping[str, Place]] = {
    "*/content": _FILE,
    "chat_template": TEMPLATE,
    "template": TEMPLATE,
    "prompt": TOKEN_IDS,
    "prompt_token_ids": TOKEN_IDS,
    "token_ids": TOKEN_IDS,
    "input_ids": TOKEN_IDS,
    "context": TOKEN_IDS,
    "tokens": TOKEN_IDS,
    "prompt/id": STORED,
    "previous_response_id": STORED,
    "conversation": STORED,
    "cachedContent": STORED,
    "cached_content": STORED,
    "input_file_id": STORED,
}

#: Response body of one API for a refusal text.
Refusal = Callable[[str], bytes]
#: Error body of one API for a message and an HTTP status.
ErrorBody = Callable[[str, int], bytes]


@dataclass(frozen=True, slots=True, eq=False)
class Dialect:
    """One request format, as data. Nothing here decides what is scanned.

    A path into a body is member names with `/` between them, and `*` for any member or element.

    Attributes:
        name: as it stands in records.
        endpoints: path patterns (`endpoint.py`), such as "/model/{model}/converse".
        accepts: the formats that its servers read.
        labels: where texts begin. The node at that path starts a new segment with that provenance,
            and everything below it belongs to it unless a deeper label starts another.
        places: what may stand at a path that is no text, or decides about other texts.
        vocabulary: member names, and values of `role` and `type`, that the API itself defines.
            They are constants and not the caller's words, so they are exempt from scanning.
        model: path of the model's name, where the endpoint does not have it; empty if nothing has.
        stream_paths: endings of the endpoints that always stream.
        streams_unless_told: whether a request without `stream` asks for one.
        silent: whether nothing is written by a model, as for embeddings.
        silent_paths: endings of the endpoints of which that is true, such as those that count tokens.
        max_tokens: paths of the most tokens an answer may have.
        zero_is_unlimited: whether zero or less there means that there is no cap.
        choices: paths of how many answers are wanted.
        prompts: member that may hold several prompts, each of which is answered; empty if none does.
        echoes: headers, lower case, that repeat a member of the body, at one of some paths.
        refuse: response body of a 200 refusal.
        refuse_stream: the same as a stream of `stream_type`.
        error: response body of an error, where it is not OpenAI's.
    """

    name: str
    endpoints: tuple[str, ...] = ()
    accepts: frozenset[Media] = frozenset({Media.JSON})
    labels: Mapping[str, Label] = field(default_factory=dict)
    places: Mapping[str, Place] = field(default_factory=dict)
    vocabulary: frozenset[str] = frozenset()
    model: str = "model"
    stream_paths: tuple[str, ...] = ()
    streams_unless_told: bool = False
    stream_type: str = "text/event-stream"
    silent: bool = False
    silent_paths: tuple[str, ...] = ()
    max_tokens: tuple[str, ...] = ("max_tokens",)
    zero_is_unlimited: bool = False
    choices: tuple[str, ...] = ("n",)
    prompts: str = ""
    echoes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    refuse: Refusal | None = None
    refuse_stream: Refusal | None = None
    error: ErrorBody | None = None

    def wants_stream(self, path: str, body: Tree) -> bool:
        """Whether a request to `path` (canonical) asks for its answer in pieces."""
        if self.stream_paths and path.rstrip("/").endswith(self.stream_paths):
            return True
        stream = member_at(body, "stream")
        if stream is None:
            return self.streams_unless_told
        return str(stream).lower() == "true"  # a form has no booleans, and lenient servers coerce

    def writes(self, path: str) -> bool:
        """Whether a model writes something for a request to `path` (canonical)."""
        return not self.silent and not path.rstrip("/").endswith(self.silent_paths)

    def model_of(self, path: str, body: Tree) -> str:
        """Name of the model that is asked, empty where nothing names one."""
        named = model_in(self.endpoints, path) or (self.model and member_at(body, self.model))
        return named if isinstance(named, str) else ""

    def contradicts(self, headers: Mapping[str, str], body: Tree) -> bool:
        """Whether a header that repeats a member of the body says something else.

        Proxies route and limit by the header, servers act on the body. A header that is not there
        says nothing; one that repeats what the body does not have is a contradiction.
        """
        return any(
            {member_at(body, path) for path in paths} - {None} != {headers[name]}
            for name, paths in self.echoes.items()
            if name in headers
        )


def member_at(body: Tree, path: str) -> str | int | float | bool | None:
    """The leaf at a path without `*`; None where there is no such leaf.

    Of a list, `0` is the first element. Of a form, whose fields are a list of objects with a `name`,
    any other step is the first field of that name.
    """
    value: Any = body
    for step in path.split("/"):
        if isinstance(value, list):
            value = _fields(value).get(step)
        else:
            value = value.get(step) if isinstance(value, dict) else None
    return value if isinstance(value, str | int | float) else None


def _fields(parts: list[Any]) -> dict[str, Any]:
    named = [part for part in parts if isinstance(part, dict) and isinstance(part.get("name"), str)]
    values = {part["name"]: part.get("content", part.get("value")) for part in reversed(named)}
    return {**values, "0": parts[0]} if parts else values


def words(text: str) -> frozenset[str]:
    """A vocabulary written as one string."""
    return frozenset(text.split())


def under(prefix: str, paths: Mapping[str, _T]) -> dict[str, _T]:
    """The same labels or places, further down."""
    return {f"{prefix}/{path}": what for path, what in paths.items()}
