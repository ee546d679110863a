import numpy as np
import pytest
from tokenizers import Tokenizer

from extauthz.core.call import Provenance
from extauthz.training.rows import Row
from extauthz.training.sampling import Cutter, batches, draw, learnable
from extauthz.training.vocabulary import MARKERS, tokenizer
from tests.training.texts import row

WINDOW = 64
WORDS = [f"w{chr(97 + i // 26)}{chr(97 + i % 26)}" for i in range(200)]


def small() -> Tokenizer:
    markers = list(dict.fromkeys(MARKERS.values()))
    return tokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *markers, *WORDS])


def words(count: int) -> str:
    return " ".join(WORDS[i % len(WORDS)] for i in range(count))


def rng() -> np.random.Generator:
    return np.random.default_rng(3)


def inner(row_: Row, seed: int = 0) -> list[int]:
    """The ids of the text in the one window of a row."""
    ((ids, _),) = Cutter(small(), WINDOW).windows([row_], np.random.default_rng(seed))
    return [int(one) for one in ids[2:-1]]


def test_no_maker_gives_more_than_its_cap_of_either_label() -> None:
    pool = [
        row(f"{i}", label=label, source=f"{source}:{i % 3}")
        for label in (0, 1)
        for source in "ab"
        for i in range(20)
    ]
    drawn = draw([*pool, row(label=1, source="rare")], 5, rng(), None)
    counts: dict[tuple[str, int], int] = {}
    for one in drawn:
        counts[one.maker, one.label] = counts.get((one.maker, one.label), 0) + 1
    assert counts == {("a", 0): 5, ("a", 1): 5, ("b", 0): 5, ("b", 1): 5, ("rare", 1): 1}


def test_half_of_an_honest_makers_share_are_its_hardest_texts() -> None:
    pool = [row(f"{i}") for i in range(100)]
    drawn = draw(pool, 10, rng(), np.arange(100, dtype=np.float32))
    assert {f"{i}" for i in range(95, 100)} <= {one.text for one in drawn}
    assert len({one.text for one in drawn}) == 10


def test_a_window_begins_with_the_marker_of_its_place() -> None:
    made = small()
    for provenance, marker in MARKERS.items():
        ((ids, label),) = Cutter(made, WINDOW).windows([row(words(3), channel=provenance)], rng())
        assert ids[1] == made.token_to_id(marker)
        assert label == 0


def test_an_epoch_holds_every_window_once_within_its_budget() -> None:
    drawn = [row(words(size), label=size % 2) for size in range(1, 60)]
    cutter = Cutter(small(), WINDOW)
    made = list(batches(cutter.windows(drawn, rng()), cutter.pad, 256, rng()))
    assert sum(batch.labels.size for batch in made) == 59
    assert sum(int(batch.labels.sum()) for batch in made) == 30
    for batch in made:
        assert batch.input_ids.shape[1] <= WINDOW
        assert batch.input_ids.size <= 256 or batch.labels.size == 1
        assert (batch.input_ids[batch.attention_mask == 0] == cutter.pad).all()


def test_a_long_benign_text_is_cut_to_a_run_of_its_tokens() -> None:
    cuts = [inner(row(words(190)), seed) for seed in range(30)]
    assert all((np.diff(cut) == 1).all() for cut in cuts)
    assert len({len(cut) for cut in cuts}) > 5
    assert max(map(len, cuts)) <= WINDOW - 3


def test_an_attack_is_whole_or_left_out_and_a_jailbreak_keeps_its_head() -> None:
    assert len(inner(row(words(WINDOW - 3), label=1))) == WINDOW - 3
    assert Cutter(small(), WINDOW).windows([row(words(WINDOW - 2), label=1)], rng()) == []
    long = row(words(190), label=1, kind="jailbreak")
    assert len(inner(long)) == WINDOW - 3


def test_every_window_of_a_text_is_cut_as_the_server_cuts_it() -> None:
    cutter = Cutter(small(), 100)
    windows = cutter.every_window(row(words(190), channel=Provenance.DOCUMENT))
    assert {ids.size for ids in windows} == {100}
    assert {int(one) for ids in windows for one in ids} >= set(range(9, 199))


def test_dropped_words_become_unknown_and_never_a_special_token() -> None:
    cutter = Cutter(small(), WINDOW)
    made = cutter.windows([row(words(40))] * 40, rng(), dropping=True)
    unknown = [int((ids == 1).sum()) for ids, _ in made]
    assert 0 in unknown
    assert max(unknown) > 0
    assert all(ids[0] == 2 and ids[-1] == 3 for ids, _ in made)


@pytest.mark.parametrize(
    "kept_out",
    [
        row(split="dev"),
        row(label=1, source="gen:base64-wrapped"),
        row("Tell him yes", label=1, kind="own-payload"),
    ],
)
def test_what_cannot_be_learned_from_is_left_out(kept_out: Row) -> None:
    assert learnable([kept_out, row("plain")]) == [row("plain")]
