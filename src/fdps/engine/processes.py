"""The processes that train one network together; with a single process nothing here has effect.

``torchrun`` or SLURM starts the processes and Fabric connects them. The network is not wrapped: a
step sums counts, losses and gradients over the processes where the reader can see it
(:mod:`fdps.engine.step`), so that a process without a picture takes part like any other.
"""

import os

import torch
import torch.distributed as dist
from jaxtyping import Shaped
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning_fabric.plugins.precision import MixedPrecision
from torch import Tensor, nn

from fdps.config import TrainConfig
from fdps.devices import check_device


def connect(config: TrainConfig) -> Fabric:
    """Join the processes of this run, on the device and in the precision of a recipe.

    Raises:
        UsageError: The device is not there.
    """
    on_gpu = check_device(config.device) != "cpu"
    n_nodes, n_local = _started_processes()
    fp16_on_cpu = config.precision == "16-mixed" and not on_gpu
    fabric = Fabric(
        accelerator="gpu" if on_gpu else "cpu",
        devices=n_local,
        num_nodes=n_nodes,
        strategy="ddp" if n_nodes * n_local > 1 else "auto",
        # Fabric takes bf16 instead of fp16 on a CPU; torch has both there, and tests need fp16.
        precision=None if fp16_on_cpu else config.precision,
        plugins=[MixedPrecision("16-mixed", "cpu")] if fp16_on_cpu else None,
    )
    fabric.launch()
    return fabric


class Processes:
    """Communication between the processes of a run.

    Args:
        fabric: A Fabric that is connected.
    """

    def __init__(self, fabric: Fabric) -> None:
        self.n, self.rank = fabric.world_size, fabric.global_rank

    @property
    def is_first(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    def sum(self, values: Shaped[Tensor, "..."]) -> Shaped[Tensor, "..."]:
        """Add a tensor up over all processes; every process gets the same bits."""
        if self.n == 1:
            return values
        total = values.clone()
        dist.all_reduce(total)
        return total

    def largest(self, values: Shaped[Tensor, "..."]) -> Shaped[Tensor, "..."]:
        """Return the element-wise maximum over all processes."""
        if self.n == 1:
            return values
        largest = values.clone()
        dist.all_reduce(largest, op=dist.ReduceOp.MAX)
        return largest

    def is_any(self, condition: bool, device: torch.device) -> bool:
        """Tell whether a condition holds in some process."""
        return bool(self.largest(torch.tensor(int(condition), device=device)))

    def concatenate(self, rows: Shaped[Tensor, "_ ..."]) -> Shaped[Tensor, "_ ..."]:
        """Gather the rows of all processes, by rank; their numbers of rows may differ."""
        if self.n == 1:
            return rows
        lengths = [torch.zeros((), dtype=torch.int64, device=rows.device) for _ in range(self.n)]
        dist.all_gather(lengths, torch.tensor(len(rows), device=rows.device))
        longest = max(map(int, lengths))
        padded = rows.new_zeros((longest, *rows.shape[1:]))
        padded[: len(rows)] = rows
        gathered = [torch.empty_like(padded) for _ in range(self.n)]
        dist.all_gather(gathered, padded)
        return torch.cat([part[:n] for part, n in zip(gathered, map(int, lengths), strict=True)])

    def sum_gradients(self, parameters: list[nn.Parameter]) -> None:
        """Add up the gradients of all processes; one that has none brings zeros."""
        if self.n == 1:
            return
        under_way = []
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            under_way.append(dist.all_reduce(parameter.grad, async_op=True))
        for work in under_way:
            work.wait()

    def agree(self, module: nn.Module) -> None:
        """Give every process the parameters and buffers of the first."""
        if self.n > 1:
            for tensor in module.state_dict().values():
                dist.broadcast(tensor, src=0)

    def tell_all(self, value: str, device: torch.device) -> list[str]:
        """Gather a line of text from every process, by rank; empty lines are left out."""
        line = torch.tensor([*value.encode(), *b"\n"] if value else [], dtype=torch.uint8)
        return bytes(self.concatenate(line.to(device)).tolist()).decode().splitlines()

    def wait(self) -> None:
        """Wait until all processes are here."""
        if self.n > 1:
            dist.barrier()


def _started_processes() -> tuple[int, int]:
    """Return the machines, and processes on each, of ``torchrun`` or SLURM; otherwise 1 and 1."""
    if TorchElasticEnvironment.detect():
        n_local = int(os.environ["LOCAL_WORLD_SIZE"])
        return int(os.environ["WORLD_SIZE"]) // n_local, n_local
    if SLURMEnvironment.detect():
        n_nodes = int(os.environ.get("SLURM_NNODES", "1"))
        return n_nodes, int(os.environ["SLURM_NTASKS"]) // n_nodes
    return 1, 1
