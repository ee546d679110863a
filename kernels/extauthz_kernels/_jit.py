"""The one file that knows Numba: how every kernel is compiled."""

from collections.abc import Callable
from typing import Any, ParamSpec, Protocol, TypeVar, cast

import numba

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class Kernel(Protocol[P, R_co]):
    """A compiled kernel. `py_func` is the plain function it was compiled from."""

    @property
    def py_func(self) -> Callable[P, R_co]:
        """The uncompiled function, for the twin tests."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Run the compiled code."""


def read_only(dtype: Any) -> Any:
    """Type of a C-contiguous 1-D array that may be read-only, as `np.frombuffer(bytes)` gives."""
    return numba.types.Array(dtype, 1, "C", readonly=True)


def kernel(*signatures: Any) -> Callable[[Callable[P, R]], Kernel[P, R]]:
    """Compile eagerly for `signatures`, so that no request ever waits for the compiler.

    No `cache=True`: a container's file system may be read-only, and compiling all our kernels
    costs under two seconds at start-up. No fastmath: a NaN must stay a NaN.
    """

    def compile_(function: Callable[P, R]) -> Kernel[P, R]:
        jitted = numba.njit(list(signatures), nogil=True, error_model="numpy")(function)
        if not hasattr(jitted, "py_func"):  # NUMBA_DISABLE_JIT=1 returns the function itself
            jitted.py_func = function
        return cast("Kernel[P, R]", jitted)

    return compile_
