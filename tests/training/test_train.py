import argparse
from pathlib import Path

import pytest

from extauthz.training import train
from extauthz.training.digests import DigestError, verify_sha256


def test_without_torch_one_line_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(train, "find_spec", lambda name: None if name == "torch" else object())
    parser = argparse.ArgumentParser()
    train.add_arguments(parser)
    out = tmp_path / "model"
    assert train.run(parser.parse_args(["--data", "data.jsonl", "--out", str(out)])) == 2
    assert capsys.readouterr().err == "training needs torch: pip install 'extauthz[train]'\n"
    assert not out.exists()


def test_base_weights_that_are_not_the_pinned_ones_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"abc")
    verify_sha256(path, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
    path.write_bytes(b"abd")
    with pytest.raises(DigestError, match=r"^model\.safetensors: sha256 is "):
        verify_sha256(path, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
