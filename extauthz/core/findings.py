"""What was found without the classifier: facts with a name, exact and the same in every run."""

from dataclasses import dataclass
from enum import StrEnum


class Detector(StrEnum):
    """The deterministic detectors. Each has a reaction in the policy and a reason of the same name."""

    #: Text in characters that nobody can see: tag block, runs of variation selectors, and such.
    HIDDEN_TEXT = "hidden_text"
    #: Markers of chat templates (`<|im_start|>`, `[INST]`) written as text.
    SPECIAL_TOKENS = "special_tokens"
    #: Lines that imitate a turn of somebody else ("System:", "### Assistant").
    ROLE_LOOKALIKES = "role_lookalikes"
    #: More example dialogues than a conversation needs.
    MANY_SHOT = "many_shot"
    #: A chat template sent along with the request: it decides where every text goes.
    CHAT_TEMPLATE = "chat_template"
    #: A text in letters that the classifier does not know: its score says nothing.
    UNREADABLE = "unreadable"
    #: A regular expression or literal of the policy.
    PATTERN = "pattern"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found.

    `name` is from the policy (of a pattern list) or from a closed list of ours, never a client's
    word. `pointer` may hold keys the client chose, so it is shown by `explain` and never logged.
    """

    detector: Detector
    pointer: str
    view: str
    name: str = ""
