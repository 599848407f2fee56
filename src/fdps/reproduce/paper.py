"""The figures that the FDPS paper prints, in per cent; the rows are named as :mod:`variants` does.

Source: Yang et al., "Multi-task feature decomposition based marginal distribution for person
search", Tables 1 to 3.
"""

from typing import NamedTuple


class Reported(NamedTuple):
    """One row of Table 1 or 2, in per cent."""

    recall: float
    ap: float
    mean_ap: float
    top1: float


class Searched(NamedTuple):
    """One row of Table 3, in per cent: mAP and top-1 on CUHK-SYSU, then on PRW."""

    cuhk_sysu: tuple[float, float]
    prw: tuple[float, float]


TABLE_1 = {
    "oim_base": Reported(89.3, 79.7, 84.4, 86.1),
    "flatten": Reported(92.5, 86.9, 91.5, 92.6),
    "parameter_base": Reported(92.2, 86.2, 91.4, 92.3),
    "fdps": Reported(92.9, 87.2, 92.2, 93.1),
}
"""On CUHK-SYSU, under the OIM loss."""

TABLE_2 = {
    "fdps": Reported(95.2, 92.4, 45.1, 83.2),
    "fdps_w": Reported(96.0, 93.0, 45.6, 83.4),
    "fdps_negatives": Reported(96.3, 92.0, 45.7, 83.6),
    "fdps_boim": Reported(96.7, 93.3, 46.7, 83.7),
}
"""On PRW, with FDPS."""

TABLE_3 = {
    "oim": Searched((75.5, 75.7), (21.3, 49.9)),
    "qeeps": Searched((88.9, 89.1), (37.1, 76.7)),
    "hoim": Searched((89.7, 90.8), (39.8, 80.4)),
    "apnet": Searched((88.9, 89.3), (41.9, 81.4)),
    "binet": Searched((90.0, 90.7), (45.3, 81.7)),
    "nae": Searched((91.5, 92.4), (43.3, 80.9)),
    "nae_plus": Searched((92.1, 92.9), (44.0, 81.1)),
    "fdps": Searched((92.2, 93.1), (45.1, 83.3)),
    "fdps_boim": Searched((92.5, 93.7), (46.7, 83.7)),
    "clsa": Searched((87.2, 88.5), (38.7, 65.0)),
    "rdlr": Searched((93.0, 94.2), (42.9, 70.2)),
    "igpn": Searched((90.3, 91.4), (47.2, 87.0)),
    "tcts": Searched((93.9, 95.1), (46.8, 87.5)),
}
"""One-step methods, then two-step ones."""
