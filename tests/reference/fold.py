"""Slow twins of the folds, with the regular expressions that the kernels are there to replace."""

import re
from itertools import groupby

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
