import numpy as np
import pytest

from extauthz.training.sampling import CLS, PAD, SEP, Example, batches, draw

WINDOW = 64


def example(size: int, label: int = 0, source: str = "a") -> Example:
    return Example(np.arange(1000, 1000 + size), label, source)


def rng() -> np.random.Generator:
    return np.random.default_rng(3)


def test_no_source_gives_more_than_its_cap_of_either_label() -> None:
    pool = [example(3, label, source) for label in (0, 1) for source in "ab" for _ in range(20)]
    drawn = draw([*pool, example(3, 1, "rare")], 5, rng())
    counts: dict[tuple[str, int], int] = {}
    for one in drawn:
        counts[one.source, one.label] = counts.get((one.source, one.label), 0) + 1
    assert counts == {("a", 0): 5, ("a", 1): 5, ("b", 0): 5, ("b", 1): 5, ("rare", 1): 1}


def test_an_epoch_holds_every_text_once_within_window_and_batch() -> None:
    drawn = [example(size, size % 2) for size in [*range(1, 60), 300, 500]]
    drawn = [one for one in drawn if one.label == 0 or one.ids.size <= WINDOW - 2]
    made = batches(drawn, WINDOW, 256, rng())
    assert sum(batch.labels.size for batch in made) == len(drawn)
    assert sum(int(batch.labels.sum()) for batch in made) == sum(one.label for one in drawn)
    for batch in made:
        assert batch.input_ids.shape[1] <= WINDOW
        assert batch.input_ids.size <= 256 or batch.labels.size == 1
        for ids, mask in zip(batch.input_ids, batch.attention_mask, strict=True):
            text = ids[mask == 1]
            assert (text[0], text[-1]) == (CLS, SEP)
            assert (ids[mask == 0] == PAD).all()


def test_a_long_benign_text_is_cut_to_a_run_of_its_tokens() -> None:
    sizes = set()
    generator = rng()
    for _ in range(30):
        (batch,) = batches([example(1000)], WINDOW, 256, generator)
        inner = batch.input_ids[0, 1:-1]
        assert (np.diff(inner) == 1).all()
        sizes.add(inner.size)
    assert len(sizes) > 5
    assert max(sizes) <= WINDOW - 2


@pytest.mark.parametrize("size", [1, WINDOW - 2])
def test_an_attack_is_never_cut(size: int) -> None:
    (batch,) = batches([example(size, 1)], WINDOW, 256, rng())
    assert batch.input_ids[0, 1:-1].tolist() == list(range(1000, 1000 + size))
