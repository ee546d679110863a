"""Train, export, check and calibrate: the steps of `extauthz train`, in order. Needs torch."""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer

from extauthz.core.call import Provenance
from extauthz.training import encoder, graph
from extauthz.training.calibrate import calibrate
from extauthz.training.digests import sha256_of
from extauthz.training.fit import Recipe, fit
from extauthz.training.invariance import batch_effect
from extauthz.training.rows import Row, data_digest
from extauthz.training.sampling import examples, learnable
from extauthz.training.score import WindowScorer

NAME, VERSION = "minilm-guard", "1"
WINDOW, OVERLAP = 256, 64
LABELS = {"0": "BENIGN", "1": "INJECTION"}
BATCH_EFFECT_LIMIT = 1e-3
# Rounding to 8 bits moves single scores; on average it must stay small.
EXPORT_DRIFT_LIMIT = 0.02
CHECKED_TEXTS = 200


class ExportError(RuntimeError):
    """The exported model is not what was trained, or its scores depend on the batch."""


def build(rows: Sequence[Row], args: argparse.Namespace) -> int:
    """Writes the whole model directory to `args.out`. Raises `ExportError`, `DigestError`."""
    torch.set_num_threads(args.threads)
    base = encoder.base_directory()
    learned, dev = learnable(rows), [row for row in rows if row.split == "dev"]
    out: Path = args.out
    out.mkdir(parents=True, exist_ok=True)
    model = encoder.pretrained(base, args.seed)
    _write_tokenizer(base / "tokenizer.json", out / "tokenizer.json")
    if args.weights:
        model.load_state_dict(load_file(args.weights))
    else:
        tokenizer = Tokenizer.from_file(str(out / "tokenizer.json"))
        tokenizer.encode_special_tokens = True
        pool = examples(learned, tokenizer, WINDOW)
        fit(model, pool, _recipe(args), out.with_suffix(".safetensors"), _report)
    model.eval()
    weights = {name: value.numpy() for name, value in model.state_dict().items()}
    onnx.save(graph.model(weights), out / "model.onnx")
    _write_json(out / "config.json", _config())
    digest = data_digest(learned)
    _write_guard(out, digest, dict.fromkeys(Provenance, 0.5))
    scorer = WindowScorer(out, args.threads)
    scores = scorer.texts([row.text for row in dev])
    calibrated = calibrate(dev, scores)
    _check(scorer, model, dev, list(calibrated.values()))
    _write_guard(out, digest, calibrated)
    _report(f"wrote {out}: {json.dumps(calibrated)}")
    return 0


def _recipe(args: argparse.Namespace) -> Recipe:
    return Recipe(
        epochs=args.epochs,
        cap=args.cap,
        window=WINDOW,
        batch_tokens=args.batch_tokens,
        learning_rate=args.learning_rate,
        label_smoothing=args.label_smoothing,
        seed=args.seed,
        stop_after=args.stop_after,
    )


def _check(
    scorer: WindowScorer, model: encoder.Classifier, dev: Sequence[Row], thresholds: Sequence[float]
) -> None:
    """The exported graph against torch, and each window against its batch-mates."""
    step = max(1, len(dev) // CHECKED_TEXTS)
    windows = [scorer.windows(row.text)[0] for row in dev[::step]]
    effect = batch_effect(scorer.batch, windows, WINDOW, thresholds)
    _report(f"a batch moves a score by {effect.largest:.1e} and {effect.flips} decisions")
    if effect.largest > BATCH_EFFECT_LIMIT or effect.flips:
        msg = f"a score depends on its batch: {effect}"
        raise ExportError(msg)
    drift = [abs(_torch_score(model, window) - scorer.batch([window])[0]) for window in windows]
    _report(f"8 bits move a score by {np.mean(drift):.4f} on average, {max(drift):.4f} at most")
    if np.mean(drift) > EXPORT_DRIFT_LIMIT:
        msg = f"the exported scores are {np.mean(drift):.4f} away from the trained model's"
        raise ExportError(msg)


def _torch_score(model: encoder.Classifier, window: np.ndarray) -> float:
    ids = torch.from_numpy(window.astype(np.int64))[None]
    with torch.no_grad():
        return float(model(ids, torch.ones_like(ids)).softmax(-1)[0, 1])


def _write_tokenizer(source: Path, target: Path) -> None:
    """Without the base's truncation and padding: the server cuts windows itself."""
    settings = json.loads(source.read_text(encoding="utf-8"))
    settings["truncation"] = settings["padding"] = None
    text = json.dumps(settings, ensure_ascii=False, separators=(",", ":"))
    target.write_text(text + "\n", encoding="utf-8")


def _config() -> dict[str, object]:
    return {
        "model_type": "bert",
        "architectures": ["BertForSequenceClassification"],
        "hidden_size": encoder.HIDDEN,
        "num_hidden_layers": encoder.LAYERS,
        "num_attention_heads": encoder.HEADS,
        "intermediate_size": encoder.INNER,
        "hidden_act": "gelu",
        "layer_norm_eps": encoder.EPSILON,
        "max_position_embeddings": encoder.POSITIONS,
        "type_vocab_size": 2,
        "vocab_size": encoder.VOCABULARY,
        "pad_token_id": 0,
        "id2label": LABELS,
        "label2id": {label: int(index) for index, label in LABELS.items()},
    }


def _write_guard(out: Path, digest: str, calibrated: Mapping[Provenance, float]) -> None:
    files = ("model.onnx", "tokenizer.json", "config.json")
    guard = {
        "format": 1,
        "name": NAME,
        "version": VERSION,
        "window": WINDOW,
        "overlap": OVERLAP,
        "malicious_labels": [LABELS["1"]],
        "thresholds": calibrated,
        "batch_invariant": True,
        "training_data": digest,
        "sha256": {name: sha256_of(out / name) for name in files},
    }
    _write_json(out / "guard.json", guard)


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def _report(line: str) -> None:
    print(line, flush=True)
