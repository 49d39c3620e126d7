"""Run LiteRT (TensorFlow Lite) models from several threads."""

import contextlib
import functools
import gzip
import os
import queue
import sys
import tempfile
import threading
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import numpy as np
from jaxtyping import Float32, Num


class LiteRtModel:
    """A model file as a function of one array; threads that run it at the same time get an interpreter each."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._idle: queue.SimpleQueue[Any] = queue.SimpleQueue()
        with quiet_stderr():
            self._idle.put(self._new_interpreter())

    def __call__(self, values: Num[np.ndarray, "..."]) -> dict[str, Float32[np.ndarray, "..."]]:
        """Run the model on an input of its own shape and type; return its outputs by name."""
        try:
            interpreter = self._idle.get_nowait()
        except queue.Empty:
            interpreter = self._new_interpreter()
        try:
            interpreter.set_tensor(interpreter.get_input_details()[0]["index"], values)
            interpreter.invoke()
            return {
                output["name"]: interpreter.get_tensor(output["index"])
                for output in interpreter.get_output_details()
            }
        finally:
            self._idle.put(interpreter)

    def _new_interpreter(self) -> Any:
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError as error:
            raise ImportError(
                f"LiteRT cannot be loaded ({error}); run: pip install ai-edge-litert"
            ) from error
        interpreter = Interpreter(model_content=self._content, num_threads=1)
        interpreter.allocate_tensors()
        return interpreter


@functools.cache
def litert_model(name: str) -> LiteRtModel:
    """Load a model that the package holds, once a process.

    Raises ImportError with a remedy if LiteRT cannot be loaded."""
    path = files("selfmocap") / "assets" / "detectors" / f"{name}.planes.gz"
    return LiteRtModel(interleave(gzip.decompress(path.read_bytes())))


def interleave(planes: bytes) -> bytes:
    """Restore a file from its bytes at even places followed by those at odd places.

    In float16 weights the bytes at odd places hold sign and exponent; gathered, they compress by a fifth."""
    content = bytearray(len(planes))
    half = (len(planes) + 1) // 2
    content[::2], content[1::2] = planes[:half], planes[half:]
    return bytes(content)


def sigmoid(logits: Float32[np.ndarray, "..."]) -> Float32[np.ndarray, "..."]:
    """Compute 1 / (1 + exp(-x)) without overflow."""
    return 1 / (1 + np.exp(-np.clip(logits, -80, 80)))


_STDERR_LOCK = threading.Lock()
"""Two threads that replace the descriptor at once would restore each other's replacement."""


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Drop the INFO line that LiteRT's C++ code writes to stderr once a process; print all other lines afterwards.

    LiteRT has no switch for it."""
    if sys.stderr is None:
        yield
        return
    with _STDERR_LOCK, tempfile.TemporaryFile() as caught:
        sys.stderr.flush()
        kept = os.dup(2)
        os.dup2(caught.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
            caught.seek(0)
            lines = caught.read().decode(errors="replace").splitlines()
            sys.stderr.writelines(f"{line}\n" for line in lines if not line.startswith("INFO: "))
