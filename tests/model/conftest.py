from pathlib import Path

import pytest

from extauthz.model.directory import ModelDirectory, load
from extauthz.model.tokenizer import WindowTokenizer
from extauthz.settings import DEFAULT_MODEL
from tests import canary_model
from tests.model.cuts import OVERLAP, WINDOW


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return canary_model.build(tmp_path_factory.mktemp("model")) / "tokenizer.json"


@pytest.fixture(scope="module")
def tokenizer(path: Path) -> WindowTokenizer:
    return WindowTokenizer(path, WINDOW, OVERLAP)


@pytest.fixture(scope="module")
def shipped() -> ModelDirectory:
    return load(DEFAULT_MODEL)
