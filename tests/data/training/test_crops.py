from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fdps.data.training.augment import Augmentation
from fdps.data.training.crops import (
    Crops,
    TrainingCrops,
    annotated_crops,
    detected_crops,
    joined_crops,
)
from fdps.data.training.dataset import Draw
from fdps.structures import BACKGROUND_ID, UNLABELLED, Scene, empty_boxes


def boxes(*rows: tuple[float, float, float, float]) -> np.ndarray:
    return np.array(rows, dtype=np.float32).reshape(-1, 4)


@pytest.fixture
def scenes(tmp_path: Path) -> tuple[Scene, ...]:
    """A picture of a red and a blue person, then one of nobody."""
    image = np.zeros((40, 60, 3), np.uint8)
    image[10:30, 5:15] = (255, 0, 0)
    image[10:30, 40:50] = (0, 0, 255)
    people = boxes((5, 10, 15, 30), (40, 10, 50, 30))
    found = []
    for k, (annotated, ids) in enumerate(((people, [7, UNLABELLED]), (empty_boxes(), []))):
        path = tmp_path / f"{k}.png"
        Image.fromarray(image).save(path)
        found.append(Scene(str(k), path, annotated, np.array(ids, dtype=np.int64)))
    return tuple(found)


def test_everybody_who_is_annotated(scenes: tuple[Scene, ...]) -> None:
    crops = annotated_crops(scenes)
    assert crops.scene.tolist() == [0, 0]
    assert crops.person_ids.tolist() == [7, UNLABELLED]
    assert crops.overlaps.tolist() == [1, 1]


def test_a_detection_shows_whom_it_overlaps_most(scenes: tuple[Scene, ...]) -> None:
    seen = boxes((5, 10, 15, 26), (40, 20, 50, 30), (20, 0, 30, 40), (6, 10, 16, 30))
    found = [seen, boxes((0, 0, 9, 9))]
    crops = detected_crops(scenes, found, min_iou=0.5)
    assert crops.person_ids.tolist() == [7, UNLABELLED, 7]
    assert crops.overlaps.tolist() == pytest.approx([0.8, 0.5, 9 / 11])
    whole = detected_crops(scenes, found, min_iou=0.5, keeps_background=True)
    assert whole.person_ids.tolist() == [7, UNLABELLED, BACKGROUND_ID, 7, BACKGROUND_ID]
    assert whole.overlaps.tolist() == pytest.approx([0.8, 0.5, 0, 9 / 11, 0])
    assert whole.scene.tolist() == [0, 0, 0, 0, 1]
    strict = detected_crops(scenes, found, min_iou=0.81)
    assert strict.person_ids.tolist() == [7]


def test_no_detections_are_no_crops(scenes: tuple[Scene, ...]) -> None:
    assert len(detected_crops(scenes, [empty_boxes(), empty_boxes()], min_iou=0.5)) == 0
    assert len(annotated_crops(())) == 0


def test_both_lists_come_scene_by_scene(scenes: tuple[Scene, ...]) -> None:
    found = [boxes((5, 10, 15, 30)), boxes((0, 0, 9, 9))]
    detected = detected_crops(scenes, found, min_iou=0.5, keeps_background=True)
    both = joined_crops([annotated_crops(scenes), detected])
    assert both.scene.tolist() == [0, 0, 0, 1]
    assert both.person_ids.tolist() == [7, UNLABELLED, 7, BACKGROUND_ID]


def item(crops: Crops, row: int, augment: Augmentation, **settings: float) -> torch.Tensor:
    dataset = TrainingCrops(crops, (32, 16), augment, seed=1, **settings)
    image, target = dataset[Draw(0, row, 0)]
    assert target.keys() == {"person_ids", "overlaps", "seed"}
    assert target["person_ids"].tolist() == [crops.person_ids[row]]
    return image


def test_a_crop_is_the_person_alone_at_one_size(scenes: tuple[Scene, ...]) -> None:
    crops = annotated_crops(scenes)
    for held in (0.0, 1.0):
        image = item(crops, 0, Augmentation(), decoded_gib=held)
        assert image.shape == (3, 32, 16)
        assert image.dtype == torch.uint8
        assert image.amin(dim=(1, 2)).tolist() == [255, 0, 0]


def test_reading_anew_and_held_crops_are_augmented_alike(scenes: tuple[Scene, ...]) -> None:
    augment = Augmentation(flip=0.5, colour_jitter=0.3, erase=1.0)
    crops = annotated_crops(scenes)
    anew = item(crops, 1, augment)
    assert torch.equal(anew, item(crops, 1, augment, decoded_gib=1.0))
    assert not torch.equal(anew, item(crops, 1, Augmentation()))  # something was erased


def test_a_person_of_one_pixel_is_a_crop_like_any_other(scenes: tuple[Scene, ...]) -> None:
    tiny = Scene("0", scenes[0].path, boxes((5.2, 10.2, 5.6, 10.6)), np.array([3]))
    assert item(annotated_crops((tiny,)), 0, Augmentation()).shape == (3, 32, 16)
