"""Requests of known size, the same in every run."""

import json
import random

from extauthz.protocol._pb.check_pb2 import CheckRequest

#: Everyday words, each one token for the tokenizers in use, so that a text of n words has n tokens.
_WORDS = [
    "the",
    "garden",
    "was",
    "quiet",
    "in",
    "the",
    "morning",
    "and",
    "she",
    "wrote",
    "a",
    "short",
    "letter",
    "to",
    "her",
    "friend",
    "about",
    "the",
    "river",
    "house",
    "where",
    "they",
    "had",
    "spent",
    "every",
    "summer",
    "as",
    "children",
    "before",
    "the",
    "war",
    "came",
    "to",
    "town",
]


def text(tokens: int, seed: int = 0) -> str:
    """Harmless prose of `tokens` words."""
    generator = random.Random(seed)
    return " ".join(generator.choice(_WORDS) for _ in range(tokens))


def chat_body(tokens: int, seed: int = 0) -> bytes:
    """An OpenAI chat request whose user message has `tokens` words."""
    message = {"role": "user", "content": text(tokens, seed)}
    return json.dumps({"model": "gpt-4o-mini", "messages": [message]}).encode()


def check_request(body: bytes, path: str = "/v1/chat/completions", number: int = 0) -> bytes:
    """A serialised CheckRequest as Envoy sends it with `pack_as_bytes`."""
    message = CheckRequest()
    http = message.attributes.request.http
    http.id, http.method, http.path = str(number), "POST", path
    http.host, http.scheme, http.protocol = "api.example.com", "http", "HTTP/1.1"
    http.raw_body = body
    http.size = len(body)
    for name, value in {
        "content-type": "application/json",
        "content-length": str(len(body)),
        "user-agent": "OpenAI/Python",
        "accept": "application/json",
        "x-request-id": "3f0a2c0e-0000-4000-8000-000000000000",
        "x-forwarded-proto": "http",
        "x-envoy-auth-partial-body": "false",
    }.items():
        http.headers[name] = value
    return message.SerializeToString()


def arrivals(count: int, per_second: float, seed: int = 0) -> list[float]:
    """Poisson arrival times in seconds from 0: the same recording for every device and run."""
    generator = random.Random(seed)
    now = 0.0
    times = []
    for _ in range(count):
        now += generator.expovariate(per_second)
        times.append(now)
    return times
