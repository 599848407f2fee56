"""A running mean of the weights, which often searches better than the last ones."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class WeightAverage:
    r"""Exponential moving average of parameters and norm statistics.

    .. math:: \bar\theta \leftarrow d \bar\theta + (1 - d) \theta, \qquad
        d = \min\bigl(\mathrm{decay}, \tfrac{1 + n}{10 + n}\bigr)

    after step :math:`n` from 0, so that the random start is soon forgotten.

    Args:
        module: Module whose weights are averaged; they are the first mean.
        decay: Decay of the mean, in [0, 1).
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.mean = {
            name: value.detach().clone()
            for name, value in module.state_dict().items()
            if value.is_floating_point()
        }

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """Update the mean with the weights after a step, counted from 0."""
        share = 1 - min(self.decay, (1 + step) / (10 + step))
        state = module.state_dict()
        for name, mean in self.mean.items():
            mean.lerp_(state[name], share)

    @contextmanager
    def applied(self, module: nn.Module) -> Iterator[None]:
        """Let a module use the mean; its own weights come back afterwards, bit by bit."""
        state = module.state_dict()
        own: dict[str, Tensor] = {name: state[name].clone() for name in self.mean}
        _copy(self.mean, state)
        try:
            yield
        finally:
            _copy(own, state)

    def load(self, mean: dict[str, Tensor]) -> None:
        """Go on from a mean that was saved.

        Raises:
            KeyError: The saved mean lacks a name.
            RuntimeError: A shape differs.
        """
        given = {name: mean[name] for name in self.mean}
        for name, own in self.mean.items():
            if given[name].shape != own.shape:  # copying would broadcast it
                raise RuntimeError(f"{name} is {[*own.shape]} here, {[*given[name].shape]} there")
        _copy(given, self.mean)


@torch.no_grad()
def _copy(values: dict[str, Tensor], into: dict[str, Tensor]) -> None:
    for name, value in values.items():
        into[name].copy_(value)
