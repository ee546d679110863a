"""A model directory: what must be in it, what it says of itself, and that it is what it says.

Our own directories hold `guard.json`, which names window, overlap, markers, malicious labels and the
SHA-256 of every other file, and `calibration.json`, which says what a score means. A folder in the
Hugging Face layout works without either.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from extauthz.core.call import Provenance
from extauthz.model import calibration
from extauthz.model.calibration import Calibration, CalibrationError

#: Positions in use: DeBERTa's relative buckets mean nothing beyond 512, and a longer window
#: dilutes a short attack.
_LONGEST_WINDOW: Final = 512
#: A run of up to 64 tokens lies whole in one window.
_OVERLAP: Final = 64
#: The usual meaning of a two-class score, where nobody measured what a score means.
UNCALIBRATED_THRESHOLD: Final = 0.5
#: Of `guard.json`. Format 1 had no markers, and thresholds in place of a calibration.
_FORMAT: Final = 2
#: Digits of a digest that tell two of them apart in a message.
_SHOWN: Final = 12
#: RoBERTa and its kin count positions from the padding's id + 1, and never use those before.
_COUNT_FROM_PADDING: Final = frozenset(
    {
        "camembert",
        "data2vec-text",
        "longformer",
        "mpnet",
        "roberta",
        "roberta-prelayernorm",
        "xlm-roberta",
        "xlm-roberta-xl",
        "xmod",
    }
)
_ONNX_NAMES: Final = ("model.onnx", "model_quantized.onnx", "model_int8.onnx")
#: What is published in place of a file that is needed, and how to get that. A pickle is a program,
#: and a SentencePiece model does not say which special tokens stand around a text.
_NOT_READ: Final = {
    "model.onnx": (("*.bin", "*.pt", "*.pth", "*.safetensors"), "export the model to ONNX"),
    "tokenizer.json": (("*.model", "vocab.txt", "vocab.json"), "save the fast tokenizer"),
}
#: Label names of published guards. A set in which any label is in neither list is refused.
_BENIGN: Final = frozenset({"benign", "safe", "legit", "negative"})
_MALICIOUS: Final = frozenset(
    {
        "injection",
        "malicious",
        "jailbreak",
        "unsafe",
        "attack",
        "prompt_injection",
        "positive",
    }
)


_T = TypeVar("_T")


class ModelError(Exception):
    """A model directory that cannot be served. Says which file and what was expected."""


class _GuardFile(msgspec.Struct, forbid_unknown_fields=True):
    format: int
    name: str
    version: str
    window: int
    overlap: int
    malicious_labels: list[str]
    markers: dict[Provenance, str]
    batch_invariant: bool
    training_data: str
    sha256: dict[str, str]


class _ConfigFile(msgspec.Struct):
    """The members of a Hugging Face `config.json` that matter here; it has many others."""

    model_type: str = ""
    id2label: dict[str, str] = {}
    max_position_embeddings: int = _LONGEST_WINDOW
    pad_token_id: int | None = 0
    malicious_labels: list[str] = []


class _Model(msgspec.Struct):
    """Pieces: ids by name, or for Unigram in the order of their ids."""

    vocab: dict[str, int] | list[Any]


class _AddedToken(msgspec.Struct):
    id: int
    special: bool


class _TokenizerFile(msgspec.Struct):
    """The members of a `tokenizer.json` that say which ids a text can have."""

    model: _Model
    added_tokens: list[_AddedToken] = []


@dataclass(frozen=True, slots=True)
class ModelDirectory:
    """A directory that passed every check.

    Attributes:
        digest: SHA-256 over the digests of all files that shape a score, hex.
        graph_digest: SHA-256 of the graph's file alone, hex, or over that and those of weights in
            files of their own. A calibration names it.
        labels: label names in the order of the logits.
        malicious: for each label, whether its probability counts.
        window: tokens of a window, special tokens included.
        overlap: tokens that neighbouring windows share.
        markers: the token that tells the model where a text is from. Drop-in models know none.
        calibration: what a score means, if anybody measured it.
        batch_invariant: whether a score was measured not to depend on its batch-mates. Windows of
            a model for which that is unknown are run one at a time.
    """

    path: Path
    name: str
    version: str
    digest: str
    graph_digest: str
    onnx: Path
    tokenizer: Path
    labels: tuple[str, ...]
    malicious: tuple[bool, ...]
    window: int
    overlap: int
    pad_id: int
    markers: Mapping[Provenance, str]
    calibration: Calibration | None
    batch_invariant: bool

    def thresholds(self, false_positive_rate: float | None = None) -> dict[Provenance, float]:
        """Thresholds that at most that share of honest texts reach; by default the model's own.

        Raises ModelError when the rate was never measured.
        """
        if self.calibration is None:
            if false_positive_rate is None:
                return dict.fromkeys(Provenance, UNCALIBRATED_THRESHOLD)
            msg = f"{self.path}: has no calibration.json, so nobody knows its false_positive_rate"
            raise ModelError(f"{msg}; `extauthz calibrate` measures it on honest texts")
        own = self.calibration.false_positive_rate
        try:
            return self.calibration.at(own if false_positive_rate is None else false_positive_rate)
        except CalibrationError as error:
            msg = f"{self.path}: {error}"
            raise ModelError(msg) from error


def load(
    path: Path, calibrated: Path | None = None, *, ignore_calibration: bool = False
) -> ModelDirectory:
    """Read and verify a model directory, with the calibration of a file in place of its own.

    With `ignore_calibration` there is none, whatever lies there: for whoever measures a new one.

    Raises ModelError.
    """
    onnx = _find_onnx(path)
    tokenizer = _require(path / "tokenizer.json", onnx.parent / "tokenizer.json")
    config_path = _require(path / "config.json", onnx.parent / "config.json")
    config = _decode(config_path, _ConfigFile)
    digests = {file.name: _sha256(file) for file in _files(onnx, tokenizer, config_path)}
    guard_path = path / "guard.json"
    if guard_path.exists():
        described, guard = guard_path, _decode(guard_path, _GuardFile)
        _verify_files(guard_path, guard, digests)
    else:
        described, guard = config_path, _defaults(path, config)
    _verify_ranges(described, guard)
    labels = _labels(config_path, config)
    graph_digest = _graph_digest(onnx.name, digests)
    meaning = None if ignore_calibration else _calibration(path, calibrated, graph_digest)
    parts = (sorted(digests.items()), msgspec.json.encode(guard, order="sorted"), meaning)
    summary = repr(parts)
    return ModelDirectory(
        path=path,
        name=guard.name,
        version=guard.version,
        digest=hashlib.sha256(summary.encode()).hexdigest(),
        graph_digest=graph_digest,
        onnx=onnx,
        tokenizer=tokenizer,
        labels=labels,
        malicious=_malicious(described, labels, guard.malicious_labels),
        window=guard.window,
        overlap=guard.overlap,
        pad_id=config.pad_token_id or 0,
        markers=guard.markers,
        calibration=meaning,
        batch_invariant=guard.batch_invariant,
    )


def largest_id(tokenizer: Path) -> int:
    """The largest id that a text can have in a `tokenizer.json`. Raises ModelError."""
    file = _decode(tokenizer, _TokenizerFile)
    pieces = file.model.vocab
    ids = pieces.values() if isinstance(pieces, dict) else range(len(pieces))
    added = (token.id for token in file.added_tokens if not token.special)
    return max([*ids, *added], default=0)


def _graph_digest(graph: str, digests: Mapping[str, str]) -> str:
    """One digest of a graph with the weights beside it: another training changes these alone."""
    files = sorted((name, digest) for name, digest in digests.items() if name.startswith(graph))
    return digests[graph] if len(files) == 1 else hashlib.sha256(repr(files).encode()).hexdigest()


def _calibration(path: Path, named: Path | None, graph_digest: str) -> Calibration | None:
    """What is measured of the graph with that digest: in the file named, or in the directory's own."""
    file = named or path / "calibration.json"
    if named is None and not file.exists():
        return None
    try:
        found = calibration.read(file)
    except CalibrationError as error:
        raise ModelError(str(error)) from error
    except OSError as error:
        msg = f"{file}: {error.strerror}"
        raise ModelError(msg) from error
    if found.model != graph_digest:
        msg = (
            f"{file}: measured for a model with SHA-256 {found.model[:_SHOWN]}..., "
            f"but that in {path} has {graph_digest[:_SHOWN]}...; measure this one with "
            f"`extauthz calibrate --model {path}`, or serve the one that was measured"
        )
        raise ModelError(msg)
    return found


