import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torchvision.ops import box_iou

from fake.tiny import target
from fdps.losses import BACKGROUND_ID, Criterion, HierarchicalMemory, HOIMLoss, OIMLoss
from fdps.models.embedding import PeakEmbedding
from fdps.models.heads import TaskHeads
from fdps.models.outputs import RegionOutputs
from fdps.models.roi_align import RoIAlign
from fdps.models.roi_heads import RegionInputs, RegionRules, RoIHeads, pick
from fdps.models.sub_features import MarginalDistribution

C, DIM, N_PERSONS = 4, 6, 3
SIZE = (160, 320)  # of a picture; its map has 10 × 20 positions
RULES = RegionRules(
    regions_per_image=50,
    positive_fraction=1.0,
    foreground_iou=0.5,
    background_iou=0.5,
    score_threshold=0.0,
    nms_iou=0.5,
    max_detections=100,
    embedded_box="proposal",
)
NONE = torch.zeros(0, 4)


def roi_heads(**change: float | str) -> RoIHeads:
    """Leaves every region where it is; the further right its centre, the more it is a person."""
    heads = TaskHeads(MarginalDistribution(C, (2, 2)), PeakEmbedding((C,), DIM), box_norm=False)
    for layer in (heads.vertical, heads.horizontal, heads.person):
        nn.init.zeros_(layer.weight)
    with torch.no_grad():
        heads.person.weight[1, 0] = 1
    return RoIHeads(
        pool=RoIAlign((4, 4), 16),
        region_head=nn.AvgPool2d(2),
        heads=heads,
        rules=replace(RULES, **change),
    ).eval()


def losses(
    module: RoIHeads,
    features: Tensor,
    proposals: list[Tensor],
    targets: list[dict[str, Tensor]],
    criterion: Criterion | None = None,
) -> RegionOutputs:
    criterion = criterion or OIMLoss(N_PERSONS, 4, DIM)
    batch = RegionInputs(features, proposals, targets, [SIZE] * len(targets))
    return module.losses(batch, criterion)


def seeded(seed: int, *people: tuple[float, ...]) -> dict[str, Tensor]:
    return target(*people) | {"seed": torch.tensor(seed)}


def ramp(n_pictures: int = 1) -> Tensor:
    """Channel 0 is the position from the left, less 10; the others are noise."""
    features = torch.randn(n_pictures, C, 10, 20)
    features[:, 0] = torch.arange(20.0) - 10
    return features


def boxes(*rows: tuple[float, ...]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float32).reshape(-1, 4)


def score(*lefts: float, width: float = 64) -> Tensor:
    """Of regions between two places; bilinear samples of a ramp average to its middle."""
    return (torch.tensor(lefts).add(width / 2).div(16) - 10).sigmoid()


def square(left: float, top: float = 32) -> tuple[float, ...]:
    return (left, top, left + 64, top + 64)


def test_detect_sorts_by_score_and_keeps_boxes_where_they_are() -> None:
    regions = boxes(square(20), square(220), square(120))
    (found,) = roi_heads().detect(ramp(), [regions], [SIZE])
    torch.testing.assert_close(found["boxes"], regions[[1, 2, 0]])
    torch.testing.assert_close(found["scores"], score(220, 120, 20))
    assert found["embeddings"].shape == (3, DIM)


def test_detect_embeds_the_region_of_each_detection() -> None:
    module, features = roi_heads(), ramp()
    regions = boxes(square(20), square(220), square(120))
    (found,) = module.detect(features, [regions], [SIZE])
    (embedded,) = module.embed(features, [regions[[1, 2, 0]]])
    torch.testing.assert_close(found["embeddings"], embedded)


def test_detect_can_embed_its_own_boxes_anew() -> None:
    regions, features = boxes(square(20), square(220), square(120)), ramp(2)
    for embedded_box, differs in (("proposal", True), ("detection", False)):
        module = roi_heads(embedded_box=embedded_box)
        with torch.no_grad():
            module.heads.horizontal.bias.copy_(torch.tensor([2.0, 0.0]))  # a fifth to the right
        found = module.detect(features, [regions, NONE], [SIZE, SIZE])
        embedded = module.embed(features, [one["boxes"] for one in found])
        assert [one["embeddings"].shape for one in found] == [(3, DIM), (0, DIM)]
        assert torch.allclose(found[0]["embeddings"], embedded[0], atol=1e-5) is not differs


