"""Sightings in a video are linked into tracks of one person; rather two tracks than a mixed one."""

from collections.abc import Sequence

import numpy as np
import pytest

from fake.photos import unit_rows
from fdps.search.query.tracklets import (
    USUAL_STRANGERS,
    Linking,
    PeopleOfFrame,
    link_people,
    strangers_similarity,
)

STEP_S = 0.5
HEIGHT, WIDTH = 100.0, 40.0
LOOKS = np.eye(4, 8, dtype=np.float32)  # four strangers

Sighting = tuple[int, float]
"""Who, and where their middle is."""


def frames_of(
    sightings: Sequence[Sequence[Sighting]], *, looks: np.ndarray = LOOKS, step_s: float = STEP_S
) -> list[PeopleOfFrame]:
    """One frame for each list of sightings; their embeddings shake a little."""
    rng = np.random.default_rng(0)
    frames = []
    for number, people in enumerate(sightings):
        boxes = [[x - WIDTH / 2, 50, x + WIDTH / 2, 50 + HEIGHT] for _, x in people]
        noisy = np.array([looks[who] for who, _ in people]).reshape(-1, looks.shape[1])
        noisy = noisy + rng.normal(scale=0.05, size=noisy.shape)
        embeddings = noisy / np.linalg.norm(noisy, axis=1, keepdims=True)
        frames.append(
            PeopleOfFrame(
                number * step_s,
                np.array(boxes, dtype=np.float32).reshape(-1, 4),
                embeddings.astype(np.float32),
            )
        )
    return frames


def linked(frames: list[PeopleOfFrame], how: Linking | None = None) -> list[list[int]]:
    return [numbers.tolist() for numbers in link_people(lambda: frames, how)]


def test_walkers_whose_boxes_do_not_overlap_are_followed() -> None:
    frames = frames_of([[(0, 70.0 * n)] for n in range(8)])  # 1.4 heights a second, boxes 0.4 wide
    assert linked(frames) == [[0]] * 8


def test_people_who_cross_keep_their_tracks() -> None:
    frames = frames_of([[(0, 40.0 * n), (1, 360 - 40.0 * n)] for n in range(10)])
    assert linked(frames) == [[0, 1]] * 10


def test_people_who_look_alike_are_split_where_they_cross_but_never_mixed() -> None:
    bystanders = [(1, 1000.0), (2, 2000.0), (3, 3000.0)]
    paths = [[(0, 40.0 * n), (0, 355 - 40.0 * n), *bystanders] for n in range(10)]
    numbers = np.array(linked(frames_of(paths)))
    assert not set(numbers[:, 0]) & set(numbers[:, 1])
    assert numbers[:4, :2].tolist() == [[0, 1]] * 4
    assert len(np.unique(numbers[:, :2])) > 2
    assert numbers[:, 2:].tolist() == [[2, 3, 4]] * 10


@pytest.mark.parametrize(
    ("n_frames_away", "n_tracks"),
    [(5, 1), (6, 2)],  # seen again after 3 s, which is the limit, and after 3.5 s
)
def test_gaps(n_frames_away: int, n_tracks: int) -> None:
    here: list[list[Sighting]] = [[(0, 100.0)]] * 4
    numbers = linked(frames_of([*here, *[[]] * n_frames_away, *here]))
    assert numbers[4 : 4 + n_frames_away] == [[]] * n_frames_away
    assert len({number for [number] in filter(None, numbers)}) == n_tracks


def test_a_gap_ends_by_time_also_where_frames_without_people_are_left_out() -> None:
    first, last = frames_of([[(0, 100.0)], [(0, 100.0)]], step_s=3.5)
    assert linked([first, last]) == [[0], [1]]
    assert linked([first, last], Linking(max_gap_s=4.0)) == [[0], [0]]


@pytest.mark.parametrize(
    ("x", "is_followed"),
    [(199.0, True), (201.0, False)],  # 0.25 heights, and 1.5 a second for half a second
)
def test_nobody_moves_faster_than_a_runner(x: float, is_followed: bool) -> None:
    numbers = linked(frames_of([[(0, 100.0)], [(0, x)]]))
    assert (numbers[0] == numbers[1]) == is_followed


