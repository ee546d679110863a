"""Our own seeds: enough of them, in enough languages, none twice, none of the development set learned."""

from collections import Counter
from pathlib import Path

import pytest

from extauthz.core.call import Provenance
from extauthz.training.corpus import seeds
from extauthz.training.rows import Row, RowError
from extauthz.training.sampling import learnable

LANGUAGES = (
    "en",
    "de",
    "fr",
    "es",
    "it",
    "pt",
    "nl",
    "pl",
    "tr",
    "ru",
    "zh",
    "ja",
    "ko",
    "ar",
    "hi",
)


@pytest.fixture(scope="module")
def own() -> list[Row]:
    return seeds()


def test_there_are_thousands_of_seeds_and_at_least_as_many_honest_ones_as_attacks(
    own: list[Row],
) -> None:
    labels = Counter(row.label for row in own if row.split == "train")
    assert sum(labels.values()) >= 5_000
    assert labels[0] >= labels[1] >= 2_000


def test_fifteen_languages_have_attacks_and_honest_texts(own: list[Row]) -> None:
    pairs = Counter((row.lang, row.label) for row in own if row.split == "train")
    for lang in LANGUAGES:
        assert min(pairs[lang, 0], pairs[lang, 1]) >= 30, lang


def test_every_place_has_honest_texts_and_all_but_the_assistants_attacks(own: list[Row]) -> None:
    places = {label: {row.channel for row in own if row.label == label} for label in (0, 1)}
    assert places[0] == set(Provenance)
    assert places[1] >= {
        Provenance.USER,
        Provenance.DOCUMENT,
        Provenance.TOOL_RESULT,
        Provenance.TOOL_DEFINITION,
    }


def test_no_text_stands_twice(own: list[Row]) -> None:
    folded = Counter(" ".join(row.text.lower().split()) for row in own)
    assert [text for text, count in folded.items() if count > 1] == []


def test_no_opening_dominates_the_attacks(own: list[Row]) -> None:
    attacks = [row for row in own if row.label == 1]
    openings = Counter(" ".join(row.text.lower().split()[:3]) for row in attacks)
    assert openings.most_common(1)[0][1] <= len(attacks) / 50


def test_the_development_set_is_never_learned_from(own: list[Row]) -> None:
    development = [row for row in own if row.split == "dev"]
    assert len(development) > 300
    assert not set(development) & set(learnable(own))


def test_a_file_that_is_no_seed_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "seeds.yaml"
    file.write_text("label: attack\n")
    with pytest.raises(RowError, match=r"seeds\.yaml: expected a mapping of channel, family"):
        seeds(tmp_path)
    file.write_text("{label: evil, channel: user, family: x, lang: en, texts: [a]}")
    with pytest.raises(RowError, match="label 'evil' or channel 'user' is unknown"):
        seeds(tmp_path)
    file.write_text('{label: attack, channel: user, family: x, lang: en, texts: [" "]}')
    with pytest.raises(RowError, match="not blank"):
        seeds(tmp_path)
