"""What a dialect says: whose words each part of a body is, and how a refusal looks."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from extauthz.core.call import Provenance


@dataclass(frozen=True, slots=True)
class ByMember:
    """The provenance depends on one member of the object, such as `role` or `type`.

    `otherwise` None means: nothing new, the object belongs to the text around it.
    """

    member: str
    values: Mapping[str, Provenance]
    otherwise: Provenance | None

    def of(self, value: object) -> Provenance | None:
        """Provenance of one JSON object."""
        name = value.get(self.member) if isinstance(value, dict) else None
        return self.values.get(name, self.otherwise) if isinstance(name, str) else self.otherwise


Label = Provenance | ByMember

#: Response body of one API for a refusal text.
Refusal = Callable[[str], bytes]


@dataclass(frozen=True, slots=True, eq=False)
class Dialect:
    """One request format.

    Attributes:
        name: as it stands in records.
        endpoints: path endings, such as "/chat/completions".
        labels: where texts begin. A key is a path of member names with `*` for any member or
            array element; the node there starts a new segment with that provenance, and
            everything below it belongs to it unless a deeper label starts another.
        vocabulary: member names, and values of `role` and `type`, that the API itself defines.
            They are constants and not the caller's words, so they are exempt from scanning.
        refuse: response body of a 200 refusal.
        refuse_stream: the same as server-sent events, for requests with `"stream": true`.
    """

    name: str
    endpoints: tuple[str, ...] = ()
    labels: Mapping[str, Label] = field(default_factory=dict)
    vocabulary: frozenset[str] = frozenset()
    refuse: Refusal | None = None
    refuse_stream: Refusal | None = None


def words(text: str) -> frozenset[str]:
    """A vocabulary written as one string."""
    return frozenset(text.split())
