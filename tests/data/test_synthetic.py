"""Drawn data sets: reproducible, valid, searchable, and not solved by colour alone."""

import hashlib
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fdps.analysis.colour_histogram import predict_by_colour
from fdps.boxes import is_valid
from fdps.data.readers import folder
from fdps.data.synthetic import SyntheticConfig, draw_dataset, draw_scene
from fdps.data.synthetic.body import FACINGS, Pose
from fdps.data.synthetic.figure import draw_figure
from fdps.data.synthetic.identity import BAGS, HAIR_STYLES, PATTERNS, draw_cast
from fdps.data.synthetic.places import PLACES, draw_place
from fdps.data.synthetic.props import draw_prop
from fdps.data.synthetic.schedule import cast_of_scene
from fdps.errors import ConfigError, UsageError
from fdps.evaluation import evaluate
from fdps.pictures import read_picture
from fdps.structures import UNLABELLED, SceneSet

SMALL = SyntheticConfig(
    n_train_persons=9,
    n_test_persons=6,
    n_train_scenes=12,
    n_test_scenes=12,
    n_cameras=3,
    width=192,
    height=128,
    seed=5,
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("drawn") / "scenes"
    draw_dataset(SMALL, path)
    return path


@pytest.fixture(scope="module", params=["train", "test"])
def scenes(root: Path, request: pytest.FixtureRequest) -> SceneSet:
    return folder.read(root, request.param)


def hashes(root: Path) -> dict[str, str]:
    files = [path for path in sorted(root.rglob("*")) if path.is_file()]
    return {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.mark.long
def test_same_seed_same_bytes(root: Path, tmp_path: Path) -> None:
    draw_dataset(SMALL, tmp_path / "again")
    assert hashes(tmp_path / "again") == hashes(root)


@pytest.mark.long
def test_several_processes_draw_the_same_bytes_and_report_every_scene(
    root: Path, tmp_path: Path
) -> None:
    seen: list[tuple[int, int]] = []
    draw_dataset(SMALL, tmp_path / "many", workers=2, progress=lambda *at: seen.append(at))
    assert hashes(tmp_path / "many") == hashes(root)
    total = SMALL.n_train_scenes + SMALL.n_test_scenes
    assert seen == [(done, total) for done in range(1, total + 1)]


def test_no_process_draws_nothing(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="workers must be at least 1, got 0"):
        draw_dataset(SMALL, tmp_path / "none", workers=0)
    assert not (tmp_path / "none").exists()


def test_another_seed_draws_other_pictures() -> None:
    other = replace(SMALL, seed=6)
    for split in ("train", "test"):
        a, b = draw_scene(SMALL, split, 0), draw_scene(other, split, 0)
        assert (a.picture != b.picture).mean() > 0.5


def test_a_scene_depends_on_no_other_scene(root: Path) -> None:
    last = draw_scene(SMALL, "test", 11)
    written = folder.read(root, "test").scenes[11]
    np.testing.assert_array_equal(last.boxes, written.boxes)
    np.testing.assert_array_equal(last.person_ids, written.person_ids)
    # JPEG is not exact; another scene differs by far more.
    assert abs(last.picture.astype(int) - read_picture(written.path)).mean() < 8


def test_boxes_are_whole_valid_and_inside(scenes: SceneSet) -> None:
    for scene in scenes.scenes:
        assert is_valid(scene.boxes).all()
        assert (scene.boxes == scene.boxes.round()).all()
        assert (scene.boxes >= 0).all()
        assert (scene.boxes[:, 2:] <= (SMALL.width, SMALL.height)).all()


def test_a_box_holds_a_person() -> None:
    """Alone in the place, a person is what differs from the same scene without people."""
    alone = replace(SMALL, people_per_scene=(1, 1), unlabelled_share=0.0)
    heights = []
    for index in range(12):
        drawn = draw_scene(alone, "train", index)
        for x1, y1, x2, y2 in drawn.boxes.tolist():
            heights.append(y2 - y1)
            assert (x2 - x1) < 1.2 * (y2 - y1) or y2 == SMALL.height or x1 == 0 or x2 == SMALL.width
    assert len(heights) >= 11
    assert 0.2 * SMALL.height < np.median(heights) < 0.75 * SMALL.height


def test_every_scene_shows_whom_it_was_cast_with_or_fewer(scenes: SceneSet) -> None:
    split = scenes.name.split("/")[1]
    n_cast = n_drawn = 0
    for index, scene in enumerate(scenes.scenes):
        cast = Counter(cast_of_scene(SMALL, split, index))
        drawn = Counter(scene.person_ids.tolist())
        assert drawn <= cast
        assert all(count == 1 for person_id, count in drawn.items() if person_id != UNLABELLED)
        n_cast, n_drawn = n_cast + cast.total(), n_drawn + drawn.total()
    assert n_drawn >= 0.85 * n_cast


def test_identities_appear_equally_often_and_strangers_too(scenes: SceneSet) -> None:
    counts = Counter(i for scene in scenes.scenes for i in scene.person_ids.tolist())
    strangers = counts.pop(UNLABELLED)
    n_persons = SMALL.n_persons(scenes.name.split("/")[1])
    assert sorted(counts) == list(range(n_persons))
    assert max(counts.values()) - min(counts.values()) <= 4
    assert 0.05 < strangers / (strangers + counts.total()) < 0.4


def test_training_and_test_identities_are_different_people() -> None:
    train, test = draw_cast(SMALL, "train"), draw_cast(SMALL, "test")
    assert len(set(train)) == SMALL.n_train_persons
    assert len(set(test)) == SMALL.n_test_persons
    assert not set(train) & set(test)


def test_lookalikes_share_colours_and_differ_in_pattern() -> None:
    cast = draw_cast(replace(SMALL, n_train_persons=8, lookalikes=4), "train")
    for group in (cast[:4], cast[4:]):
        assert len({frozenset((who.upper.colour, who.upper.second)) for who in group}) == 1
        assert len({who.lower.colour for who in group}) == 1
        assert len({who.upper.pattern for who in group}) == 4


def test_every_query_has_another_scene_with_the_person(root: Path) -> None:
    test = folder.read(root, "test")
    by_name = {scene.name: scene for scene in test.scenes}
    assert len(test.queries) == SMALL.n_test_persons * SMALL.queries_per_person
    for query in test.queries:
        scene = by_name[query.scene]
        row = scene.person_ids.tolist().index(query.person_id)
        np.testing.assert_array_equal(query.box, scene.boxes[row])
        others = [s for s in test.scenes if query.person_id in s.person_ids and s is not scene]
        assert any(other.camera != scene.camera for other in others)


def test_queries_of_a_person_come_from_different_cameras(root: Path) -> None:
    test = folder.read(root, "test")
    camera = {scene.name: scene.camera for scene in test.scenes}
    for person_id in test.person_ids:
        seen = [camera[q.scene] for q in test.queries if q.person_id == person_id]
        assert len(set(seen)) == len(seen)


def test_more_people_than_identities_are_filled_up_with_strangers() -> None:
    tiny = replace(SMALL, n_train_persons=1, people_per_scene=(3, 3), unlabelled_share=0.0)
    assert cast_of_scene(tiny, "train", 0) == (0, UNLABELLED, UNLABELLED)


@pytest.mark.long
def test_colour_alone_does_not_solve_it_and_is_no_guess(tmp_path: Path) -> None:
    config = replace(
        SMALL, n_train_scenes=1, n_test_persons=20, n_test_scenes=30, width=240, height=160
    )
    mean_ap = []
    for shift in (config.colour_shift, 0.0):
        draw_dataset(replace(config, colour_shift=shift, lookalikes=4 if shift else 1), tmp_path)
        test = folder.read(tmp_path, "test")
        mean_ap.append(evaluate(predict_by_colour(test), test).search.mean_ap)
    assert 0.15 < mean_ap[0] < 0.55
    assert mean_ap[1] > mean_ap[0] + 0.05


@pytest.mark.parametrize("facing", FACINGS)
def test_every_cut_of_clothes_hair_and_bag_can_be_drawn_and_seen(facing: str) -> None:
    cast = draw_cast(replace(SMALL, n_train_persons=40), "train")
    assert {who.upper.pattern for who in cast} == set(PATTERNS)
    assert {who.bag for who in cast} == set(BAGS)
    assert {who.hair_style for who in cast} == set(HAIR_STYLES)
    for who in cast:
        alpha = np.asarray(draw_figure(who, Pose(facing, 1.0, 1.0), 60.0))[:, :, 3]
        rows = np.flatnonzero((alpha > 127).any(axis=1))
        assert rows[-1] >= len(alpha) - 4  # stands on the ground
        assert rows[0] > 0  # and is not cut off above
        assert 0.8 < (rows[-1] - rows[0]) / (60 * who.build.height) < 1.2


def test_walking_left_is_walking_right_in_a_mirror() -> None:
    who = draw_cast(SMALL, "train")[0]
    left, right = (np.asarray(draw_figure(who, Pose(f, 0.7, 1.0), 50.0)) for f in FACINGS[2:])
    np.testing.assert_array_equal(left, right[:, ::-1])


def test_every_place_and_enough_things_can_be_drawn() -> None:
    rng = np.random.default_rng(0)
    for kind in PLACES:
        place = np.asarray(draw_place(rng, kind, (192, 96), 0.25))
        assert place.shape == (96, 192, 3)
        assert place.std() > 10
    for _ in range(60):
        prop = draw_prop(rng, 50.0)
        assert prop.getbbox() is not None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("n_train_persons", 0),
        ("n_test_scenes", 1),
        ("n_cameras", 0),
        ("lookalikes", 0),
        ("width", 95),
        ("seed", -1),
        ("jpeg_quality", 96),
        ("unlabelled_share", 1.0),
        ("colour_shift", 1.5),
        ("people_per_scene", (3, 2)),
        ("people_per_scene", (0, 2)),
    ],
)
def test_a_value_out_of_range_is_named(field: str, value: object) -> None:
    with pytest.raises(ConfigError, match=field):
        replace(SMALL, **{field: value})  # type: ignore[arg-type]


