"""What can be reproduced: for each name the runs that it needs, and what is made of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from fdps.analysis.page import Plot
from fdps.errors import UsageError
from fdps.predictions import load_predictions
from fdps.reproduce import fig3, fig4, fig5, gradients, reasons, robustness, sensitivity, swap
from fdps.reproduce.one_run import GROUND_TRUTH, PREDICTIONS
from fdps.reproduce.plan import PlannedRun
from fdps.reproduce.scores import Scores
from fdps.reproduce.section import Section
from fdps.reproduce.tables import make_table, make_table_3
from fdps.reproduce.variants import FIGURE_5, TABLE_1, TABLE_2, VARIANTS, Variant, table_3

Runs = Mapping[str, Sequence[PlannedRun]]


@dataclass(frozen=True)
class Target:
    """Something to reproduce.

    Args:
        title: Heading of its section.
        make: Makes the section of finished runs.
        variants: Lists the systems to train, from the number of training identities.
        n_seeds: Seeds of each, unless somebody asks for another number.
        files: Predictions that every run needs.
        check: Refuses to begin where something is missing.
        is_of_paper: Whether ``all`` means it too.
    """

    title: str
    make: Callable[[Scores, Runs], Section]
    variants: Callable[[int], list[Variant]] = lambda n_persons: []
    n_seeds: int = 1
    files: tuple[str, ...] = (PREDICTIONS,)
    check: Callable[[], None] = lambda: None
    is_of_paper: bool = True


def find_targets(name: str) -> dict[str, Target]:
    """Find what a name means: one target, or with ``all`` every one of the paper.

    Raises:
        UsageError: The name is not known.
    """
    if name == "all":
        return {key: target for key, target in TARGETS.items() if target.is_of_paper}
    if name not in TARGETS:
        near = get_close_matches(name, [*TARGETS, "all"], n=1)
        raise UsageError(
            f"nothing is known by the name {name!r}",
            hint=(f"did you mean {near[0]!r}? " if near else "")
            + f"known: {', '.join([*TARGETS, 'all'])}",
        )
    return {name: TARGETS[name]}


def _listed(keys: Sequence[str]) -> Callable[[int], list[Variant]]:
    return lambda n_persons: [VARIANTS[key] for key in keys]


def _table_1(scores: Scores, runs: Runs) -> Section:
    return _table("table1", "The systems of Table 1, all under OIM", TABLE_1, scores, runs)


def _table_2(scores: Scores, runs: Runs) -> Section:
    return _table("table2", "The losses of Table 2, all with FDPS", TABLE_2, scores, runs)


def _table(name: str, caption: str, keys: Sequence[str], scores: Scores, runs: Runs) -> Section:
    rows = [VARIANTS[key] for key in keys]
    comparison, found = scores.comparison(rows, runs, keys[0])
    table = make_table(
        name, f"{caption}, on {scores.bench.name}", rows, comparison, [*found], scores.bench
    )
    return Section(TARGETS[name].title, (table,), facts={"comparison": comparison.json()})


def _table_3(scores: Scores, runs: Runs) -> Section:
    rows = table_3()
    comparison, found = scores.comparison(rows, runs, "fdps_boim")
    table = make_table_3(rows, comparison, [*found], scores.bench)
    return Section(TARGETS["table3"].title, (table,), facts={"comparison": comparison.json()})


def _fig_3(scores: Scores | None, runs: Runs) -> Section:
    curves = fig3.compute_curves()
    plots = {
        "fig3a": Plot(
            fig3.plot_exponential(curves),
            "Small differences of similarity grow: the ordinate is in units of 10¹⁰. The paper "
            "does not give the range of the abscissa.",
        ),
        "fig3b": Plot(
            fig3.plot_probability(curves),
            "The probability of the positive category follows its own similarity nearly alone; "
            "that of a negative category matters only where it comes close.",
        ),
    }
    values = {name: getattr(curves, name).tolist() for name in fig3.Curves.__slots__}
    return Section(TARGETS["fig3"].title, plots=plots, facts=values)


def _fig_4(scores: Scores, runs: Runs) -> Section:
    plots = {}
    for letter, key, loss in (("a", "fdps", "OIM"), ("b", "fdps_boim", "BOIM")):
        embedded = load_predictions(_first(scores, runs, key).folder / GROUND_TRUTH)
        plots[f"fig4{letter}"] = Plot(
            fig4.plot_tsne(embedded, scores.scenes, f"({letter}) {loss}"),
            f"Annotated appearances of the {fig4.N_PEOPLE} people of the queries who are seen most "
            f"often, embedded by FDPS under {loss}. Equal colours and markers are the same person "
            "in (a) and (b); a t-SNE has no units.",
        )
    pairs = {
        key: fig4.centre_similarities(_first(scores, runs, key).folder)
        for key in ("fdps", "fdps_boim")
    }
    plots["fig4c"] = Plot(
        fig4.plot_centres(pairs["fdps"], pairs["fdps_boim"]),
        "Similarities of all pairs of training identities, by the rows of the look-up table at "
        "the end of training.",
    )
    means = {f"mean centre similarity, {key}": float(p.mean()) for key, p in pairs.items()}
    return Section(TARGETS["fig4"].title, plots=plots, facts=means)


def _first(scores: Scores, runs: Runs, key: str) -> PlannedRun:
    """Return the first seed of a variant that has finished."""
    for run in runs[key]:
        if run.address not in scores.failed:
            return run
    raise scores.failed[runs[key][0].address]


def _fig_5(scores: Scores, runs: Runs) -> Section:
    sizes = fig5.gallery_sizes(len(scores.scenes))
    curves = fig5.compute_curves(scores, runs, sizes)
    plots = {"fig5": Plot(*fig5.plot(curves, scores.scenes.name))}
    if scores.bench.family != "cuhk_sysu":
        plots["fig5_published"] = Plot(*fig5.plot_published())
    facts = {
        label: {str(size): [r.search.mean_ap for r in reports] for size, reports in curve.items()}
        for label, curve in curves.items()
    }
    return Section(TARGETS["fig5"].title, plots=plots, facts=facts)


TARGETS: dict[str, Target] = {
    "table1": Target("Table 1: four ways to share features", _table_1, _listed(TABLE_1), 5),
    "table2": Target("Table 2: the parts of the balanced loss", _table_2, _listed(TABLE_2), 5),
    "table3": Target("Table 3: every system", _table_3, lambda n_persons: table_3(), 3),
    "fig3": Target("Fig. 3: the imbalance of OIM", _fig_3),
    "fig4": Target(
        "Fig. 4: people in the space of embeddings",
        _fig_4,
        _listed(("fdps", "fdps_boim")),
        1,
        (PREDICTIONS, GROUND_TRUTH),
        fig4.check_tsne,
    ),
    "fig5": Target("Fig. 5: the size of the gallery", _fig_5, _listed(FIGURE_5), 3),
    "sensitivity": Target(
        sensitivity.TITLE, sensitivity.make, sensitivity.variants, 3, is_of_paper=False
    ),
    "gradients": Target(
        gradients.TITLE, gradients.make, _listed(gradients.VARIANTS), is_of_paper=False
    ),
    "reasons": Target(reasons.TITLE, reasons.make, reasons.variants, 5, is_of_paper=False),
    "swap": Target(swap.TITLE, swap.make, _listed(swap.VARIANTS), is_of_paper=False),
    "robustness": Target(
        robustness.TITLE,
        robustness.make,
        _listed(robustness.VARIANTS),
        1,
        (PREDICTIONS, *robustness.files()),
        is_of_paper=False,
    ),
}
"""Everything that ``fdps reproduce`` knows, by name."""
