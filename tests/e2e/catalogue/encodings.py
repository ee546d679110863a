"""Ways to write a text so that a person or a model reads it, and a filter perhaps does not.

`ENCODINGS` is used by the catalogue, by the property tests and by the coverage matrix.
"""

import base64
import binascii
import codecs
import html
import quopri
import string
import urllib.parse
from collections.abc import Callable, Mapping
from typing import Any, Final

Encode = Callable[[str], str]

_LETTERS = string.ascii_letters


def _alphabet(lower: str, upper: str = "") -> Mapping[int, Any]:
    return str.maketrans(_LETTERS, lower + (upper or lower))


def _from(first: int) -> str:
    return "".join(chr(first + i) for i in range(26))


def _each(show: Callable[[int], str], joint: str = "") -> Encode:
    return lambda text: joint.join(show(byte) for byte in text.encode())


def _between(mark: str) -> Encode:
    return mark.join


def _after(mark: str) -> Encode:
    return lambda text: "".join(char + mark if char.isalpha() else char for char in text)


def _mapped(table: Mapping[int, Any]) -> Encode:
    return lambda text: text.translate(table)


def _data(encode: Callable[[bytes], bytes]) -> Encode:
    return lambda text: encode(text.encode()).decode("ascii").strip()


_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
MORSE = dict(
    zip(
        string.ascii_lowercase + string.digits,
        [
            ".-",
            "-...",
            "-.-.",
            "-..",
            ".",
            "..-.",
            "--.",
            "....",
            "..",
            ".---",
            "-.-",
            ".-..",
            "--",
            "-.",
            "---",
            ".--.",
            "--.-",
            ".-.",
            "...",
            "-",
            "..-",
            "...-",
            ".--",
            "-..-",
            "-.--",
            "--..",
            "-----",
            ".----",
            "..---",
            "...--",
            "....-",
            ".....",
            "-....",
            "--...",
            "---..",
            "----.",
        ],
        strict=True,
    )
)
_ATBASH = str.maketrans(_LETTERS, string.ascii_lowercase[::-1] + string.ascii_uppercase[::-1])
_ROT47 = {point: chr(33 + (point - 33 + 47) % 94) for point in range(33, 127)}
_LEET = str.maketrans("aeiotsz", "4310752")
_CYRILLIC = str.maketrans("aceopxyiSsj", "асеорхуіЅѕј")
_GREEK = str.maketrans("aopvyikt", "αορνγικτ")
_SMALL_CAPS = str.maketrans("abcdefghijklmnoprstuvwyz", "ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘʀꜱᴛᴜᴠᴡʏᴢ")
_BRAILLE = str.maketrans(string.ascii_lowercase, "⠁⠃⠉⠙⠑⠋⠛⠓⠊⠚⠅⠇⠍⠝⠕⠏⠟⠗⠎⠞⠥⠧⠺⠭⠽⠵")
_FLIPPED = str.maketrans("abcdefghijklmnopqrtuvwy", "ɐqɔpǝɟƃɥᴉɾʞןɯuodbɹʇnʌʍʎ")
_NATO = dict(
    zip(
        string.ascii_lowercase,
        [
            "alfa",
            "bravo",
            "charlie",
            "delta",
            "echo",
            "foxtrot",
            "golf",
            "hotel",
            "india",
            "juliett",
            "kilo",
            "lima",
            "mike",
            "november",
            "oscar",
            "papa",
            "quebec",
            "romeo",
            "sierra",
            "tango",
            "uniform",
            "victor",
            "whiskey",
            "xray",
            "yankee",
            "zulu",
        ],
        strict=True,
    )
)
_ZERO_WIDTH_BITS = ("\u200b", "\u200c")
_SNEAKY_BITS = ("\u2062", "\u2064")


def _base58(text: str) -> str:
    number, digits = int.from_bytes(text.encode()), ""
    while number:
        number, rest = divmod(number, 58)
        digits = _BASE58[rest] + digits
    return digits


def _uu(text: str) -> str:
    data = text.encode()
    lines = (binascii.b2a_uu(data[at : at + 45]) for at in range(0, len(data), 45))
    return f"begin 644 note.txt\n{b''.join(lines).decode()}`\nend\n"


def _morse(text: str) -> str:
    words = text.lower().split()
    return " / ".join(" ".join(MORSE[char] for char in word if char in MORSE) for word in words)


def _bits(zero: str, one: str) -> Encode:
    marks = (zero, one)
    return _each(lambda byte: "".join(marks[bit == "1"] for bit in f"{byte:08b}"))


def _variation_selectors(text: str) -> str:
    points = (0xFE00 + byte if byte < 16 else 0xE0100 + byte - 16 for byte in text.encode())
    return "😊" + "".join(map(chr, points))


def _tags(text: str) -> str:
    return "".join(chr(0xE0000 + ord(char)) for char in text if char.isascii())


def _utf16(text: str) -> list[int]:
    data = text.encode("utf-16-be")
    return [int.from_bytes(data[at : at + 2]) for at in range(0, len(data), 2)]


