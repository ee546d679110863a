"""The fine-tuning loop."""

import copy
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from extauthz.training.compose import Composer, Mix
from extauthz.training.encoder import Classifier
from extauthz.training.rows import Row
from extauthz.training.sampling import Batch, Cutter, batches, draw, grouped, padded

REPORT_EVERY = 100
# Where a file of weights says which vocabulary they were learned with.
VOCABULARY = "tokenizer_sha256"
WARM_UP = 0.06
WEIGHT_DECAY = 0.01
# Averaging the weights over some 300 steps gives steadier scores on texts of other sources.
AVERAGE = 0.997
# Rows of one call when honest texts are looked through for hard ones.
_SCORED_ROWS = 64


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that, with the rows and the base weights, determines the result.

    Attributes:
        tokens: to learn from, in all epochs together.
        cap: texts per maker, label and epoch.
        window: tokens of a text that are seen, special tokens included.
        batch_tokens: padded tokens of a step.
        label_smoothing: how far a label is from certain.
        energy: weight of the penalty on honest texts that come near an attack.
        margin: how far below zero an honest text's attack margin must be to be free of the penalty.
        mix: what is composed for each epoch.
    """

    tokens: int
    cap: int
    window: int
    batch_tokens: int
    learning_rate: float
    label_smoothing: float
    energy: float
    margin: float
    seed: int
    mix: Mix = field(default_factory=Mix)


def fit(
    model: Classifier,
    rows: Sequence[Row],
    cutter: Cutter,
    recipe: Recipe,
    checkpoint: Path | None,
    report: Callable[[str], None],
    vocabulary: str = "",
) -> Classifier:
    """Fine-tunes all of `model`; returns the average of its weights over the last steps.

    The weights so far go to `checkpoint` as safetensors, if there is one, with the digest of their
    `vocabulary` beside them.
    """
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=recipe.learning_rate, weight_decay=WEIGHT_DECAY, fused=True
    )
    average = copy.deepcopy(model)
    started, recent, seen = time.monotonic(), math.nan, 0
    for step, batch in enumerate(_plan(model, rows, cutter, recipe, report), start=1):
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate * _ramp(seen / recipe.tokens)
        model.train()
        loss = _loss(model, batch, recipe)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        _follow(average, model, min(AVERAGE, step / (step + 10)))
        seen += int(batch.attention_mask.sum())
        recent = loss.item() if step == 1 else 0.98 * recent + 0.02 * loss.item()
        if step % REPORT_EVERY == 0 or seen >= recipe.tokens:
            minutes = (time.monotonic() - started) / 60
            report(f"{seen / 1e6:.2f} M tokens, loss {recent:.4f} after {minutes:.1f} min")
            if checkpoint is not None:
                save_file(average.state_dict(), checkpoint, {VOCABULARY: vocabulary})
        if seen >= recipe.tokens:
            break
    return average.eval()


def _plan(
    model: Classifier,
    rows: Sequence[Row],
    cutter: Cutter,
    recipe: Recipe,
    report: Callable[[str], None],
) -> Iterator[Batch]:
    """Batches without end; each epoch draws and composes anew, from the second on the hard ones too."""
    rng = np.random.default_rng(recipe.seed)
    composer = Composer(rows, recipe.seed)
    scores: NDArray[np.float32] | None = None
    while True:
        drawn = [*draw(rows, recipe.cap, rng, scores), *composer.epoch(recipe.mix)]
        windows = cutter.windows(drawn, rng, dropping=True)
        attacks = sum(label for _, label in windows)
        tokens = sum(ids.size for ids, _ in windows)
        report(
            f"epoch of {len(windows)} texts, {attacks} of them attacks, {tokens / 1e6:.2f} M tokens"
        )
        yield from batches(windows, cutter.pad, recipe.batch_tokens, rng)
        scores = _hardness(model, rows, cutter, recipe.cap)


def _hardness(
    model: Classifier, rows: Sequence[Row], cutter: Cutter, cap: int
) -> NDArray[np.float32]:
    """The attack margin of every honest text of which there are more than are drawn; -inf for others."""
    groups = (places for (_, label, _), places in grouped(rows).items() if label == 0)
    places = [place for group in groups if len(group) > cap for place in group]
    places.sort(key=lambda i: len(rows[i].text))
    scores = np.full(len(rows), -np.inf, np.float32)
    rng = np.random.default_rng(0)
    for start in range(0, len(places), _SCORED_ROWS):
        chosen = [
            (i, window)
            for i in places[start : start + _SCORED_ROWS]
            for window in cutter.windows([rows[i]], rng)
        ]
        if chosen:
            found = margins(model, padded([window for _, window in chosen], cutter.pad))
            scores[[i for i, _ in chosen]] = found
    return scores


def margins(model: Classifier, batch: Batch) -> NDArray[np.float32]:
    """How far each text's attack logit is above its benign one, [batch] float32."""
    model.eval()
    with torch.inference_mode():
        logits = _logits(model, batch)
    return np.asarray((logits[:, 1] - logits[:, 0]).numpy(), np.float32)


def _ramp(done: float) -> float:
    """The share of the learning rate, when so much of the tokens was seen: up, then down to 0."""
    return min(done / WARM_UP + 0.01, (1 - done) / (1 - WARM_UP) + 0.01, 1.0)


@torch.no_grad()
def _follow(average: Classifier, model: Classifier, share: float) -> None:
    for kept, new in zip(average.parameters(), model.parameters(), strict=True):
        kept.lerp_(new, 1 - share)


def _logits(model: Classifier, batch: Batch) -> Tensor:
    # bfloat16 products, float32 weights and reductions: 1.6 times faster where the CPU has them.
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(torch.from_numpy(batch.input_ids), torch.from_numpy(batch.attention_mask))
    return logits.float()


def _loss(model: Classifier, batch: Batch, recipe: Recipe) -> Tensor:
    """Cross-entropy, and the energy penalty of honest texts.

    Ranking at one false positive in a hundred or a thousand is decided by the few honest texts with
    the highest scores, which cross-entropy hardly sees among the many. The penalty grows with the
    square of how far such a text's margin is above `-recipe.margin`.
    """
    logits = _logits(model, batch)
    labels = torch.from_numpy(batch.labels)
    loss = functional.cross_entropy(logits, labels, label_smoothing=recipe.label_smoothing)
    if not recipe.energy:
        return loss
    honest = (logits[:, 1] - logits[:, 0])[labels == 0]
    excess = functional.relu(honest + recipe.margin).square()
    return loss + recipe.energy * excess.sum() / len(labels)
