"""A text is unreadable when so much of it is in unknown letters that its score says nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extauthz.core.rules.unreadable import is_unreadable

NAME, SENTENCE, PARAGRAPH = 15, 16, 256


@pytest.mark.parametrize("unread", [0, 1, NAME])
@pytest.mark.parametrize("around", [0, 20, 100_000])
def test_a_foreign_name_is_not_unreadable_whatever_stands_around_it(
    unread: int, around: int
) -> None:
    assert not is_unreadable("ส" * unread + "a" * around, unread)


@pytest.mark.parametrize(
    ("unread", "read", "unreadable"),
    [
        (SENTENCE, 0, True),
        (SENTENCE, 4 * SENTENCE, True),
        (SENTENCE, 4 * SENTENCE + 1, False),
        (100, 400, True),
        (100, 401, False),
        (PARAGRAPH - 1, 100_000, False),
        (PARAGRAPH, 100_000, True),
    ],
)
def test_a_fifth_of_a_text_is_too_much_and_a_paragraph_is_wherever_it_stands(
    unread: int, read: int, unreadable: bool
) -> None:
    assert is_unreadable("ส" * unread + "a" * read, unread) is unreadable


def test_only_letters_are_counted() -> None:
    assert is_unreadable("ส" * SENTENCE + " 1.😀" * 1_000, SENTENCE)


@given(st.text(), st.integers(0, 500), st.integers(0, 500))
def test_more_unknown_letters_never_make_a_text_readable(text: str, some: int, more: int) -> None:
    assert not is_unreadable(text, some) or is_unreadable(text, some + more)
