"""Prompts of token ids say what the vocabulary of the model that is asked says they do."""

import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from extauthz.core.dialects import dialect_for
from extauthz.core.opaque import Opaque
from extauthz.core.policy import Rule
from extauthz.core.reading import Reading, read
from extauthz.model.directory import ModelError
from extauthz.model.vocabularies import Vocabularies
from tests import builders

WORDS = ["hello", "there", "xyzzy", "<|im_start|>"]
PATH = "/v1/completions"


@pytest.fixture(scope="module")
def vocabularies(tmp_path_factory: pytest.TempPathFactory) -> Vocabularies:
    path = tmp_path_factory.mktemp("upstream") / "tokenizer.json"
    vocabulary = {word: index for index, word in enumerate(WORDS)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="hello"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens(["<|im_start|>"])
    tokenizer.save(str(path))
    return Vocabularies({"small": path})


def reading(vocabularies: Vocabularies, model: str, prompt: object) -> Reading:
    body = json.dumps({"model": model, "prompt": prompt}).encode()
    call = builders.call(path=PATH, body=body)
    found = read(call, PATH, dialect_for(PATH), Rule(), vocabularies)
    assert isinstance(found, Reading)
    return found


@pytest.mark.parametrize("prompt", [[0, 2], [[1], [0, 2]]])
def test_ids_of_a_known_vocabulary_are_read_as_text(
    vocabularies: Vocabularies, prompt: object
) -> None:
    found = reading(vocabularies, "small", prompt)

    assert "hello xyzzy" in [look.text for look in found.looks]
    assert Opaque.TOKEN_IDS not in found.coverage.opaque
    assert found.coverage.complete


def test_markers_among_the_ids_are_shown(vocabularies: Vocabularies) -> None:
    found = reading(vocabularies, "small", [3, 0])

    assert "<|im_start|> hello" in [look.text for look in found.looks]
    assert [finding.name for finding in found.findings] == ["chatml"]


@pytest.mark.parametrize(("model", "ids"), [("other", [0, 2]), ("small", [0, 4]), ("", [0])])
def test_ids_that_nobody_knows_stay_unread(
    vocabularies: Vocabularies, model: str, ids: list[int]
) -> None:
    found = reading(vocabularies, model, ids)

    assert found.coverage.opaque == {Opaque.TOKEN_IDS: len(ids)}
    assert found.coverage.complete


def test_of_two_prompts_the_one_that_cannot_be_read_is_counted(vocabularies: Vocabularies) -> None:
    found = reading(vocabularies, "small", [[0, 2], [4, 4, 4]])

    assert found.coverage.opaque == {Opaque.TOKEN_IDS: 3}
    assert "hello xyzzy" in [look.text for look in found.looks]


def test_a_file_that_is_no_tokenizer_is_named(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text("{}")

    with pytest.raises(ModelError, match=r"tokenizer\.json: not a tokenizer"):
        Vocabularies({"small": path})


def test_texts_are_counted_by_the_vocabulary_of_the_model(vocabularies: Vocabularies) -> None:
    text = "Hello there"
    found = reading(vocabularies, "small", text)
    # The model's name is a text too: whatever is said counts, as nobody knows what is passed on.
    counted = [vocabularies.count("small", one) or 0 for one in (text, "small")]
    assert found.demand.input_tokens == sum(counted) + 2 * 4
    assert reading(vocabularies, "large", text).demand.input_tokens != 0


def test_nobody_counts_for_a_model_without_a_vocabulary(vocabularies: Vocabularies) -> None:
    assert vocabularies.count("large", "Hello") is None
    assert vocabularies.count("small", "") == 0
