"""Exported models: one TorchScript file from raw physical inputs to physical tendencies."""

from climsim.export.loading import Emulator, load_emulator
from climsim.export.writing import ExportConfig, export_model, run_export

__all__ = ["Emulator", "ExportConfig", "export_model", "load_emulator", "run_export"]
