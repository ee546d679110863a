from extauthz.training.deal import deal
from tests.training.texts import row

ROWS = [
    *[row(label=1, source=f"attacks-{size}") for size in (1, 2, 3, 4) for _ in range(size)],
    *[row(source=f"honest-{size}:part") for size in (5, 6) for _ in range(size)],
    row(source="seeds/override", label=1),
    row(source="development/mail"),
]


def test_every_maker_is_left_out_once_and_ours_never() -> None:
    makers = [maker for fold in deal(ROWS, 2) for maker in fold]
    assert sorted(makers) == sorted(
        {*(f"attacks-{n}" for n in (1, 2, 3, 4)), "honest-5", "honest-6"}
    )


def test_folds_have_like_numbers_of_attacks_and_each_has_honest_texts() -> None:
    for fold in deal(ROWS, 2):
        left_out = [one for one in ROWS if one.maker in fold]
        assert len([one for one in left_out if one.label]) == 5
        assert any(one.label == 0 for one in left_out)


def test_the_order_of_the_rows_does_not_matter() -> None:
    assert deal(ROWS[::-1], 2) == deal(ROWS, 2)