def test_detect_moves_boxes_by_the_deltas() -> None:
    module = roi_heads()
    with torch.no_grad():
        module.heads.horizontal.bias.copy_(torch.tensor([1.0, 5 * math.log(2)]))  # dx, dw
        module.heads.vertical.bias.copy_(torch.tensor([-2.0, 5 * math.log(0.5)]))  # dy, dh
    (found,) = module.detect(ramp(), [boxes(square(100))], [SIZE])
    # Centre (132, 64) moves by 0.1 widths and -0.2 heights; the width doubles, the height halves.
    expected = boxes((138.4 - 64, 51.2 - 16, 138.4 + 64, 51.2 + 16))
    torch.testing.assert_close(found["boxes"], expected)


def test_detect_drops_the_weaker_of_two_that_overlap_too_much() -> None:
    regions = boxes(square(20), square(36), square(68))  # overlaps of 0.6 and 1/3
    (found,) = roi_heads().detect(ramp(), [regions], [SIZE])
    torch.testing.assert_close(found["boxes"], regions[[2, 1]])
    (found,) = roi_heads(nms_iou=0.7).detect(ramp(), [regions], [SIZE])
    assert len(found["boxes"]) == 3


def test_detect_drops_scores_below_the_threshold_alone() -> None:
    module, regions = roi_heads(), boxes(square(20), square(120), square(220))
    (every,) = module.detect(ramp(), [regions], [SIZE])
    module.min_score = every["scores"][1].item()
    (found,) = module.detect(ramp(), [regions], [SIZE])
    assert torch.equal(found["scores"], every["scores"][:2])
    assert roi_heads(score_threshold=0.25).min_score == 0.25


def test_detect_keeps_the_best_when_there_are_too_many() -> None:
    regions = boxes(square(20), square(120), square(220))
    (found,) = roi_heads(max_detections=2).detect(ramp(), [regions], [SIZE])
    torch.testing.assert_close(found["scores"], score(220, 120))


def test_detect_cuts_at_the_border_and_drops_what_is_left_of_less_than_a_pixel() -> None:
    regions = boxes(
        (-30, -20, 40, 60),
        (250, 100, 400, 300),
        (319.5, 0, 400, 60),  # half a pixel is left
        (400, 0, 500, 60),  # nothing is left
        (100, 50, 100.9, 90),  # narrow from the start
        (150, 50, 151, 51),  # exactly one pixel
    )
    (found,) = roi_heads().detect(ramp(), [regions], [SIZE])
    expected = boxes((250, 100, 320, 160), (150, 50, 151, 51), (0, 0, 40, 60))
    torch.testing.assert_close(found["boxes"], expected)


def test_detect_embeds_whom_it_keeps_and_nobody_else() -> None:
    class Counted(PeakEmbedding):
        rows = 0

        def forward(self, peaks: list[Tensor], person_ids: Tensor | None = None) -> Tensor:
            self.rows += len(peaks[0])
            return super().forward(peaks, person_ids)

    module, features = roi_heads(), ramp(2)
    module.heads.embedding = Counted((C,), DIM).eval()
    regions = [boxes(square(20), square(36), square(68)), boxes(square(220), square(120))]
    found = module.detect(features, regions, [SIZE, SIZE])
    assert [len(one["boxes"]) for one in found] == [2, 2]  # one of five is suppressed
    assert module.heads.embedding.rows == 4
    every = module.look(features, regions).embeddings
    torch.testing.assert_close(torch.cat([f["embeddings"] for f in found]), every[[2, 1, 3, 4]])


def test_detect_keeps_pictures_apart() -> None:
    module, features = roi_heads(), ramp(3)
    regions = [boxes(square(20), square(120)), NONE, boxes(square(220))]
    together = module.detect(features, regions, [SIZE] * 3)
    for i, found in enumerate(together):
        (alone,) = module.detect(features[i : i + 1], regions[i : i + 1], [SIZE])
        for name in ("boxes", "scores", "embeddings"):
            torch.testing.assert_close(found[name], alone[name])
    assert together[1]["boxes"].shape == (0, 4)
    assert together[1]["embeddings"].shape == (0, DIM)


def test_embed_splits_by_picture() -> None:
    module, features = roi_heads(), ramp(3)
    given = [boxes(square(20), square(120)), NONE, boxes(square(220))]
    embedded = module.embed(features, given)
    assert [len(rows) for rows in embedded] == [2, 0, 1]
    torch.testing.assert_close(embedded[2], module.embed(features[2:], [given[2]])[0])


