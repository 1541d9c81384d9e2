"""Networks: one file per architecture, a registry, a loader of published checkpoints."""

from climsim.networks.network import Body, ConfidentNetwork, Layout, Network
from climsim.networks.published import load_published
from climsim.networks.registry import architecture, build_network, input_sizes, network_names

__all__ = [
    "Body",
    "ConfidentNetwork",
    "Layout",
    "Network",
    "architecture",
    "build_network",
    "input_sizes",
    "load_published",
    "network_names",
]
