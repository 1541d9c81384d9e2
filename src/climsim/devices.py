"""Where programs run: the words that users write, and what torch calls the same."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from climsim.errors import ClimSimError
from climsim.validation import one_of

if TYPE_CHECKING:
    import torch

AUTO: Final = "auto"
CPU: Final = "cpu"
GPU: Final = "gpu"
DEVICES: Final = (AUTO, CPU, GPU)
"""``auto`` is a GPU where there is one."""
_CUDA: Final = "cuda"
"""torch's word for a GPU."""
_WITHOUT_BFLOAT16: Final = "AVX2"
"""torch's word for processors of x86 for which its libraries have no fast bfloat16."""
FORMER_DEVICES: Final = MappingProxyType({_CUDA: GPU})
"""Words of one release before, and the present ones."""


def check_device(key: str, value: str) -> None:
    """Refuse what is no device, and the former word for one.

    Args:
        key: of the value, as the user writes it.
        value: to be checked.

    Raises:
        ClimSimError: naming the key and what to write.
    """
    one_of(key, value, DEVICES, FORMER_DEVICES)


def torch_device(key: str, wanted: str) -> str:
    """What torch calls the device that a user asks for.

    Args:
        key: of the device, for the message.
        wanted: of `DEVICES`.

    Returns:
        ``cpu`` or ``cuda``.

    Raises:
        ClimSimError: if torch can use no GPU and one was asked for.
    """
    # Here, not above: most of what checks the word of a device needs no torch.
    import torch

    check_device(key, wanted)
    there = torch.cuda.is_available()
    if wanted == GPU and not there:
        raise ClimSimError(
            f"{key}: expected a GPU, found none that torch can use: choose {CPU} or {AUTO}, or "
            "look at `climsim doctor`"
        )
    return _CUDA if there and wanted != CPU else CPU


def emulates_bfloat16() -> bool:
    """Whether this processor computes bfloat16 by other instructions, far slower than float32."""
    import torch

    return torch.backends.cpu.get_cpu_capability() == _WITHOUT_BFLOAT16


def device_memory(device: torch.device) -> int:
    """Memory of a GPU [bytes]; 0 for a CPU, whose memory is no place of its own."""
    import torch

    return torch.cuda.get_device_properties(device).total_memory if device.type == _CUDA else 0
