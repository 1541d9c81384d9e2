"""Write columns and what an exported model makes of them in Python, for the compiled programs.

python write_columns.py MODEL COLUMNS [NUMBER]
"""

import sys
from pathlib import Path

import numpy as np

from climsim import load_emulator
from climsim.export.probe import probe_columns


def write_columns(model: Path, path: Path, columns: int = 384, seed: int = 11) -> None:
    """Write columns of plausible magnitude and the model's outputs.

    Args:
        model: exported file.
        path: file to write: three 4-byte integers (columns, inputs, outputs), then inputs and
            outputs as (column, feature) single precision in Fortran's order of elements.
        columns: how many.
        seed: of the random numbers.
    """
    emulator = load_emulator(model)
    inputs = probe_columns(emulator.interface.variables, emulator.n_levels, columns, seed).numpy()
    outputs = emulator(inputs)
    with path.open("wb") as stream:
        stream.write(np.array([columns, inputs.shape[1], outputs.shape[1]], np.int32).tobytes())
        stream.write(inputs.T.astype(np.float32).tobytes())
        stream.write(outputs.T.astype(np.float32).tobytes())


if __name__ == "__main__":
    write_columns(Path(sys.argv[1]), Path(sys.argv[2]), *(int(n) for n in sys.argv[3:4]))
