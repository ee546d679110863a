"""The coverage matrix says what happened, and the document shows what was kept of it."""

import json
from pathlib import Path

import pytest

from benchmarks import bypass
from extauthz.demo.upstream import Upstream
from tests.e2e.catalogue.case import ATTACK, HONEST
from tests.e2e.catalogue.places import PLACES
from tests.e2e.running import Gateway

ROOT = Path(__file__).parents[3]
KEPT = json.loads((ROOT / "benchmarks/results/bypass.json").read_text())


@pytest.mark.parametrize(
    ("attack", "twin", "outcome"),
    [
        (True, False, "found"),
        (False, False, "missed"),
        (True, True, "refused"),
        (False, True, "error"),
        (None, False, "error"),
        (True, None, "error"),
    ],
)
def test_two_answers_make_an_outcome(attack: bool | None, twin: bool | None, outcome: str) -> None:
    assert bypass.outcome(attack, twin) == outcome


def test_what_our_filter_sees_is_found_and_what_nobody_reads_is_refused(gateway: Gateway) -> None:
    target = bypass.Target(gateway.address, ATTACK, HONEST)
    places = [place for place in PLACES if place.dialect == "cohere rerank"]
    [plain] = bypass.columns("plain")
    [utf16] = bypass.columns("utf-16")

    assert list(bypass.measure(target, places, [plain, utf16])) == [["found", "refused"]] * 2


def test_without_a_filter_all_is_missed(
    upstream: Upstream, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["--url", f"http://{upstream.address}", "--api", "a2a", "--as", "plain"]
    monkeypatch.setattr("sys.argv", ["bypass", *words, "--header", "authorization: Bearer x"])

    bypass.main()

    assert "in the open: plain      0       2        0      0" in capsys.readouterr().out
    assert upstream.received[-1].header("authorization") == ["Bearer x"]


def test_a_gateway_that_is_not_there_is_an_error() -> None:
    target = bypass.Target("127.0.0.1:1", ATTACK, HONEST)

    assert list(bypass.measure(target, PLACES[:1], bypass.columns("plain"))) == [["error"]]


def test_a_refusal_with_status_200_is_known_by_its_text(upstream: Upstream) -> None:
    """The sample upstream answers everybody alike, as a gateway does that refuses everybody."""
    target = bypass.Target(upstream.address, ATTACK, HONEST, refusal="sample model")

    assert list(bypass.measure(target, PLACES[:1], bypass.columns("plain"))) == [["refused"]]


def test_the_document_shows_the_result_that_was_kept() -> None:
    assert bypass.render(KEPT) in (ROOT / "docs/bypass.md").read_text()


def test_the_result_that_was_kept_is_of_all_places_and_ways() -> None:
    assert [(row["dialect"], row["place"]) for row in KEPT["rows"]] == [
        (place.dialect, place.name) for place in PLACES
    ]
    assert [way["name"] for way in KEPT["columns"]] == [way.name for way in bypass.columns()]


def test_nothing_that_we_promise_to_see_was_missed() -> None:
    promised = [at for at, way in enumerate(KEPT["columns"]) if way["group"] != "not undone"]
    missed = [
        (row["dialect"], row["place"], KEPT["columns"][at]["name"])
        for row in KEPT["rows"]
        for at in promised
        if row["cells"][at] in "me"
    ]
    assert missed == []
