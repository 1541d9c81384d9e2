"""Shared layers against torch's own, and the initial weights the papers prescribe."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import climsim
from climsim.networks.layers import (
    LevelConv,
    LevelLinear,
    SelfAttention,
    as_image,
    from_image,
)


def random(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(2))


def test_level_linear_is_a_linear_map():
    layer, reference = LevelLinear(7, 5), nn.Linear(7, 5)
    reference.load_state_dict(layer.state_dict())
    x = random(3, 11, 7)
    torch.testing.assert_close(layer(x), reference(x), rtol=1e-5, atol=1e-6)
    not_contiguous = x.transpose(1, 2).contiguous().transpose(1, 2)
    torch.testing.assert_close(layer(not_contiguous), reference(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kernel", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("groups", [1, 6])
def test_level_conv_is_a_convolution_of_the_same_length(kernel, groups):
    layer = LevelConv(6, 6, kernel, groups=groups)
    reference = nn.Conv1d(6, 6, kernel, padding="same", groups=groups)
    reference.load_state_dict(layer.state_dict())
    x = random(3, 11, 6)
    expected = reference(x.transpose(1, 2)).transpose(1, 2)
    torch.testing.assert_close(from_image(layer(as_image(x))), expected, rtol=1e-5, atol=1e-6)


def test_images_share_their_memory():
    x = random(3, 11, 6)
    image = as_image(x)
    assert image.shape == (3, 6, 1, 11)
    assert image.is_contiguous(memory_format=torch.channels_last)
    assert image.data_ptr() == x.data_ptr()
    assert torch.equal(from_image(image), x)


def test_self_attention_is_multi_head_attention():
    layer = SelfAttention(12, 3)
    reference = nn.MultiheadAttention(12, 3, batch_first=True)
    names = SelfAttention.published_prefixes("", "")
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(random(*parameter.shape))
    own = {f".{key}": value for key, value in layer.state_dict().items()}
    state = {}
    for key, value in own.items():
        prefix = next(p for p in names if key.startswith(p))
        state[(names[prefix] + key.removeprefix(prefix)).lstrip(".")] = value
    reference.load_state_dict(state)
    x = random(2, 9, 12)
    expected = reference(x, x, x, need_weights=False)[0]
    torch.testing.assert_close(layer(x), expected, rtol=1e-4, atol=1e-4)


def bound(weight: torch.Tensor) -> float:
    """Largest value of Xavier-uniform weights."""
    fan = nn.init._calculate_fan_in_and_fan_out(weight)
    return (6.0 / sum(fan)) ** 0.5


def test_unet_starts_with_nearly_closed_branches():
    body = climsim.build_network("unet", preset="small").body
    block = body.decoder[0]
    for layer, scale in (
        (body.stem, 1.0),
        (block.conv0, 1.0),
        (block.conv1, 1e-5),
        (block.attention.qkv, 0.2**0.5),
        (block.attention.projection, 1e-5),
        (body.heads[0].conv, 1e-5),
    ):
        largest = layer.weight.abs().max().item()
        assert 0.95 * scale * bound(layer.weight) < largest <= scale * bound(layer.weight) * 1.001
        assert torch.all(layer.bias == 0)


def test_reslstm_starts_with_open_forget_gates():
    body = climsim.build_network("pure_resLSTM", preset="small").body
    lstm, hidden = body.layers[1].lstm, 64
    for suffix in ("l0", "l0_reverse"):
        recurrent = getattr(lstm, f"weight_hh_{suffix}")
        product = recurrent.T @ recurrent
        torch.testing.assert_close(product, torch.eye(hidden), rtol=0, atol=1e-5)
        bias = getattr(lstm, f"bias_ih_{suffix}")
        assert torch.all(bias[hidden : 2 * hidden] == 1)
        assert bias.sum() == hidden
        assert torch.all(getattr(lstm, f"bias_hh_{suffix}") == 0)


def test_convnext_starts_as_its_stem_and_transitions():
    network = climsim.build_network("convnext", preset="small").eval()
    stages = network.body.stages
    for stage in stages:
        for block in stage:
            assert torch.all(block.layer_scale == torch.tensor(1e-6))
    x = random(2, 9, 32)
    image = as_image(x)
    with torch.no_grad():
        assert (stages[0](image) - image).abs().max() < 1e-5


def test_dropout_acts_in_training_only():
    network = climsim.build_network("encdec_lstm", preset="small")
    x = random(3, 557)
    with torch.no_grad():
        assert not torch.equal(network.train()(x), network.train()(x))
        assert torch.equal(network.eval()(x), network.eval()(x))
