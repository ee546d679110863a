"""What a request asks for is read as the server that would serve it reads it, or it is not read."""

import re
import time
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extauthz.core.budget.demand import MAX_TOKENS, Demand, Models, demand, estimate
from extauthz.core.budget.limits import OTHER, Budgets, Model, Price
from extauthz.core.dialects import KNOWN, Dialect
from extauthz.core.extract import Coverage
from extauthz.core.opaque import Blob, Opaque

BY_NAME = {one.name: one for one in KNOWN}
CHAT = BY_NAME["openai_chat"]
OLLAMA = BY_NAME["ollama_chat"]
GEMINI = BY_NAME["gemini"]
EMBEDDINGS = replace(CHAT, silent=True, max_tokens=(), choices=())

NO_NUMBERS: tuple[Any, ...] = (
    "100", "", "many", 100.0, 1e300, float("nan"), True, False, [100], [], {"max": 1}, {}, Blob(b"1"),
)  # fmt: skip


def asked(body: Any, dialect: Dialect = CHAT) -> Demand:
    return demand(dialect, "/v1/chat/completions", body, 7)


def test_model_cap_and_choices_are_what_the_body_says() -> None:
    body = {"model": "gpt-4o", "max_tokens": 100, "n": 3}

    assert asked(body) == Demand("gpt-4o", 7, 100, 3, well_formed=True)


def test_what_is_not_there_or_null_says_nothing() -> None:
    nothing = Demand("", 7, None, 1, well_formed=True)

    assert asked({"messages": []}) == nothing
    assert asked({"max_tokens": None, "max_completion_tokens": None, "n": None}) == nothing


@pytest.mark.parametrize("value", NO_NUMBERS, ids=repr)
@pytest.mark.parametrize("member", ["max_tokens", "max_completion_tokens", "n", "best_of"])
def test_what_is_no_whole_number_is_told(member: str, value: Any) -> None:
    assert not asked({member: value}).well_formed
    assert not asked({"max_tokens": 5, "max_completion_tokens": 5, "n": 1} | {member: value}).well_formed  # fmt: skip


@pytest.mark.parametrize("value", [-1, -(2**63), -(2**200)])
@pytest.mark.parametrize("member", ["max_tokens", "n"])
def test_a_negative_number_is_told(member: str, value: int) -> None:
    found = asked({member: value})

    assert not found.well_formed
    assert (found.output_cap, found.choices) == (None, 1)


def test_a_negative_cap_is_none_where_the_api_says_so() -> None:
    found = asked({"options": {"num_predict": -1}}, OLLAMA)

    assert (found.output_cap, found.well_formed) == (None, True)
    assert asked({"options": {"num_predict": 9}}, OLLAMA).output_cap == 9


@pytest.mark.parametrize("value", [2**40, 2**63 - 1, 2**63, 2**64, 10**300])
def test_numbers_are_as_large_as_counters_can_take(value: int) -> None:
    found = asked({"max_tokens": value, "n": value})

    assert (found.output_cap, found.choices, found.well_formed) == (MAX_TOKENS, MAX_TOKENS, True)
    assert MAX_TOKENS == 2**40


def test_zero_is_a_cap_and_no_number_of_answers() -> None:
    found = asked({"max_tokens": 0, "n": 0})

    assert (found.output_cap, found.choices, found.well_formed) == (0, 1, True)


@given(st.integers(0, 2**41), st.integers(0, 2**41), st.integers(0, 2**41), st.integers(0, 2**41))
def test_of_several_members_the_largest_counts(a: int, b: int, n: int, best_of: int) -> None:
    found = asked({"max_tokens": a, "max_completion_tokens": b, "n": n, "best_of": best_of})

    assert found.output_cap == min(max(a, b), MAX_TOKENS)
    assert found.choices == min(max(n, best_of, 1), MAX_TOKENS)


def test_both_spellings_of_an_api_count() -> None:
    snake = {"generation_config": {"max_output_tokens": 50, "candidate_count": 2}}
    camel = {"generationConfig": {"maxOutputTokens": 60, "candidateCount": 1}}

    found = asked(snake | camel, GEMINI)

    assert (found.output_cap, found.choices) == (60, 2)


@pytest.mark.parametrize("config", [[], "x", 5, [{"maxOutputTokens": 5}]])
def test_below_what_is_no_object_there_is_nothing(config: Any) -> None:
    assert asked({"generationConfig": config}, GEMINI).output_cap is None


@pytest.mark.parametrize("body", [None, {}, [], ""])
def test_a_request_without_a_body_and_an_api_without_answers_write_nothing(body: Any) -> None:
    assert asked(body).output_cap == 0
    assert asked({"max_tokens": 5, "n": "x"}, EMBEDDINGS) == Demand("", 7, 0, 1)


@pytest.mark.parametrize("body", ["max_tokens", 5, True, Blob(b"x"), [1, "x", None]])
def test_a_body_that_is_no_object_says_nothing(body: Any) -> None:
    found = asked(body)

    assert (found.output_cap, found.choices, found.well_formed) == (None, 1, True)


def form(*fields: tuple[str, Any], key: str = "value") -> list[Any]:
    return [{"name": name, key: value} for name, value in fields]


@pytest.mark.parametrize("key", ["value", "content"])
@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0),
        ("100", 100),
        ("0100", 100),
        ("0" * 30 + "999", 999),
        ("9" * 17, MAX_TOKENS),
        ("9" * 5_000, MAX_TOKENS),
        ("0" * 5_000, 0),
    ],
)
def test_digits_are_numbers_in_a_form(key: str, text: str, number: int) -> None:
    found = asked(form(("max_tokens", text), ("n", text), key=key))

    assert (found.output_cap, found.choices) == (number, max(1, number))
    assert found.well_formed


