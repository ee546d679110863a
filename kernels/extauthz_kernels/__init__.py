"""Numba kernels: flat arrays in, outputs passed in, no clock, no allocation, no I/O."""

from extauthz_kernels.fold import (
    fold_flags,
    fold_words,
    join_spelled,
    join_symbols,
    map_points,
    turn_words,
)
from extauthz_kernels.members import json_members
from extauthz_kernels.pack import pack_windows
from extauthz_kernels.percent import percent_decode
from extauthz_kernels.scan import cap_runs, json_shape
from extauthz_kernels.words import changed_places, word_stream
from extauthz_kernels.worst import worst_windows

__all__ = [
    "cap_runs",
    "changed_places",
    "fold_flags",
    "fold_words",
    "join_spelled",
    "join_symbols",
    "json_members",
    "json_shape",
    "map_points",
    "pack_windows",
    "percent_decode",
    "turn_words",
    "word_stream",
    "worst_windows",
]
