"""Slow twins of the kernels that read runs of digits: Python's own integers and codecs."""

import re
from dataclasses import dataclass

from tests.reference.decoding import evidence
from tests.reference.fold import reads

#: The start of a character that is cut at the end of a text.
_CUT = re.compile(rb"(?:[\xc2-\xdf]|[\xe0-\xef][\x80-\xbf]?|[\xf0-\xf4][\x80-\xbf]{0,2})\Z")
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


@dataclass(frozen=True)
class Sense:
    """What must speak for a run: half bits of letters and characters, and how many are enough."""

    pairs: list[list[int]]
    weights: list[int]
    enough: int

    def of(self, text: str) -> int:
        """Evidence for `text`."""
        return evidence(text, self.pairs, self.weights)


def octets(digits: str, alphabet: str, size: int, width: int) -> bytes:
    """What groups of digits are, the last padded with the highest digit and cut to its octets."""
    found = b""
    for at in range(0, len(digits), size):
        group = digits[at : at + size]
        number = 0
        for digit in group.ljust(size, alphabet[-1]):
            number = number * len(alphabet) + alphabet.index(digit)
        number %= 256**width
        found += number.to_bytes(width)[: len(group) * width // size]
    return found


def said(data: bytes) -> str:
    """The text that octets are, empty if they are none that can be printed."""
    if len(data) >= 2 and data[1] == 0 and data[0] < 0x80:
        wide = len(data) >= 4 and len(data) % 2 == 0 and not any(data[1::2])
        text = data[::2].decode("ascii", "replace") if wide else "\0"
        text = "\0" if "\ufffd" in text else text
    else:
        try:
            text = _CUT.sub(b"", data).decode()
        except UnicodeDecodeError:
            return ""
    return "" if _UNPRINTABLE.search(text) else text


def decode_groups(
    text: str, alphabet: str, size: int, width: int, shortest: int, sense: Sense, padding: str
) -> str:
    """`text` with its runs of digits read, whole or line by line."""
    found = ""
    at = 0
    lines_until = 0
    joint = accepted = -1
    while at < len(text):
        lines = _lines(text, at, alphabet, size, lines_until)
        digits = "".join(lines)
        end = _end(text, at, lines)
        if not digits:
            found += text[at]
            at += 1
            continue
        wanted = sense.enough - (10 if accepted == at - 1 else 0)
        read = said(octets(digits, alphabet, size, width)) if len(digits) >= shortest else ""
        own = max(0, reads(re.sub("[^a-zA-Z]", "0", digits), sense.pairs))
        if read and (own < 8 or len(digits) > 24) and sense.of(read) - own >= wanted:
            if joint == at - 1 and text[at - 1] == "\n":
                found = found[:-1]
            joint = end if len(digits) % size == 0 and len(digits) >= 16 else -1
            accepted = at = end + _padded(text[end:], padding)
            found += read
        elif len(lines) > 1:
            lines_until = end
        else:
            found += text[at:end]
            at = end
    return found


def _lines(text: str, at: int, alphabet: str, size: int, lines_until: int) -> list[str]:
    """The lines of the run at `at`: those of whole groups and 16 digits or more, and one more."""
    digit = f"[{re.escape(alphabet)}]"
    lines: list[str] = []
    while match := re.compile(rf"{digit}+").match(text, at):
        lines.append(match[0])
        whole = len(match[0]) >= 16 and len("".join(lines)) % size == 0
        wrap = re.compile(rf"\r?\n(?={digit})").match(text, match.end())
        if not (whole and wrap) or match.end() < lines_until:
            break
        at = wrap.end()
    return lines


def _padded(text: str, padding: str) -> int:
    """How many characters of padding come first."""
    return len(text) - len(text.lstrip(padding)) if padding else 0


def _end(text: str, at: int, lines: list[str]) -> int:
    for place, line in enumerate(lines):
        at = text.index(line, at) + len(line) if place else at + len(line)
    return at


@dataclass(frozen=True)
class Code:
    """Codes of one character each: how they are written, and what they mean."""

    written: str
    before: str
    meaning: dict[str, str]
    separators: str
    gap: str


def decode_codes(text: str, code: Code, sense: Sense) -> str:
    """`text` with runs of three codes or more read. `written` has one group, the code itself."""
    token = re.compile(code.written)
    start = re.compile(rf"(?<!{code.before})(?={code.written})")
    found = ""
    at = 0
    while at < len(text):
        end, words = at, ""
        match = start.match(text, at) and token.match(text, at)
        space = ""
        while match and match[1].lower() in code.meaning:
            words += space + code.meaning[match[1].lower()]
            end = match.end()
            gap = re.compile(f"{code.separators}{{1,4}}").match(text, end)
            space = " " if gap and re.search(code.gap, gap[0]) else ""
            match = token.match(text, gap.end()) if gap else None
        if len(words) >= 3 and sense.of(words) >= sense.enough:
            found += words
            at = end
        else:
            stop = max(end, at + 1)
            found += text[at:stop]
            at = stop
    return found
