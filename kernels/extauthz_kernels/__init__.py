"""Numba kernels: flat arrays in, outputs passed in, no clock, no allocation, no I/O."""

from extauthz_kernels.fold import fold_words, join_spelled, map_points
from extauthz_kernels.pack import pack_windows
from extauthz_kernels.scan import cap_runs, json_shape
from extauthz_kernels.worst import worst_windows

__all__ = [
    "cap_runs",
    "fold_words",
    "join_spelled",
    "json_shape",
    "map_points",
    "pack_windows",
    "worst_windows",
]
