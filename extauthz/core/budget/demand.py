"""What a request asks of the upstream, and what it is worth until the upstream has counted."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np

from extauthz.core.budget.limits import OTHER, Budgets, Model, Price
from extauthz.core.budget.report import Usage
from extauthz.core.dialects import Dialect
from extauthz.core.extract import Coverage
from extauthz.core.media import Tree
from extauthz.core.opaque import Opaque
from extauthz_kernels import estimate_tokens

#: Names are the client's: a longer one is of no model.
_MAX_NAME_CHARS: Final = 256
_KEPT_NAMES: Final = 1_024
#: Billionths of money in the price of one token, for a price per million of 1.
_NANO_PER_TOKEN: Final = 1_000
#: What an API writes around each message: OpenAI counts 3 or 4 tokens (its cookbook, "How to count
#: tokens").
_TOKENS_PER_TEXT: Final = 4
#: A picture of 1024 x 1024 costs 765 tokens at OpenAI and some 1,400 at Anthropic (their guides to
#: vision); the size of others is not known, and what they really cost is settled.
_TOKENS_PER_MEDIUM: Final = 1_000
#: Of all texts of a request, counted by a vocabulary: that takes up to 10 ms. The rest is estimated;
#: in so much text the error of an estimate is small.
_COUNTED_CHARS: Final = 16_384
_MEDIA: Final = (Opaque.IMAGE, Opaque.AUDIO, Opaque.VIDEO, Opaque.DOCUMENT, Opaque.BINARY)
#: No model writes as much. Counters saturate far above.
MAX_TOKENS: Final = 2**40
#: Of a number in a form. Longer ones are above MAX_TOKENS whatever follows.
_MAX_DIGITS: Final = 18


@dataclass(frozen=True, slots=True)
class Demand:
    """What a request asks for.

    Attributes:
        model: the name that the client gave.
        input_tokens: as estimated.
        output_cap: the most tokens of one answer, where the request says so.
        choices: how many answers are wanted.
        well_formed: whether those two are whole numbers, or not there.
    """

    model: str = ""
    input_tokens: int = 0
    output_cap: int | None = None
    choices: int = 1
    well_formed: bool = True


def demand(dialect: Dialect, path: str, body: Tree, input_tokens: int) -> Demand:
    """What a request to `path` (canonical) asks for.

    Of several members that mean the same the largest counts: servers do not agree on which they obey.
    """
    caps = list(_numbers(dialect.max_tokens, body))
    choices = list(_numbers(dialect.choices, body))
    least = 1 if dialect.zero_is_unlimited else 0
    known = [number for number in caps if number is not None and number >= least]
    if not body or not dialect.writes(path):
        known = [0]  # an API that writes nothing, or no request to one that does
    return Demand(
        dialect.model_of(path, body),
        input_tokens,
        min(max(known), MAX_TOKENS) if known else None,
        min(_prompts(dialect, body) * max([1, *(number or 0 for number in choices)]), MAX_TOKENS),
        well_formed=all(
            number is not None and (number >= 0 or dialect.zero_is_unlimited) for number in caps
        )
        and all(number is not None and number >= 0 for number in choices),
    )


def _prompts(dialect: Dialect, body: Tree) -> int:
    """How many prompts a request has. Numbers in a list are the tokens of one."""
    found = body.get(dialect.prompts) if isinstance(body, dict) else None
    if not isinstance(found, list) or all(isinstance(one, int) for one in found):
        return 1
    return len(found)


def estimate(
    texts: Iterable[str], coverage: Coverage, count: Callable[[str], int | None] = lambda _: None
) -> int:
    """Tokens of a request with these texts: by `count` where it knows, else as most models count."""
    read, left = 0, _COUNTED_CHARS
    for text in texts:
        counted = count(text) if len(text) <= left else None
        if counted is None:
            counted = int(estimate_tokens(np.frombuffer(text.encode(), np.uint8)))
        else:
            left -= len(text)
        read += _TOKENS_PER_TEXT + counted
    media = sum(coverage.opaque.get(kind, 0) for kind in _MEDIA)
    return read + media * _TOKENS_PER_MEDIUM + coverage.opaque.get(Opaque.TOKEN_IDS, 0)


def _numbers(paths: Iterable[str], body: Tree) -> Iterator[int | None]:
    """The whole numbers at `paths`; None for what stands there and is none. A form has digits."""
    for value in (value for path in paths for value in _members(path, body)):
        if isinstance(value, str) and isinstance(body, list) and value.isascii():
            digits = value.isdigit() and (value.lstrip("0")[:_MAX_DIGITS] or "0")
            yield int(digits) if digits else None
        else:
            yield value if type(value) is int else None


def _members(path: str, body: Tree) -> Iterator[Tree]:
    """What stands at a path and is not null: of a form every field of that name."""
    first, _, below = path.partition("/")
    if not isinstance(body, list):
        found = [_below(path, body)]
    else:
        fields = (field for field in body if isinstance(field, dict) and field.get("name") == first)
        found = [_below(below, field.get("content", field.get("value"))) for field in fields]
    yield from (value for value in found if value is not None)


def _below(path: str, value: Tree) -> Tree:
    """What stands at a path, be it an object or an array; None where nothing does."""
    for step in filter(None, path.split("/")):
        value = value.get(step) if isinstance(value, dict) else None
    return value


@dataclass(frozen=True, slots=True)
class Ask:
    """One request, as a store of counters sees it.

    `id` is Envoy's number of the request. Prices are billionths of money per token. `model` is a name
    of the policy. The usage is what is reserved, `requests` how many requests it counts as. `only`
    names the limits that are meant, where not all are.
    """

    id: str
    principal: str
    tenant: str
    route: str
    model: str
    usage: Usage
    input_price: int = 0
    output_price: int = 0
    requests: int = 1
    only: tuple[str, ...] = ()


class Models:
    """Which of the policy's models a name is, and what it costs."""

    def __init__(self, budgets: Budgets) -> None:
        """Take over the models of a policy."""
        self._exact: dict[str, Model] = {}
        self._patterns: list[tuple[list[str], Model]] = []
        self._prices: dict[str, Price] = {OTHER: budgets.other_models}
        # A request's name is asked for several times, and most requests name one of a few.
        self._found: Final = lru_cache(_KEPT_NAMES)(self._find)
        for model in budgets.models:
            self._prices[model.name] = model
            for pattern in model.match or (model.name,):
                folded = pattern.lower()
                if "*" in folded:
                    self._patterns.append((folded.split("*"), model))
                else:
                    self._exact[folded] = model

    def name(self, asked: str) -> str:
        """The policy's name for what a client calls a model. An exact name goes before a pattern."""
        return self._found(asked) if len(asked) <= _MAX_NAME_CHARS else OTHER

    def _find(self, asked: str) -> str:
        folded = asked.lower()
        if model := self._exact.get(folded):
            return model.name
        for pieces, model in self._patterns:
            if _matches(pieces, folded):
                return model.name
        return OTHER

    def price(self, name: str) -> tuple[int, int]:
        """Billionths of money for a token of input and of output."""
        price = self._prices[name]
        return round(price.input_price * _NANO_PER_TOKEN), round(
            price.output_price * _NANO_PER_TOKEN
        )

    def expected_output(self, name: str) -> int:
        """Tokens of an answer, as the policy guesses."""
        return self._prices[name].expected_output


def _matches(pieces: list[str], text: str) -> bool:
    """Whether `text` is the pieces in this order with anything between them. In linear time."""
    first, *middle, last = pieces
    if not text.startswith(first) or not text.endswith(last):
        return False
    position, end = len(first), len(text) - len(last)
    for piece in middle:
        found = text.find(piece, position, end)
        if found < 0:
            return False
        position = found + len(piece)
    return position <= end
