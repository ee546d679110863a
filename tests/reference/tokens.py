"""Slow twin of `estimate_tokens`: a text as the list of what is charged for it."""

import re
from collections.abc import Iterator
from itertools import pairwise

from extauthz_kernels import tokens

#: A table, and the place in it. Of the table `others` it is the name of what is charged.
Charge = tuple[str, int, int] | tuple[str, str]

_LETTER = "A-Za-z\u00c0-\u027f"
_SIGN = "!-/:-@\\[-`{-\x7f\0-\x08\x0b\x0c\x0e-\x1f"
_RUN = re.compile(
    rf"""(?P<word>[{_LETTER}]+)
    | (?P<white>[ \t\r\n]+)
    | (?P<digits>[0-9]{{1,3}})
    | (?P<joined>(?<![ \t{_SIGN}])[{_SIGN}](?=[A-Za-z]))
    | (?P<signs>[{_SIGN}]+)
    | (?P<script>.)""",
    re.VERBOSE | re.DOTALL,
)


def estimate_tokens(text: bytes) -> int:
    """32nds of a token, summed and rounded up: at least one token, at most one a byte."""
    spent = sum(map(cost, charges(read(text))))
    return min(len(text), max(1, -(-spent // 32)))


def cost(charge: Charge) -> int:
    """What a charge is, in 32nds of a token."""
    match charge:
        case "others", name:
            return int(getattr(tokens, str(name)))
        case "late", before, letter:
            return max(tokens.LEAST, cost(("pairs", before, int(letter))))
        case "script", script, first:
            return tokens.SCRIPTS[int(script)][2 - int(first)]
        case table, row, column:
            return int(getattr(tokens, table.upper())[row, column])
    raise AssertionError(charge)


def read(text: bytes) -> str:
    """The text, with U+FFFD for every byte that is part of no character."""
    chars = []
    position = 0
    while position < len(text):
        for size in (1, 2, 3, 4):
            try:
                char = text[position : position + size].decode("utf-8", "surrogatepass")
            except UnicodeDecodeError:
                continue
            break
        else:
            char, size = "\ufffd", 1
        chars.append(char)
        position += size
    return "".join(chars)


def charges(text: str) -> Iterator[Charge]:
    """What is charged for the runs of a text, one after the other."""
    before: str | None = None  # what kind of run
    script = -1
    for run in _RUN.finditer(text):
        kind, part, after = run.lastgroup, run[0], text[run.end() : run.end() + 1]
        if kind == "word":
            yield from _of_word(part)
        elif kind == "white":
            yield from _of_white(part, after, before == "signs")
        elif kind == "digits":
            yield "others", "GROUP"
        elif kind == "joined":
            yield "signs", 0, ord(part)
        elif kind == "signs":
            yield "signs", 1, ord(part[0])
            for sign, following in pairwise(part):
                yield "signs", 3 if sign == following else 2, ord(following)
        else:
            now = max(n for n, (start, _, _) in enumerate(tokens.SCRIPTS) if start <= ord(part))
            yield "script", now, int(before != "script" or now != script)
            script = now
        before = kind


def _of_word(word: str) -> Iterator[Charge]:
    row = 0
    last = ""
    for number, letter in enumerate(word):
        column = 28
        if letter.isascii():
            column = ord(letter.lower()) - ord("a") + 1
        elif letter < "\u0100":
            column = 27
        yield "pairs" if number < tokens.LATE else "late", row, column
        if "A" <= letter <= "Z" and last:
            yield "others", "SHOUT" if "A" <= last <= "Z" else "HUMP"
        row, last = column, letter


def _of_white(run: str, after: str, follows_signs: bool) -> Iterator[Charge]:
    tail = re.split(r"[\r\n]", run)[-1]
    if len(tail) < len(run):
        yield "others", "ENDING" if follows_signs and run[0] in "\r\n" else "BREAK"
    if len(tail) > 1:
        yield "others", "INDENT"
    if tail and (after == "" or "0" <= after <= "9"):
        yield "others", "LONE"
    for _ in range(len(run) // 16):
        yield "others", "WIDE"
    for pair in map("".join, pairwise(run)):
        if pair in {" \n", " \r", "\t\n", "\t\r", "\n\r"}:
            yield "others", "TURN"
