"""Train, export, check and calibrate: the steps of `extauthz train`, in order. Needs torch."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from extauthz.core.call import Passage
from extauthz.model import calibration
from extauthz.training import encoder, graph, leave_out, vocabulary
from extauthz.training.digests import sha256_of
from extauthz.training.evaluation.calibrate import calibrate
from extauthz.training.evaluation.invariance import batch_effect
from extauthz.training.evaluation.score import WindowScorer
from extauthz.training.fit import VOCABULARY, Recipe, fit
from extauthz.training.rows import Row, data_digest
from extauthz.training.sampling import OVERLAP, Cutter, learnable

NAME, VERSION = "minilm-guard", "2"
WINDOW = 256
LABELS = {"0": "BENIGN", "1": "INJECTION"}
# The operating point where no policy names one: five honest texts in a thousand.
FALSE_POSITIVES = 0.005
BATCH_EFFECT_LIMIT = 1e-3
# Rounding to 8 bits moves single scores; on average it must stay small.
EXPORT_DRIFT_LIMIT = 0.02
CHECKED_TEXTS = 200
SEARCHED_BATCHES = 60


class ExportError(RuntimeError):
    """The exported model is not what was trained, or its scores depend on the batch."""


def build(rows: Sequence[Row], args: argparse.Namespace) -> int:
    """Writes the whole model directory to `args.out`. Raises `ExportError`, `DigestError`."""
    torch.set_num_threads(args.threads)
    recipe = _recipe(args)
    if args.leave_out:
        found = leave_out.leave_out(rows, recipe, args.leave_out, _report)
        _report(leave_out.render(found))
        args.out.mkdir(parents=True, exist_ok=True)
        leave_out.write(args.out / "leave_one_source_out.json", found)
        return 0
    learned = learnable(rows)
    model = _trained(learned, recipe, args)
    _export(model, learned, args.out)
    scorer = WindowScorer(args.out, args.threads)
    dev = [row for row in rows if row.split == "dev"]
    _calibrate(scorer, dev, args.out)
    _check(WindowScorer(args.out, args.threads), model, dev)
    _report(f"wrote {args.out}")
    return 0


def _trained(
    learned: Sequence[Row], recipe: Recipe, args: argparse.Namespace
) -> encoder.Classifier:
    """The model of a recipe, or of weights that were trained before; its tokenizer is written."""
    words = encoder.vocabulary_for([row.text for row in learned])
    args.out.mkdir(parents=True, exist_ok=True)
    tokenizer, path = vocabulary.tokenizer(words.pieces), args.out / "tokenizer.json"
    path.write_text(tokenizer.to_str() + "\n", encoding="utf-8")
    model = encoder.pretrained(words, recipe.seed)
    if args.weights:
        _check_vocabulary(args.weights, path)
        model.load_state_dict(load_file(args.weights))
        return model.eval()
    checkpoint = args.out.with_name(f"{args.out.name}.safetensors")
    cutter = Cutter(tokenizer, WINDOW)
    return fit(model, learned, cutter, recipe, checkpoint, _report, sha256_of(path))


def _check_vocabulary(weights: Path, tokenizer: Path) -> None:
    """Weights mean nothing under another vocabulary, which other rows give. Raises `ExportError`."""
    with safe_open(weights, "pt") as file:
        learned = (file.metadata() or {}).get(VOCABULARY)
    if learned not in (None, sha256_of(tokenizer)):
        msg = f"{weights}: learned with another vocabulary; give the data that it was trained on"
        raise ExportError(msg)


def _recipe(args: argparse.Namespace) -> Recipe:
    return Recipe(
        tokens=int(args.tokens * 1e6),
        cap=args.cap,
        window=WINDOW,
        batch_tokens=args.batch_tokens,
        learning_rate=args.learning_rate,
        label_smoothing=args.label_smoothing,
        energy=args.energy,
        margin=args.margin,
        seed=args.seed,
    )


def _export(model: encoder.Classifier, learned: Sequence[Row], out: Path) -> None:
    weights = {name: value.numpy() for name, value in model.state_dict().items()}
    onnx.save(graph.model(weights), out / "model.onnx")
    _write_json(out / "config.json", _config(len(model.embeddings.word_embeddings.weight)))
    files = ("model.onnx", "tokenizer.json", "config.json")
    guard = {
        "format": 2,
        "name": NAME,
        "version": VERSION,
        "window": WINDOW,
        "overlap": OVERLAP,
        "malicious_labels": [LABELS["1"]],
        "markers": vocabulary.MARKERS,
        "batch_invariant": True,
        "training_data": data_digest(learned),
        "sha256": {name: sha256_of(out / name) for name in files},
    }
    _write_json(out / "guard.json", guard)
    (out / "calibration.json").unlink(missing_ok=True)


def _calibrate(scorer: WindowScorer, dev: Sequence[Row], out: Path) -> None:
    """What the exported model's scores mean, from honest texts that it has not learned from."""
    honest = [row for row in dev if row.label == 0]
    scores = scorer.texts([Passage(row.channel, row.text) for row in honest])
    places, model = [row.channel for row in honest], scorer.directory.graph_digest
    found = calibrate(places, scores, model, FALSE_POSITIVES)
    calibration.write(out / "calibration.json", found)


def _check(scorer: WindowScorer, model: encoder.Classifier, dev: Sequence[Row]) -> None:
    """The exported graph against torch, and each window against its batch-mates."""
    step = max(1, len(dev) // CHECKED_TEXTS)
    windows = [scorer.windows(Passage(row.channel, row.text))[0] for row in dev[::step]]
    thresholds = sorted(set(scorer.directory.thresholds().values()))
    effect = batch_effect(
        scorer.batch,
        windows,
        longest=WINDOW,
        vocabulary=len(model.embeddings.word_embeddings.weight),
        thresholds=thresholds,
        steps=SEARCHED_BATCHES,
    )
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


def _config(pieces: int) -> dict[str, object]:
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
        "vocab_size": pieces,
        "pad_token_id": 0,
        "id2label": LABELS,
        "label2id": {label: int(index) for index, label in LABELS.items()},
    }


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def _report(line: str) -> None:
    print(line, flush=True)
