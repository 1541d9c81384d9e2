"""AOTInductor packages: machine code for one kind of CPU, made by `torch.export` and a compiler."""

from __future__ import annotations

import io
import json
import os
import platform
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from climsim.cards import Json
from climsim.errors import ClimSimError
from climsim.export.formats import FORMATS, Format, Runnable, columns_of_calls, traced
from climsim.export.module import Emulation
from climsim.exported_file import METADATA_NAME, PACKAGE, metadata_text
from climsim.plugins import reason
from climsim.system import refusal

_MODEL = "model"
"""Name of the one model in a package."""
_INSTRUCTIONS = ("DEFAULT", "NO AVX", "AVX2", "AVX512")
"""Sets of instructions of x86-64 as torch calls them, each part of the next one."""
_TARGETS = {"AVX2": "x86-64-v3", "AVX512": "x86-64-v4"}
"""What the compiler may use for each of them, on every CPU that has it."""


class Package(Format):
    """A shared library with its weights; it runs on CPUs that have what it was compiled for."""

    form = PACKAGE
    suffix = ".pt2"
    takes_columns = True

    def facts(self) -> Mapping[str, Json]:
        """The CPU that the code is for, and the torch whose functions it calls."""
        instructions = torch.backends.cpu.get_cpu_capability()
        machine = platform.machine()
        return {
            "compiled_for": {
                "machine": machine,
                "instructions": instructions,
                "torch": torch.__version__,
            }
        }

    def write(self, emulation: Emulation, path: Path, metadata: str, columns: int) -> None:
        """Compile a module."""
        # Here, not above: the compiler takes a second to import, and loading needs none of it.
        from torch._inductor import aoti_compile_and_package
        from torch._inductor.utils import fresh_cache

        content = io.BytesIO()
        program = traced(emulation, columns)
        with fresh_cache():
            aoti_compile_and_package(program, package_path=content, inductor_configs=_options())
        with zipfile.ZipFile(content, "a") as archive:
            root = archive.namelist()[0].partition("/")[0]
            archive.writestr(f"{root}/extra/{METADATA_NAME}", metadata)
        path.write_bytes(content.getbuffer())

    def devices(self) -> tuple[str, ...]:
        """The code is for CPUs."""
        return ("cpu",)

    def load(self, path: Path, device: str) -> Runnable:
        """Unpack the library into a temporary folder and load it."""
        loader = torch._C._aoti.AOTIModelPackageLoader
        try:
            compiled = loader.load_metadata_from_package(  # type: ignore[attr-defined]
                str(path), _MODEL
            )
            require_instructions(path, compiled)
            library = loader(str(path), _MODEL, False, os.cpu_count() or 1, -1)
        except (RuntimeError, OSError) as error:
            raise refusal(error, path) or ClimSimError(
                f"{path}: expected an AOTInductor package that torch {torch.__version__} loads on "
                f"this machine, found one that it does not ({reason(error)}): export it again here"
            ) from error
        metadata = json.loads(metadata_text(path) or "{}")
        return _Loaded(library, columns_of_calls(metadata, path))


class _Loaded:
    """A library that was loaded; it reads rows one after another in memory."""

    def __init__(self, loader: Any, columns: int) -> None:
        self._loader, self._columns = loader, columns

    def __call__(self, x: Tensor) -> Tensor:
        """Run on (column, feature), in calls of the columns that the code is for."""
        if self._columns in (0, len(x)):
            return self._run(x)
        parts = []
        for part in x.split(self._columns):
            # Columns do not depend on each other: copies of one fill the last call.
            filling = part[:1].expand(self._columns - len(part), -1)
            parts.append(self._run(torch.cat([part, filling]))[: len(part)])
        return torch.cat(parts)

    def _run(self, x: Tensor) -> Tensor:
        (output,) = self._loader.boxed_run([x.contiguous()])
        return output


def _options() -> dict[str, bool | int | str]:
    """Any number of threads, and the instructions of this kind of CPU rather than of this one."""
    options: dict[str, bool | int | str] = {
        "cpp.dynamic_threads": True,
        "compile_threads": 1,
        # Headers compiled in advance pay for the second model only, and the folder is a new one.
        "aot_inductor.precompile_headers": False,
    }
    target = _TARGETS.get(torch.backends.cpu.get_cpu_capability())
    return options if target is None else {**options, "cpp.march": target}


def require_instructions(path: Path, compiled: Mapping[str, str]) -> None:
    """Refuse code that would end the program at its first instruction unknown here.

    Args:
        path: of the package.
        compiled: what the package says of the machine that it was compiled on.
    """
    machine, needed = compiled.get("AOTI_MACHINE", ""), compiled.get("AOTI_CPU_ISA", "").split()
    here = torch.backends.cpu.get_cpu_capability()
    known = _INSTRUCTIONS[: _INSTRUCTIONS.index(here) + 1] if here in _INSTRUCTIONS else (here,)
    lacking = [name for name in needed[:1] if name in _INSTRUCTIONS and name not in known]
    if machine != platform.machine() or lacking:
        raise ClimSimError(
            f"{path}: expected code for {platform.machine()} with {here}, found code compiled for "
            f"{machine} with {' '.join(needed)}: export it on this machine, or with another format"
        )


FORMATS.add("pt2", Package())
