"""Networks: one file per architecture, a registry, a loader of published checkpoints."""

from climsim.networks.layers import LevelwiseHeads
from climsim.networks.network import Body, ConfidentNetwork, Layout, Network, split_levelwise
from climsim.networks.published import load_published
from climsim.networks.registry import architecture, build_network, network_names

__all__ = [
    "Body",
    "ConfidentNetwork",
    "Layout",
    "LevelwiseHeads",
    "Network",
    "architecture",
    "build_network",
    "load_published",
    "network_names",
    "split_levelwise",
]
