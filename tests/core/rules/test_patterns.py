"""An operator's pattern lists are found by name, in linear time, in whatever text there is."""

import gc
import random
import weakref
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extauthz.core.policy import Detect, Patterns
from extauthz.core.rules.linear import NamedSet, either, encode, instructions, refusal
from extauthz.core.rules.patterns import compile_patterns

LISTS = compile_patterns(
    [
        Patterns(name="keys", regex=(r"sk-[a-z0-9]{4,8}", r"AKIA[0-9A-Z]{4}")),
        Patterns(name="names", literals=("Orion", "Blue Heron", "a.b*", "Größe", "ОРИОН")),
        Patterns(name="both", regex=("^begin",), literals=("the end",)),
    ]
)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", set()),
        ("nothing of interest", set()),
        ("my key is sk-abcd1234", {"keys"}),
        ("AKIA0000", {"keys"}),
        ("akia0000", set()),
        ("ORION rises", {"names"}),
        ("histORIONics", {"names"}),
        ("blue heron", {"names"}),
        ("blue  heron", set()),
        ("a.b*", {"names"}),
        ("axbb", set()),
        ("GRÖSSE größe", {"names"}),
        ("орион", {"names"}),
        ("Orıon", set()),
        ("begin", {"both"}),
        ("\nbegin", set()),
        ("begin Orion sk-aaaa THE END", {"keys", "names", "both"}),
        ("\x00Orion\x00", {"names"}),
        ("\ud800 orion \udfff", {"names"}),
        ("\N{KELVIN SIGN}", set()),
    ],
)
def test_lists_are_found_by_name(text: str, names: set[str]) -> None:
    assert LISTS.find(encode(text)) == names


def test_case_is_folded_one_letter_for_one_letter() -> None:
    """As RE2 does: the Kelvin sign is a k, and ß is not two letters."""
    found = compile_patterns([Patterns(name="n", literals=("Kelvin", "Straße"))])
    assert found.find(encode("\N{KELVIN SIGN}elvin")) == {"n"}
    assert found.find(encode("STRASSE")) == frozenset()


def test_no_lists_find_nothing() -> None:
    assert compile_patterns([]).find(b"anything") == frozenset()


@given(st.text(max_size=40), st.text(max_size=40), st.text(min_size=1, max_size=12))
def test_a_literal_is_found_wherever_it_stands(before: str, after: str, literal: str) -> None:
    found = NamedSet([("n", either([literal, "other"]))])
    assert found.find(encode(before + literal + after)) == {"n"}


@given(st.lists(st.text("ab|(.", min_size=1, max_size=6), min_size=1, max_size=8), st.data())
def test_literals_are_found_as_python_finds_them(literals: list[str], data: st.DataObject) -> None:
    text = data.draw(st.text("ab|(.", max_size=20))
    found = NamedSet([("n", either(literals))]).find(encode(text))
    assert bool(found) == any(literal in text for literal in literals)


def test_an_unclosed_quotation_of_one_regex_does_not_swallow_the_next() -> None:
    found = compile_patterns(
        [Patterns(name="a", regex=(r"\Qx.y",)), Patterns(name="b", regex=("z",))]
    )
    assert found.find(b"x.y z") == {"a", "b"}
    assert found.find(b"xxy") == frozenset()


HOSTILE = [
    (r"(a+)+$", "a" * 2**20 + "!"),
    (r"(a|aa)+$", "a" * 2**20 + "!"),
    (r"(?:a*)*b", "a" * 2**20),
    (r"\s+previous", " " * 2**20),
    (r"(?:\w+\s*){1,20}!$", "word " * 200_000),
    (r"^(([a-z])+.)+[A-Z]([a-z])+$", "a" * 2**20),
]


@pytest.mark.timeout(20)
@pytest.mark.parametrize(("regex", "text"), HOSTILE)
def test_a_megabyte_that_makes_backtracking_explode_is_read_once(regex: str, text: str) -> None:
    """Python's own `re` needs 2 s for the first of these at 26 characters."""
    assert refusal(regex) == ""
    assert NamedSet([("n", regex)]).find(text.encode()) == frozenset()


@pytest.mark.timeout(20)
def test_a_text_that_throws_the_automaton_away_again_and_again_is_still_read_right() -> None:
    """`a.{60}b` needs 2^60 states to be fast. RE2 may forget states, and never a match."""
    found = NamedSet([("n", "a.{60}b"), ("m", "never")])
    noise = "".join(random.Random(7).choices("ax", k=60_000))
    assert found.find(encode(noise)) == frozenset()
    assert found.find(encode(noise + "a" + "x" * 60 + "b" + noise)) == {"n"}


def test_five_thousand_literals_are_looked_for_at_once() -> None:
    rng = random.Random(5)
    words = sorted({"".join(rng.choices("abcdefghijklmnop", k=12)) for _ in range(5_000)})
    found = compile_patterns([Patterns(name="words", literals=tuple(words))])
    nearly = " ".join(word[:11] + "?" for word in words)
    assert found.find(encode(nearly)) == frozenset()
    assert all(found.find(encode(f"{nearly} {word.upper()}")) for word in words[::1000])


def test_threads_share_a_set() -> None:
    texts = [encode("x" * 1000 + word) for word in ("Orion", "sk-abcd", "none")] * 20
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(LISTS.find, texts))
    assert found == [{"names"}, {"keys"}, frozenset()] * 20


def test_patterns_are_compiled_once_for_a_rule_and_go_with_it() -> None:
    detect = Detect(patterns=(Patterns(name="p", regex=("a",)),))
    assert detect.pattern_set is detect.pattern_set
    changed = msgspec.structs.replace(detect, patterns=(Patterns(name="q", regex=("a",)),))
    assert changed.pattern_set.find(b"a") == {"q"}
    compiled = weakref.ref(detect.pattern_set)
    del detect
    gc.collect()
    assert compiled() is None


@given(st.text(max_size=12))
def test_any_regex_is_usable_or_refused_with_a_reason(regex: str) -> None:
    if not refusal(regex):
        NamedSet([("n", regex)]).find(b"text")
        assert instructions(regex) > 0


def test_a_refusal_holds_the_words_of_re2() -> None:
    assert refusal("(?=x)") == "invalid perl operator: (?="
    assert refusal(r"a\b") == ""
