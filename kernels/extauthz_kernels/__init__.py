"""Numba kernels: flat arrays in, outputs passed in, no clock, no allocation, no I/O."""

from extauthz_kernels.ciphers import cipher_runs
from extauthz_kernels.escapes import unescape
from extauthz_kernels.fold import (
    fold_flags,
    fold_words,
    join_spelled,
    join_symbols,
    longest_spelling,
    map_points,
    turn_words,
)
from extauthz_kernels.hidden import hidden_runs, survey_hidden, visual_order
from extauthz_kernels.members import json_members
from extauthz_kernels.pack import pack_windows
from extauthz_kernels.percent import percent_decode
from extauthz_kernels.runs import decode_codes, decode_groups
from extauthz_kernels.scan import cap_runs, json_shape
from extauthz_kernels.tokens import estimate_tokens
from extauthz_kernels.words import changed_places, long_words, word_stream
from extauthz_kernels.worst import worst_windows

__all__ = [
    "cap_runs",
    "changed_places",
    "cipher_runs",
    "decode_codes",
    "decode_groups",
    "estimate_tokens",
    "fold_flags",
    "fold_words",
    "hidden_runs",
    "join_spelled",
    "join_symbols",
    "json_members",
    "json_shape",
    "long_words",
    "longest_spelling",
    "map_points",
    "pack_windows",
    "percent_decode",
    "survey_hidden",
    "turn_words",
    "unescape",
    "visual_order",
    "word_stream",
    "worst_windows",
]
