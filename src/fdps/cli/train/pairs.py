"""``fdps predict --pairwise``: every query is looked for in every picture of its gallery."""

import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fdps.cli.chosen_data import PAIRS_FILE, DataChoice
from fdps.cli.progress import progress_bar
from fdps.errors import UsageError
from fdps.names import printable

if TYPE_CHECKING:
    from fdps.query import Searcher
    from fdps.structures import SceneSet


@dataclass(frozen=True)
class PairChoice:
    """The options of ``fdps predict`` about pairs of pictures."""

    pairwise: Annotated[
        bool | None,
        typer.Option(
            "--pairwise/--no-pairwise",
            help="Look for each query in each picture anew, which takes queries times pictures "
            "passes; or see each picture alone. [default: alone; a pair-wise system asks]",
        ),
    ] = None
    subset: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Pairs of a list of queries of the data set: mini, ..."),
    ] = None
    queries: Annotated[
        int | None, typer.Option(metavar="N", help="Pairs of so many queries, drawn.")
    ] = None
    seed: Annotated[int, typer.Option(min=0, help="Seed of that draw.")] = 0

    def checked(self, searcher: "Searcher", model: Path) -> bool:
        """Return whether pairs are wanted.

        Raises:
            UsageError: The system is pair-wise and nobody said which figures are wanted, or
                options of pairs come without pairs, or pairs with what they cannot do.
        """
        from fdps.structures import PairEmbedder

        if self.pairwise is None and isinstance(searcher, PairEmbedder):
            raise UsageError(
                f"{model} is a pair-wise system: what it finds depends on who is sought",
                hint=f"its figures: fdps predict {shlex.quote(str(model))} --pairwise; "
                "as a plain system that sees each picture alone: --no-pairwise",
            )
        if not self.pairwise and (self.subset is not None or self.queries is not None):
            raise UsageError(
                "--subset and --queries choose pairs, and there are none without --pairwise",
                hint="fdps evaluate has a --subset of its own",
            )
        return bool(self.pairwise)

    def run(
        self,
        searcher: "Searcher",
        scenes: "SceneSet",
        file: Path,
        *,
        min_score: float | None,
        quiet: bool,
    ) -> dict[str, Any]:
        """Compare all pairs, write the file and return what to say about it.

        What is done lies in a hidden folder beside the file until the file is there.

        Raises:
            FdpsError: Those of :func:`fdps.engine.pairs.predict_pairs`.
            OSError: The disk is full, read-only or failing.
        """
        from fdps.engine.pairs import as_pairwise, choose_sought, name_of_work, predict_pairs
        from fdps.evaluation.pairwise.pairs_file import save_pairs

        chosen = choose_sought(scenes, subset=self.subset, n_queries=self.queries, seed=self.seed)
        embedder = as_pairwise(searcher)
        # What is done with one least score is no part of what is done with another.
        least = "" if min_score is None else f"-{min_score:g}"
        work = name_of_work(embedder, scenes, chosen)
        kept = file.with_name(f".{file.stem}{least}-{work}.parts")
        try:
            with progress_bar(f"Pairs of {scenes.name}", hidden=quiet) as progress:
                pairs = predict_pairs(embedder, scenes, chosen, progress, kept=kept)
            save_pairs(pairs, file)
        except KeyboardInterrupt:
            print("Interrupted; the same command continues where it was", file=sys.stderr)
            raise
        shutil.rmtree(kept, ignore_errors=True)
        return {
            "pairs": str(file),
            "n_scenes": len(scenes),
            "n_queries": len(chosen.rows),
            "n_pairs": pairs.n_pairs,
            "n_detections": len(pairs.boxes),
            "seconds_per_pair": pairs.seconds_pairs / max(pairs.n_pairs, 1),
            "seconds_per_picture": pairs.seconds_pictures / max(len(scenes), 1),
            "model_hash": pairs.model_hash,
        }

    def show(self, figures: dict[str, Any], model: Path, choice: DataChoice) -> None:
        """Print what was done, and the command that scores it."""
        print(
            f"Found   {figures['n_detections']} people in {figures['n_pairs']} pairs of "
            f"{figures['n_queries']} queries and {figures['n_scenes']} scenes"
        )
        print(
            f"Took    {figures['seconds_per_pair']:.3f} s per pair, "
            f"{figures['seconds_per_picture']:.3f} s per picture without a query"
        )
        print(f"Wrote   {printable(figures['pairs'])}")
        words = ["fdps", "evaluate", *([str(model)] if model.is_dir() else []), "--pairwise"]
        if not model.is_dir() or Path(figures["pairs"]) != model / PAIRS_FILE:
            words += ["--predictions", figures["pairs"]]
        print(f"Next    {printable(shlex.join([*words, *choice.words()]))}")
