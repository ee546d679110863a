"""How many tokens a text is, near enough, whatever its bytes are."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from extauthz_kernels import estimate_tokens
from extauthz_kernels.tokens import SCRIPTS
from tests.reference import tokens as reference

kernels = pytest.mark.parametrize(
    "kernel", [estimate_tokens, estimate_tokens.py_func], ids=["jit", "py"]
)

#: Around every boundary that a run can have, and bytes that are no character.
PIECES = [
    *("a", "B", "é", "ł", "\u027f", "the", "thethethethe", "и", "न", "你", "か", "가", "😀", "—"),
    *(" ", "  ", "\t", "\n", "\r", " " * 16, "1", "22", "4444", ".", "(", "--", '"', "\0", "\x7f"),
    *("\ufffd", "\U0001ffff", "\U00020000", "\U0010ffff"),
]
BROKEN = [
    b"\xff", b"\x80", b"\xc3", b"\xe4\xbd", b"\xf0\x9f\x98", b"\xc0\x80", b"\xe0\x80\x80",
    b"\xed\xa0\x80", b"\xf0\x80\x80\x80", b"\xf4\x90\x80\x80", b"\xf8\x88\x80\x80",
]  # fmt: skip
pieces = st.lists(st.sampled_from([piece.encode() for piece in PIECES] + BROKEN), max_size=12)
texts = pieces.map(b"".join) | st.text(max_size=40).map(str.encode) | st.binary(max_size=40)

#: What two texts may cost more together than apart, or one of them more alone than with the other:
#: the letters of a word are late ones in a longer word, a run may begin with what leads it in, and a
#: character of four bytes may have been cut.
SEAM = 5


def estimated(text: bytes, kernel: Callable[..., int] = estimate_tokens) -> int:
    return kernel(np.frombuffer(text, np.uint8))


@kernels
@given(text=texts)
@example(text=b" \n\r\n \t\r")
@example(text=b"\n(a (b --c 1 d  2 ")
@example(text="АаЁё你a—“х”".encode())
def test_a_text_costs_what_its_runs_are_charged(kernel: Callable[..., int], text: bytes) -> None:
    assert estimated(text, kernel) == reference.estimate_tokens(text)


@kernels
@given(start=st.sampled_from([start for start, _, _ in SCRIPTS]), more=st.integers(-1, 0x30))
def test_every_script_has_its_costs_from_its_first_character_on(
    kernel: Callable[..., int], start: int, more: int
) -> None:
    text = (chr(start + more) * 9).encode("utf-8", "surrogatepass")
    assert estimated(text, kernel) == reference.estimate_tokens(text)


@given(text=texts)
def test_nothing_is_free_and_no_byte_is_more_than_a_token(text: bytes) -> None:
    assert min(1, len(text)) <= estimated(text) <= len(text)


@given(before=texts, after=texts)
def test_two_texts_cost_together_about_what_they_cost_apart(before: bytes, after: bytes) -> None:
    one, other, both = estimated(before), estimated(after), estimated(before + after)
    assert max(one, other) - SEAM <= both
    if one < len(before) and other < len(after):  # neither is more than its bytes alone
        assert both <= one + other + SEAM


@given(text=texts, times=st.integers(1, 50))
def test_more_of_the_same_never_costs_less(text: bytes, times: int) -> None:
    assert estimated(text * times) <= estimated(text * (times + 1)) + SEAM


def test_a_text_may_be_read_only() -> None:
    text = np.frombuffer(b"a quiet garden", np.uint8)
    text.flags.writeable = False
    assert estimate_tokens(text) == 5


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        # As cl100k_base and o200k_base have it.
        ("", (0, 0)),
        ("Hello, world!", (4, 4)),
        ("The quick brown fox jumps over the lazy dog.", (10, 10)),
        ('{"role": "user", "content": "Summarise the report in two sentences."}', (20, 20)),
        ("def estimate(text: str) -> int:\n    return len(text) // 4\n", (18, 18)),
        ("1234567890", (4, 4)),
    ],
)
def test_english_code_and_json_are_near_to_what_both_vocabularies_make_of_them(
    text: str, counts: tuple[int, int]
) -> None:
    found = estimated(text.encode())
    assert 0.8 * min(counts) <= found <= 1.3 * max(counts)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        # The fewer of what cl100k_base and o200k_base make of it.
        ("q83vASNFZ4mrze8BI0VniavN7wEjRWeJq83vASNFZ4k=" * 4, 121),
        ("3f2a9c04d17be65580aa4e9b0c6d2f18" * 4, 93),
        ("xkqjzvwpfhgbtrdlmncs" * 5, 65),
    ],
    ids=["base64", "hexadecimal", "letters"],
)
def test_what_no_language_writes_is_not_taken_for_words(text: str, count: int) -> None:
    assert estimated(text.encode()) >= 0.85 * count


def test_a_long_text_costs_in_proportion() -> None:
    text = "A quiet garden, 25 roses; тихий сад. 静かな庭\n".encode()
    once, often = estimated(text * 10), estimated(text * 10_000)
    assert often == pytest.approx(1000 * once, rel=0.01)
