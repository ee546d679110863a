"""Requests out of bytes: the first ones choose headers and path, the rest is the body."""

from typing import Final

from extauthz.core.call import Call
from extauthz.core.media import Tree
from extauthz.core.opaque import Blob
from fuzz.targets import Choices

#: As large as what a bomb of a few bytes would like to become.
MAX_BYTES: Final = 256 * 1024
_TYPES: Final = (
    "application/json", "", "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=b", "application/grpc", "application/octet-stream",
    "application/jsonl", "text/plain; charset=utf-16", 'Multipart/Form-Data; charset="utf-8"; boundary="b"',
    "application/vnd.a+json; charset=utf-8", "application/json, text/plain", "multipart/mixed",
)  # fmt: skip
_CODINGS: Final = (
    "", "gzip", "deflate", "br", "zstd", "gzip, br", "x-gzip", "identity", "identity, gzip",
    "compress", "gzip,,", "zstd, zstd, zstd",
)  # fmt: skip
_PATHS: Final = (
    "/v1/chat/completions", "/v1/responses", "/v1/messages", "/v1/embeddings",
    "/v1/audio/transcriptions", "/v1/files", "/v2/models/m/infer",
    "/inference.GRPCInferenceService/ModelInfer", "/model/m/invoke",
    "/v1beta/models/m:generateContent", "/mcp", "/api/chat", "/v2/rerank", "/anything",
)  # fmt: skip
_EXTRA: Final[tuple[dict[str, str], ...]] = (
    {}, {"grpc-encoding": "gzip"}, {"inference-header-content-length": "2"},
    {"inference-header-content-length": "64"}, {"content-length": "9"}, {"content-length": "0"},
    {"x-envoy-auth-partial-body": "true"}, {"mcp-method": "tools/call"},
)  # fmt: skip


def request(data: bytes) -> Call:
    """The request that `data` describes."""
    choices = Choices(data)
    named = {"content-type": choices.pick(_TYPES), "content-encoding": choices.pick(_CODINGS)}
    path, extra = choices.pick(_PATHS), choices.pick(_EXTRA)
    headers = {name: value for name, value in named.items() if value} | extra
    return Call(
        method="POST", host="a.example.com", path=path, headers=headers, body=choices.rest()
    )


def texts(tree: Tree) -> list[str]:
    """Every key and string of a tree, in order; a Blob is bytes and has none."""
    if isinstance(tree, str):
        return [tree]
    if isinstance(tree, dict):
        return [text for key, member in tree.items() for text in (key, *texts(member))]
    return [text for member in tree for text in texts(member)] if isinstance(tree, list) else []


def size(tree: Tree) -> int:
    """Bytes of text and blobs in a tree."""
    if isinstance(tree, Blob):
        return len(tree.data)
    if isinstance(tree, str):
        return len(tree.encode())
    if isinstance(tree, dict):
        return sum(len(key.encode()) + size(member) for key, member in tree.items())
    return sum(map(size, tree)) if isinstance(tree, list) else 0
