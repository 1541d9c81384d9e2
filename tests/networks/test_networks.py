"""Properties every registered network has, whatever its architecture."""

from __future__ import annotations

import io

import pytest
import torch
from torch import Tensor

import climsim
from climsim.interfaces import ENCODINGS
from climsim.networks import NETWORKS, Network
from climsim.variables import PRUNED_TARGETS, TARGETS

INPUTS = ("standard", "multirep", "expanded")
COMBINATIONS = [("standard", False), ("standard", True), ("multirep", False), ("expanded", False)]


def small(name: str, inputs: str = "standard", confidence: bool = False, **options) -> Network:
    torch.manual_seed(7)
    network = climsim.build_network(name, inputs, confidence, preset="small", **options)
    return perturbed(network).eval()


def perturbed(network: Network) -> Network:
    """Weights away from their initial values, so that no branch is switched off."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in network.parameters():
            noise = torch.rand(parameter.shape, generator=generator) - 0.5
            parameter.add_(0.3 * noise / max(1, parameter[0].numel()) ** 0.5)
    return network


def sample(network: Network, columns: int, seed: int = 11) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(columns, network.n_inputs, generator=generator)


def both(output: Tensor | tuple[Tensor, Tensor]) -> Tensor:
    """Prediction and, where there is one, confidence side by side."""
    return output if isinstance(output, Tensor) else torch.cat(output, dim=1)


@pytest.mark.parametrize("name", NETWORKS.names())
@pytest.mark.parametrize(("inputs", "confidence"), COMBINATIONS)
def test_compiled_network_equals_eager_after_reload(name, inputs, confidence):
    network = small(name, inputs, confidence)
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(network), buffer)
    buffer.seek(0)
    loaded = torch.jit.load(buffer)
    for columns in (1, 5):
        x = sample(network, columns)
        with torch.no_grad():
            expected, got = network(x), loaded(x)
        assert isinstance(got, tuple) == confidence
        assert both(got).shape == (columns, 308 * (1 + confidence))
        torch.testing.assert_close(both(got), both(expected), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", NETWORKS.names())
@pytest.mark.parametrize("confidence", [False, True])
def test_columns_do_not_depend_on_their_batch(name, confidence):
    network = small(name, confidence=confidence)
    x = sample(network, 6)
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    with torch.no_grad():
        whole = both(network(x))
        one_by_one = torch.cat([both(network(x[i : i + 1])) for i in range(6)])
        shuffled = both(network(x[order]))
    torch.testing.assert_close(one_by_one, whole, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(shuffled, whole[order], rtol=1e-4, atol=1e-5)
    assert (whole[0] - whole[1]).abs().max() > 1e-3


@pytest.mark.parametrize("name", NETWORKS.names())
def test_column_major_input_gives_the_same(name):
    network = torch.jit.script(small(name))
    x = torch.randn(4, 557, generator=torch.Generator().manual_seed(1))
    column_major = x.T.contiguous().T
    assert not column_major.is_contiguous()
    with torch.no_grad():
        torch.testing.assert_close(network(column_major), network(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", NETWORKS.names())
@pytest.mark.parametrize("confidence", [False, True])
def test_gradients_reach_every_parameter(name, confidence):
    network = small(name, confidence=confidence).train()
    both(network(sample(network, 8))).square().sum().backward()
    silent = [
        key
        for key, parameter in network.named_parameters()
        if parameter.grad is None or not parameter.grad.abs().max() > 0
    ]
    assert silent == []


@pytest.mark.parametrize("name", NETWORKS.names())
def test_predicted_and_only_pruned_levels_are_zero(name):
    network = small(name, confidence=True)
    with torch.no_grad():
        outputs = network(sample(network, 3))
    pruned = torch.zeros(TARGETS.size(), dtype=torch.bool)
    for target in PRUNED_TARGETS:
        start = TARGETS.slice(target).start
        pruned[start : start + 12] = True
    for output in outputs:
        assert torch.all(output[:, pruned] == 0)
        # Rectified scalars of the U-Net may vanish; profiles never do.
        profiles = ~pruned & (torch.arange(TARGETS.size()) < 300)
        assert torch.all(output[:, profiles] != 0)


@pytest.mark.parametrize("name", NETWORKS.names())
@pytest.mark.parametrize("n_levels", [26, 72])
def test_level_count_is_an_argument(name, n_levels):
    network = small(name, n_levels=n_levels)
    seen = ENCODINGS["standard"]
    assert network.n_inputs == seen.profiles * n_levels + seen.scalars
    with torch.no_grad():
        y = network(sample(network, 2))
    assert y.shape == (2, 5 * n_levels + 8)
    assert torch.isfinite(y).all()


@pytest.mark.parametrize("name", NETWORKS.names())
def test_configuration_builds_the_same_network_again(name):
    network = small(name, "expanded", confidence=True)
    again = climsim.build_network(**network.config)
    again.load_state_dict(network.state_dict())
    x = sample(network, 2)
    with torch.no_grad():
        assert torch.equal(both(again.eval()(x)), both(network(x)))


@pytest.mark.parametrize("name", NETWORKS.names())
def test_same_seed_gives_the_same_weights(name):
    states = []
    for _ in range(2):
        torch.manual_seed(43)
        states.append(climsim.build_network(name, preset="small").state_dict())
    assert all(torch.equal(states[0][k], states[1][k]) for k in states[0])


@pytest.mark.parametrize("name", NETWORKS.names())
def test_every_input_reaches_the_prediction(name):
    network = small(name).train(False)
    x = sample(network, 4).requires_grad_()
    network(x).square().sum().backward()
    assert x.grad is not None
    assert torch.all(x.grad.abs().amax(dim=0) > 0)


@pytest.mark.parametrize("inputs", INPUTS)
def test_encodings_have_the_published_length(inputs):
    network = climsim.build_network("pure_resLSTM", inputs, preset="small")
    assert network.n_inputs == {"standard": 557, "multirep": 1517, "expanded": 1399}[inputs]
