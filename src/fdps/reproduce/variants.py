"""The rows of the paper's tables, each as the fields of a recipe in which it differs from FDPS.

A system that :mod:`fdps.config.systems` knows and that has no row here gets one by itself: a system
of an installed package appears in Table 3 without a line of this file.
"""

from dataclasses import dataclass

from fdps.config.systems import TWO_STEP_SYSTEMS, system_names


@dataclass(frozen=True)
class Variant:
    """One row: a network and its loss.

    Args:
        key: Name of its recipes in ``configs/``, and of its run folders.
        label: Name that tables print.
        settings: Fields of the small recipes, as ``section.field=value``.
        switches: The same for every recipe, that of the paper too.
        on_photos: More fields of the small recipe for photographs.
        on_drawings: More fields of the small recipe for drawn scenes.
        begins_from: Key of the variant whose trained weights it begins with.
        detector: Key of the variant whose trained network finds people for it, in two steps.
        weight_by_score: Whether a similarity is multiplied by the detector's score, as the authors
            of the system do.
    """

    key: str
    label: str
    settings: tuple[str, ...] = ()
    switches: tuple[str, ...] = ()
    on_photos: tuple[str, ...] = ()
    on_drawings: tuple[str, ...] = ()
    begins_from: str = ""
    detector: str = ""
    weight_by_score: bool = False


def _balanced(*, w: bool, negatives: bool) -> tuple[str, ...]:
    """Return the loss of one row of Table 2; with neither it is OIM, to the bit."""
    return (
        "loss.name=boim",
        f"loss.use_dispersion={str(w).lower()}",
        f"loss.use_negatives={str(negatives).lower()}",
    )


def _fdps(key: str, label: str, switches: tuple[str, ...]) -> Variant:
    """Return a row of Table 2; small checkpoints of every epoch stay, to measure gradients at."""
    every = ("train.keep_last=100",)
    return Variant(key, label, switches=switches, on_photos=every, on_drawings=every)


def _two_step(key: str, label: str, switches: tuple[str, ...], detector: str = "fdps") -> Variant:
    """Return a network on crops behind FDPS, which finds people for all but those that need more.

    ``detector`` is the key of who finds people instead.
    """
    return Variant(key, f"{label}, two-step", switches=switches, detector=detector)


_PLAIN, _NORM = ("model.system=oim_base",), ("model.person_score=norm",)
_BOTH = ("model.reid_features=res4+res5",)

VARIANTS: dict[str, Variant] = {
    variant.key: variant
    for variant in (
        Variant("oim", "OIM, as first published", ("model.system=oim", "model.region_pooling=max")),
        Variant("oim_base", "OIM-base", _PLAIN),
        Variant(
            "qeeps",
            "QEEPS, each picture alone",
            ("model.system=qeeps", "train.sampling=pairs"),
            on_photos=("model.options={excited_stages=1}",),
        ),
        Variant(
            "igpn_detector",
            "IGPN's detector, each picture alone",
            ("model.system=igpn_detector", "train.sampling=pairs"),
            on_photos=("model.options={channels=96}",),
            on_drawings=("model.options={channels=64}",),
        ),
        Variant(
            "hoim",
            "HOIM",
            (*_PLAIN, "model.person_score=memory", *_BOTH),
            on_photos=("model.background_iou=0.1",),
            on_drawings=("loss.background_size=200",),
        ),
        Variant(
            "apnet",
            "APNet (approximation)",
            ("model.system=apnet",),
            on_photos=(
                "model.options={parts=7,largest_cut=0.5}",
                "model.embedded_box=detection",
            ),
        ),
        Variant(
            "binet",
            "BINet",
            ("model.system=binet",),
            on_photos=("model.options={patch_size=[128,48]}",),
            on_drawings=("model.options={patch_size=[96,48]}",),
        ),
        Variant(
            "nae",
            "NAE",
            (*_PLAIN, *_NORM, *_BOTH),
            on_photos=("model.background_iou=0.1",),
            weight_by_score=True,
        ),
        Variant(
            "nae_plus",
            "NAE+",
            ("model.system=nae_plus", *_NORM, *_BOTH),
            on_photos=("model.background_iou=0.1",),
            begins_from="nae",
            weight_by_score=True,
        ),
        Variant(
            "oimnet_pp",
            "OIMNet++",
            (*_PLAIN, "model.embedding_norm=prototype", "loss.name=loim"),
        ),
        Variant(
            "seqnet",
            "SeqNet",
            (
                *_PLAIN,
                *_NORM,
                *_BOTH,
                "model.stages=two",
                "model.first_box_norm=true",
                "loss.box_weight=1.0",
            ),
            weight_by_score=True,
        ),
        Variant("flatten", "Flatten", ("model.system=flatten",)),
        Variant("parameter_base", "Parameter-base", ("model.system=parameter_base",)),
        _fdps("fdps", "FDPS", _balanced(w=False, negatives=False)),
        _fdps("fdps_w", "FDPS + w", _balanced(w=True, negatives=False)),
        _fdps("fdps_negatives", "FDPS + L_neg", _balanced(w=False, negatives=True)),
        _fdps("fdps_boim", "FDPS + BOIM", _balanced(w=True, negatives=True)),
        _two_step("two_step", "re-ID on crops", ()),
        _two_step("clsa", "CLSA", ("model.system=clsa",)),
        _two_step("rdlr", "RDLR (window in the box)", ("model.system=rdlr", "model.boxes=both")),
        _two_step(
            "igpn", "IGPN, each picture alone", ("model.system=igpn",), detector="igpn_detector"
        ),
        _two_step("tcts", "TCTS, each picture alone", ("model.system=tcts", "model.boxes=both")),
    )
}
"""Every row that is described, by key, in the order of Table 3."""

TABLE_1 = ("oim_base", "flatten", "parameter_base", "fdps")
"""The systems of Table 1, all under OIM; the first is the one that the others are compared with."""

TABLE_2 = ("fdps", "fdps_w", "fdps_negatives", "fdps_boim")
"""The losses of Table 2, all with FDPS."""

FIGURE_5 = ("oim", "oim_base", "nae_plus", "seqnet", "fdps", "fdps_boim")
"""The systems whose curves are drawn over the size of the gallery."""


def table_3() -> list[Variant]:
    """List every system there is; those that no row describes come last, with their own names."""
    rows = [variant for key, variant in VARIANTS.items() if key not in TABLE_2[1:3]]
    described = {
        setting.partition("=")[2]
        for variant in rows
        for setting in (*variant.settings, *variant.switches)
        if setting.startswith("model.system=")
    }
    new = [name for name in system_names() if name not in described | {"fdps"}]
    behind = [name for name in TWO_STEP_SYSTEMS if name not in described | {"plain"}]
    return [
        *rows,
        *(Variant(name, name, (f"model.system={name}",)) for name in new),
        *(_two_step(name, name, (f"model.system={name}",)) for name in behind),
    ]
