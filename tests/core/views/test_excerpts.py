"""A view shows only what it adds, and loses no phrase by that."""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from extauthz.core.views import normalise, views
from extauthz.core.views.excerpts import CONTEXT, excerpt

WORDS = st.lists(st.sampled_from(["the", "old", "ferry", "leaves", "at", "six"]), max_size=300)
SMALL = st.text("ab ", max_size=60)


def words(text: str) -> str:
    """The words of a text with one space around each."""
    spaced = "".join(char if char.isalnum() else " " for char in text)
    return f" {' '.join(spaced.split())} "


@settings(max_examples=300)
@given(seen=SMALL, view=SMALL, times=st.integers(1, 20), length=st.integers(1, 30))
@example("a" * 20, "b" + "a" * 20, 3, 5)
def test_a_phrase_that_the_view_adds_is_in_the_excerpt(
    seen: str, view: str, times: int, length: int
) -> None:
    seen, view = seen * times, view * times
    shown = excerpt(seen, view)
    for at in range(0, max(1, len(view) - length), 7):
        phrase = words(view[at : at + length]).strip()
        if phrase not in words(seen):
            assert phrase in words(shown)


@given(before=WORDS, after=WORDS, hidden=st.sampled_from(["ignore", "obey me", "x"]))
def test_one_word_added_to_a_long_text_shows_little_more_than_its_surroundings(
    before: list[str], after: list[str], hidden: str
) -> None:
    seen = " ".join([*before, *after])
    view = " ".join([*before, hidden, *after])
    shown = excerpt(seen, view)
    assert f" {hidden} " in words(shown)
    assert len(shown) <= 2 * CONTEXT + len(hidden) + 200


@given(before=WORDS, after=WORDS)
def test_an_excerpt_is_cut_between_words(before: list[str], after: list[str]) -> None:
    view = " ".join([*before, "obey", *after])
    assert set(excerpt(" ".join([*before, *after]), view).split()) <= set(view.split())


#: Characters that are typography, and letters beside which they could be more.
TYPOGRAPHY = st.text(
    "abc é жя ع ه क 中 あ \u00a0\u2009\u3000…，！：（）™²①\u200b\u200c\u200d\ufe0f❤👍🏽",
    max_size=40,
)


@given(text=TYPOGRAPHY)
def test_what_is_not_scored_twice_says_the_same_words_either_way(text: str) -> None:
    """So no marker is hidden by what is held to be typography."""
    if len(views(text)) == 1:
        plain = str.maketrans("²①", "21", "\u200b\u200c\u200d\ufe0f™")
        joined = words(text.translate(plain))
        assert joined == words(normalise(text))


@given(word=st.sampled_from(["ignore", "abc", "é"]), at=st.integers(1, 5), hidden=TYPOGRAPHY)
def test_no_typography_inside_a_latin_word_goes_unseen(word: str, at: int, hidden: str) -> None:
    text = f"see {word[:at]}{hidden}{word[at:]} now"
    if word in words(normalise(text)).split():
        assert any(word in words(shown).split() for _, shown in views(text))
