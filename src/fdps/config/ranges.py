"""The range of every number of a recipe, and the check of a section against it."""

import math
import typing
from collections.abc import Callable

from fdps.config.values import converted
from fdps.errors import ConfigError

RANGES: dict[str, tuple[str, Callable[[float], bool]]] = {
    name: (expected, holds)
    for expected, holds, names in (
        (
            "at least 0",
            lambda value: value >= 0,
            "frozen_stages queue_size sigma rpn_score_weight rpn_box_weight first_person_weight "
            "first_box_weight person_weight box_weight reid_weight weight_decay milestones "
            "warmup_epochs background_size "
            "reid_warmup_epochs trunk_lr_scale zoom decoded_gib validate_every patience "
            "checkpoint_every teacher_weight teacher_direction teacher_queue_size "
            "identity_weight triplet_weight",
        ),
        (
            "at least 1",
            lambda value: value >= 1,
            "short_side long_side anchor_sizes rpn_before_nms rpn_after_nms region_size "
            "rpn_anchors_per_image region_samples regions_per_image embedding_dim max_detections "
            "batch_size log_every accumulate keep_last epochs per_person",
        ),
        (
            "above 0",
            lambda value: value > 0,
            "anchor_ratios temperature lr max_grad_norm teacher_temperature triplet_margin",
        ),
        (
            "above 0 and at most 1",
            lambda value: 0 < value <= 1,
            "positive_fraction foreground_iou background_iou nms_iou rpn_positive_fraction "
            "rpn_foreground_iou rpn_background_iou rpn_nms_iou rpn_test_nms_iou second_nms_iou "
            "decay layer_decay warmup_start match_iou",
        ),
        (
            "in 0..1",
            lambda value: 0 <= value <= 1,
            "score_threshold flip erase mosaic detector_score",
        ),
        ("at least 32", lambda value: value >= 32, "mosaic_size crop_size"),
        (
            "in 0..1, below 1",
            lambda value: 0 <= value < 1,
            "momentum least_kept sgd_momentum adam_betas colour_jitter ema rpn_test_min_score "
            "identity_smoothing",
        ),
        ("in 0..1024", lambda value: 0 <= value <= 1024, "workers"),
        ("in -1..1", lambda value: -1 <= value <= 1, "beta"),
        ("in 0..4294967295", lambda value: 0 <= value < 2**32, "seed"),
        # Far outside, exp(alpha) in Eq. 10 is 0 or infinite in float32.
        ("in -50..50", lambda value: -50 <= value <= 50, "alpha"),
    )
    for name in names.split()
}
"""The range of every number of a recipe, all of which are finite; in a list it holds for each."""


LARGEST = 2**31 - 1
"""No whole number of a recipe is larger, but for the seed."""


def check_fields(section: str, config: object) -> None:
    """Check the types and ranges of all fields, and keep lists as tuples.

    Args:
        section: Name of the section of the recipe; empty for the recipe itself.
        config: The frozen dataclass that was just made.

    Raises:
        ConfigError: A value is of another type or out of its range; the message names the key.
    """
    hints = typing.get_type_hints(type(config))
    for name, value in vars(config).items():
        key = f"recipe key {section}.{name}" if section else f"recipe key {name}"
        value = converted(hints[name], value, key)
        object.__setattr__(config, name, value)  # it is frozen, but not handed out yet
        if name not in RANGES or value is None:
            continue
        expected, holds = RANGES[name]
        numbers = value if isinstance(value, tuple) else (value,)
        if not all(-math.inf < number < math.inf and holds(number) for number in numbers):
            raise ConfigError(f"{key} must be {expected}, got {value}")
        if name != "seed" and any(isinstance(n, int) and n > LARGEST for n in numbers):
            raise ConfigError(f"{key} must be at most {LARGEST}, got {value}")
