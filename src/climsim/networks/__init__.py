"""Networks: one file per architecture, a registry, a loader of published checkpoints."""

from climsim.networks.layers import LevelwiseHeads
from climsim.networks.network import Body, ConfidentNetwork, Layout, Network, split_levelwise
from climsim.networks.published import load_published
from climsim.networks.registry import NETWORKS, build_network

__all__ = [
    "NETWORKS",
    "Body",
    "ConfidentNetwork",
    "Layout",
    "LevelwiseHeads",
    "Network",
    "build_network",
    "load_published",
    "split_levelwise",
]