TINY = replace(SMALL, n_train_scenes=1, n_test_scenes=2)


@pytest.mark.long
def test_a_drawn_folder_is_replaced_and_its_config_is_kept(tmp_path: Path) -> None:
    draw_dataset(SMALL, tmp_path)
    draw_dataset(TINY, tmp_path)
    assert len(list((tmp_path / folder.IMAGES).rglob("*.jpg"))) == 3
    drawn_with = folder.read_info(tmp_path)["synthetic"]
    drawn_with["people_per_scene"] = tuple(drawn_with["people_per_scene"])
    assert SyntheticConfig(**drawn_with) == TINY


@pytest.mark.parametrize("content", ["holiday.txt", folder.INFO])
def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path, content: str) -> None:
    (tmp_path / content).write_text("name = 'mine'")
    with pytest.raises(UsageError, match="was not drawn by fdps"):
        draw_dataset(TINY, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [content]


def test_overwriting_keeps_files_that_are_not_of_the_format(tmp_path: Path) -> None:
    (tmp_path / "holiday.txt").write_text("sun")
    (tmp_path / folder.IMAGES).mkdir()
    (tmp_path / folder.IMAGES / "old.jpg").write_bytes(b"")
    draw_dataset(TINY, tmp_path, overwrite=True)
    assert (tmp_path / "holiday.txt").read_text() == "sun"
    assert not (tmp_path / folder.IMAGES / "old.jpg").exists()
    assert len(folder.read(tmp_path, "test")) == 2


def test_a_file_in_the_way_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="is a file"):
        draw_dataset(TINY, tmp_path / "file", overwrite=True)


def test_an_interruption_leaves_what_was_there(tmp_path: Path) -> None:
    draw_dataset(TINY, tmp_path / "scenes")
    before = hashes(tmp_path)

    def stop(done: int, total: int) -> None:
        assert total == 24
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        draw_dataset(SMALL, tmp_path / "scenes", progress=stop)
    assert hashes(tmp_path) == before


def test_progress_counts_every_scene(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    draw_dataset(TINY, tmp_path / "new" / "scenes", progress=lambda *call: calls.append(call))
    assert calls == [(1, 3), (2, 3), (3, 3)]
