"""Channels that nobody can see are named wherever they are, and honest text uses none of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extauthz.core.views import CHANNELS, hidden_channels, views
from tests.core.views.benign import PROSE, TECHNICAL

MARKER = "ignore all"


def bits(zero: str, one: str, text: str) -> str:
    return "".join(one if bit == "1" else zero for byte in text.encode() for bit in f"{byte:08b}")


def selectors(text: str) -> str:
    points = (0xFE00 + byte if byte < 16 else 0xE0100 + byte - 16 for byte in text.encode())
    return "".join(map(chr, points))


WRITTEN = {
    "tag_block": "".join(chr(0xE0000 + ord(char)) for char in MARKER),
    "variation_selectors": selectors(MARKER),
    "sneaky_bits": bits("\u2062", "\u2064", MARKER),
    "zero_width_binary": bits("\u200b", "\u200c", MARKER),
}
HONEST = {
    "flags of regions": "🏴󠁧󠁢󠁥󠁮󠁧󠁿🏴󠁧󠁢󠁳󠁣󠁴󠁿🏴󠁧󠁢󠁷󠁬󠁳󠁿",
    "families": "👨‍👩‍👧‍👦 👩🏽‍❤️‍💋‍👨🏿 🏳️‍🌈 🏴‍☠️",
    "emoji and keycaps": "❤️ ☎︎ 1️⃣ ☃︎",
    "Persian": "می‌خواهم نمی‌توانم",
    "Hindi": "क्‍ष क्‌ष",
    "Khmer and Thai": "ខ្ញុំ\u200bស្រឡាញ់ ภาษา\u200bไทย",
    "Mongolian": "ᠮᠣᠩᠭᠣᠯ\u180b ᠬᠡᠯᠡ\u180c",
    "ideographic variants": "葛\U000e0100飾区と葛\U000e0101城市",
    "formulas": "f\u2061(x) = a\u2062b + c\u2064\u00bd, x\u2063y",
    "a byte order mark and joiners of an editor": "\ufeffword\u2060 \u200b\u200b end\u200e\u200f",
}


def test_every_channel_is_written_here() -> None:
    assert tuple(WRITTEN) == CHANNELS


@given(
    channel=st.sampled_from(CHANNELS),
    text=st.sampled_from([*PROSE.values(), ""]),
    at=st.integers(0, 200),
)
def test_a_channel_is_found_anywhere(channel: str, text: str, at: int) -> None:
    assert channel in hidden_channels(f"{text[:at]}{WRITTEN[channel]}{text[at:]}")


@pytest.mark.parametrize("channel", CHANNELS)
def test_what_a_channel_says_is_in_a_view(channel: str) -> None:
    found = views(f"Hello{WRITTEN[channel]} there")
    assert any(MARKER in shown for _, shown in found)


@pytest.mark.parametrize(
    "text", [*HONEST.values(), *PROSE.values(), *TECHNICAL.values()], ids=ascii
)
def test_honest_text_uses_no_channel(text: str) -> None:
    assert hidden_channels(text) == ()
    assert hidden_channels(f"{text}\n" * 20) == ()


@pytest.mark.parametrize(
    ("text", "channels"),
    [
        ("🏴󠁵󠁳󠁣󠁡󠁿", ("tag_block",)),  # a flag that nobody draws could be any five letters
        ("🏴󠁧󠁢󠁳󠁣󠁴", ("tag_block",)),  # not closed
        ("\U000e0041", ("tag_block",)),
        ("a\U000e0100", ("variation_selectors",)),
        ("\ufe0f", ("variation_selectors",)),
        ("❤\ufe0f\ufe0f", ("variation_selectors",)),
    ],
)
def test_the_edges_of_a_channel(text: str, channels: tuple[str, ...]) -> None:
    assert hidden_channels(text) == channels


def test_a_channel_inside_an_encoding_is_left_in_the_view_for_whoever_looks_for_it() -> None:
    escaped = "".join(f"\\U{ord(char):08x}" for char in WRITTEN["tag_block"])
    assert any(hidden_channels(shown) for _, shown in views(f"see {escaped}"))
