import math
from collections.abc import Sequence

import numpy as np
import pytest

from extauthz.core.call import Passage, Provenance
from extauthz.training.evaluation.buried import THIRDS, Buried, measure, render
from extauthz.training.evaluation.metrics import Scores
from extauthz.training.evaluation.sets import Placed
from tests.training.evaluation.placed import placed

THRESHOLDS = dict.fromkeys(Provenance, 0.5)
WORD = "password"


def honest(number: int, length: int = 600, channel: Provenance = Provenance.DOCUMENT) -> Placed:
    return placed(0, f"minutes {number} ".ljust(length, "."), channel=channel)


def attack(number: int, length: int = 200, channel: Provenance = Provenance.DOCUMENT) -> Placed:
    return placed(1, f"{WORD} {number} ".ljust(length, "!"), channel=channel)


HONEST = [honest(number) for number in range(400)]
ATTACKS = [attack(number) for number in range(40)]
ROWS = [*HONEST, *ATTACKS]


class Reader:
    """Denies documents with the word among their first characters, and notes what it was asked."""

    def __init__(self, sees: int | None = None, denial: float = 0.9) -> None:
        self.sees = sees
        self.denial = denial
        self.asked: list[Passage] = []

    def __call__(self, passages: Sequence[Passage]) -> Scores:
        self.asked += passages
        return np.array([self.denial if WORD in text[: self.sees] else 0.1 for _, text in passages])

    @property
    def halves(self) -> tuple[list[str], list[str]]:
        """The honest documents, and the same with attacks."""
        texts = [text for _, text in self.asked]
        return texts[: len(texts) // 2], texts[len(texts) // 2 :]


def made(rows: Sequence[Placed], number: int) -> tuple[list[str], list[str]]:
    reader = Reader()
    measure(rows, reader, THRESHOLDS, number)
    return reader.halves


def test_documents_are_long_and_made_of_different_texts_with_blank_lines_between() -> None:
    documents, _ = made(ROWS, 30)
    known = {one.row.text for one in HONEST}
    for document in documents:
        parts = document.split("\n\n")
        assert 8_000 <= len(document) <= 32_000
        assert set(parts) <= known
        assert len(set(parts)) == len(parts)
    assert len(set(map(len, documents))) > 10


@pytest.mark.parametrize("length", [1, 37, 3_999, 4_000])
def test_a_document_has_its_length_whatever_its_texts_have(length: int) -> None:
    texts = [placed(0, chr(0x4E00 + n) * length, channel=Provenance.DOCUMENT) for n in range(900)]
    documents, _ = made([*texts, *ATTACKS], 20)
    assert all(8_000 <= len(document) <= 32_000 for document in documents)


def test_everything_is_scored_as_a_document_and_the_attack_is_all_that_differs() -> None:
    reader = Reader()
    measure(ROWS, reader, THRESHOLDS, 25)
    assert len(reader.asked) == 50
    assert {where for where, _ in reader.asked} == {Provenance.DOCUMENT}
    attacks = []
    for clean, dirty in zip(*reader.halves, strict=True):
        (found,) = (part for part in dirty.split("\n\n") if WORD in part)
        assert [part for part in dirty.split("\n\n") if part != found] == clean.split("\n\n")
        attacks.append(found)
    assert len(set(attacks)) == 25
    assert set(attacks) <= {one.row.text for one in ATTACKS}


def test_an_attack_stands_at_the_start_at_the_end_and_in_all_thirds() -> None:
    _, dirty = made(ROWS, 200)
    assert any(document.startswith(WORD) for document in dirty)
    assert any(document.split("\n\n")[-1].startswith(WORD) for document in dirty)
    found = measure(ROWS, Reader(), THRESHOLDS, 200)
    counts = [share.of for share in found.by_place.values() if share]
    assert list(found.by_place) == list(THIRDS)
    assert sum(counts) == 200
    assert min(counts) > 40


def test_an_attack_counts_where_it_stands() -> None:
    found = measure(ROWS, Reader(sees=2_600), THRESHOLDS, 100)
    first, middle, last = (found.by_place[name] for name in THIRDS)
    assert first is not None
    assert middle is not None
    assert last is not None
    assert found.recall is not None
    assert 0 < first.hits < first.of
    assert (middle.hits, last.hits) == (0, 0)
    assert (found.recall.hits, found.recall.of) == (first.hits, 100)
    assert 0 < found.recall.low < found.recall.value < found.recall.high


def test_documents_that_are_denied_without_an_attack_are_false_positives() -> None:
    rows = [*ROWS, placed(0, f"how to choose a {WORD}", channel=Provenance.TOOL_RESULT)]
    found = measure(rows, Reader(), THRESHOLDS, 10)
    assert found.false_positive_rate is not None
    assert (found.false_positive_rate.hits, found.false_positive_rate.of) == (1, 10)
    assert found.recall is not None
    assert found.recall.value == 1.0


def test_the_figures_say_what_the_documents_are_made_of() -> None:
    reader = Reader()
    found = measure(ROWS, reader, THRESHOLDS, 20)
    documents, _ = reader.halves
    parts = [part for document in documents for part in document.split("\n\n")]
    assert (found.documents, found.attacks, found.texts) == (20, 20, len(set(parts)))
    assert found.mean_length == sum(map(len, documents)) / 20


def test_users_texts_long_attacks_long_texts_and_blank_ones_are_not_used() -> None:
    odd = [
        honest(-1, channel=Provenance.USER),
        honest(-2, length=4_001),
        placed(0, " \n", channel=Provenance.DOCUMENT),
        attack(-3, channel=Provenance.USER),
        attack(-4, length=1_501),
        attack(-5, channel=Provenance.SYSTEM),
    ]
    tools = [honest(1_000, channel=Provenance.TOOL_RESULT), attack(1_000, length=1_500)]
    documents, dirty = made([*HONEST[:20], *odd, *tools], 6)
    assert not any(" -" in text for text in [*documents, *dirty])
    assert any("minutes 1000 " in text for text in documents)
    assert all(f"{WORD} 1000 " in text for text in dirty)


def test_no_text_is_used_again_before_all_others_were() -> None:
    documents, _ = made(ROWS, 20)
    parts = [part for document in documents for part in document.split("\n\n")]
    assert len(parts) > len(HONEST)
    assert len(set(parts[: len(HONEST)])) == len(HONEST)


def test_what_is_too_little_is_used_again() -> None:
    found = measure([*HONEST[:3], *ATTACKS[:2]], Reader(), THRESHOLDS, 9)
    assert (found.documents, found.texts, found.attacks) == (9, 3, 2)
    assert found.recall is not None
    assert found.recall.of == 9


def test_a_text_that_is_used_again_is_used_in_another_document_where_there_are_enough() -> None:
    documents, _ = made([*HONEST[:54], *ATTACKS], 50)
    for document in documents:
        parts = document.split("\n\n")
        assert len(set(parts)) == len(parts)


def test_two_runs_make_the_same_and_more_documents_begin_with_the_same() -> None:
    (few, few_dirty), (many, many_dirty) = made(ROWS, 10), made(ROWS, 30)
    assert made(ROWS, 10) == (few, few_dirty)
    assert (many[:10], many_dirty[:10]) == (few, few_dirty)
    assert len(set(many)) == 30


def test_the_threshold_is_that_of_documents_and_no_number_is_denied() -> None:
    high = THRESHOLDS | {Provenance.DOCUMENT: 0.95}
    below = measure(ROWS, Reader(denial=0.9), high, 5).recall
    faulty = measure(ROWS, Reader(denial=math.nan), high, 5).recall
    assert below is not None
    assert faulty is not None
    assert (below.hits, faulty.hits) == (0, 5)


def test_without_attacks_there_is_no_recall() -> None:
    found = measure(HONEST, Reader(), THRESHOLDS, 4)
    assert (found.documents, found.attacks, found.recall) == (4, 0, None)
    assert set(found.by_place.values()) == {None}
    assert found.false_positive_rate is not None


def test_without_honest_texts_there_are_no_documents() -> None:
    found = measure(ATTACKS, Reader(), THRESHOLDS, 4)
    assert found == Buried(0, 0, 0, None, None, dict.fromkeys(THIRDS), None)
    assert render(found).splitlines()[1].split() == ["anywhere", "0", "-"]


def test_a_line_for_all_places_each_third_and_no_attack() -> None:
    shown = render(measure(ROWS, Reader(), THRESHOLDS, 10)).splitlines()
    assert [line.split("  ")[0] for line in shown[1:]] == ["anywhere", *THIRDS, "none"]
    assert shown[1].split() == ["anywhere", "10", "100.0", "(72.2-100.0)"]
    assert shown[-1].split() == ["none", "10", "0.0", "(0.0-27.8)"]
