"""The one file that knows Numba: how every kernel is compiled, and where the result is kept."""

import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, ParamSpec, Protocol, TypeVar, cast

import numba
import numpy as np
from llvmlite import ir
from numba.core.caching import UserProvidedCacheLocator
from numba.extending import intrinsic, overload, register_jitable
from numpy.typing import NDArray

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

_WORD, _FLAG = ir.IntType(64), ir.IntType(32)
_POINTER = ir.IntType(8).as_pointer()


def _cache_path() -> Path:
    """Where compiled kernels are kept: beside the byte code, under a digest of all their sources.

    Numba itself looks at one file at a time and would keep a kernel whose callee has changed.
    """
    here = Path(__file__).parent
    digest = hashlib.sha256(numba.__version__.encode())
    for source in sorted(here.glob("*.py")):
        digest.update(source.read_bytes())
    return here / "__pycache__" / f"compiled-{digest.hexdigest()[:16]}"


class Beside(UserProvidedCacheLocator):
    """Numba's place for compiled code, also where it can only be read, as in a container."""

    @classmethod
    def from_function(cls, py_func: Callable[..., Any], py_file: str) -> "Beside":
        """The place for one function. Numba's own would first try to write there."""
        return cls(py_func, py_file)


# Over NUMBA_CACHE_DIR: compiled code from a folder that others may write would be theirs.
numba.config.CACHE_DIR = str(_cache_path())  # type: ignore[attr-defined]
numba.config.CACHE_LOCATOR_CLASSES = f"{__name__}.{Beside.__name__}"  # type: ignore[attr-defined]


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


def kernel(*signatures: Any, allocates: bool = True) -> Callable[[Callable[P, R]], Kernel[P, R]]:
    """Compile eagerly for `signatures`, so that no request ever waits for the compiler.

    Compiling all kernels takes some 15 s of CPU, so the result is kept beside the byte code, where
    that can be written. No fastmath: a NaN must stay a NaN. One that does not allocate, nor calls what
    does, needs no references counted: each view of a row would cost two atomic instructions.
    """
    compiler = partial(
        numba.njit, list(signatures), nogil=True, error_model="numpy", _nrt=allocates
    )

    def compile_(function: Callable[P, R]) -> Kernel[P, R]:
        try:
            jitted = compiler(cache=True)(function)
        except OSError:  # nothing there for this machine, and no leave to write
            jitted = compiler()(function)
        if not hasattr(jitted, "py_func"):  # NUMBA_DISABLE_JIT=1 returns the function itself
            jitted.py_func = function
        return cast("Kernel[P, R]", jitted)

    return compile_


def inlined(function: Callable[P, R]) -> Callable[P, R]:
    """A part of kernels, compiled into each that calls it; in Python it stays the plain function."""
    part: Callable[P, R] = register_jitable(error_model="numpy")(function)
    return part


def publish(array: NDArray[np.int64], value: int) -> None:
    """Set `array[0]` after every store before this one, and before every store after it.

    For memory that outlives this process: one that is killed leaves what it had stored until then,
    in the order of its instructions. So it is the compiler alone that must not reorder, and no
    instruction is spent on that.
    """
    array[0] = value


@intrinsic
def _publish(_typing: Any, array: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        target = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        word = context.cast(builder, arguments[1], signature.args[1], numba.int64)
        builder.fence("seq_cst", "singlethread")
        # Atomic: a plain store may be left out where another one to the same place follows.
        builder.store_atomic(word, target, "monotonic", 8)
        builder.fence("seq_cst", "singlethread")
        return context.get_dummy_value()

    return numba.void(array, value), generate


@overload(publish)
def _compiled_publish(array: Any, value: Any) -> Any:  # noqa: ARG001  # named as in `publish`
    def store(array: Any, value: Any) -> None:
        _publish(array, value)  # type: ignore[call-arg]  # Numba passes the first

    return store


def prefetch(table: NDArray[np.int64], row: int) -> None:
    """Have a row in the cache soon, so that rows far apart are waited for at the same time."""


@intrinsic
def _prefetch(_typing: Any, table: Any, row: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        stride = builder.extract_value(array.strides, 0)
        start = builder.ptrtoint(array.data, _WORD)
        place = builder.inttoptr(builder.add(start, builder.mul(stride, arguments[1])), _POINTER)
        function = builder.module.declare_intrinsic(
            "llvm.prefetch", (), ir.FunctionType(ir.VoidType(), [_POINTER, _FLAG, _FLAG, _FLAG])
        )
        # To be written to, as near as possible, data (LLVM Language Reference, llvm.prefetch).
        builder.call(function, [place, _FLAG(1), _FLAG(3), _FLAG(1)])
        return context.get_dummy_value()

    return numba.void(table, row), generate


@overload(prefetch)
def _compiled_prefetch(table: Any, row: Any) -> Any:  # noqa: ARG001  # named as in `prefetch`
    def fetch(table: Any, row: Any) -> None:
        _prefetch(table, numba.int64(row))  # type: ignore[call-arg]  # Numba passes the first

    return fetch
