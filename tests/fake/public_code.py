"""Folders that are laid out as public person-search code is, with tiny networks of ours inside."""

from pathlib import Path

DEFAULTS = """
from types import SimpleNamespace


class Settings(SimpleNamespace):
    def merge_from_file(self, path):
        self.PEOPLE = int(open(path).read())


def get_default_cfg():
    loss = SimpleNamespace(LUT_SIZE=9, CQ_SIZE=9)
    return Settings(PEOPLE=2, MODEL=SimpleNamespace(LOSS=loss))
"""

NETWORK = """
import torch
import torchvision
from torch import nn

print("this line is no JSON")


class Proposals(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Conv2d(4, 1, 1)

    def forward(self, features):
        return self.head(features)


class Heads(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.linear = nn.Linear(4, 5)
        self.people = nn.Parameter(torch.tensor(float(cfg.PEOPLE)))
        self.reid_loss = nn.Module()
        self.reid_loss.register_buffer("lut", torch.zeros(cfg.MODEL.LOSS.LUT_SIZE, 5))

    def forward(self, features):
        n = int(self.people)
        return {"boxes": torch.zeros(n, 4), "embeddings": self.linear(torch.zeros(n, 4))}


class SeqNet(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        torchvision.models.resnet.__dict__["resnet50"](pretrained=True)  # would be fetched
        self.transform = nn.Identity()
        self.backbone = nn.Conv2d(3, 4, 3, padding=1)
        self.rpn, self.roi_heads = Proposals(), Heads(cfg)

    def forward(self, images):
        features = self.backbone(self.transform(torch.stack(images)))
        self.rpn(features)
        return [self.roi_heads(features)]
"""

TRUNK_FLOPS = 2 * 4 * 3 * 3 * 3 + 2 * 4
"""Operations of trunk and proposal head, for each pixel."""
HEAD_FLOPS = 2 * 4 * 5
"""Operations of the heads, for each person."""


def write_seqnet(folder: Path, *changes: tuple[str, str]) -> Path:
    """Write the layout of SeqNet, with pieces of its text replaced."""
    network = NETWORK
    for old, new in changes:
        assert old in network
        network = network.replace(old, new, 1)
    (folder / "models").mkdir(parents=True)
    (folder / "defaults.py").write_text(DEFAULTS)
    (folder / "models/seqnet.py").write_text(network)
    return folder


OLDER = """
from collections import OrderedDict
import cPickle
import torch
from torch import nn
from torchvision.models import resnet


def resnet_backbone(name, pretrained, GAP=True):
    resnet.__dict__[name](pretrained=pretrained)
    trunk = nn.Conv2d(3, 4, 3, padding=1)
    return trunk, nn.Conv2d(4, 8 / 2, 1)  # Python 2 divided whole numbers into whole ones


class NormAwareEmbeddingProj(nn.Module):
    def __init__(self, names, channels, dim):
        super().__init__()
        self.widths = map(int, channels)
        self.n = len(self.widths)  # a list, in Python 2
        self.projection = nn.Linear(sum(self.widths) / 512, dim / 64)


class OIMLoss(nn.Module):
    def __init__(self, dim, persons, queue, momentum, scalar):
        super().__init__()
        self.register_buffer("lut", torch.zeros(persons, dim))


class CoordRegressor(nn.Module):
    def __init__(self, channels, classes):
        super().__init__()


class Rpn(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Conv2d(4, 1, 1)

    def forward(self, features):
        return self.head(features)


class Heads(nn.Module):
    def __init__(self, head, embedding, loss, least):
        super().__init__()
        self.box_head, self.embedding_head = head, embedding
        self.reid_loss, self.least = loss, least

    def forward(self, features):
        assert self.has_keypoint is False and self.least == 0.5
        return {"boxes": torch.zeros(self.embedding_head.n, 4)}


class FasterRCNN_NormAware(nn.Module):
    def __init__(self, backbone, feat_head, box_predictor, embedding_head, reid_loss,
                 box_score_thresh):
        super().__init__()
        self.transform, self.backbone, self.rpn = nn.Identity(), backbone, Rpn()
        self.roi_heads = Heads(feat_head, embedding_head, reid_loss, box_score_thresh)

    def forward(self, images):
        features = self.backbone(self.transform(torch.stack(images)))
        self.rpn(features)
        return [self.roi_heads(features)]
"""


def write_nae(folder: Path) -> Path:
    """Write the layout of NAE, in the manner of Python 2."""
    (folder / "lib/model").mkdir(parents=True)
    for package in ("lib", "lib/model"):
        (folder / package / "__init__.py").write_text("")
    (folder / "lib/model/faster_rcnn_norm_aware.py").write_text(OLDER)
    return folder
