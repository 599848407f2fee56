"""Time Eq. 10 of FDPS: the full sum against the running one, and its share of a BOIM step.

    python benchmarks/dispersion.py                     # CUHK-SYSU: 5532 identities
    python benchmarks/dispersion.py --persons 483 --queue 500 --limit 0.2       # PRW

Full and running sum alternate, so that a machine that slows down slows both. Every batch has
distinct identities, which is the most expensive case. One thread unless ``--threads`` says more:
a call of a few milliseconds on all cores waits for whatever else runs on them, one of half a second
hardly does, and the ratio then tells about the neighbours. Exits with 1 if the ratio of the medians
passes ``--limit``. By count of products it is 2 B / L: 1.4 % for CUHK-SYSU, 17 % for PRW.
"""

import argparse
import platform
import statistics
import sys
import time
from collections.abc import Callable

import torch
from torch.nn.functional import normalize

from fdps.losses import BalancedOIMLoss, dispersion


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--persons", type=int, default=5532, help="L, identities in the table")
    parser.add_argument("--dim", type=int, default=256, help="C, length of an embedding")
    parser.add_argument("--batch", type=int, default=40, help="B, labelled people per step")
    parser.add_argument("--queue", type=int, default=5000, help="Q, slots of the queue")
    parser.add_argument("--rounds", type=int, default=15, help="full sums to time")
    parser.add_argument("--steps", type=int, default=10, help="running updates per round")
    parser.add_argument("--threads", type=int, default=1, help="of torch on the CPU")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--limit", type=float, default=0.02, help="largest ratio that passes")
    return parser.parse_args()


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """Wall-clock time of one call, the work queued on an accelerator included."""
    synchronise = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    synchronise()
    start = time.perf_counter()
    work()
    synchronise()
    return time.perf_counter() - start


class Bench:
    """A criterion with a full table, and batches to update it with."""

    def __init__(self, args: argparse.Namespace) -> None:
        torch.manual_seed(0)
        self.batch, self.dim, self.device = args.batch, args.dim, torch.device(args.device)
        self.criterion = BalancedOIMLoss(args.persons, args.queue, args.dim, refresh_every=10**9)
        self.criterion.to(self.device)
        table = self.criterion.memory.table.rows
        self.criterion.update(
            normalize(torch.randn_like(table)), torch.arange(len(table), device=self.device)
        )

    def draw(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Embeddings and distinct ids."""
        x = normalize(torch.randn(self.batch, self.dim, device=self.device))
        ids = torch.randperm(len(self.criterion.memory.table.rows), device=self.device)
        return x, ids[: self.batch]

    def full(self) -> float:
        """Eq. 10 summed over the whole table."""
        rows = self.criterion.memory.table.rows
        return seconds(lambda: dispersion(rows), self.device)

    def running(self) -> float:
        """Time what the running sum adds to an update: distinct ids, old rows, following them."""
        (x, ids), table = self.draw(), self.criterion.memory.table
        tracker = self.criterion.dispersion
        assert tracker is not None
        changed, before = None, None

        def remember() -> None:
            nonlocal changed, before
            changed = torch.unique(ids)
            before = table.rows[changed]

        taken = seconds(remember, self.device)
        table.update(x, ids)
        return taken + seconds(lambda: tracker.update(before, changed, table.rows), self.device)

    def step(self) -> float:
        """Loss, gradient and update of one batch, as the criterion does them in training."""
        x, ids = self.draw()
        x.requires_grad_()

        def work() -> None:
            self.criterion(x, ids).backward()
            self.criterion.update(x, ids)

        return seconds(work, self.device)

    def error(self) -> float:
        """Relative difference of the running sum and the full one."""
        tracker, rows = self.criterion.dispersion, self.criterion.memory.table.rows
        assert tracker is not None
        return abs(tracker.value().item() / dispersion(rows).item() - 1)


def main() -> int:
    """Measure and print; return the exit status."""
    args = parse()
    torch.set_num_threads(args.threads)
    bench = Bench(args)
    bench.full(), bench.running(), bench.step()  # first calls pay for set-up
    full, running, step = [], [], []
    for _ in range(args.rounds):
        full.append(bench.full())
        running += [bench.running() for _ in range(args.steps)]
        step += [bench.step() for _ in range(args.steps)]
    print(
        f"L={args.persons} C={args.dim} B={args.batch} Q={args.queue} · {args.device} · "
        f"{torch.get_num_threads()} threads · {platform.machine()} · torch {torch.__version__}"
    )
    print(f"{'':24}{'fastest':>12}{'median':>12}")
    for name, times in [
        ("full sum", full),
        ("running sum", running),
        ("BOIM step", step),
    ]:
        print(f"{name:24}{min(times) * 1e3:9.3f} ms{statistics.median(times) * 1e3:9.3f} ms")
    ratios = {}
    for name, parts, whole in [
        ("running / full", running, full),
        ("running / BOIM step", running, step),
    ]:
        ratios[name] = statistics.median(parts) / statistics.median(whole)
        print(f"{name:24}{min(parts) / min(whole):12.2%}{ratios[name]:12.2%}")
    print(f"relative error of the running sum at the end: {bench.error():.1e}")
    ratio = ratios["running / full"]
    print(f"asked for: running / full at most {args.limit:.0%}; {ratio:.2%} measured")
    return int(ratio > args.limit)


if __name__ == "__main__":
    sys.exit(main())
