"""Numba kernels: flat arrays in, outputs passed in, no clock, no allocation, no I/O."""

from extauthz_kernels.pack import pack_windows
from extauthz_kernels.scan import cap_runs, json_shape
from extauthz_kernels.worst import worst_windows

__all__ = ["cap_runs", "json_shape", "pack_windows", "worst_windows"]
