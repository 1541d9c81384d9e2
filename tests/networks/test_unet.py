"""How the U-Net lays its features out in memory."""

import shutil

import pytest
import torch

from climsim.networks.architectures import unet
from climsim.networks.network import Layout

LAST = {"memory_format": torch.channels_last}


def test_features_come_last_only_where_that_is_fast(monkeypatch):
    image, scripted = torch.zeros(3, 8, 1, 12), torch.jit.script(unet._in_fast_layout)
    for fast in (unet._in_fast_layout, scripted):
        assert fast(image).is_contiguous(**LAST)
        assert not fast(image.to(torch.bfloat16, **LAST)).is_contiguous(**LAST)
    with torch.autocast("cpu"):
        assert not unet._in_fast_layout(image.to(**LAST)).is_contiguous(**LAST)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    assert unet._in_fast_layout(image.to(torch.bfloat16)).is_contiguous(**LAST)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="g++ is not installed")
@pytest.mark.parametrize("dynamic", [False, True])
def test_compiled_in_bfloat16_it_gives_the_same(dynamic):
    torch.manual_seed(1)
    layout = Layout(3, 2, n_levels=16)
    body = unet.UNet(layout, model_channels=32, channel_mult=(1, 2), num_blocks=1).eval()
    with torch.no_grad():
        for parameter in body.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
        x = torch.randn(40, 16, layout.n_channels)
        exact, reduced = body(x)[0], body.to(torch.bfloat16)
        torch._dynamo.reset()
        found = torch.compile(reduced, dynamic=dynamic)(x.to(torch.bfloat16))[0].float()
    assert (found - exact).std() < 0.03 * exact.std()
