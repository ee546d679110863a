"""Text that the classifier cannot read: its vocabulary has no token for the letters."""

from typing import Final

#: A foreign name or a rare sign in a text that is read otherwise. Thai, Amharic and the like write a
#: word in 3 to 8 letters, so this is two or three words.
_PASSING: Final = 16
#: A fifth of a text can hold all of an attack, when the rest of it is there to be read.
_SHARE: Final = 0.2
#: A paragraph is one wherever it stands, and not a share of a longer text.
_PARAGRAPH: Final = 256


def is_unreadable(text: str, unread: int) -> bool:
    """Whether so much of `text` cannot be read that its score says nothing.

    Args:
        text: as it was scored.
        unread: its letters that the model's vocabulary does not have.
    """
    if unread < _PASSING:
        return False
    return unread >= _PARAGRAPH or unread >= _SHARE * sum(map(str.isalpha, text))
