"""Text that the classifier cannot read: its vocabulary has no token for the letters."""

from itertools import islice
from typing import Final

#: Unknown letters are counted among so many in a row, about ten words of English. A total would grow
#: with the text: honest Korean and Chinese have up to 2 or 3 % of unknown letters, 256 in 10,000. A
#: share of the text would sink with it: a paragraph of Thai can stand in a page of English.
IN_A_ROW: Final = 64
#: A sentence: so many letters and marks has a short one of Thai. Honest Korean and Chinese come to two
#: or three (the most in any text of our seeds is eight, in Japanese), a foreign name to 15.
_SENTENCE: Final = 24
#: Two or three words, and no name any more. In a text that has no 64 letters they are a quarter of it
#: or more, which can be all of an attack. Fewer pass anywhere.
PASSING: Final = 16


def is_unreadable(text: str, unread: int) -> bool:
    """Whether so much of `text` cannot be read that its score says nothing.

    Args:
        text: as it was scored.
        unread: the most letters that the model's vocabulary does not have, among any IN_A_ROW.
    """
    if unread < PASSING:
        return False
    return unread >= _SENTENCE or _is_short(text)


def _is_short(text: str) -> bool:
    """Whether it has fewer than IN_A_ROW letters."""
    return sum(1 for _ in islice(filter(str.isalpha, text), IN_A_ROW)) < IN_A_ROW
