"""JSON bodies that two parsers might read differently: a grammar, and what to do to its sentences."""

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Final

#: The seed and the index of a body make the body: any one of them can be made again.
Random = random.Random
Mutation = Callable[[Random, bytes], bytes]

_KEYS: Final = (
    "messages", "role", "content", "type", "text", "model", "system", "tools", "input", "name",
    "arguments", "description", "prompt", "__proto__", "constructor", "", "k", "K", "ſ", "ß",
    "\u212a", "İ", "é", "e\u0301", "\u0000", "a\u2028b", "😀", "a/b~c", "stream",
)  # fmt: skip
_NUMBERS: Final = (
    "0", "-0", "-0.0", "1", "-1", "9007199254740991", "9007199254740993", "9223372036854775807",
    "9223372036854775808", "-9223372036854775808", "-9223372036854775809", "18446744073709551615",
    "18446744073709551616", "1e308", "1.7976931348623157e308", "1.7976931348623159e308", "1e309",
    "-1e309", "1e999", "1e-400", "1E+2", "1e+0", "0e0", "0.1", "1.0000000000000000000001",
    "2e-324", "123456789012345678901234567890", "1" + "0" * 400, "0." + "3" * 400,
    "9" * 4300, "9" * 4301, "1e00000000000000000001", "0.0e-9999",
)  # fmt: skip
_BAD_NUMBERS: Final = (
    "01", "-01", "1.", ".5", "-.5", "+1", "0x10", "1e", "1e+", "-", "1_000", "1f", "1n", "１", "٣",
    "NaN", "-NaN", "Infinity", "-Infinity", "nan", "inf", "undefined", "True", "None", "nul",
    "nulll", "tru", "TRUE", "--1", "1..0", "1e1.0", "1,", "\\u0031",
)  # fmt: skip
_CHARS: Final = (
    "a", "Z", "0", " ", "é", "ж", "漢", "😀", "\u0000", "\u0001", "\u0007", "\u001f", "\u007f",
    "\u0080", "\u0085", "\u009f", "\u00a0", "\u00ad", "\u200b", "\u2028", "\u2029", "\ufdd0",
    "\ufeff", "\ufffd", "\uffff", "\U0001ffff", "\U0010ffff", '"', "\\", "/", "\b", "\f", "\n",
    "\r", "\t", "\u0301", "\u202e", "\U000e0041",
)  # fmt: skip
_SHORT: Final = {
    '"': '\\"', "\\": "\\\\", "/": "\\/", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r",
    "\t": "\\t",
}  # fmt: skip
_ESCAPES: Final = (
    rb"\ud800", rb"\udc00", rb"\uD83D\uDE00", rb"\ude00\ud83d", rb"\ud83d\u0041", rb"\ud83d",
    rb"\ud83d\ud83d\ude00", rb"\x41", rb"\'", rb"\0", rb"\a", rb"\v", rb"\u{41}", rb"\U0041",
    rb"\u 041", rb"\u+041", rb"\u-041", rb"\u004", rb"\u00g1", rb"\u", b"\\", rb"\u0000",
    rb"\u0022", rb"\u005c", b"\\\n", b"\\\xc3\xa9", rb"\u004\u0031", b"\\u\xef\xbc\x91041",
)  # fmt: skip
_BAD_UTF8: Final = (
    b"\xc0\x80", b"\xc0\xa2", b"\xc1\x81", b"\xe0\x80\x80", b"\xe0\x80\xa2", b"\xf0\x80\x80\xa2",
    b"\xf5\x80\x80\x80", b"\xf4\x90\x80\x80", b"\xff", b"\xfe", b"\x80", b"\xbf", b"\xc3",
    b"\xe6\xbc", b"\xf0\x9f\x98", b"\xed\xa0\x80", b"\xed\xbf\xbf",
    b"\xed\xa0\xbd\xed\xb8\x80", b"\xf8\x88\x80\x80\x80", b"\xc3\x28", b"\xe2\x28\xa1",
)  # fmt: skip
_BLANKS: Final = (
    b" ", b"\t", b"\n", b"\r", b"\r\n", b"\x0b", b"\x0c", b"\x00", b"\x1c", b"\x1f", b"\x7f",
    b"\xc2\x85", b"\xc2\xa0", b"\xe1\x9a\x80", b"\xe2\x80\x83", b"\xe2\x80\x8b", b"\xe2\x80\xa8",
    b"\xe2\x80\xa9", b"\xe3\x80\x80", b"\xef\xbb\xbf", b"\xa0", b"/**/", b"//\n", b"#\n", b"<!---->",
)  # fmt: skip
_TAILS: Final = (
    b"}", b"]", b",", b"{}", b"[]", b"null", b"\x00", b"\x1a", b"\n{}", b" 1", b"\x1e{}", b";",
    b"\xef\xbb\xbf", b"\r\n\r\n", b"\x0b", b"//", b"\xc2\xa0", b"\x00{}", b'"', b"\\",
)  # fmt: skip
_ENCODINGS: Final = (
    "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be", "utf-7",
    "latin-1", "cp1252", "cp037", "shift_jis", "gb18030",
)  # fmt: skip
_DEPTHS: Final = (30, 58, 60, 62, 63, 64, 65, 66, 70, 127, 128, 129, 200, 255, 512, 1020, 1024)
_LONG_DEPTHS: Final = (1030, 3000, 20_000)
_CASES: Final[tuple[Callable[[str], str], ...]] = (
    str.upper, str.title, str.swapcase,
    lambda key: key.replace("s", "ſ"), lambda key: key.replace("k", "\u212a"),
)  # fmt: skip