#: Cheap to undo: these are read, and what they hide is found.
DECODED: Final[dict[str, Encode]] = {
    "base64": _data(base64.b64encode),
    "base64url": _data(base64.urlsafe_b64encode),
    "base64-unpadded": lambda text: _data(base64.b64encode)(text).rstrip("="),
    "base64-wrapped": lambda text: "\n".join(_wrapped(_data(base64.b64encode)(text), 20)),
    "base32": _data(base64.b32encode),
    "ascii85": lambda text: f"<~{base64.a85encode(text.encode()).decode()}~>",
    "hex": _each("{:02x}".format),
    "hex-spaced": _each("{:02X}".format, " "),
    "hex-escapes": _each("\\x{:02x}".format),
    "unicode-escapes": lambda text: "".join(f"\\u{unit:04x}" for unit in _utf16(text)),
    "octal-escapes": _each("\\{:03o}".format),
    "binary": _each("{:08b}".format, " "),
    "percent": _each("%{:02X}".format),
    "entities-decimal": _each("&#{};".format),
    "entities-hex": _each("&#x{:x};".format),
    "quoted-printable": _each("={:02X}".format),
    "uuencode": _uu,
    "rot13": lambda text: codecs.encode(text, "rot13"),
    "rot47": _mapped(_ROT47),
    "atbash": _mapped(_ATBASH),
    "reversed": lambda text: text[::-1],
    "morse": _morse,
    "leet": _mapped(_LEET),
}

#: Seen through by folding what looks or reads alike.
FOLDED: Final[dict[str, Encode]] = {
    "zero-width": _between("\u200b"),
    "zero-width-joiner": _between("\u200d"),
    "soft-hyphen": _between("\u00ad"),
    "word-joiner": _between("\u2060"),
    "hangul-filler": _between("\u3164"),
    "combining-strike": _after("\u0336"),
    "letters-spaced": lambda text: "  ".join(" ".join(word) for word in text.split()),
    "letters-dotted": lambda text: "  ".join(".".join(word) for word in text.split()),
    "letters-dashed": lambda text: "  ".join("-".join(word) for word in text.split()),
    "upper-case": str.upper,
    "cyrillic": _mapped(_CYRILLIC),
    "greek": _mapped(_GREEK),
    "math-bold": _mapped(_alphabet(_from(0x1D41A), _from(0x1D400))),
    "math-script": _mapped(_alphabet(_from(0x1D4EA), _from(0x1D4D0))),
    "fullwidth": _mapped(_alphabet(_from(0xFF41), _from(0xFF21))),
    "circled": _mapped(_alphabet(_from(0x24D0), _from(0x24B6))),
    "circled-negative": lambda text: text.upper().translate(_alphabet(_from(0x1F150))),
    "squared": lambda text: text.upper().translate(_alphabet(_from(0x1F130))),
    "squared-negative": lambda text: text.upper().translate(_alphabet(_from(0x1F170))),
    "regional": lambda text: text.translate(_alphabet(_from(0x1F1E6))),
    "small-caps": lambda text: text.lower().translate(_SMALL_CAPS),
    "braille": lambda text: text.lower().translate(_BRAILLE),
    "upside-down": lambda text: text.lower()[::-1].translate(_FLIPPED),
    "bidi-embedding": lambda text: f"\u202a{text}\u202c",
    "bidi-override": lambda text: f"\u202e{text[::-1]}\u202c",
}

#: Channels that no honest text uses: denied for what they are, whatever they say.
HIDDEN: Final[dict[str, Encode]] = {
    "tag-block": lambda text: f"Hello!{_tags(text)}",
    "variation-selectors": _variation_selectors,
    "sneaky-bits": lambda text: "Hello!" + _bits(*_SNEAKY_BITS)(text),
    "zero-width-binary": lambda text: "Hello!" + _bits(*_ZERO_WIDTH_BITS)(text),
}

#: In the open, but where few look.
AROUND: Final[dict[str, Encode]] = {
    "plain": str,
    "html-comment": lambda text: f"<p>Hello</p><!-- {text} -->",
    "html-invisible": lambda text: f'<span style="font-size:0;color:#fff">{text}</span>',
    "html-attribute": lambda text: f'<img src="a.png" alt="{text}">',
    "markdown-title": lambda text: f'[docs](https://example.com "{text}")',
    "markdown-comment": lambda text: f"[//]: # ({text})",
    "code-comment": lambda text: f"```python\n# {text}\nprint(1)\n```",
    "json-in-text": lambda text: f'{{"note": "{text}"}}',
    "url-query": lambda text: f"https://example.com/?q={urllib.parse.quote_plus(text)}",
    "html-escaped-markup": lambda text: html.escape(f"<b>{text}</b>"),
    "quoted-printable-mail": lambda text: quopri.encodestring(text.encode()).decode("ascii"),
}

#: Known, and not undone: measured and published, not promised.
UNDECODED: Final[dict[str, Encode]] = {
    "base58": _base58,
    "zalgo": _after("\u0301\u0316\u0337\u0350"),
    "pig-latin": lambda text: " ".join(_pig(word) for word in text.split()),
    "nato": lambda text: " ".join(_NATO.get(char, char) for char in text.lower()),
}

#: All that must be seen through.
ENCODINGS: Final[dict[str, Encode]] = AROUND | FOLDED | DECODED | HIDDEN


def _pig(word: str) -> str:
    head = next((i for i, char in enumerate(word) if char in "aeiou"), 1)
    return word[head:] + word[:head] + "ay"


def _wrapped(text: str, width: int) -> list[str]:
    return [text[at : at + width] for at in range(0, len(text), width)]