@pytest.mark.parametrize(("height", "is_followed"), [(165.0, True), (175.0, False)])
def test_nobody_grows_at_once(height: float, is_followed: bool) -> None:
    first, last = frames_of([[(0, 100.0)], [(0, 100.0)]])
    last.boxes[0, 1], last.boxes[0, 3] = 100 - height / 2, 100 + height / 2
    numbers = linked([first, last])
    assert (numbers[0] == numbers[1]) == is_followed


def test_somebody_else_in_the_same_place_is_another_track() -> None:
    paths = [[(0, 100.0), (2, 500.0)]] * 4 + [[(1, 100.0), (2, 500.0)]] * 4
    assert linked(frames_of(paths)) == [[0, 1]] * 4 + [[2, 1]] * 4


def test_the_least_similarity_follows_the_embedder() -> None:
    """An embedder to which strangers are similar by 0.8 is no reason to mix them."""
    looks = np.hstack([np.full((4, 1), 2.0), np.eye(4)])
    looks = (looks / np.linalg.norm(looks, axis=1, keepdims=True)).astype(np.float32)
    assert looks[0] @ looks[1] == pytest.approx(0.8)
    paths = [[(0, 100.0), (2, 500.0)]] * 4 + [[(1, 100.0), (2, 500.0)]] * 4
    assert linked(frames_of(paths, looks=looks)) == [[0, 1]] * 4 + [[2, 1]] * 4


def test_strangers_are_known_by_standing_in_one_frame() -> None:
    looks = np.array([[1, 0], [0.6, 0.8], [0, 1]], dtype=np.float32)  # products 0.6, 0.8 and 0
    boxes = np.zeros((3, 4), dtype=np.float32)
    frame = PeopleOfFrame(0.0, boxes, looks)
    assert strangers_similarity([frame]) == pytest.approx(0.6)
    opposite = PeopleOfFrame(0.0, boxes[:2], np.array([[1, 0], [-1, 0]], dtype=np.float32))
    assert strangers_similarity([opposite]) == -1.0
    alone = PeopleOfFrame(0.0, boxes[:1], looks[:1])
    assert strangers_similarity([alone, alone]) == strangers_similarity([]) == USUAL_STRANGERS


def crowd(seed: int) -> list[PeopleOfFrame]:
    """Eight people who wander about and are missed now and then."""
    rng = np.random.default_rng(seed)
    looks, place = unit_rows(rng, 8, 16), rng.uniform(0, 800, size=(8, 2))
    frames = []
    for number in range(60):
        place = place + rng.normal(scale=25, size=place.shape)
        seen = rng.random(8) < 0.8
        corner = place[seen].astype(np.float32)
        noisy = looks[seen] + rng.normal(scale=0.1, size=(int(seen.sum()), 16))
        embeddings = noisy / np.linalg.norm(noisy, axis=1, keepdims=True)
        frames.append(
            PeopleOfFrame(
                number * STEP_S,
                np.hstack([corner, corner + np.float32([WIDTH, HEIGHT])]),
                embeddings.astype(np.float32),
            )
        )
    return frames


def test_equal_input_gives_equal_output_and_order_does_not_matter() -> None:
    frames = crowd(0)
    frames[7] = frames[7]._replace(boxes=frames[7].boxes[:1].repeat(len(frames[7].boxes), axis=0))
    numbers = linked(frames)
    assert linked(frames) == numbers
    rng = np.random.default_rng(1)
    orders = [rng.permutation(len(frame.boxes)) for frame in frames]
    shuffled = [
        PeopleOfFrame(frame.time_s, frame.boxes[order], frame.embeddings[order])
        for frame, order in zip(frames, orders, strict=True)
    ]
    for before, after, order in zip(numbers, linked(shuffled), orders, strict=True):
        assert [before[place] for place in order] == after


def test_nobody_is_in_two_places_at_once() -> None:
    for numbers in linked(crowd(2)):
        assert len(set(numbers)) == len(numbers)


def test_a_video_without_people_has_no_tracks() -> None:
    assert linked([]) == []
    assert linked(frames_of([[], []])) == [[], []]