def bodies(seed: int, indices: Sequence[int]) -> Iterator[tuple[str, bytes]]:
    """(category, body) for each index; the same for the same seed."""
    names = list(MUTATIONS)
    for index in indices:
        generator = Random(f"{seed}/{index}")
        name = names[index % len(names)]
        body = MUTATIONS[name](generator, sentence(generator).encode())
        if generator.random() < 0.15:  # two faults may hide each other
            other = generator.choice(names)
            name, body = "two at once", MUTATIONS[other](generator, body)
        yield name, body


def sentence(generator: Random) -> str:
    """A request as clients send them, or any JSON value, in one of many spellings."""
    if generator.random() < 0.2:
        return _value(generator, 3)
    messages = ",".join(
        _object(generator, [("role", _string(generator, role)), ("content", _content(generator))])
        for role in generator.choices(
            ["system", "user", "assistant", "tool"], k=generator.randint(1, 3)
        )
    )
    members = [("model", '"m"'), ("messages", f"[{messages}]")]
    while generator.random() < 0.4:
        members.append((generator.choice(_KEYS) + _mark(generator), _value(generator, 2)))
    generator.shuffle(members)
    return _object(generator, members)


def _content(generator: Random) -> str:
    if generator.random() < 0.5:
        return _string(generator, _text(generator))
    parts = [
        _object(generator, [("type", '"text"'), ("text", _string(generator, _text(generator)))])
        for _ in range(generator.randint(1, 3))
    ]
    return f"[{','.join(parts)}]"


def _value(generator: Random, depth: int) -> str:
    kind = generator.randrange(7 if depth else 4)
    if kind == 0:
        return generator.choice(_NUMBERS)
    if kind == 1:
        return generator.choice(("true", "false", "null"))
    if kind < 4:
        return _string(generator, _text(generator))
    inside = [_value(generator, depth - 1) for _ in range(generator.randrange(4))]
    if kind == 4:
        return f"[{_blank(generator)}{','.join(inside)}{_blank(generator)}]"
    return _object(
        generator, [(generator.choice(_KEYS) + _mark(generator), value) for value in inside]
    )


def _object(generator: Random, members: Sequence[tuple[str, str]]) -> str:
    """An object whose values are JSON texts already."""
    inside = ",".join(
        f"{_blank(generator)}{_string(generator, key)}{_blank(generator)}:{value}"
        for key, value in members
    )
    return "{" + inside + _blank(generator) + "}"


def _text(generator: Random) -> str:
    if generator.random() < 0.5:
        return "hello " + _mark(generator)
    return "".join(generator.choices(_CHARS, k=generator.randrange(8))) + _mark(generator)


def _mark(generator: Random) -> str:
    """Almost unique, so that a text that was read and not scanned cannot hide behind its twin."""
    return f"{generator.randrange(2**32):x}"


def _blank(generator: Random) -> str:
    return generator.choice((" ", "\n", "\t", "\r\n")) if generator.random() < 0.1 else ""


def _string(generator: Random, text: str) -> str:
    r"""One of the spellings of a string: raw, short escapes, `\\u` in either case."""
    share = generator.choice((0.0, 0.0, 0.1, 1.0))
    return '"' + "".join(_spelled(generator, char, share) for char in text) + '"'


def _spelled(generator: Random, char: str, share: float) -> str:
    if char in _SHORT and generator.random() < 0.7:
        return _SHORT[char]
    if char >= " " and char not in '"\\' and generator.random() >= share:
        return char
    units = char.encode("utf-16-be").hex()
    units = units.upper() if generator.random() < 0.5 else units
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))


def _insert(generator: Random, body: bytes, inserted: bytes) -> bytes:
    at = generator.randint(0, len(body))
    return body[:at] + inserted + body[at:]


def _in_string(generator: Random, body: bytes, inserted: bytes) -> bytes:
    """Put bytes right behind a quotation mark: half of the time that is inside a string."""
    quotes = [at for at, byte in enumerate(body) if byte == 0x22] or [0]
    at = generator.choice(quotes) + 1
    return body[:at] + inserted + body[at:]