def test_losses_computed_by_hand() -> None:
    # A proposal that fits, one that is 8 pixels off, one on the background; and the annotation.
    proposals = boxes(square(100), square(108), square(220, top=90))
    out = losses(roi_heads(), ramp(), [proposals], [target((*square(100), 1))])
    shifted = 10 * 8 / 64  # the target dx of the second; the deltas are 0
    assert out.losses["box"].value.item() == pytest.approx((shifted - 0.5) / 4)
    people, background = score(100, 108, 100), score(220)
    expected = -(people.log().sum() + (1 - background).log().sum()) / 4
    torch.testing.assert_close(out.losses["person"].value, expected)
    assert out.person_ids.tolist() == [1, 1, 1]
    assert out.losses["reid"].value.item() == pytest.approx(
        math.log(N_PERSONS + 4)
    )  # an empty memory
    counts = {name: loss.n_samples.item() for name, loss in out.losses.items()}
    assert counts == {"person": 4, "box": 4, "reid": 3}
    assert out.reid_terms.keys() == {"oim", "positive_similarity", "negative_similarity"}
    assert not any(value.requires_grad for value in out.reid_terms.values())


def test_losses_name_the_person_that_a_region_shows() -> None:
    people = target((*square(20), 2), (*square(120), -1), (*square(220), 0))
    proposals = boxes(square(124), square(224), square(16))
    out = losses(roi_heads(), ramp(), [proposals], [people])
    assert sorted(out.person_ids.tolist()) == [-1, -1, 0, 0, 2, 2]


def test_losses_embed_people_with_their_own_ids() -> None:
    module, features = roi_heads(), ramp()
    people = target((*square(20), 2), (*square(120), -1), (*square(220), 0))
    out = losses(module, features, [NONE], [people])
    (embedded,) = module.embed(features, [people["boxes"]])
    order = out.person_ids.argsort()
    torch.testing.assert_close(out.embeddings[order], embedded[people["person_ids"].argsort()])
    assert out.embeddings.requires_grad
    assert not out.remembered().embeddings.requires_grad


def test_losses_follow_several_pictures() -> None:
    module, features = roi_heads(), ramp(2)
    people = [target((*square(20), 2)), target((*square(120), 0), (*square(220), 1))]
    out = losses(module, features, [boxes(square(100)), boxes(square(24))], people)
    assert out.person_ids[:1].tolist() == [2]
    assert sorted(out.person_ids[1:].tolist()) == [0, 1]
    (first,) = module.embed(features[:1], [people[0]["boxes"]])
    torch.testing.assert_close(out.embeddings[:1], first)


def test_losses_tell_who_of_the_batch_a_region_shows_and_how_well() -> None:
    nobody, one = target(), target((*square(20), 2))
    two = target((*square(120), 0), (*square(220), -1))
    regions = [boxes(square(100)), boxes(square(24)), boxes(square(224), square(126))]
    out = losses(roi_heads(), ramp(3), regions, [nobody, one, two])
    everybody = torch.cat([one["boxes"], two["boxes"]])
    every_id = torch.cat([one["person_ids"], two["person_ids"]])
    assert sorted(out.people.tolist()) == [0, 0, 1, 1, 2, 2]
    assert torch.equal(every_id[out.people], out.person_ids)
    picked = pick(regions, [nobody, one, two], RULES)
    people = torch.cat(picked.regions)[picked.is_person]
    torch.testing.assert_close(picked.overlaps(), box_iou(people, everybody).amax(dim=1))
    assert sorted(out.overlaps.tolist())[-3:] == [1.0] * 3  # the annotated boxes themselves


def test_background_is_told_from_people_where_the_loss_sees_it() -> None:
    memory = HierarchicalMemory(N_PERSONS, 4, 4, DIM)
    people = [target((*square(20), 2), (*square(220), -1)), target()]
    regions = [boxes(square(24), square(120)), boxes(square(50))]
    out = losses(roi_heads(), ramp(2), regions, people, HOIMLoss(memory))
    nobody = out.person_ids == BACKGROUND_ID
    assert nobody.sum() == 2
    assert torch.equal(out.people == -1, nobody)
    assert torch.equal(out.overlaps == 0, nobody)


def test_losses_sample_as_many_regions_as_the_rules_say() -> None:
    proposals = boxes(*(square(20 + i) for i in range(30)), *(square(200, i) for i in range(30)))
    module = roi_heads(regions_per_image=10, positive_fraction=0.3)
    out = losses(module, ramp(), [proposals], [target((*square(20), 2))])
    assert len(out.person_ids) == 3


def test_losses_ignore_regions_between_the_thresholds() -> None:
    half = boxes(square(52))  # overlap of 1/3
    for background_iou, n_regions in ((0.5, 2), (0.1, 1)):
        module = roi_heads(background_iou=background_iou)
        with torch.no_grad():
            module.heads.person.weight.zero_()
            module.heads.person.bias.copy_(torch.tensor([0.0, 1]))
        out = losses(module, ramp(), [half], [target((*square(20), 2))])
        wrong, right = math.log1p(math.e), math.log1p(1 / math.e)
        expected = right if n_regions == 1 else (right + wrong) / 2
        assert out.losses["person"].value.item() == pytest.approx(expected)


