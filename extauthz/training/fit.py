"""The fine-tuning loop."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from extauthz.training.encoder import Classifier
from extauthz.training.sampling import Batch, Example, batches, draw

CHECKPOINT_EVERY = 100
WARM_UP = 0.06


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that, with the rows and the base weights, determines the result.

    Attributes:
        cap: texts per source, label and epoch.
        window: tokens of a text that are seen, special tokens included.
        batch_tokens: padded tokens of a step.
        stop_after: steps after which to stop, whatever the schedule still holds; 0 for none.
    """

    epochs: int
    cap: int
    window: int
    batch_tokens: int
    learning_rate: float
    label_smoothing: float
    seed: int
    stop_after: int


def fit(
    model: Classifier,
    pool: Sequence[Example],
    recipe: Recipe,
    checkpoint: Path,
    report: Callable[[str], None],
) -> None:
    """Fine-tunes all of `model` in place; the weights so far go to `checkpoint` as safetensors."""
    plan = _plan(pool, recipe)
    report(_summary(plan))
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=recipe.learning_rate, weight_decay=0.01, fused=True
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, _ramp(len(plan)))
    started, recent = time.monotonic(), 0.0
    model.train()
    for step, batch in enumerate(plan, start=1):
        loss = _loss(model, batch, recipe.label_smoothing)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        recent = loss.item() if step == 1 else 0.95 * recent + 0.05 * loss.item()
        last = step in (len(plan), recipe.stop_after)
        if step % CHECKPOINT_EVERY == 0 or last:
            save_file(model.state_dict(), checkpoint)
            minutes = (time.monotonic() - started) / 60
            report(f"step {step}/{len(plan)} loss {recent:.4f} after {minutes:.1f} min")
        if last:
            break
    model.eval()


def _plan(pool: Sequence[Example], recipe: Recipe) -> list[Batch]:
    """Every batch of every epoch; each epoch draws anew from sources larger than the cap."""
    rng = np.random.default_rng(recipe.seed)
    return [
        batch
        for _ in range(recipe.epochs)
        for batch in batches(draw(pool, recipe.cap, rng), recipe.window, recipe.batch_tokens, rng)
    ]


def _summary(plan: Sequence[Batch]) -> str:
    tokens = sum(int(batch.attention_mask.sum()) for batch in plan)
    attacks = sum(int(batch.labels.sum()) for batch in plan)
    texts = sum(batch.labels.size for batch in plan)
    return f"{len(plan)} steps, {texts} texts of which {attacks} attacks, {tokens} tokens"


def _ramp(steps: int) -> Callable[[int], float]:
    warm = max(1, int(WARM_UP * steps))
    return lambda step: min((step + 1) / warm, (steps - step) / max(1, steps - warm))


def _loss(model: Classifier, batch: Batch, smoothing: float) -> Tensor:
    # bfloat16 products, float32 weights and reductions: 1.6 times faster where the CPU has them.
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(torch.from_numpy(batch.input_ids), torch.from_numpy(batch.attention_mask))
    labels = torch.from_numpy(batch.labels)
    return functional.cross_entropy(logits.float(), labels, label_smoothing=smoothing)
