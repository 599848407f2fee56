import pytest
import torch

from fdps.losses.watched import BLOCK, hardness, watched_similarities
from fdps.structures import UNLABELLED

LUT = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 0.0], [-1.0, 0.0]])


def test_own_and_nearest_by_hand() -> None:
    embeddings = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
    own, nearest = watched_similarities(embeddings, torch.tensor([0, 3, UNLABELLED]), LUT)
    assert own.item() == pytest.approx((1.0 + 0.0) / 2)
    assert nearest.item() == pytest.approx((0.6 + 0.8) / 2)  # row 1 both times


def test_a_row_that_was_never_written_is_nobody() -> None:
    away = torch.tensor([[-1.0, 0.0]])
    own, nearest = watched_similarities(away, torch.tensor([2]), LUT[:3])
    assert own.item() == 0
    assert nearest.item() == pytest.approx(-0.6)  # not the 0 of an empty row


@pytest.mark.parametrize("ids", [[], [UNLABELLED, UNLABELLED]])
def test_nobody_labelled(ids: list[int]) -> None:
    people = torch.nn.functional.normalize(torch.rand(len(ids), 2), dim=1)
    person_ids = torch.tensor(ids, dtype=torch.int64)
    assert [v.item() for v in watched_similarities(people, person_ids, LUT)] == [0, 0]


def test_an_identity_alone_in_the_world() -> None:
    x = torch.tensor([[0.0, 1.0]])
    assert [v.item() for v in watched_similarities(x, torch.tensor([0]), x)] == [1, 0]


def test_hardness_is_the_nearest_other_row_within_bounds() -> None:
    assert hardness(LUT).tolist() == pytest.approx([0.6, 0.6, 0, 0])  # never below 0


def test_hardness_in_blocks() -> None:
    lut = torch.nn.functional.normalize(torch.randn(BLOCK + 3, 4), dim=1)
    among = (lut @ lut.T).fill_diagonal_(-1).amax(dim=1).clamp(0, 1)
    torch.testing.assert_close(hardness(lut), among)


def test_hardness_of_one_alone() -> None:
    assert hardness(torch.ones(1, 2)).tolist() == [0]
