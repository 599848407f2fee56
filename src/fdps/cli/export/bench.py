"""``fdps bench``: pictures a second in every runtime, and where the time goes."""

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fdps.cli.progress import working
from fdps.errors import FdpsError
from fdps.names import printable

if TYPE_CHECKING:
    from fdps.export.stages import Timed
    from fdps.query import Searcher


def bench(
    models: Annotated[
        list[str], typer.Argument(metavar="MODEL", help="One model or several, by path or name.")
    ],
    pictures: Annotated[
        list[str] | None,
        typer.Option(metavar="SOURCE", help="Pictures, folders, @lists. [default: drawn scenes]"),
    ] = None,
    most: Annotated[int, typer.Option(min=1, help="Most pictures to look at.")] = 20,
    rounds: Annotated[int, typer.Option(min=1, help="How often to look at each.")] = 1,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Processor threads. [default: all cores]")
    ] = None,
    everywhere: Annotated[
        bool, typer.Option("--runtimes/--no-runtimes", help="Try every runtime that is installed.")
    ] = True,
    json_output: Annotated[
        bool, typer.Option("--json", help="Print one JSON object, nothing else.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
) -> None:
    """Measure pictures per second, latency and the time of every part, in every runtime.

    Models look at each picture in turns, so that a busy machine slows all alike: ratios count.
    """
    with working("Loading", hidden=quiet or json_output):
        import torch

        from fdps.devices import n_threads
        from fdps.export.pictures import drawn_pictures, picture_paths
        from fdps.export.stages import time_in_turns

        threads = threads or n_threads()
        torch.set_num_threads(threads)
        looked_at = picture_paths(pictures)[:most] if pictures else drawn_pictures()[0][:most]
    with (
        tempfile.TemporaryDirectory(prefix="fdps-bench-") as folder,
        working("Measuring", hidden=quiet or json_output),
    ):
        searchers, left_out, memory = _loaded(models, Path(folder), threads, everywhere=everywhere)
        timed = time_in_turns(searchers, looked_at, rounds=rounds)
    rows = {name: _figures(one) | {"memory_mib": memory[name]} for name, one in timed.items()}
    if json_output:
        told = {
            "threads": threads,
            "n_pictures": len(looked_at),
            "rows": rows,
            "left_out": left_out,
        }
        print(json.dumps(told))
        return
    _show(rows)
    for name, why in left_out.items():
        print(f"Left    {printable(name)}: {printable(why)}")


def _loaded(
    models: list[str], folder: Path, threads: int, *, everywhere: bool
) -> "tuple[dict[str, Searcher], dict[str, str], dict[str, float]]":
    """Load every model in every runtime; those that cannot be are named with the reason."""
    from importlib.util import find_spec

    from fdps.embedders import load
    from fdps.export.choice import RUNTIMES
    from fdps.export.folder import ExportOptions, export_network
    from fdps.export.pictures import drawn_pictures
    from fdps.runtime.exported import EXPORTED_FILE, load_exported
    from fdps.searcher import PersonSearcher

    searchers: dict[str, Searcher] = {}
    left_out: dict[str, str] = {}
    memory: dict[str, float] = {}
    drawn = drawn_pictures()
    for number, model in enumerate(models):
        before = _memory_mib()
        searchers[model] = load(model)
        searchers[model].detect(drawn[0][0])
        memory[model] = _memory_mib() - before
        if not everywhere or not isinstance(searchers[model], PersonSearcher):
            continue
        for runtime, packages in RUNTIMES.items():
            name = f"{model}, {runtime}"
            missing = [package for package in packages if not find_spec(package)]
            if missing:
                left_out[name] = f"{', '.join(missing)} is not installed"
                continue
            out = folder / f"{number}-{runtime}"
            try:
                options = ExportOptions(runtime=runtime, threads=threads)  # type: ignore[arg-type]
                parity = export_network(model, out, options, *drawn).parity
            except FdpsError as error:
                left_out[name] = str(error)
                continue
            if parity is None or not parity.holds:
                left_out[name] = f"it does not keep parity: {parity}"
                continue
            before = _memory_mib()
            searchers[name] = load_exported(out / EXPORTED_FILE, threads=threads)
            searchers[name].detect(drawn[0][0])
            memory[name] = _memory_mib() - before
    return searchers, left_out, memory


def _memory_mib() -> float:
    """Return what the process holds; 0 where the system does not tell."""
    import os

    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _figures(timed: "Timed") -> dict[str, Any]:
    return {
        "per_second": timed.per_second,
        "p50_s": timed.percentile(50),
        "p95_s": timed.percentile(95),
        "people": timed.people,
        "stages_s": dict(timed.stages),
    }


def _show(rows: dict[str, dict[str, Any]]) -> None:
    stages = list(dict.fromkeys(name for row in rows.values() for name in row["stages_s"]))
    width = max(map(len, rows))
    heads = ["per s", "p50 ms", "p95 ms", "MiB", *(f"{stage} ms" for stage in stages)]
    print("  ".join([f"{'model':<{width}}", *(f"{head:>8}" for head in heads)]))
    for name, row in rows.items():
        times = [1000 * row["stages_s"].get(stage, 0.0) for stage in stages]
        values = [row["per_second"], 1000 * row["p50_s"], 1000 * row["p95_s"], row["memory_mib"]]
        cells = [
            f"{value:>{max(8, len(head))}.1f}"
            for head, value in zip(heads, [*values, *times], strict=True)
        ]
        print("  ".join([f"{printable(name):<{width}}", *cells]))
