"""Which sources are left out together."""

from collections import defaultdict
from collections.abc import Sequence

from extauthz.training.corpus import is_seed
from extauthz.training.rows import Row


def deal(rows: Sequence[Row], folds: int) -> list[frozenset[str]]:
    """Makers in folds: those with most attacks first, each to the fold that has the fewest of them.

    Makers of honest rows only are dealt the same way, by their honest rows, so that every fold has both.
    """
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for row in rows:
        if not is_seed(row):
            counts[row.maker][row.label] += 1
    dealt: list[set[str]] = [set() for _ in range(folds)]
    for label in (1, 0):
        sizes = [sum(counts[maker][label] for maker in fold) for fold in dealt]
        of_label = [maker for maker, pair in counts.items() if bool(pair[1]) is bool(label)]
        for maker in sorted(of_label, key=lambda one: (-counts[one][label], one)):
            place = sizes.index(min(sizes))
            dealt[place].add(maker)
            sizes[place] += counts[maker][label]
    return [frozenset(fold) for fold in dealt]
