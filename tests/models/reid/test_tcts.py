from dataclasses import replace

import pytest
import torch

from fdps.config import LossConfig, TwoStepConfig
from fdps.errors import ConfigError
from fdps.models.reid import build_reid, reid_system
from fdps.models.reid.network import People
from fdps.structures import BACKGROUND_ID, UNLABELLED

CONFIG = TwoStepConfig(
    detector="x",
    system="tcts",
    backbone="mobilenet_v2",
    backbone_weights="none",
    crop_size=(64, 32),
    embedding_dim=8,
)
LOSS = LossConfig(queue_size=4, identity_weight=1.0, identity_smoothing=0.1)


def test_labels_are_as_sure_as_boxes_overlap() -> None:
    torch.manual_seed(3)
    net, criterion = build_reid(CONFIG, LOSS, 4)
    net.eval()
    people = People(
        torch.tensor([2, 1, BACKGROUND_ID, UNLABELLED]), torch.tensor([1.0, 0.6, 0.0, 0.7])
    )
    seen = net.look(torch.rand(4, 3, 64, 32))
    assert net.classifier is not None
    log_p = net.classifier(seen.rows).log_softmax(1).detach()
    even = torch.full((4,), 0.25)
    wanted = [0.9 * torch.eye(4)[2] + 0.1 * even, 0.54 * torch.eye(4)[1] + 0.46 * even, even]
    expected = -sum(float((w * row).sum()) for w, row in zip(wanted, log_p, strict=False)) / 3
    assert net.losses(seen, people)["identity"].item() == pytest.approx(expected, rel=1e-5)
    assert int(net.counts(people, criterion)["identity"]) == 3  # but for who may be anybody


def test_it_wants_what_the_detector_finds_where_nobody_is() -> None:
    system = reid_system(CONFIG)
    assert system.keeps_background
    assert system.least_likeness == 0.2
    assert reid_system(replace(CONFIG, system="plain")).least_likeness is None


def test_what_cannot_be() -> None:
    with pytest.raises(ConfigError, match=r"least_likeness must be in -1\.\.1, got 2\.0"):
        reid_system(replace(CONFIG, options={"least_likeness": 2.0}))
    with pytest.raises(ConfigError, match="which teaches a classifier soft labels"):
        build_reid(CONFIG, LossConfig(queue_size=4), 4)
