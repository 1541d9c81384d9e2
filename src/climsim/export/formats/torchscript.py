"""TorchScript: what E3SM loads through FTorch, and libtorch in any program."""

from __future__ import annotations

import io
from pathlib import Path

import torch

from climsim.export.formats import FORMATS, Format, Runnable
from climsim.export.module import Emulation
from climsim.export.trial import load_script
from climsim.exported_file import METADATA_NAME, TORCHSCRIPT, unreadable_form
from climsim.system import refusal


class TorchScript(Format):
    """A scripted module; weights move to the device on which it is loaded."""

    form = TORCHSCRIPT
    suffix = ".pt"

    def write(self, emulation: Emulation, path: Path, metadata: str, columns: int) -> None:
        """Script a module."""
        scripted = torch.jit.script(emulation)
        # Through memory: torch's own writer ends the whole program when the disk is full.
        content = io.BytesIO()
        torch.jit.save(scripted, content, _extra_files={METADATA_NAME: metadata})
        path.write_bytes(content.getbuffer())

    def devices(self) -> tuple[str, ...]:
        """A GPU where there is one."""
        return ("cuda", "cpu") if torch.cuda.is_available() else ("cpu",)

    def load(self, path: Path, device: str) -> Runnable:
        """Load a scripted module."""
        try:
            return load_script(path, device)
        except (RuntimeError, ValueError, OSError, EOFError) as error:
            raise refusal(error, path) or unreadable_form(path) from error


FORMATS.add("torchscript", TorchScript())
