"""Slow twins of the folds, with the regular expressions that the kernels are there to replace."""

import re
from itertools import groupby, pairwise

from extauthz_kernels import fold

_GAP = re.compile(r" {2,}")


def map_points(points: list[int], become: list[int]) -> list[int]:
    """`points` with each replaced by its entry in `become`, if there is one and it is kept."""
    table = {point: None if new == fold.DROP else chr(new) for point, new in enumerate(become)}
    return list(map(ord, "".join(map(chr, points)).translate(table)))


def fold_words(
    text: str, lookalikes: dict[str, str], other_script: set[str], word: str, shortest: int
) -> str:
    """`text` with the words that are disguised Latin written in Latin. `word`: a character class."""

    def rewrite(match: re.Match[str]) -> str:
        found = match[0]
        latin = "".join(lookalikes.get(char, char) for char in found)
        honest = set(found) <= other_script and not (len(found) >= shortest and latin.isascii())
        return found if honest else latin

    return re.sub(f"{word}+", rewrite, text)


def join_spelled(text: str, shortest: int) -> str:
    """`text` with words spelled letter by letter joined; only spaces are white space here."""
    rest = shortest - 1

    def join(run: re.Match[str]) -> str:
        if not any(map(str.isalpha, run[0])):
            return run[0]
        groups = [group.replace(" ", "") for group in _GAP.split(run[0])]
        words = []
        for single, neighbours in groupby(groups, key=lambda group: len(group) == 1):
            words.append(("" if single else " ").join(neighbours))
        return " ".join(words)

    return re.sub(rf"(?<!\S)[^\W_](?: ++[^\W_](?!\S)){{{rest},}}+", join, text)


def join_symbols(
    text: str, symbols: str, pairs: list[list[int]], shortest: int, readable: int
) -> str:
    """`text` with words spelled with symbols joined. `symbols`: a class; the rest are letters, digits
    and spaces."""
    single = r"(?<![a-z0-9])[a-z0-9](?![a-z0-9])"
    within, between = rf"{symbols}{{1,3}}+{single}", rf" {{1,4}}+{single}(?={symbols})"

    def join(run: re.Match[str]) -> str:
        found = run[0]
        words = re.sub(symbols, "", found)
        singles = words.replace(" ", "")
        spelled = len(singles) >= shortest and not singles.isdecimal()
        mixed = len(set(re.findall(symbols, found))) > 1
        return words if spelled and (not mixed or reads(words, pairs) >= readable) else found

    return re.sub(rf"{single}(?:{within}|{between})*+", join, text)


def reads(text: str, pairs: list[list[int]]) -> int:
    """Half bits for each letter after the one before, none being before and after each word."""
    return sum(
        pairs[before][after]
        for word in text.split()
        for before, after in pairwise([0, *map(letter, word), 0])
    )


def letter(char: str) -> int:
    """1 to 26, 0 for what is no letter of ASCII."""
    return ord(char.lower()) - 96 if char.isascii() and char.isalpha() else 0


def fold_flags(text: str, codes: set[str]) -> str:
    """`text` with regional indicators as letters, but for one flag or two of `codes`."""

    def fold(run: re.Match[str]) -> str:
        letters = "".join(chr(ord(char) - 0x1F1E6 + 65) for char in run[0])
        flags = re.findall("..", letters)
        honest = len(letters) in {2, 4} and set(flags) <= codes
        return run[0] if honest else letters

    return re.sub("[\U0001f1e6-\U0001f1ff]+", fold, text)


def turn_words(text: str, upright: dict[str, str], certain: str, fewest: int) -> str:
    """`text` with what is between two words that cannot be upside down turned round."""
    other = f"[^{re.escape(''.join(upright))} ]"
    pieces = re.split(rf"([^ ]*{other}[^ ]*(?: |$))", text)
    for place, piece in enumerate(pieces[::2]):
        run = piece.rstrip(" ")
        if sum(map(run.count, certain)) >= fewest:
            turned = "".join(upright.get(char, char) for char in reversed(run))
            pieces[2 * place] = turned + piece[len(run) :]
    return "".join(pieces)
