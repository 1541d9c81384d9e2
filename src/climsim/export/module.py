"""The module inside an exported file."""

import torch
from torch import Tensor, nn

from climsim.constants import TIME_STEP
from climsim.networks import Network
from climsim.transforms import (
    InterfaceTransform,
    MicrophysicsConstraint,
    PhasesApart,
    Transforms,
)
from climsim.variables import OUTPUTS, TARGETS


class _Head(nn.Module):
    """Makes every network give (prediction, confidence), with an empty confidence if it has none.

    TorchScript needs one type for both kinds of network.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Run the network on (column, network input)."""
        prediction: Tensor = self.network(z)
        return prediction, prediction[:, :0]


class _ConfidentHead(_Head):
    """The same for a network that already gives both."""

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Run the network on (column, network input)."""
        prediction, confidence = self.network(z)
        return prediction, confidence


class EmulationMember(nn.Module):
    """One trained network between the interface and physical tendencies."""

    def __init__(
        self, network: nn.Module, transforms: Transforms, precision: torch.dtype = torch.float32
    ) -> None:
        """Join a network to its transforms.

        Args:
            network: from network input to scaled targets (and confidence).
            transforms: those of the network.
            precision: number format of the network; everything else is float32.
        """
        super().__init__()
        self.inputs = transforms.inputs
        self.targets = transforms.targets
        self.closure = transforms.closure
        self.interface = InterfaceTransform(self.inputs.encoding, self.inputs.n_levels)
        confident = isinstance(network, Network) and network.confidence
        head = _ConfidentHead(network) if confident else _Head(network)
        self.head = head.to(precision)
        self.precision = precision

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Predict.

        Args:
            x: (column, interface feature) physical.

        Returns:
            (column, target) physical, and (column, target) confidence in units of the training
            loss, or (column, 0).
        """
        physical = self.interface(x)
        prediction, confidence = self.head(self.inputs.encode(physical).to(self.precision))
        tendencies = self.targets.decode(prediction.to(torch.float32))
        if self.closure is not None:
            tendencies = self.closure(physical, tendencies)
        return tendencies, confidence.to(torch.float32)


class Emulation(nn.Module):
    """Mean of the members, then the microphysics constraint; one tensor in, one out.

    The constraint follows the mean, so that an ensemble obeys it too.
    """

    def __init__(self, members: list[EmulationMember], n_outputs: int, time_step: float) -> None:
        """Join members under one constraint.

        Args:
            members: networks of one interface and level count.
            n_outputs: features of the result, confidences included.
            time_step: physics time step of the data [s].
        """
        super().__init__()
        self.members = nn.ModuleList(members)
        inputs = members[0].inputs
        interface = inputs.encoding.interface
        self.n_inputs = interface.variables.size(inputs.n_levels)
        if inputs.encoding.targets == interface.outputs:
            self.constraint: nn.Module = PhasesApart(interface, inputs.n_levels)
        else:
            self.constraint = MicrophysicsConstraint(
                interface, inputs.n_levels, time_step=time_step
            )
        self.n_outputs = n_outputs

    def forward(self, x: Tensor) -> Tensor:
        """Emulate.

        Args:
            x: (column, interface feature) physical, of any strides.

        Returns:
            (column, output feature) physical, then the confidences if there are any; float32. A
            column with a NaN among its inputs is NaN throughout.
        """
        x = x.to(torch.float32)
        if x.shape[0] == 0:
            return torch.zeros(0, self.n_outputs, dtype=torch.float32, device=x.device)
        tendencies: list[Tensor] = []
        confidences: list[Tensor] = []
        for member in self.members:
            y, c = member(x)
            tendencies.append(y)
            confidences.append(c)
        outputs = self.constraint(x, _mean(tendencies))
        result = torch.cat([outputs, _mean(confidences)], dim=1)
        # Clipping and pruning on the way would make finite values of a NaN.
        unknown = torch.isnan(x).any(dim=1, keepdim=True)
        return result.masked_fill(unknown, float("nan"))


def _mean(values: list[Tensor]) -> Tensor:
    total = values[0]
    for value in values[1:]:
        total = total + value
    return total / len(values)


def build_emulation(
    members: list[EmulationMember], confidence: bool, time_step: float = TIME_STEP
) -> Emulation:
    """Build the module of an exported file.

    Args:
        members: networks of one interface and level count.
        confidence: whether they have a confidence head.
        time_step: physics time step of the data [s].
    """
    levels = members[0].inputs.n_levels
    size = OUTPUTS.size(levels)
    n_outputs = size + TARGETS.size(levels) if confidence else size
    return Emulation(members, n_outputs, time_step).eval()
