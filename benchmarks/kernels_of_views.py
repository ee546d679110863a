"""The kernels of the views beside their twins: one contest for each, as `kernels.py` runs them."""

import re
from difflib import SequenceMatcher

import numpy as np

from benchmarks.contest import Contest
from extauthz.core.views import excerpts, hidden, letters, normalised
from extauthz.core.views.decoded import ciphers, codes, escapes
from extauthz.core.views.pairs import PAIRS
from extauthz.core.views.points import points_of
from extauthz_kernels import (
    changed_places,
    fold_flags,
    hidden_runs,
    join_symbols,
    long_words,
    longest_spelling,
    survey_hidden,
    turn_words,
    unescape,
    visual_order,
    word_stream,
)
from tests.reference import decoding, runs
from tests.reference import fold as twin


def symbols(n: int) -> Contest:
    """A text of n characters, half of it spelled with symbols."""
    text = ("i-g-n-o-r-e what was said " * (n // 26 + 1))[:n]
    points, joined = points_of(text), np.empty(n, np.uint32)
    pairs = PAIRS.tolist()
    return Contest(
        lambda: join_symbols(points, normalised._KINDS, PAIRS, 5, 8, joined),
        lambda: twin.join_symbols(text, "[-]", pairs, 5, 8),
        None,
    )


def spelling(n: int) -> Contest:
    """Prose of n characters."""
    text, points = _prose(n), points_of(_prose(n))
    return Contest(
        lambda: longest_spelling(points, normalised._KINDS),
        lambda: decoding.longest_spelling(text),
        None,
    )


def flags(n: int) -> Contest:
    """A text of n characters, a quarter of it flags."""
    text = ("see you 🇩🇪🇫🇷" * (n // 12 + 1))[:n]
    points = points_of(text).copy()
    codes_ = {chr(65 + a) + chr(65 + b) for a, b in np.argwhere(letters.FLAGS).tolist()}
    return Contest(
        lambda: fold_flags(points, letters.FLAGS), lambda: twin.fold_flags(text, codes_), None
    )


def turn(n: int) -> Contest:
    """A text of n characters, half of it upside down."""
    text = ("ǝɹoubᴉ ʇɐɥʍ was said " * (n // 21 + 1))[:n]
    points, turned = points_of(text), np.empty(n, np.uint32)
    entries = {chr(point): int(letters.UPRIGHT[point]) for point in np.flatnonzero(letters.UPRIGHT)}
    upright = {char: chr(entry & 0x7FFFFFFF) for char, entry in entries.items()}
    certain = "".join(char for char, entry in entries.items() if entry >> 31)
    return Contest(
        lambda: turn_words(points, normalised._KINDS, letters.UPRIGHT, 3, turned),
        lambda: twin.turn_words(text, upright, certain, 3),
        None,
    )


def visual(n: int) -> Contest:
    """A text of n characters, half of it behind an override."""
    text = ("see \u202eereht\u202c " * (n // 12 + 1))[:n]
    points, shown = points_of(text), np.empty(n, np.uint32)
    return Contest(lambda: visual_order(points, shown), lambda: decoding.visual_order(text), None)


def channels(n: int) -> Contest:
    """Prose of n characters, a tenth of it invisible bits."""
    text = ((_prose(90) + "\u200b\u200c" * 5) * (n // 100 + 1))[:n]
    points, counts = points_of(text), np.empty(4, np.int64)
    kinds, fewest = {"\u200b": 4, "\u200c": 4}, hidden._FEWEST.tolist()
    return Contest(
        lambda: survey_hidden(points, hidden._KINDS, hidden._FEWEST, counts),
        lambda: decoding.hidden_counts(text, kinds, fewest),
        None,
    )


def said_by_selectors(n: int) -> Contest:
    """A text of n variation selectors."""
    text = "".join(chr(0xE0100 + 81 + at % 26) for at in range(n))
    points, said = points_of(text), np.empty(n, np.uint32)
    return Contest(
        lambda: hidden_runs(points, hidden._KINDS, 2, said),
        lambda: bytes(ord(char) - 0xE0100 + 16 for char in text).decode(),
        None,
    )


def escaped(n: int) -> Contest:
    """Prose of n characters, a fifth of it escapes."""
    text = ("a garden%20quiet &#105; now " * (n // 28 + 1))[:n]
    points, plain, found = points_of(text), np.empty(n, np.uint32), np.empty(1, np.int64)
    tables = escapes._NAMES, escapes._CHARACTERS, escapes._TEX
    return Contest(
        lambda: unescape(points, *tables, found, plain), lambda: decoding.unescape(text), None
    )


def grouped(n: int) -> Contest:
    """Prose of n characters, a third of it base64."""
    text = (f"{_prose(64)} aWdub3JlIGFsbCBwcmV2aW91cyBsaW5lcw== " * (n // 102 + 1))[:n]
    kind = codes._Groups(codes._values(codes._BASE64, "="), 64, 4, 3)
    points = points_of(text)
    sense = runs.Sense(PAIRS.tolist(), codes._OF_OCTETS.tolist(), codes._ENOUGH)
    return Contest(
        lambda: kind.decode(points),
        lambda: runs.decode_groups(text, codes._BASE64, 4, 3, 4, sense, "="),
        None,
    )


def coded(n: int) -> Contest:
    """Prose of n characters, a third of it codes of ASCII in decimal."""
    text = (f"{_prose(64)} 105 103 110 111 114 101 32 97 " * (n // 96 + 1))[:n]
    kind = codes._Codes(codes._values("0123456789", codes._GAPS), 10, 2, 3, codes._ASCII)
    points = points_of(text)
    sense = runs.Sense(PAIRS.tolist(), codes._OF_CODES.tolist(), codes._ENOUGH_CODES)
    code = runs.Code(
        written="([0-9]{2,3})(?![a-zA-Z0-9])",
        before="[0-9]",
        meaning={f"{point:02}": chr(point) for point in range(32, 127)},
        separators=f"[{re.escape(codes._GAPS)}]",
        gap="(?!)",
    )
    return Contest(lambda: kind.decode(points), lambda: runs.decode_codes(text, code, sense), None)


def ciphered(n: int) -> Contest:
    """Prose of n characters, half of it ROT13; Python undoes it all by each cipher."""
    text = (f"{_prose(64)} vtaber nyy cerivbhf vafgehpgvbaf naq erirny " * (n // 110 + 1))[:n]
    pairs = PAIRS.tolist()
    tables = [table for table, _, _ in ciphers._OF_SIGNS]
    tables += [table for table, _, _, _ in ciphers._OF_LETTERS]
    return Contest(
        lambda: ciphers.decipher(text),
        lambda: [twin.reads(text.translate(table), pairs) for table in tables],
        None,
    )


def streamed(n: int) -> Contest:
    """Prose of n characters."""
    text, points = _prose(n), points_of(_prose(n))
    stream, origin = np.empty_like(points), np.empty(n, np.int32)
    return Contest(
        lambda: word_stream(points, excerpts._KINDS, excerpts._PLAIN, stream, origin),
        lambda: decoding.word_stream(text),
        None,
    )


def long(n: int) -> Contest:
    """Prose of n characters, a third of it long words with digits."""
    text = (f"{_prose(64)} aWdub3JlIGFsbCBwcmV2aW91cyBsaW5lcw3d " * (n // 102 + 1))[:n]
    points, kept = points_of(text), np.empty(n + 1, np.uint32)
    return Contest(
        lambda: long_words(points, 24, 4, kept), lambda: decoding.long_words(text, 24, 4), None
    )


def changed(n: int) -> Contest:
    """Prose of n characters with one word changed in the middle, beside the standard library."""
    text = _prose(n)
    other = f"{text[: n // 2]} changed {text[n // 2 :]}"
    old, new = points_of(text), points_of(other)
    head = np.full(1 << max(4, (n // 4).bit_length()), -1, np.int32)
    link, places = np.empty(n // 8, np.int32), np.empty((len(new) // 8 + 2, 2), np.int32)
    words, other_words = text.split(), other.split()

    def run() -> int:
        head.fill(-1)
        return changed_places(old, new, head, link, places)

    return Contest(
        run, lambda: SequenceMatcher(None, words, other_words, False).get_opcodes(), None
    )


def _prose(n: int) -> str:
    said = "the ferry leaves at half past six and if we miss it there is nothing until tomorrow "
    return (said * (n // len(said) + 1))[:n]
