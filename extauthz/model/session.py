"""ONNX Runtime, fed with one padded batch at a time."""

from typing import Any, Final

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from extauthz.model import Device
from extauthz.model.directory import ModelDirectory, ModelError, largest_id

_KNOWN_INPUTS: Final = frozenset({"input_ids", "attention_mask", "token_type_ids"})


class Session:
    """A loaded model. `run` is called from one thread only."""

    def __init__(self, directory: ModelDirectory, device: Device, threads: int) -> None:
        """Load the graph on `device`. Raises ModelError when it is not a classifier we can feed.

        Args:
            directory: a verified model directory.
            device: `auto` takes CUDA when onnxruntime-gpu and a device are there.
            threads: CPU threads for one run.
        """
        self.directory: Final = directory
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        providers = _providers(device)
        try:
            self._session = ort.InferenceSession(str(directory.onnx), options, providers=providers)
        except Exception as error:
            msg = f"{directory.onnx}: ONNX Runtime refuses it: {_reason(error)}"
            raise ModelError(msg) from error
        if device == "cuda" and self.device != "cuda":
            msg = "device cuda: ONNX Runtime found no usable one"
            raise ModelError(msg)
        self._inputs: Final = frozenset(item.name for item in self._session.get_inputs())
        self._labels: Final = len(directory.labels)
        if "input_ids" not in self._inputs or not self._inputs <= _KNOWN_INPUTS:
            msg = (
                f"{directory.onnx}: inputs {sorted(self._inputs)}, expected {sorted(_KNOWN_INPUTS)}"
            )
            raise ModelError(msg)
        self._probe()

    @property
    def device(self) -> str:
        """Where it runs: `cpu` or `cuda`."""
        used = self._session.get_providers()[0]
        return "cuda" if used == "CUDAExecutionProvider" else "cpu"

    def run(
        self, input_ids: NDArray[np.int64], attention_mask: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """Logits, (rows, labels) float32. Raises whatever the runtime raises on a poison row."""
        return self._logits(input_ids, attention_mask)

    def _logits(
        self, input_ids: NDArray[np.int64], attention_mask: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        feed = {"input_ids": input_ids, "attention_mask": attention_mask}
        if "token_type_ids" in self._inputs:
            feed["token_type_ids"] = np.zeros_like(input_ids)
        feed = {name: value for name, value in feed.items() if name in self._inputs}
        output: Any = self._session.run(None, feed)[0]
        logits = np.ascontiguousarray(output, np.float32)
        if logits.shape != (len(input_ids), self._labels):
            msg = f"logits of shape {logits.shape}, expected {(len(input_ids), self._labels)}"
            raise ModelError(msg)
        return logits

    def _probe(self) -> None:
        """Read the largest id of the tokenizer: an embedding without a row for it fails here.

        A client who found such a token could else make the model fail at will. (CUDA does not check
        ids and reads zeros.)
        """
        largest = largest_id(self.directory.tokenizer)
        ids = np.array([[largest]], np.int64)
        try:
            self._logits(ids, np.ones_like(ids))
        except ModelError as error:
            msg = f"{self.directory.onnx}: {error}"
            raise ModelError(msg) from error
        except Exception as error:
            found = f"it cannot read id {largest}, the largest of tokenizer.json"
            msg = f"{self.directory.onnx}: {found}: {_reason(error)}"
            raise ModelError(msg) from error


def _reason(error: Exception) -> str:
    """What ONNX Runtime says, without its codes: it speaks of files here, not of clients' texts."""
    lines = str(error).splitlines()
    return lines[0].split(" : ", 3)[-1] if lines else type(error).__name__


def _providers(device: Device) -> list[str]:
    if device == "cpu":
        return ["CPUExecutionProvider"]
    if "CUDAExecutionProvider" in ort.get_available_providers():
        return ["CUDAExecutionProvider", "CPUExecutionProvider"]
    if device == "cuda":
        msg = "device cuda: this onnxruntime has no CUDA provider; install extauthz[gpu]"
        raise ModelError(msg)
    return ["CPUExecutionProvider"]
