import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from fake.tiny import picture, target
from fdps.models.systems.system import IMAGENET_MEAN, IMAGENET_STD
from fdps.models.transform import PictureTransform

SIDES = (32, 48, 64)
Annotated = dict[str, Tensor]


def transform(*sides: int, long_side: int = 128) -> PictureTransform:
    return PictureTransform(sides or SIDES, long_side, IMAGENET_MEAN, IMAGENET_STD)


def seeded(seed: int, *people: tuple[float, float, float, float, int]) -> Annotated:
    return target(*people) | {"seed": torch.tensor(seed)}


def side(module: PictureTransform, image: Tensor, seed: int) -> int:
    """The shorter side that a picture gets."""
    return min(module([image], [seeded(seed)])[0].image_sizes[0])


def test_a_picture_is_normalised_resized_and_padded() -> None:
    image = torch.rand(3, 64, 80)
    batch, targets = transform(64)([image], None)
    assert targets is None
    assert batch.image_sizes == [(64, 80)]
    assert batch.tensors.shape == (1, 3, 64, 96)
    mean, std = (torch.tensor(values)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
    assert_close(batch.tensors[0, :, :, :80], (image - mean) / std)
    assert not batch.tensors[..., 80:].any()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((100, 150), (64, 96)),
        ((150, 100), (96, 64)),
        ((32, 32), (64, 64)),  # small ones are enlarged
        ((100, 400), (32, 128)),  # the longer side decides
    ],
)
def test_the_shorter_side_is_met_within_the_limit_of_the_longer(
    before: tuple[int, int], after: tuple[int, int]
) -> None:
    batch, _ = transform(64)([picture(*before)], None)
    assert batch.image_sizes == [after]


def test_boxes_move_with_their_picture_and_the_rest_stays() -> None:
    people = seeded(5, (10, 20, 80, 120, 1), (0, 0, 96, 128, -1)) | {"note": torch.tensor([7])}
    before = {name: value.clone() for name, value in people.items()}
    _, (moved,) = transform(48)([picture(128, 96)], [people])
    assert_close(moved["boxes"], torch.tensor([[5.0, 10, 40, 60], [0, 0, 48, 64]]))
    assert moved.keys() == people.keys()
    for name in ("person_ids", "seed", "note"):
        assert torch.equal(moved[name], people[name])
    assert all(torch.equal(people[name], before[name]) for name in people)  # as they were


def test_nobody_moves_nowhere() -> None:
    _, (moved,) = transform(48)([picture(128, 96)], [target()])
    assert moved["boxes"].shape == (0, 4)


def test_training_draws_a_side_by_the_seed_alone() -> None:
    module = transform().train()
    images = [picture(96, 96), picture(80, 100), picture(300, 90)]
    seeds = range(60)
    expected = [side(module, images[0], seed) for seed in seeds]
    assert {*expected} == {*SIDES}
    torch.manual_seed(9)  # of no account
    backwards = [side(module, images[1], seed) for seed in reversed(seeds)]
    assert backwards[::-1] == expected
    # Nor does it matter who else is in the batch.
    batch, _ = module([images[1]] * 60, [seeded(seed) for seed in seeds])
    assert [min(size) for size in batch.image_sizes] == expected


def test_every_side_is_drawn_about_as_often() -> None:
    module = transform().train()
    drawn = [side(module, torch.zeros(3, 8, 8), seed) for seed in range(300)]
    assert all(70 < drawn.count(s) < 130 for s in SIDES)  # 100 ± 3.7 deviations


def test_without_a_seed_the_global_generator_draws() -> None:
    module = transform().train()

    def sides() -> list[int]:
        torch.manual_seed(3)
        found: list[int] = []
        for targets in ([target()], None):
            batches = [module([picture(96, 96)], targets)[0] for _ in range(20)]
            found += [min(batch.image_sizes[0]) for batch in batches]
        return found

    assert sides() == sides()
    assert {*sides()[:20]} == {*sides()[20:]} == {*SIDES}


def test_tests_take_the_last_side() -> None:
    module = transform().eval()
    assert {side(module, picture(96, 96), seed) for seed in range(20)} == {64}