def _for_value(generator: Random, body: bytes, value: bytes) -> bytes:
    """Put bytes in the place of a value: behind a colon, with a comma after them."""
    colons = [at for at, byte in enumerate(body) if byte in b":[,"] or [len(body) - 1]
    at = generator.choice(colons) + 1
    opener = body[at - 1 : at]
    return body[:at] + value + (b',"x":' if opener == b":" else b",") + body[at:]


def _second_key(generator: Random, body: bytes, change: Callable[[str], str]) -> bytes:
    """A member whose name is, read in some way, one that the object has."""
    key = generator.choice(("messages", "content", "role", "model", "system", "k", "tools"))
    value = _string(generator, _text(generator))
    first = f"{_string(generator, key)}:{value}"
    second = f"{_string(generator, change(key))}:{_string(generator, _text(generator))}"
    members = [first, second] if generator.random() < 0.5 else [second, first]
    twins = ",".join(members)
    if body.startswith(b"{") and generator.random() < 0.5:
        return b"{" + twins.encode() + (b"," if len(body) > 2 else b"") + body[1:]
    return b'{"a":[{' + twins.encode() + b'}],"b":' + body + b"}"


def _recoded(generator: Random, body: bytes) -> bytes:
    encoding = generator.choice(_ENCODINGS)
    return body.decode("utf-8", "replace").encode(encoding, "replace")


def _deep(generator: Random, body: bytes) -> bytes:
    depth = generator.choice(_LONG_DEPTHS if generator.random() < 0.01 else _DEPTHS)
    opener, closer = generator.choice(((b"[", b"]"), (b'{"a":', b"}")))
    return opener * depth + body + closer * depth


def _flipped(generator: Random, body: bytes) -> bytes:
    changed = bytearray(body)
    for _ in range(generator.randint(1, 3)):
        if changed:
            changed[generator.randrange(len(changed))] ^= 1 << generator.randrange(8)
    return bytes(changed)


def _cut(generator: Random, body: bytes) -> bytes:
    start = generator.randint(0, len(body))
    end = generator.randint(start, min(len(body), start + 6))
    return body[:start] + body[end:]


def _doubled(generator: Random, body: bytes) -> bytes:
    start = generator.randint(0, len(body))
    end = generator.randint(start, min(len(body), start + 24))
    return body[:end] + body[start:end] + body[end:]


def _swapped(generator: Random, body: bytes) -> bytes:
    """One structural byte for another."""
    places = [at for at, byte in enumerate(body) if byte in b'{}[]:,"'] or [0]
    at = generator.choice(places)
    return (
        body[:at]
        + generator.choice((b"'", b"(", b"}", b"]", b",", b";", b"=", b""))
        + body[at + 1 :]
    )


def _spliced(generator: Random, body: bytes) -> bytes:
    other = sentence(generator).encode()
    return body[: generator.randint(0, len(body))] + other[generator.randint(0, len(other)) :]


def _chosen(insert: Callable[[Random, bytes, bytes], bytes], among: Sequence[bytes]) -> Mutation:
    return lambda generator, body: insert(generator, body, generator.choice(among))


def _joined(generator: Random, body: bytes) -> bytes:
    between = generator.choice((b"", b"\n", b",", b" ", b"\x1e", b"\x00"))
    return body + between + sentence(generator).encode()


#: What is done to a sentence, by category.
MUTATIONS: Final[dict[str, Mutation]] = {
    "none": lambda _, body: body,
    "same key": lambda generator, body: _second_key(generator, body, lambda key: key),
    "key alike": lambda generator, body: _second_key(generator, body, generator.choice(_CASES)),
    "encoding": _recoded,
    "byte order mark": _chosen(_insert, (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")),
    "leading mark": lambda generator, body: (
        generator.choice((b"\xef\xbb\xbf", b"\xff\xfe", b"\x00")) + body
    ),
    "number": _chosen(_for_value, [number.encode() for number in _NUMBERS]),
    "bad number": _chosen(_for_value, [number.encode() for number in _BAD_NUMBERS]),
    "escape": _chosen(_in_string, _ESCAPES),
    "invalid UTF-8": _chosen(_in_string, _BAD_UTF8),
    "control character": _chosen(_in_string, [bytes([byte]) for byte in (*range(0x20), 0x7F)]),
    "line separator": _chosen(_in_string, [char.encode() for char in "\u2028\u2029\u0085\x0b\x0c"]),
    "blank": _chosen(_insert, _BLANKS),
    "blank at an end": lambda generator, body: generator.choice(
        (generator.choice(_BLANKS) + body, body + generator.choice(_BLANKS))
    ),
    "tail": lambda generator, body: body + generator.choice(_TAILS),
    "comma": _chosen(_insert, (b",", b",,", b", ,", b"\xef\xbc\x8c", b"\xd8\x8c")),
    "trailing comma": lambda _, body: body[:-1] + b"," + body[-1:],
    "structure": _swapped,
    "depth": _deep,
    "flip": _flipped,
    "cut": _cut,
    "doubled": _doubled,
    "splice": _spliced,
    "two values": _joined,
}
