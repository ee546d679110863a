"""Open inference protocol (KServe version 2, Triton) and version 1: tensors with names."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import orjson

from extauthz.core.call import Provenance
from extauthz.core.dialects.dialect import FREE_FORM, PAYLOAD, TOKEN_IDS, Dialect, Place, words
from extauthz.core.media import Media

#: Triton's servers for language models take settings as tensors of one or two integers each.
_MANY_IDS: Final = replace(TOKEN_IDS, least=4)
_INTEGERS: Final = tuple(f"{sign}INT{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64))
_PLACES: Final[Mapping[str, Place]] = {
    "inputs/*/data": _MANY_IDS.when("datatype", *_INTEGERS),
    "parameters": FREE_FORM,
    "inputs/*/parameters": FREE_FORM,
}
_WORDS: Final = words("id inputs outputs name shape datatype data parameters")


def _error(message: str, _status: int) -> bytes:
    return orjson.dumps({"error": message})


KSERVE: Final = Dialect(
    name="kserve",
    endpoints=(
        "/v2/models/{model}/infer",
        "/v2/models/{model}/versions/*/infer",
        "/v2/models/{model}/generate",
        "/v2/models/{model}/generate_stream",
        "/v2/models/{model}/versions/*/generate",
        "/v2/models/{model}/versions/*/generate_stream",
    ),
    accepts=frozenset({Media.JSON, Media.TENSORS}),
    labels={
        "inputs/*": Provenance.USER,
        "inputs/*/data": Provenance.USER,
        "text_input": Provenance.USER,  # Triton's generate extension
    },
    places=_PLACES,
    vocabulary=_WORDS | words("text_input stream max_tokens"),
    stream_paths=("/generate_stream",),
    error=_error,
)

#: Protobuf is read without its schema: a message is an object from field numbers to lists of
#: values, and a value a list of readings where there are several. These are the integers of
#: ModelInferRequest.inputs (5).contents (5), where they are not packed; packed or raw ones are bytes.
_CONTENTS: Final[Mapping[str, Place]] = {
    f"*/{tensor}/{contents}/{integers}": _MANY_IDS
    for tensor in ("5/*", "5/*/*")
    for contents in ("5/*", "5/*/*")
    for integers in ("2", "3", "4", "5")
}

KSERVE_GRPC: Final = Dialect(
    name="kserve_grpc",
    endpoints=(
        "/inference.GRPCInferenceService/ModelInfer",
        "/inference.GRPCInferenceService/ModelStreamInfer",
    ),
    accepts=frozenset({Media.GRPC}),
    labels={"*": Provenance.USER},
    places=_CONTENTS,
    model="0/1/0",
    stream_paths=("/ModelStreamInfer",),
    max_tokens=(),
    choices=(),
)

KSERVE_V1: Final = Dialect(
    name="kserve_v1",
    endpoints=("/models/{model}:predict", "/models/{model}:explain"),
    labels={"instances/*": Provenance.USER, "inputs": Provenance.USER},
    places={
        "instances": _MANY_IDS,
        "inputs": _MANY_IDS,
        "instances/*/b64": PAYLOAD,  # TensorFlow Serving
        "instances/*/*/b64": PAYLOAD,
        "instances/*/image/bytesBase64Encoded": PAYLOAD,  # Vertex AI
        "parameters": FREE_FORM,
    },
    vocabulary=words("instances inputs parameters"),
    error=_error,
)
