"""Published figures on CUHK-SYSU, to draw beside one's own for context.

They are read from papers and public code, not measured here, and were made with other networks,
picture sizes and detectors: context, never a controlled comparison.
"""

GALLERY_SIZES = (50, 100, 500, 1_000, 2_000, 4_000)
"""The gallery sizes of the lists of CUHK-SYSU, and of Fig. 5 of the FDPS paper."""

ONE_STEP = {
    "OIM": (79.34, 75.45, 65.66, 60.85, 56.46, 51.27),
    "RCAA": (83.75, 79.33, 70.76, 64.15, 60.96, 55.94),
    "CTXG": (87.05, 84.06, 78.51, 74.68, 70.99, 65.64),
    "NAE+": (93.10, 92.10, 87.13, 84.83, 81.96, 79.00),
    "DKD": (93.98, 93.14, 89.96, 88.28, 86.08, 83.63),
    "AlignPS+": (94.70, 94.06, 90.86, 89.11, 86.78, 84.03),
    "PSTR (ResNet-50)": (94.30, 93.55, 91.34, 89.55, 87.86, 85.34),
    "PSTR (PVTv2)": (95.90, 95.27, 93.24, 92.20, 90.71, 88.75),
}
"""mAP in per cent at each of :data:`GALLERY_SIZES`; one network finds and embeds."""

TWO_STEP = {
    "MGTS": (84.70, 82.95, 76.88, 73.99, 70.34, 66.47),
    "CLSA": (88.42, 87.30, 85.42, 84.62, 83.35, 77.51),
    "RDLR": (93.80, 92.99, 89.55, 87.46, 84.97, 82.67),
    "TCTS": (94.46, 93.87, 90.70, 89.17, 86.84, 84.26),
}
"""The same as :data:`ONE_STEP` for a detector followed by a re-ID network."""

AT_100 = {"FDPS": 92.2, "FDPS + BOIM": 92.5}
"""mAP in per cent with galleries of 100, as the FDPS paper prints it."""

SOURCE = (
    "Published curves: the values that the public plotting code of PSTR draws; FDPS: Table 3 of "
    "its paper. Other networks and picture sizes: context, not a controlled comparison."
)


def has_published_curves(data: str) -> bool:
    """Tell whether the curves were measured on this data set.

    Args:
        data: Name of a scene set.

    Example:
        >>> has_published_curves("cuhk_sysu/test"), has_published_curves("prw/test")
        (True, False)
    """
    return data.partition("/")[0] == "cuhk_sysu"
