"""The one file that knows Numba: how every kernel is compiled, and where the result is kept."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, ParamSpec, Protocol, TypeVar, cast

import numba

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


def _cache_path() -> Path:
    """Where compiled kernels are kept: beside the byte code, under a digest of all their sources.

    Numba itself looks at one file at a time and would keep a kernel whose callee has changed.
    """
    here = Path(__file__).parent
    digest = hashlib.sha256(numba.__version__.encode())
    for source in sorted(here.glob("*.py")):
        digest.update(source.read_bytes())
    return here / "__pycache__" / f"compiled-{digest.hexdigest()[:16]}"


def _keep_compiled() -> bool:
    """Whether compiled kernels can be kept: a container's file system may be read-only."""
    path = _cache_path()
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    # Over NUMBA_CACHE_DIR: compiled code from a folder that others may write would be theirs.
    numba.config.CACHE_DIR = str(path)  # type: ignore[attr-defined]
    return os.access(path, os.W_OK)


_KEEP: Final = _keep_compiled()


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

    Compiling all kernels takes some 15 s of CPU, so the result is kept beside the byte code where
    that can be written. No fastmath: a NaN must stay a NaN.
    """

    def compile_(function: Callable[P, R]) -> Kernel[P, R]:
        jitted = numba.njit(list(signatures), nogil=True, error_model="numpy", cache=_KEEP)(
            function
        )
        if not hasattr(jitted, "py_func"):  # NUMBA_DISABLE_JIT=1 returns the function itself
            jitted.py_func = function
        return cast("Kernel[P, R]", jitted)

    return compile_