@pytest.mark.parametrize("text", ["", " 1", "+1", "-1", "1.0", "1e3", "0x10", "١", "²", "1_000"])
def test_other_texts_are_none_in_a_form(text: str) -> None:
    assert not asked(form(("max_tokens", text))).well_formed
    assert not asked(form(("n", text))).well_formed


def test_of_fields_with_one_name_the_largest_counts() -> None:
    body = form(("max_tokens", "5"), ("max_tokens", "500"), ("n", "1"), ("n", "9"), ("n", "2"))

    assert (asked(body).output_cap, asked(body).choices) == (500, 9)
    assert not asked([*body, *form(("n", "x"))]).well_formed


def test_a_field_that_holds_json_is_looked_into() -> None:
    assert asked(form(("options", {"num_predict": 7})), OLLAMA).output_cap == 7


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["name", "value", "max_tokens", "n", "x"]), inner)
    ),
)


@given(_JSON, st.sampled_from(KNOWN))
def test_any_body_has_a_demand_that_counters_can_take(body: Any, dialect: Dialect) -> None:
    found = demand(dialect, "/v1/chat/completions", body, 0)

    assert found.output_cap is None or 0 <= found.output_cap <= MAX_TOKENS
    assert 1 <= found.choices <= MAX_TOKENS


def test_an_estimate_counts_texts_media_and_token_ids() -> None:
    alone = estimate(["Hello, world!"], Coverage())
    media: dict[Opaque, int] = {Opaque.IMAGE: 2, Opaque.DOCUMENT: 1, Opaque.TOKEN_IDS: 50}
    media |= {Opaque.REMOTE: 9, Opaque.STORED: 9}

    assert estimate([], Coverage()) == 0
    assert 5 <= alone <= 12
    assert estimate(["Hello, world!"] * 3, Coverage()) == 3 * alone
    assert estimate(["Hello, world!"], Coverage(opaque=media)) == alone + 3_050


LISTED = Budgets(
    models=(
        Model(name="patterns", match=("gpt-4*", "*/large*2"), input_price=2.5, output_price=10),
        Model(name="exact", match=("GPT-4o", "gpt-4o-mini"), input_price=0.001, expected_output=80),
        Model(name="late", match=("gpt-*", "*"), output_price=1_000_000),
        Model(name="own"),
    ),
    other_models=Price(input_price=5, output_price=20.125),
)
SOME = Models(Budgets(models=LISTED.models[:2], other_models=LISTED.other_models))


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("gpt-4", "patterns"),
        ("gpt-4o", "exact"),
        ("gPT-4O", "exact"),
        ("gpt-4o-2024", "patterns"),
        ("GPT-4o-MINI", "exact"),
        ("acme/LARGE-v2", "patterns"),
        ("/large2", "patterns"),
        ("large2", OTHER),
        ("", OTHER),
        ("gpt-", OTHER),
        ("patterns", OTHER),
        ("other", OTHER),
        ("gpt-4" + "x" * 251, "patterns"),
        ("gpt-4" + "x" * 252, OTHER),
    ],
)
def test_an_exact_name_goes_before_a_pattern_case_is_ignored_and_the_rest_is_other(
    name: str, model: str
) -> None:
    assert SOME.name(name) == model


def test_of_patterns_the_first_decides_and_a_model_without_any_goes_by_its_name() -> None:
    models = Models(LISTED)

    assert models.name("gpt-4-turbo") == "patterns"
    assert models.name("gpt-3") == "late"
    assert models.name("own") == "own"
    assert models.name("anything") == models.name("") == "late"


def test_prices_are_billionths_of_money_a_token() -> None:
    models = Models(LISTED)

    assert models.price("patterns") == (2_500, 10_000)
    assert models.price("exact") == (1, 0)
    assert models.price("late") == (0, 1_000_000_000)
    assert models.price(OTHER) == (5_000, 20_125)
    assert (models.expected_output("exact"), models.expected_output(OTHER)) == (80, 1_024)


PIECES = st.text(st.sampled_from("ab*"), max_size=8)


@given(PIECES.map(lambda text: text + "*"), st.text(st.sampled_from("ab"), max_size=12))
def test_a_star_stands_for_anything(pattern: str, name: str) -> None:
    models = Models(Budgets(models=(Model(name="m", match=(pattern,)),)))
    regex = ".*".join(map(re.escape, pattern.split("*")))

    assert (models.name(name) == "m") == (re.fullmatch(regex, name) is not None)


@given(st.text(max_size=300))
def test_every_name_is_of_one_of_the_policys_models(name: str) -> None:
    assert SOME.name(name) in {"patterns", "exact", OTHER}
    assert SOME.name(name.upper()) in {"patterns", "exact", OTHER}


def test_no_pattern_and_name_take_long_together() -> None:
    pattern = "*a" * 63 + "*b"
    models = Models(Budgets(models=(Model(name="m", match=(pattern,) * 100),)))
    started = time.process_time()

    assert models.name("a" * 256) == OTHER
    assert models.name("a" * 1_000_000) == OTHER

    assert time.process_time() - started < 0.5  # backtracking would take years


def test_a_vocabulary_counts_so_many_characters_of_a_request_and_no_more() -> None:
    """However many texts they are in: counting is a thousand times slower than estimating."""
    counted: list[str] = []

    def count(text: str) -> int:
        counted.append(text)
        return 0

    estimate(["word " * 200] * 1_000, Coverage(), count)

    assert 0 < sum(map(len, counted)) <= 16_384
