"""ONNX: a graph that runs in ONNX Runtime, and in every other program that reads the standard."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from climsim.cards import Json
from climsim.errors import ClimSimError, missing_extra
from climsim.export.formats import FORMATS, Format, Runnable, traced
from climsim.export.module import Emulation
from climsim.exported_file import ONNX, with_metadata
from climsim.plugins import reason
from climsim.precisions import FLOAT32
from climsim.system import refusal

INPUT, OUTPUT = "inputs", "outputs"
"""Names of the tensors of the graph."""
_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
_OPSET = 20
_EXTRA = "onnx"


class Graph(Format):
    """A graph of standard operators, in float32: ONNX Runtime knows no bfloat16 on CPUs."""

    form = ONNX
    suffix = ".onnx"
    precisions = (FLOAT32,)

    def facts(self) -> Mapping[str, Json]:
        """The version of the operators."""
        return {"opset": _OPSET}

    def write(self, emulation: Emulation, path: Path, metadata: str, columns: int) -> None:
        """Translate a module."""
        _require("onnxscript", path)
        with _silent():
            program = torch.onnx.export(
                traced(emulation),
                dynamo=True,
                verbose=False,
                opset_version=_OPSET,
                input_names=[INPUT],
                output_names=[OUTPUT],
            )
        assert program is not None
        path.write_bytes(with_metadata(program.model_proto.SerializeToString(), metadata))

    def devices(self) -> tuple[str, ...]:
        """A GPU where ONNX Runtime was built for one."""
        runtime = _require("onnxruntime", Path(f"model{self.suffix}"))
        there = runtime.get_available_providers()
        return tuple(d for d in ("cuda", "cpu") if _PROVIDERS[d] in there and _usable(d))

    def load(self, path: Path, device: str) -> Runnable:
        """Open a session with as many threads as torch has."""
        runtime = _require("onnxruntime", path)
        options = runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.inter_op_num_threads = 1
        # Threads that wait by turning would take the cores of a host that computes meanwhile.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 4
        try:
            session = runtime.InferenceSession(str(path), options, providers=[_PROVIDERS[device]])
        except Exception as error:  # its errors share no class
            raise refusal(error, path) or ClimSimError(
                f"{path}: expected a graph that ONNX Runtime {runtime.__version__} runs, found one "
                f"that it does not ({reason(error)}): export it again"
            ) from error
        return _Session(session)


class _Session:
    """A graph in ONNX Runtime."""

    def __init__(self, session: Any) -> None:
        self._session = session
        (self._input,) = (given.name for given in session.get_inputs())

    def __call__(self, x: Tensor) -> Tensor:
        """Run on (column, feature)."""
        values = x.cpu().contiguous().numpy()
        try:
            (output,) = self._session.run(None, {self._input: values})
        except Exception as error:  # its errors share no class
            raise RuntimeError(reason(error)) from error
        return torch.from_numpy(output)


def _require(package: str, path: Path) -> ModuleType:
    """Import an optional package."""
    try:
        return __import__(package)
    except ImportError as error:
        raise missing_extra(str(path), package, _EXTRA) from error


def _usable(device: str) -> bool:
    return device == "cpu" or torch.cuda.is_available()


@contextmanager
def _silent() -> Iterator[None]:
    """Keep the exporter from writing of optional packages that it does without."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


FORMATS.add("onnx", Graph())
