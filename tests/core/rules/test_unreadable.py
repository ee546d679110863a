"""A text is unreadable when so many letters in a row are unknown that its score says nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extauthz.core.rules.unreadable import IN_A_ROW, is_unreadable

NAME, SHORT, SENTENCE = 15, 16, 24


@pytest.mark.parametrize("unread", [0, 1, NAME])
@pytest.mark.parametrize("around", [0, 20, 100_000])
def test_a_foreign_name_is_not_unreadable_whatever_stands_around_it(
    unread: int, around: int
) -> None:
    assert not is_unreadable("ส" * unread + "a" * around, unread)


@pytest.mark.parametrize(
    ("unread", "read", "unreadable"),
    [
        (SHORT, 0, True),
        (SHORT, IN_A_ROW - SHORT - 1, True),
        (SHORT, IN_A_ROW - SHORT, False),
        (SENTENCE - 1, IN_A_ROW - SENTENCE, True),
        (SENTENCE - 1, IN_A_ROW - SENTENCE + 1, False),
        (SENTENCE - 1, 100_000, False),
        (SENTENCE, 0, True),
        (SENTENCE, 100_000, True),
    ],
)
def test_a_sentence_is_too_much_wherever_it_stands_and_less_is_in_a_short_text(
    unread: int, read: int, unreadable: bool
) -> None:
    assert is_unreadable("ส" * unread + "a" * read, unread) is unreadable


def test_only_letters_make_a_text_long() -> None:
    assert is_unreadable("ส" * SHORT + " 1.😀" * 1_000, SHORT)


@given(st.text(), st.integers(0, IN_A_ROW), st.integers(0, IN_A_ROW))
def test_more_unknown_letters_never_make_a_text_readable(text: str, some: int, more: int) -> None:
    assert not is_unreadable(text, some) or is_unreadable(text, some + more)
