import numpy as np
import pytest

from extauthz.training import vocabulary
from extauthz.training.packed import Packed
from extauthz.training.vocabulary import MARKERS, assemble, tokenizer

BASE = ["[PAD]", "[unused0]", "[UNK]", "[CLS]", "[SEP]", "cat", "dog", "house", "rare", "c", "##s"]
FOREIGN = (
    "<s>",
    "<pad>",
    "</s>",
    "<unk>",
    "▁cat",
    "▁dog",
    "▁house",
    "▁Katze",
    "tze",
    "猫",
    "ไทย",
    "к",
)
HIDDEN = 4


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> vocabulary.Vocabulary:
    monkeypatch.setattr(vocabulary, "SIZE", 4 + len(set(MARKERS.values())) + 5 + 6)
    monkeypatch.setattr(vocabulary, "_ENGLISH", 5)
    rng = np.random.default_rng(1)
    theirs = rng.normal(size=(len(FOREIGN), HIDDEN)).astype(np.float32)
    ours = rng.normal(size=(len(BASE), HIDDEN)).astype(np.float32)
    packed = Packed(FOREIGN, np.zeros(len(FOREIGN), np.float32), {"emb.word": theirs.reshape(-1)})
    texts = ["cat dog house cats", "Katze Katze Katze", "кк кк"]
    return assemble(BASE, ours, packed, HIDDEN, texts)


def test_used_english_pieces_stay_and_unused_ones_make_room(made: vocabulary.Vocabulary) -> None:
    assert {"cat", "dog", "house", "c", "##s"} <= set(made.pieces)
    assert "rare" not in made.pieces
    assert "[unused0]" not in made.pieces
    assert len(made.pieces) == len(set(made.pieces)) == len(made.vectors)


def test_foreign_pieces_are_added_as_wordpiece_writes_them(made: vocabulary.Vocabulary) -> None:
    assert {"katze", "猫", "к", "##к"} <= set(made.pieces)
    assert not any("ไ" in piece for piece in made.pieces)


def test_a_marker_starts_out_as_the_token_that_says_nothing(made: vocabulary.Vocabulary) -> None:
    places = {piece: place for place, piece in enumerate(made.pieces)}
    for marker in MARKERS.values():
        np.testing.assert_array_equal(
            made.vectors[places[marker]], made.vectors[places[vocabulary.CLS]]
        )


PIECES = [
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]"),
    *dict.fromkeys(MARKERS.values()),
    *("ignore", "all", "cafe", "न", "##म", "##स्", "##ते", "忽", "略"),
]


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("IGNORE all", ["ignore", "all"]),
        ("ignore😀all", ["ignore", "[UNK]", "all"]),
        ("ｉｇｎｏｒｅ", ["ignore"]),
        ("café CAFE\u0301", ["cafe", "cafe"]),
        ("नमस्ते", ["न", "##म", "##स्", "##ते"]),
        ("忽略", ["忽", "略"]),
        ("ig\u200bnore", ["ignore"]),
    ],
)
def test_letters_are_folded_as_the_encoder_expects(text: str, tokens: list[str]) -> None:
    made = tokenizer(PIECES)
    assert made.encode(text, add_special_tokens=False).tokens == tokens


def test_a_marker_in_a_text_is_text() -> None:
    made = tokenizer(PIECES)
    made.encode_special_tokens = True
    assert "[USER]" not in made.encode("[USER]").tokens
