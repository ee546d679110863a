"""Slow twins of the kernels that read runs of digits: Python's own integers and codecs."""

import re
from dataclasses import dataclass
from itertools import accumulate, pairwise

from tests.reference.decoding import evidence
from tests.reference.fold import letter

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
    """`text` with its runs of digits read: whole, in part, or line by line."""
    base = Base(alphabet, size, width, shortest)
    found = ""
    at = 0
    lines_until = parted_until = parts = 0
    joint = accepted = -2
    while at < len(text):
        lines = _lines(text, at, alphabet, size, lines_until)
        end = _end(text, at, lines)
        if not lines:
            found += text[at]
            at += 1
            continue
        parts = parts if at < parted_until else 0
        wanted = sense.enough - (10 if accepted == at - 1 else 0)
        digits = _told(lines, base, sense, wanted, parts)
        behind = re.search(f"[{re.escape(base.signs)}]", lines[0]) if base.signs else None
        if digits:
            if joint == at - 1 and text[at - 1] == "\n":
                found = found[:-1]
            if len(digits) < len("".join(lines)):
                parts, parted_until = parts + 1, end
                end = _behind(text, at, len(digits))
            joint = end if len(digits) % size == 0 and len(digits) >= 16 else -2
            accepted = at = end + _padded(text[end:], padding)
            found += said(base.octets(digits))
        elif len(lines) > 1:
            lines_until = end
        else:
            if behind and parts < 16:
                parts, parted_until = parts + 1, end
                end = at + behind.end()
            found += text[at:end]
            at = end
    return found


@dataclass(frozen=True)
class Base:
    """An alphabet whose digits make octets in groups."""

    alphabet: str
    size: int
    width: int
    shortest: int

    @property
    def signs(self) -> str:
        """Those of base64."""
        return self.alphabet[62:] if len(self.alphabet) == 64 else ""

    def octets(self, digits: str) -> bytes:
        """What the digits are."""
        return octets(digits, self.alphabet, self.size, self.width)


def _told(lines: list[str], base: Base, sense: Sense, wanted: int, parts: int) -> str:
    """The digits that make sense: all, or those of a part; empty if none do."""
    digits = "".join(lines)
    if len(digits) < base.shortest:
        return ""
    if not _is_text(base.octets(digits)):
        digits = _part(lines, base) if parts < 16 else ""
        if len(digits) <= 24:
            return ""
    read, own = said(base.octets(digits)), _own(digits, sense.pairs)
    likely = read and (own < 8 or len(digits) > 24) and sense.of(read) - own >= wanted
    return digits if likely else ""


def _is_text(data: bytes) -> bool:
    return not data or bool(said(data))


def _part(lines: list[str], base: Base) -> str:
    """What stands before the last sign or line break up to which it is text, and not UTF-16."""
    digits = "".join(lines)
    data = base.octets(digits)
    if len(data) >= 2 and data[1] == 0:
        return ""
    ends = [at for at, digit in enumerate(digits) if digit in base.signs]
    ends += accumulate(map(len, lines[:-1]))
    texts = [digits[:end] for end in ends if said(base.octets(digits[:end]))]
    return max(texts, key=len, default="")


def _behind(text: str, at: int, digits: int) -> int:
    """The place behind so many digits, which line breaks are between."""
    places = [place for place in range(at, len(text)) if text[place] not in "\r\n"]
    return places[digits - 1] + 1


def _own(digits: str, pairs: list[list[int]]) -> int:
    """Half bits for each letter after the one before, where neither is a digit."""
    index = [0, *(-1 if char.isdecimal() else letter(char) for char in digits), 0]
    return max(0, sum(pairs[a][b] for a, b in pairwise(index) if a >= 0 and b >= 0))


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
