"""Speed of every network: a bare training loop, inference, and what bounds both.

Run: ``python benchmarks/bench_networks.py [--preset small] [--threads 2] [--seconds 5]``.
Training is forward, Huber loss, backward and AdamW on tensors in memory, nothing else; inference
runs the network on a block of columns, ``compiled`` its frozen TorchScript form. ``plain`` is the
same network, not compiled, on the one-dimensional kernels (`torch.nn.Linear`, `torch.nn.Conv1d`)
instead of the feature-last ones. ``GFLOP/s`` counts multiplications and additions of linear maps,
convolutions and recurrences in inference; compare it with the two limits printed first.
``--clock cpu`` counts processor time, for shared machines; ``--fresh-pages`` leaves the C
library's handling of freed memory as it is (the command line changes it, see
`climsim.allocation`).
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from climsim.allocation import keep_freed_memory
from climsim.networks import NETWORKS, Network, build_network
from climsim.networks.layers import LevelConv, LevelLinear, as_image


def plain_linear(layer: LevelLinear, x: Tensor) -> Tensor:
    return functional.linear(x, layer.weight, layer.bias)


def plain_conv(layer: LevelConv, image: Tensor) -> Tensor:
    x = image.squeeze(2).contiguous()
    reach = layer.kernel_size[0] - 1
    x = functional.pad(x, (reach // 2, reach - reach // 2))
    return functional.conv1d(x, layer.weight, layer.bias, groups=layer.groups).unsqueeze(2)


@contextlib.contextmanager
def plain_kernels() -> Iterator[None]:
    """Swap the feature-last kernels for the one-dimensional ones."""
    saved = LevelLinear.forward, LevelConv.forward
    LevelLinear.forward, LevelConv.forward = plain_linear, plain_conv
    try:
        yield
    finally:
        LevelLinear.forward, LevelConv.forward = saved


class Timer:
    """Rates by wall clock or by processor time divided by threads."""

    def __init__(self, clock: str, threads: int, seconds: float) -> None:
        self.cpu, self.threads, self.seconds = clock == "cpu", threads, seconds

    def now(self) -> float:
        """Seconds from an arbitrary start."""
        return time.process_time() / self.threads if self.cpu else time.perf_counter()

    def rate(self, work: Callable[[], object], amount: float) -> float:
        """Amount of work per second, the first call not counted."""
        work()
        start, done = self.now(), 0.0
        while self.now() - start < self.seconds:
            work()
            done += amount
        return done / (self.now() - start)


def operations(network: Network) -> float:
    """Multiplications and additions of one column [1e9]."""
    count = [0.0]

    def recurrent(layer: nn.RNNBase) -> float:
        directions = 2 if layer.bidirectional else 1
        return float(sum(p.numel() for p in layer.parameters() if p.dim() == 2)) / directions

    def add(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if isinstance(layer, nn.RNNBase):
            directions = 2 if layer.bidirectional else 1
            count[0] += 2 * recurrent(layer) * directions * inputs[0].shape[1]
        elif isinstance(layer, nn.Linear):
            count[0] += 2 * layer.weight.numel() * inputs[0].numel() / layer.in_features
        elif isinstance(layer, nn.Conv1d):
            count[0] += 2 * layer.weight.numel() * output.numel() / layer.out_channels

    hooks = [m.register_forward_hook(add) for m in network.modules()]
    with torch.no_grad():
        network.eval()(torch.zeros(1, network.n_inputs))
    for hook in hooks:
        hook.remove()
    return count[0] / 1e9


def training_rate(network: Network, batch: int, timer: Timer) -> float:
    """Samples per second of the bare loop."""
    network = copy.deepcopy(network).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4)
    x, y = torch.randn(batch, network.n_inputs), torch.randn(batch, network.n_outputs)

    def step() -> None:
        optimizer.zero_grad()
        functional.huber_loss(network(x), y).backward()
        optimizer.step()

    return timer.rate(step, batch)


def inference_rate(
    network: Network, columns: int, timer: Timer, compiled: bool = False, bfloat16: bool = False
) -> float:
    """Columns per second of the network, eager or compiled."""
    network.eval()
    runner = torch.jit.freeze(torch.jit.script(network)) if compiled else network
    x = torch.randn(columns, network.n_inputs)

    def run() -> None:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            runner(x)

    run()
    return timer.rate(run, columns)


def limits(timer: Timer) -> tuple[float, float]:
    """Float32 GFLOP/s of the matrix product and of the same product as a convolution."""
    x, w = torch.randn(128, 60, 768), torch.randn(384, 768)
    amount = 2e-9 * 128 * 60 * 768 * 384
    image, kernel = as_image(x), w.unsqueeze(2).unsqueeze(3)
    with torch.inference_mode():
        product = timer.rate(lambda: functional.linear(x, w), amount)
        return product, timer.rate(lambda: functional.conv2d(image, kernel), amount)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="small", choices=("small", "published"))
    parser.add_argument("--networks", nargs="+", default=NETWORKS.names())
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--columns", type=int, default=384)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--clock", default="wall", choices=("wall", "cpu"))
    parser.add_argument("--fresh-pages", action="store_true")
    options = parser.parse_args()
    if not options.fresh_pages:
        keep_freed_memory()
    torch.set_num_threads(options.threads)
    timer = Timer(options.clock, options.threads, options.seconds)
    product, convolution = limits(timer)
    print(f"limits: matrix product {product:.0f}, as a convolution {convolution:.0f} GFLOP/s")
    print("network         parameters  train/s   plain  infer/s   plain compiled bfloat16 GFLOP/s")
    for name in options.networks:
        torch.manual_seed(7)
        network = build_network(name, preset=options.preset)
        parameters = sum(p.numel() for p in network.parameters())
        amount = operations(network)
        train = training_rate(network, options.batch, timer)
        infer, compiled, bfloat16 = (
            inference_rate(network, options.columns, timer, **how)
            for how in ({}, {"compiled": True}, {"bfloat16": True})
        )
        with plain_kernels():
            plain = (
                training_rate(network, options.batch, timer),
                inference_rate(network, options.columns, timer),
            )
        print(
            f"{name:15s} {parameters:10,d} {train:8.0f} {plain[0]:7.0f} {infer:8.0f} "
            f"{plain[1]:7.0f} {compiled:8.0f} {bfloat16:8.0f} {infer * amount:7.0f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
