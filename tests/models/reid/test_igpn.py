from dataclasses import replace

import pytest

from fdps.config import LossConfig, TwoStepConfig
from fdps.errors import ConfigError
from fdps.models.reid import ReidNet, build_reid, reid_system

CONFIG = TwoStepConfig(
    detector="x",
    system="igpn",
    backbone="mobilenet_v2",
    backbone_weights="none",
    crop_size=(64, 32),
    embedding_dim=8,
)


def test_the_network_on_crops_is_a_plain_one() -> None:
    net, _ = build_reid(CONFIG, LossConfig(queue_size=4, identity_weight=1.0), 3)
    assert type(net) is ReidNet
    assert net.loss_names == ("reid", "identity")


def test_a_look_at_the_pair_guides_the_detector() -> None:
    system = reid_system(replace(CONFIG, options={"least_likeness": 0.3}))
    assert (system.least_likeness, system.guided_by) == (0.3, "pairs")
    assert reid_system(CONFIG).least_likeness == 0.1
    assert reid_system(replace(CONFIG, system="tcts")).guided_by == "embeddings"


def test_a_similarity_of_the_detector_is_never_negative() -> None:
    with pytest.raises(ConfigError, match=r"least_likeness must be in 0\.\.1, got -0\.1"):
        reid_system(replace(CONFIG, options={"least_likeness": -0.1}))
