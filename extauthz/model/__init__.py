"""The classifier: a verified model directory, its tokenizer, its session, and what feeds them."""

from typing import Literal

#: Where the model runs. `auto` takes CUDA when onnxruntime-gpu and a device are there.
Device = Literal["auto", "cpu", "cuda"]
