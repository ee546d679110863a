"""Slow twin of `cipher_runs`: each cipher tried on each word on its own, then the runs set apart."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.reference.fold import reads

Run = tuple[int, int, int]
_READABLE, _MOST_LOST, _LOST, _SHORT, _REACH = 6, -10, 24, 3, 64


@dataclass(frozen=True)
class Cipher:
    """How a word is undone, from how many half bits on, and in which words it is looked for."""

    undo: Callable[[str], str]
    enough: int
    symbols: bool = False
    always: bool = False


@dataclass(frozen=True)
class _Found:
    closed: int
    cipher: int
    first: int
    last: int
    total: int


def cipher_runs(
    text: str, ciphers: Sequence[Cipher], signs: str, pairs: list[list[int]]
) -> list[Run]:
    """(start, end, cipher) of each run; `signs` are the symbols that the first cipher reads."""
    places = [match.span() for match in re.finditer(r"[^ \t-\r]+", text)]
    words = [text[start:end] for start, end in places]
    odd = [_odd(word, signs) for word in words]
    plain = [reads(word, pairs) for word in words]
    closed = [
        run
        for index, cipher in enumerate(ciphers)
        for run in _of(index, cipher, words, plain, odd, pairs)
    ]
    kept: list[_Found] = []
    for run in sorted(closed, key=lambda run: (run.closed, run.cipher)):
        while kept and kept[-1].last >= run.first and kept[-1].total < run.total:
            kept.pop()
        if not kept or kept[-1].last < run.first:
            kept.append(run)
    belongs = [
        (-1 if strange else well) < 2 * len(word) or len(word) <= _SHORT
        for word, well, strange in zip(words, plain, odd, strict=True)
    ]
    spans: list[tuple[int, int]] = []
    for place, run in enumerate(kept):
        first, last = run.first, run.last
        least = spans[-1][1] + 1 if spans else 0
        most = kept[place + 1].first - 1 if place + 1 < len(kept) else len(words) - 1
        start, end = places[first][0], places[last][1]
        reach = max(end - start, _REACH)
        while first > least and belongs[first - 1] and start - places[first - 1][0] <= reach:
            first -= 1
        while last < most and belongs[last + 1] and places[last + 1][1] - end <= reach:
            last += 1
        spans.append((first, last))
    return [
        (places[first][0], places[last][1], run.cipher)
        for (first, last), run in zip(spans, kept, strict=True)
    ]


def _odd(word: str, signs: str) -> bool:
    sign = f"[{re.escape(signs)}]"
    letters = len(re.findall("[a-zA-Z]", word))
    between = re.search(rf"[a-zA-Z].*{sign}[a-zA-Z]", word)
    return bool(between) or (letters >= 2 and bool(re.search(rf"{sign}{{3}}$", word)))


def _of(
    index: int,
    cipher: Cipher,
    words: list[str],
    plain: list[int],
    odd: list[bool],
    pairs: list[list[int]],
) -> list[_Found]:
    """The runs of one cipher, with the word at which each was closed."""
    found: list[_Found] = []
    total = best = first = last = 0
    for at, (word, well, strange) in enumerate(zip(words, plain, odd, strict=True)):
        doubtful = well < 2 * len(word)
        unreadable = well < _READABLE and bool(re.search("[a-zA-Z]", word))
        wanted = strange if cipher.symbols else unreadable or (doubtful and cipher.always)
        gain = (min(well, 0) if cipher.symbols else -well) - 1
        if wanted:
            gain = reads(cipher.undo(word), pairs) - max(well, len(word)) - 1
        gain = max(gain, _MOST_LOST)
        if total == 0 and (gain <= 0 or not doubtful):
            continue
        first = at if total == 0 else first
        total += gain
        if total > best:
            best, last = total, at
        if total <= 0 or total < best - _LOST:
            if best >= cipher.enough:
                found.append(_Found(at, index, first, last, best))
            total = best = 0
    if best >= cipher.enough:
        found.append(_Found(len(words), index, first, last, best))
    return found