def test_losses_without_people_are_finite_and_teach_the_background() -> None:
    module, features = roi_heads().train(), ramp().requires_grad_()
    out = losses(module, features, [boxes(square(20), square(120))], [target()])
    assert out.losses["box"].value.item() == out.losses["reid"].value.item() == 0
    assert out.losses["person"].value.item() > 0
    assert out.embeddings.shape == (0, DIM)
    torch.stack([loss.value for loss in out.losses.values()]).sum().backward()
    assert features.grad is not None
    assert features.grad.isfinite().all()


def test_losses_of_unlabelled_people_teach_boxes_but_no_identity() -> None:
    people = target((*square(20), -1), (*square(220), -1))
    out = losses(roi_heads().train(), ramp(), [boxes(square(24))], [people])
    assert out.person_ids.tolist() == [-1] * 3
    assert out.losses["reid"].value.item() == 0
    assert out.losses["box"].value.item() > 0


def test_losses_change_no_memory() -> None:
    criterion = OIMLoss(N_PERSONS, 4, DIM)
    losses(roi_heads(), ramp(), [NONE], [target((*square(20), 2), (*square(220), -1))], criterion)
    assert all(not value.any() for value in criterion.buffers())


def many() -> Tensor:
    return boxes(*(square(20 + i) for i in range(30)), *(square(200, i) for i in range(30)))


def test_a_seed_fixes_the_sample_of_a_picture() -> None:
    rules = replace(RULES, regions_per_image=10, positive_fraction=0.3)
    people = (*square(20), 2), (*square(90), -1)
    picked = pick([many(), many()], [seeded(5, *people), seeded(6, *people)], rules)
    torch.manual_seed(8)  # of no account, nor is the rest of the batch
    for k, seed in enumerate((5, 6)):
        alone = pick([many()], [seeded(seed, *people)], rules)
        assert torch.equal(alone.regions[0], picked.regions[k])
    assert not torch.equal(picked.regions[0], picked.regions[1])


def test_picked_people_are_told_by_their_true_boxes_and_identities() -> None:
    people = target((*square(20), 2), (*square(120), -1), (*square(220), 0))
    proposals = boxes(square(124), square(224), square(16), square(300, top=90))
    module, targets = roi_heads(), [people, target((*square(50), 1))]
    picked = pick([proposals, NONE], targets, RULES)
    regions = torch.cat(picked.regions)[picked.is_person]
    assert [len(of_picture) for of_picture in picked.regions] == [7, 1]
    assert len(picked.is_person) == 8
    truth = {20: 2, 120: -1, 220: 0, 50: 1}
    for region, box, person_id in zip(regions, picked.boxes, picked.person_ids, strict=True):
        assert abs(float(region[0] - box[0])) <= 4
        assert truth[int(box[0])] == person_id
    criterion = OIMLoss(N_PERSONS, 4, DIM)
    batch = RegionInputs(ramp(2), [proposals, NONE], targets, [SIZE] * 2)
    counts = module.count(batch, criterion)
    assert {name: n.item() for name, n in counts.items()} == {"person": 8, "box": 8, "reid": 5}


def test_parts_of_a_batch_add_up_to_its_losses() -> None:
    module, features, criterion = roi_heads(), ramp(3), OIMLoss(N_PERSONS, 4, DIM)
    criterion.update(torch.eye(DIM)[:4], torch.tensor([0, 1, 2, -1]))
    people = [seeded(1, (*square(20), 2)), seeded(2), seeded(3, (*square(120), 0), (*square(9), 1))]
    proposals = [boxes(square(24)), boxes(square(100)), boxes(square(121), square(15), square(8))]
    whole = losses(module, features, proposals, people, criterion)
    parts = [
        losses(module, features[rows], proposals[rows], people[rows], criterion)
        for rows in (slice(0, 1), slice(1, 3))
    ]
    for name, loss in whole.losses.items():
        some = [part.losses[name] for part in parts]
        assert sum(mean.n_samples for mean in some) == loss.n_samples
        mean = sum(mean.value * mean.n_samples for mean in some) / loss.n_samples
        torch.testing.assert_close(mean, loss.value)
    shares = [p.losses["reid"].n_samples / whole.losses["reid"].n_samples for p in parts]
    for name in ("positive_similarity", "negative_similarity", "oim"):
        mean = sum(part.reid_terms[name] * s for part, s in zip(parts, shares, strict=True))
        torch.testing.assert_close(mean, whole.reid_terms[name])
    embeddings = torch.cat([part.embeddings for part in parts])
    torch.testing.assert_close(embeddings, whole.embeddings)
    person_ids = torch.cat([part.person_ids for part in parts])
    assert torch.equal(person_ids, whole.person_ids)
