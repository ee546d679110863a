"""What a body is made of, before anyone says what it means."""

from enum import StrEnum
from typing import Any

from extauthz.core.opaque import Blob

#: A body once it is read: JSON values, with a Blob where the sender put bytes.
Tree = dict[str, Any] | list[Any] | str | int | float | bool | Blob | None


class Media(StrEnum):
    """The formats that a body can be read in. A dialect says which ones its upstream reads."""

    JSON = "json"
    #: One JSON value a line.
    JSON_LINES = "json_lines"
    #: application/x-www-form-urlencoded
    FORM = "form"
    #: multipart/form-data
    MULTIPART = "multipart"
    #: Length-prefixed messages, protobuf inside.
    GRPC = "grpc"
    #: KServe's JSON header with raw tensors behind it (Inference-Header-Content-Length).
    TENSORS = "tensors"
    #: Anything else: text if it is text, otherwise opaque.
    BYTES = "bytes"
