import struct
from pathlib import Path

import numpy as np
import pytest

from extauthz.training.packed import PackedError, read

PIECES = ("<s>", "<pad>", "</s>", "<unk>", "▁ja", "né")


def packed(numbers: np.ndarray, scale: float) -> bytes:
    """A file with one float tensor and one of 4-bit blocks, written from the layout's description."""
    words = [piece.encode() for piece in PIECES]
    offsets = np.cumsum([0, *map(len, words)]).astype(np.uint32)
    head = struct.pack("<4sI7ifi", b"E5S1", 1, 32, 1, 1, 64, len(PIECES), 8, 2, 1e-12, 32)
    head += struct.pack("<5iQ", len(PIECES), 0, 2, 1, 3, int(offsets[-1]))
    head += offsets.tobytes() + np.arange(len(PIECES), dtype=np.float32).tobytes() + b"".join(words)
    head += struct.pack("<iI", 1, 9) + b"\0" * 9
    plain = np.array([1.5, -2.0], np.float32).tobytes()
    low, high = numbers[:16] + 8, numbers[16:] + 8
    block = np.float16(scale).tobytes() + (low | high << 4).astype(np.uint8).tobytes()
    size = len(head) + 4 + 2 * (2 + 1 + struct.calcsize("<BIQQ"))
    table = struct.pack("<i", 2)
    for name, kind, count, data, at in (
        (b"a", 0, 2, plain, size),
        (b"b", 1, 32, block, size + len(plain)),
    ):
        table += struct.pack("<H", 1) + name + struct.pack("<BIQQ", kind, count, at, len(data))
    return bytes(head + table + plain + block)


def test_pieces_scores_and_both_kinds_of_tensors_are_read(tmp_path: Path) -> None:
    numbers = np.arange(32) % 16 - 8
    file = tmp_path / "packed.bin"
    file.write_bytes(packed(numbers, 0.25))
    found = read(file)
    assert found.pieces == PIECES
    assert found.scores.tolist() == [0, 1, 2, 3, 4, 5]
    assert found.tensors["a"].tolist() == [1.5, -2.0]
    np.testing.assert_array_equal(found.tensors["b"], numbers * 0.25)


@pytest.mark.parametrize("broken", [b"E5S2", b"E5S1", b"E5S1" + b"\xff" * 200])
def test_another_file_is_refused(tmp_path: Path, broken: bytes) -> None:
    file = tmp_path / "packed.bin"
    file.write_bytes(broken)
    with pytest.raises(PackedError, match=r"^packed\.bin: "):
        read(file)
