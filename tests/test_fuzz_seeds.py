import importlib
from pathlib import Path

import pytest

from fuzz.__main__ import minimise, targets
from fuzz.plant import seeds
from fuzz.targets import BrokenError, Choices, require

_SEEDS = Path(__file__).parent.parent / "fuzz" / "seeds"


@pytest.mark.parametrize("target", targets())
def test_what_must_hold_for_every_input_holds_for_the_seeds(target: str) -> None:
    check = importlib.import_module(f"fuzz.targets.{target}").check
    found = sorted((_SEEDS / target).iterdir())
    assert found
    for seed in found:
        check(seed.read_bytes())


def test_each_target_has_honest_seeds_and_each_seed_a_target() -> None:
    assert set(seeds()) == set(targets())


def test_what_does_not_hold_is_said() -> None:
    with pytest.raises(BrokenError, match="water is wet"):
        require(holds=False, what="water is wet")


def test_a_crash_is_cut_down_to_what_breaks(monkeypatch: pytest.MonkeyPatch) -> None:
    path = importlib.import_module("fuzz.targets.path")
    monkeypatch.setattr(path, "check", lambda data: require(b"<>" not in data, "no brackets"))
    assert minimise("path", b"a long way to <> and from there on") == b"<>"
    assert minimise("path", b"nothing here") == b"nothing here"


def test_every_input_means_something() -> None:
    choices = Choices(b"\x05ab")
    assert choices.pick(("a", "b", "c")) == "c"
    assert choices.rest() == b"ab"
    assert Choices(b"").pick(("a", "b")) == "a"
    assert Choices(b"").rest() == b""
