"""Pictures of an evaluation, as PNG. The only module that needs matplotlib (extra `plots`).

roc.png           recall against false positive rate, a curve for each channel
reliability.png   how often a text of a given score is an attack, channel by channel
scores.png        how scores are spread, channel by channel
attempts.png      attack success against the number of attempts, where it was measured
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from extauthz.core.call import Provenance
from extauthz.training.evaluation.attempts import Success
from extauthz.training.evaluation.metrics import Flags, Scores, auc, rate, reliability, roc
from extauthz.training.evaluation.sets import Placed

#: Okabe and Ito's colours, which colour-blind people tell apart (https://jfly.uni-koeln.de/color/), and
#: a line of its own for each, for those who see no colours.
_COLOURS: Final[Mapping[Provenance, str]] = {
    Provenance.USER: "#0072B2",
    Provenance.DOCUMENT: "#D55E00",
    Provenance.TOOL_RESULT: "#009E73",
    Provenance.SYSTEM: "#CC79A7",
    Provenance.ASSISTANT: "#E69F00",
    Provenance.TOOL_DEFINITION: "#56B4E9",
}
_DASHES: Final[Mapping[Provenance, tuple[float, ...]]] = {
    Provenance.USER: (),
    Provenance.DOCUMENT: (6, 2),
    Provenance.TOOL_RESULT: (6, 2, 1, 2),
    Provenance.SYSTEM: (1, 2),
    Provenance.ASSISTANT: (3, 1, 1, 1, 1, 1),
    Provenance.TOOL_DEFINITION: (3, 2),
}
_BENIGN, _ATTACK, _INK = "#0072B2", "#D55E00", "#444444"
_DPI: Final = 150
_ACROSS: Final = 3


@dataclass(frozen=True, slots=True)
class _Channel:
    """The rows of one channel."""

    name: Provenance
    scores: Scores
    attack: Flags
    threshold: float

    @property
    def attacks(self) -> Scores:
        return self.scores[self.attack]

    @property
    def benign(self) -> Scores:
        return self.scores[~self.attack]


def draw(
    folder: Path,
    title: str,
    placed: Sequence[Placed],
    scores: Scores,
    thresholds: Mapping[Provenance, float],
) -> list[Path]:
    """Draws what can be seen of the scores; the files that were written."""
    folder.mkdir(parents=True, exist_ok=True)
    channels = list(_channels(placed, scores, thresholds))
    both = [one for one in channels if one.attacks.size and one.benign.size]
    written = [_panels(folder / "scores.png", f"Scores: {title}", channels, _spread)]
    if both:
        written.append(_roc(folder / "roc.png", f"Recall and false positives: {title}", both))
        heading = f"Reliability: {title}"
        written.append(_panels(folder / "reliability.png", heading, both, _reliability))
    return written


def draw_attempts(folder: Path, title: str, success: Success) -> Path:
    """Draws the share of attacks of which one attempt passed, after each attempt."""
    folder.mkdir(parents=True, exist_ok=True)
    figure = Figure(figsize=(7, 5), layout="constrained")
    axes: Axes = figure.subplots()
    counts = range(1, success.most + 1)
    shares = [found for count in counts if (found := success.within(count)) is not None]
    low, high = [100 * one.low for one in shares], [100 * one.high for one in shares]
    passed = [100 * one.value for one in shares]
    axes.fill_between(
        counts, low, high, color=_ATTACK, alpha=0.2, linewidth=0, label="95 % interval"
    )
    axes.plot(counts, passed, color=_ATTACK, linewidth=2, label="at least one passed")
    if success.as_written is not None:
        plain = 100 * success.as_written.value
        axes.axhline(plain, color=_INK, linestyle="--", linewidth=1, label="as written")
    axes.set_xscale("log")
    axes.set_xlim(0.9, success.most * 1.1)
    axes.set_xticks(success.counts, [str(count) for count in success.counts])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_ylim(0, 100)
    axes.set_xlabel("attempts per attack (log)")
    axes.set_ylabel(f"of {len(success.first_passes)} attacks, %")
    return _saved(figure, axes, f"Attack success: {title}", folder / "attempts.png")


def _channels(
    placed: Sequence[Placed], scores: Scores, thresholds: Mapping[Provenance, float]
) -> Iterator[_Channel]:
    attack = np.array([one.is_attack for one in placed], np.bool_)
    channel = np.array([one.row.channel for one in placed])
    for name in Provenance:
        here = channel == name
        if here.any():
            yield _Channel(name, scores[here], attack[here], thresholds[name])


def _roc(path: Path, title: str, channels: Sequence[_Channel]) -> Path:
    figure = Figure(figsize=(7.5, 5.5), layout="constrained")
    axes: Axes = figure.subplots()
    # No rate below one text is seen: what is left of half of one stands for 0.
    edge = 0.5 / max(one.benign.size for one in channels)
    for one in channels:
        false_positives, recall = roc(one.attacks, one.benign)
        label = f"{one.name} (AUC {auc(one.attacks, one.benign):.3f}, {one.attacks.size} attacks, {one.benign.size} benign)"
        axes.plot(
            np.maximum(false_positives, edge),
            recall,
            drawstyle="steps-post",
            label=label,
            color=_COLOURS[one.name],
            dashes=_DASHES[one.name],
        )
        at = max(rate(one.benign, one.threshold), edge), rate(one.attacks, one.threshold)
        axes.plot(
            *at, "o", color=_COLOURS[one.name], markeredgecolor="white", clip_on=False, zorder=5
        )
    chance = np.geomspace(edge, 1, 100)
    axes.plot(chance, chance, color=_INK, linestyle=":", linewidth=1, label="chance")
    axes.plot([], [], "o", color=_INK, label="at the threshold in use")
    axes.set_xscale("log")
    axes.set_xlim(edge, 1)
    axes.set_ylim(0, 1.01)
    axes.set_xlabel("false positive rate (log)")
    axes.set_ylabel("recall")
    return _saved(figure, axes, title, path)


def _panels(
    path: Path, title: str, channels: Sequence[_Channel], fill: Callable[[Axes, _Channel], None]
) -> Path:
    """A panel for each channel in one picture."""
    across = min(_ACROSS, len(channels))
    down = -(-len(channels) // across)
    figure = Figure(figsize=(max(6.0, 4.6 * across), 4.2 * down), layout="constrained")
    panels = figure.subplots(down, across, squeeze=False).ravel()
    for axes, one in zip(panels, channels, strict=False):
        fill(axes, one)
        axes.set_title(
            f"{one.name}: {one.attacks.size} attacks, {one.benign.size} benign", fontsize=10
        )
        _finished(axes)
    for axes in panels[len(channels) :]:
        axes.set_axis_off()
    figure.suptitle(title, fontweight="bold")
    figure.savefig(path, dpi=_DPI)
    return path


def _reliability(axes: Axes, one: _Channel) -> None:
    bins = reliability(one.scores, one.attack)
    middle = [found.score for found in bins]
    seen = [found.attacks.value for found in bins]
    below = [found.attacks.value - found.attacks.low for found in bins]
    above = [found.attacks.high - found.attacks.value for found in bins]
    axes.plot([0, 1], [0, 1], color=_INK, linestyle=":", linewidth=1, label="as often as it says")
    axes.errorbar(
        middle,
        seen,
        yerr=np.maximum([below, above], 0),
        color=_COLOURS[one.name],
        marker="o",
        linewidth=1,
        capsize=3,
        label="measured, 95 %",
    )
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel("mean score of the texts in a bin")
    axes.set_ylabel("of these attacks")


def _spread(axes: Axes, one: _Channel) -> None:
    edges = np.linspace(0, 1, 41).tolist()
    for scores, colour, name, hatch in (
        (one.benign, _BENIGN, "benign", ""),
        (one.attacks, _ATTACK, "attacks", "///"),
    ):
        number = scores[np.isfinite(scores)]
        if number.size:
            axes.hist(
                number, edges, color=colour, alpha=0.45, edgecolor=colour, hatch=hatch, label=name
            )
    if one.threshold <= 1:
        told = f"threshold {one.threshold:.4g}"
        axes.axvline(one.threshold, color=_INK, linestyle="--", linewidth=1.2, label=told)
    axes.set_yscale("log")
    axes.set_ylim(bottom=0.8)
    axes.set_xlim(0, 1)
    axes.set_xlabel("score")
    axes.set_ylabel("texts (log)")


def _saved(figure: Figure, axes: Axes, title: str, path: Path) -> Path:
    axes.set_title(title, fontweight="bold")
    _finished(axes)
    figure.savefig(path, dpi=_DPI)
    return path


def _finished(axes: Axes) -> None:
    axes.grid(visible=True, which="both", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.legend(fontsize=8, framealpha=0.9)
