import json

import msgspec
import orjson
import pytest

from benchmarks.agreement import fault, scanned, texts, understood
from benchmarks.mutants import MUTATIONS, bodies
from extauthz.core.reasons import Failure

_SEED = 7
_COUNT = 6_000


def test_what_is_let_pass_is_read_alike_by_every_parser_and_scanned_whole() -> None:
    allowed = 0
    for _, body in bodies(_SEED, range(_COUNT)):
        assert fault(body) is None, body
        allowed += not isinstance(scanned(body), Failure)
    assert allowed > _COUNT / 20


def test_most_plain_bodies_are_let_pass() -> None:
    plain = [body for category, body in bodies(_SEED, range(_COUNT)) if category == "none"]
    read = [body for body in plain if not isinstance(scanned(body), Failure)]
    assert len(read) > 0.8 * len(plain)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"a":1e999}', "too lenient"),
        (b'{"a":"\xff"}', "too lenient"),
        (b'{"unscanned":"b"}', "disagreement"),
        (b'{"a":"b","a":"unscanned"}', "disagreement"),
    ],
)
def test_the_comparison_finds_a_planted_fault(
    monkeypatch: pytest.MonkeyPatch, body: bytes, kind: str
) -> None:
    monkeypatch.setattr("benchmarks.agreement.scanned", lambda _: frozenset({"a", "b"}))
    found = fault(body)
    assert found is not None
    assert found[0] == kind


def test_equal_keys_are_all_read_by_the_reader_that_stands_for_the_others() -> None:
    assert texts(json.loads('{"a":"b","a":"c"}')) == {"a", "c"}
    assert fault(b'{"a":"b","a":"c"}') is None, "we refuse the body, so there is nothing to compare"
    assert scanned(b'{"a":"b","a":"c"}') is Failure.BODY_DUPLICATE_KEY


def test_what_a_parser_refuses_is_no_reading() -> None:
    assert understood(json.loads, b"{") is None
    assert understood(orjson.loads, b"NaN") is None
    assert understood(msgspec.json.decode, b"\xff") is None


def test_the_same_seed_makes_the_same_bodies() -> None:
    assert list(bodies(1, range(200))) == list(bodies(1, range(200)))
    assert {name for name, _ in bodies(1, range(500))} == {*MUTATIONS, "two at once"}
