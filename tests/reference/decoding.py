"""Slow twins of the kernels that decode: the standard library, one piece at a time."""

import re
from itertools import groupby

_ESCAPE = re.compile(r"%[0-9a-fA-F]{2}|\\x[0-9a-fA-F]{2}|&#[0-9]+;|&#x[0-9a-fA-F]+;")


def unescape(text: str) -> str:
    """ASCII written as %69, \\x69, &#105; or &#x69; read; controls and all above ASCII stay."""

    def read(match: re.Match[str]) -> str:
        found = match[0]
        digits = found.strip("%\\&#x;")
        point = int(digits, 10 if found.startswith("&#") and "x" not in found else 16)
        return chr(point) if 32 <= point < 127 or point in {9, 10, 13} else found

    return _ESCAPE.sub(read, text)


def evidence(text: str, pairs: list[list[int]], weights: list[int]) -> int:
    """The best sum over all stretches of what each character and the letter before it count."""
    index = [ord(char) - 96 if "a" <= char <= "z" else 0 for char in text.lower()]
    counts = [
        weights[
            0 if letter or char == " " or ord(char) >= 160 else 1 if char in "0123456789" else 2
        ]
        * (2 if min(char, last) >= "\u0800" else 1)
        + max(weights[3], pairs[before][letter])
        for char, last, before, letter in zip(text, f" {text}", [0, *index], index, strict=False)
    ]
    ends = [max(0, pairs[letter][0]) for letter in index]
    sums = (
        sum(counts[start : end + 1]) + ends[end]
        for start in range(len(text))
        for end in range(start, len(text))
    )
    return max((total for total in sums), default=0)


def hidden_counts(text: str, kinds: dict[str, int], fewest: list[int]) -> list[int]:
    """Runs of each channel, without the rules for single selectors: those of two kinds or more."""
    counts = [0, 0, 0, 0]
    for kind, run in groupby(text, key=lambda char: kinds.get(char, 0)):
        chars = list(run)
        mixed = kind != 4 or len(set(chars)) > 1
        if kind and mixed and len(chars) >= fewest[kind - 1]:
            counts[kind - 1] += 1
    return counts


def longest_spelling(text: str) -> int:
    """Most words of one letter or digit in a row."""
    singles = [len(word) == 1 for word in re.findall(r"[^\W_]+", text)]
    return max((len(list(run)) for single, run in groupby(singles) if single), default=0)


def word_stream(text: str) -> str:
    """Words with one space for all that is between two of them, or before or after."""
    return re.sub(r"[\W_]+", " ", text)


def long_words(text: str, shortest: int, digits: int) -> str:
    """Words of so many characters and so many digits, a space behind each."""
    words = re.split(r"[\x00-\x20]", text)
    long = (word for word in words if len(word) >= shortest)
    return "".join(f"{word} " for word in long if len(re.findall("[0-9]", word)) >= digits)


def visual_order(text: str) -> str:
    """What follows an override backwards, up to the next, its end or that of the line."""
    return re.sub("\u202e([^\u202e\u202c\n]*)", lambda found: found[1][::-1], text)
