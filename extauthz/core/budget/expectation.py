"""How long answers of a model are, learnt from the ones that were settled."""

from typing import Final

#: Buckets for each doubling of a length, all as wide: what is learnt is at most 12.5 % too long.
_PER_OCTAVE: Final = 8
#: Up to 2^34 tokens.
_BUCKETS: Final = 32 * _PER_OCTAVE
#: Of answers, nine in ten are no longer than what is reserved for them.
_QUANTILE: Final = 0.9
#: With fewer answers the policy's guess is better than theirs.
_ENOUGH: Final = 50
#: Answers that are remembered whole; older ones count for half, a quarter, and so on.
_REMEMBERED: Final = 2_000


class Expectation:
    """The lengths of one model's answers, in tokens."""

    def __init__(self) -> None:
        """Begin with none."""
        self._counts: Final = [0.0] * _BUCKETS
        self._total = 0.0

    def saw(self, tokens: int) -> None:
        """One more answer."""
        self._counts[_bucket(tokens)] += 1
        self._total += 1
        if self._total >= _REMEMBERED:
            self._counts[:] = [count / 2 for count in self._counts]
            self._total /= 2

    def tokens(self) -> int | None:
        """What most answers stay within; None until enough of them were seen."""
        if self._total < _ENOUGH:
            return None
        below = 0.0
        for bucket, count in enumerate(self._counts):
            below += count
            if below >= _QUANTILE * self._total:
                return _longest(bucket)
        return _longest(_BUCKETS - 1)


class Expectations:
    """What to reserve for the answers of each model. Models are the policy's, so there are few."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self._learnt: Final[dict[str, Expectation]] = {}

    def saw(self, model: str, tokens: int) -> None:
        """A model has answered."""
        self._learnt.setdefault(model, Expectation()).saw(tokens)

    def tokens(self, model: str) -> int | None:
        """What most answers of a model stay within, where enough of them were seen."""
        learnt = self._learnt.get(model)
        return learnt.tokens() if learnt else None

    def keep(self, models: frozenset[str]) -> None:
        """Forget every model that the policy has no name for."""
        for model in self._learnt.keys() - models:
            del self._learnt[model]


def _bucket(tokens: int) -> int:
    """Geometric from 1 on; exact for the shortest."""
    if tokens < _PER_OCTAVE:
        return max(0, tokens)
    octave = tokens.bit_length() - _PER_OCTAVE.bit_length()
    return min((octave + 1) * _PER_OCTAVE + (tokens >> octave) - _PER_OCTAVE, _BUCKETS - 1)


def _longest(bucket: int) -> int:
    """The longest answer of a bucket, in tokens."""
    if bucket < _PER_OCTAVE:
        return bucket
    octave = bucket // _PER_OCTAVE - 1
    return ((bucket % _PER_OCTAVE + _PER_OCTAVE + 1) << octave) - 1