def _find_onnx(path: Path) -> Path:
    candidates = [path / sub / name for name in _ONNX_NAMES for sub in ("", "onnx")]
    return _require(*candidates)


def _require(*candidates: Path) -> Path:
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    names = " or ".join(sorted({candidate.name for candidate in candidates}))
    found = _instead(candidates[0]) or "found neither"
    msg = f"{candidates[0].parent}: expected {names} here or under onnx/, {found}"
    raise ModelError(msg)


def _instead(path: Path) -> str:
    """What was published in place of a file."""
    patterns, remedy = _NOT_READ.get(path.name, ((), ""))
    found = sorted(file.name for pattern in patterns for file in path.parent.glob(pattern))
    return f"found {found[0]}, which is not read: {remedy}" if found else ""


def _files(onnx: Path, tokenizer: Path, config: Path) -> list[Path]:
    weights = onnx.parent.glob(f"{onnx.name}?data*")  # external data of graphs above 2 GB
    return [onnx, tokenizer, config, *sorted(weights)]


def _decode(path: Path, kind: type[_T]) -> _T:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, OSError, RecursionError) as error:
        msg = f"{path}: {error}"
        raise ModelError(msg) from error


def _defaults(path: Path, config: _ConfigFile) -> _GuardFile:
    """What a drop-in folder gets."""
    window = min(_positions(config), _LONGEST_WINDOW)
    return _GuardFile(
        format=_FORMAT,
        name=path.resolve().name,
        version="",
        window=window,
        overlap=min(_OVERLAP, window // 4),
        malicious_labels=config.malicious_labels,
        markers={},
        batch_invariant=False,
        training_data="",
        sha256={},
    )


def _positions(config: _ConfigFile) -> int:
    """How many tokens the model has positions for."""
    counted = config.model_type in _COUNT_FROM_PADDING
    unused = (config.pad_token_id or 0) + 1 if counted else 0
    return config.max_position_embeddings - unused


def _verify_files(path: Path, guard: _GuardFile, digests: Mapping[str, str]) -> None:
    if guard.format != _FORMAT:
        msg = f"{path}: format {guard.format} is not known here, expected {_FORMAT}"
        raise ModelError(msg)
    for name, digest in digests.items():
        if guard.sha256.get(name) != digest:
            msg = f"{path}: {name} has SHA-256 {digest}, expected {guard.sha256.get(name)}"
            raise ModelError(msg)


def _verify_ranges(path: Path, guard: _GuardFile) -> None:
    if not 0 <= guard.overlap < guard.window - 2 <= _LONGEST_WINDOW:
        msg = f"{path}: expected 0 <= overlap < window - 2 <= {_LONGEST_WINDOW}"
        raise ModelError(msg)
    if guard.markers and (missing := sorted(set(Provenance) - set(guard.markers))):
        names = ", ".join(missing)
        msg = f"{path}: expected a marker for each provenance or none, there is none for {names}"
        raise ModelError(msg)


def _labels(path: Path, config: _ConfigFile) -> tuple[str, ...]:
    """Label names in the order of the logits."""
    keys = [str(index) for index in range(len(config.id2label))]
    if set(keys) != set(config.id2label):
        msg = f"{path}: id2label has keys {sorted(config.id2label)}, expected {keys}"
        raise ModelError(msg)
    return tuple(config.id2label[key] for key in keys)


def _malicious(path: Path, labels: tuple[str, ...], named: list[str]) -> tuple[bool, ...]:
    """Which labels count. A single label is a single logit: the probability of an attack."""
    if not 1 <= len(labels) <= 3:
        msg = f"{path}: id2label has {len(labels)} labels, expected 1 to 3"
        raise ModelError(msg)
    if unknown := set(named) - set(labels):
        msg = f"{path}: malicious_labels names {sorted(unknown)}, id2label has {list(labels)}"
        raise ModelError(msg)
    if len(labels) == 1:
        return (True,)
    if named:
        return tuple(label in named for label in labels)
    known = [label.lower() in _MALICIOUS for label in labels]
    if (
        not any(known)
        or all(known)
        or any(
            not bad and label.lower() not in _BENIGN
            for label, bad in zip(labels, known, strict=True)
        )
    ):
        msg = (
            f"{path}: cannot tell which of the labels {list(labels)} is the attack; "
            'add "malicious_labels": [...] to this file'
        )
        raise ModelError(msg)
    return tuple(known)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
