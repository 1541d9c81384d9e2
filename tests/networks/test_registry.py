"""The registry: discovery by file, clear errors."""

from __future__ import annotations

import sys

import pytest
import torch

import climsim
from climsim.errors import ClimSimError
from climsim.networks import NETWORKS, architectures, registry
from climsim.networks.registry import check_network

PUBLISHED_NAMES = ("convnext", "encdec_lstm", "pao_model", "pure_resLSTM", "squeezeformer", "unet")


def test_the_six_published_networks_are_registered():
    assert NETWORKS.names() == PUBLISHED_NAMES


def test_unknown_network_lists_the_known_ones():
    with pytest.raises(ClimSimError, match=r"unknown network 'resnet': expected one of convnext"):
        climsim.build_network("resnet")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"inputs": "raw"}, "unknown inputs 'raw': expected one of expanded, multirep, standard"),
        ({"preset": "huge"}, "unknown preset of the network unet 'huge'"),
        ({"model_channel": 8}, "unknown hyperparameter of the network unet 'model_channel'"),
        ({"model_channels": 6}, "model_channels: expected a multiple of 4"),
        ({"model_channels": "x"}, "model_channels of the network unet: expected integer, found"),
        ({"num_blocks": 0}, "num_blocks of the network unet: expected a whole number >= 1, fo"),
        ({"channel_mult": 2}, "channel_mult of the network unet: expected list of integer, found"),
        ({"channel_mult": (1, 2.5)}, r"hyperparameter channel_mult\[1\] of .*: expected integer"),
        ({"dropout": 2}, r"network 'unet': expected hyperparameters that fit .* dropout=2.0 \(Val"),
        ({"n_levels": 0}, "n_levels: expected a whole number >= 1, found 0"),
    ],
)
def test_unknown_options_are_refused(options, message):
    with pytest.raises(ClimSimError, match=message):
        climsim.build_network("unet", **options)


def test_whole_number_stands_for_a_number():
    network = climsim.build_network("convnext", preset="small", layer_scale=1)
    assert network.config["layer_scale"] == 1.0


def test_heads_that_cannot_share_the_features_are_refused():
    with pytest.raises(ClimSimError, match=r"a multiple of 5\), found 64"):
        climsim.build_network("squeezeformer", preset="small", num_heads=5)


@pytest.mark.parametrize("preset", ["published", "small"])
@pytest.mark.parametrize("name", PUBLISHED_NAMES)
def test_every_network_is_checked_without_its_weights(name, preset):
    state = torch.random.get_rng_state()
    check_network(name, "multirep", True, preset, {})
    assert torch.equal(torch.random.get_rng_state(), state)


def test_what_a_build_would_refuse_is_refused_by_the_check():
    for hyperparameters in ({"model_channels": 6}, {"dropout": 2.0}, {"preset": "small"}):
        with pytest.raises(ClimSimError):
            check_network("unet", "standard", False, "published", hyperparameters)


def test_a_second_network_of_the_same_name_is_refused():
    with pytest.raises(ClimSimError, match="network 'unet': registered twice"):
        registry.register("unet")(NETWORKS.find("unet").body)


def test_a_new_file_is_a_new_network(tmp_path, monkeypatch):
    (tmp_path / "average.py").write_text(
        "import torch\n"
        "from climsim.networks.network import Body\n"
        "from climsim.networks.registry import register\n"
        "@register('average')\n"
        "class Average(Body):\n"
        "    def __init__(self, layout, *, factor: float = 1.0):\n"
        "        super().__init__()\n"
        "        self.linear = torch.nn.Linear(layout.n_channels, 13)\n"
        "    def forward(self, x):\n"
        "        y = self.linear(x.transpose(1, 2)).transpose(1, 2).unsqueeze(1)\n"
        "        return y[:, :, :5], y[:, :, 5:].mean(3)\n"
    )
    monkeypatch.setattr(NETWORKS, "_entries", NETWORKS.shipped())
    monkeypatch.setattr(architectures, "__path__", [*architectures.__path__, str(tmp_path)])
    monkeypatch.setattr(NETWORKS, "_imported", False)
    try:
        assert NETWORKS.names() == tuple(sorted((*PUBLISHED_NAMES, "average")))
        network = climsim.build_network("average", factor=2.0)
        assert network.config["factor"] == 2.0
    finally:
        sys.modules.pop("climsim.networks.architectures.average", None)


def test_unknown_public_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'build_networks'"):
        _ = climsim.build_networks