def test_a_single_side_is_not_drawn() -> None:
    module = transform(48).train()
    assert {side(module, picture(96, 96), seed) for seed in range(20)} == {48}


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (None, (64, 96)),
        ((64, 96), (64, 96)),
        ((32, 32), (64, 96)),  # never less than the pictures need
        ((96, 32), (96, 96)),
        ((32, 160), (64, 160)),
        ((128, 128), (128, 128)),
    ],
)
def test_a_size_pads_to_at_least(size: tuple[int, int] | None, expected: tuple[int, int]) -> None:
    module, images = transform(64), [picture(64, 80), picture(64, 64)]
    people = [target((1, 2, 30, 40, 0)), target()]
    plain, moved_plainly = module(images, people)
    padded, moved = module(images, people, size)
    assert padded.tensors.shape == (2, 3, *expected)
    assert padded.image_sizes == plain.image_sizes
    assert torch.equal(padded.tensors[..., :64, :96], plain.tensors)
    assert not padded.tensors[..., 64:, :].any()
    assert not padded.tensors[..., 96:].any()
    assert torch.equal(moved[0]["boxes"], moved_plainly[0]["boxes"])


@pytest.mark.parametrize("training", [True, False])
@settings(max_examples=40)
@given(
    shapes=st.lists(st.tuples(st.integers(1, 200), st.integers(1, 200)), min_size=1, max_size=3),
    sides=st.lists(st.integers(1, 150), min_size=1, max_size=3),
    long_side=st.integers(1, 200),
    seed=st.integers(0, 2**63 - 1),
)
def test_the_size_of_a_batch_is_known_without_it(
    training: bool, shapes: list[tuple[int, int]], sides: list[int], long_side: int, seed: int
) -> None:
    module = transform(*sides, long_side=long_side).train(training)
    images = [torch.zeros(3, *shape) for shape in shapes]
    targets = [seeded((seed + k) % 2**63, (1, 2, 9, 12, 0)) for k in range(len(images))]
    resized = [min(short / min(s), long_side / max(s)) * min(s) for s in shapes for short in sides]
    assume(min(resized) >= 1)  # torch refuses to shrink a picture to nothing
    expected = tuple(module(images, targets)[0].tensors.shape[-2:])
    assert module.size_of(images, targets) == expected


def test_the_size_of_a_batch_asks_for_no_pixel() -> None:
    module = transform(900, long_side=1500).train()
    images = [torch.empty(3, 10**6, 10**6, device="meta")]  # would be 12 TB
    assert module.size_of(images, [seeded(1)]) == (928, 928)


def test_parts_of_a_batch_are_padded_as_the_whole() -> None:
    module = transform().train()
    images = [picture(96, 96), picture(64, 128), picture(130, 64)]
    targets = [seeded(seed, (1, 2, 30, 40, 0)) for seed in (1, 2, 3)]
    whole, moved = module(images, targets)
    size = module.size_of(images, targets)
    for k in range(3):
        part, moved_part = module(images[k : k + 1], targets[k : k + 1], size)
        assert torch.equal(part.tensors[0], whole.tensors[k])
        assert torch.equal(moved_part[0]["boxes"], moved[k]["boxes"])


def test_found_boxes_come_back_to_the_given_pixels() -> None:
    module, images = transform(48), [picture(128, 96), picture(60, 200)]
    people = [target((10, 20, 80, 120, 1)), target((0, 0, 200, 60, 1), (30, 10, 60, 40, 0))]
    batch, moved = module(images, people)
    found = [{"boxes": one["boxes"], "scores": torch.rand(len(one["boxes"]))} for one in moved]
    restored = module.restore(found, batch.image_sizes, [(128, 96), (60, 200)])
    for ours, one, annotated in zip(restored, found, people, strict=True):
        assert_close(ours["boxes"], annotated["boxes"])
        assert torch.equal(ours["scores"], one["scores"])


def test_in_training_too_boxes_come_back() -> None:
    module, image = transform().train(), picture(128, 96)
    batch, (moved,) = module([image], [seeded(4, (10, 20, 80, 120, 1))])
    (restored,) = module.restore([moved], batch.image_sizes, [(128, 96)])
    assert_close(restored["boxes"], torch.tensor([[10.0, 20, 80, 120]]))
