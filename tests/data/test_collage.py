"""Collages: reproducible, with nobody in two splits, and boxes of what is to be seen."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fake.cutouts import person, write_cutouts, write_masked, write_places
from fdps.boxes import is_valid
from fdps.data import load_scenes
from fdps.data.collage import (
    Background,
    CollageConfig,
    Cutout,
    FoundPeople,
    Person,
    Share,
    backgrounds_with_people,
    draw_collage,
    find_backgrounds,
    find_people,
    join_doubles,
    make_collages,
    share_out,
)
from fdps.data.collage.backgrounds import View, cut_patch, cut_scene, cut_view
from fdps.data.collage.cutouts import (
    LEAST_HEIGHT,
    CutPerson,
    count_reasons,
    extent,
    read_cutout,
)
from fdps.data.collage.look import draw_light, look_of, record
from fdps.data.collage.pieces import draw_piece
from fdps.data.collage.scene import Ground, Thing, ground_of, lay_out, standing
from fdps.data.collage.share import cast_of_scene
from fdps.data.collage.sprite import light_gains, make_sprite
from fdps.data.readers import folder
from fdps.errors import ConfigError, MissingDataError, PictureError, UsageError
from fdps.pictures import read_picture
from fdps.structures import UNLABELLED, Scene, SceneSet

SMALL = CollageConfig(
    n_train_scenes=8,
    n_val_scenes=4,
    n_test_scenes=8,
    shares=(0.5, 0.2, 0.3),
    n_looks=3,
    people_per_scene=(1, 4),
    width=160,
    height=120,
    seed=5,
)
PLAIN = replace(SMALL, light=0.0, warp=0.0, degrade=0.0, pieces=(0, 0), unlabelled_share=0.0)
"""People as they were cut out, but for their size."""


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("material")
    write_cutouts(path / "people", 12)
    write_places(path / "places", 5)
    return path


@pytest.fixture(scope="module")
def people(material: Path) -> tuple[Person, ...]:
    return find_people(material / "people").people


@pytest.fixture(scope="module")
def places(material: Path) -> tuple[Background, ...]:
    return find_backgrounds(material / "places")


@pytest.fixture(scope="module")
def root(
    tmp_path_factory: pytest.TempPathFactory,
    people: tuple[Person, ...],
    places: tuple[Background, ...],
) -> Path:
    path = tmp_path_factory.mktemp("pasted") / "collages"
    make_collages(SMALL, people, places, path, licence="drawn")
    return path


def hashes(root: Path) -> dict[str, str]:
    files = [path for path in sorted(root.rglob("*")) if path.is_file()]
    return {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def rows(root: Path, split: str) -> list[dict[str, object]]:
    content = json.loads((root / folder.ANNOTATIONS).read_text())
    images = {image["id"] for image in content["images"] if image["split"] == split}
    return [row for row in content["annotations"] if row["image_id"] in images]


# Files


@pytest.mark.parametrize("workers", [1, 2])
def test_same_seed_same_bytes_whatever_the_number_of_processes(
    root: Path,
    tmp_path: Path,
    people: tuple[Person, ...],
    places: tuple[Background, ...],
    workers: int,
) -> None:
    seen: list[tuple[int, int]] = []
    make_collages(
        SMALL,
        people,
        places,
        tmp_path / "again",
        licence="drawn",
        workers=workers,
        progress=lambda *at: seen.append(at),
    )
    assert hashes(tmp_path / "again") == hashes(root)
    assert seen == [(done, 20) for done in range(1, 21)]


def test_another_seed_makes_other_pictures(
    people: tuple[Person, ...], places: tuple[Background, ...]
) -> None:
    pictures = []
    for config in (SMALL, replace(SMALL, seed=6)):
        share = share_out(config, people, places)["train"]
        pictures.append(draw_collage(config, share, "train", 0).picture)
    assert (pictures[0] != pictures[1]).mean() > 0.5


def test_the_folder_is_read_back_as_it_was_made(
    root: Path, people: tuple[Person, ...], places: tuple[Background, ...]
) -> None:
    share = share_out(SMALL, people, places)["test"]
    test = load_scenes("folder", root, "test")
    assert [scene.name for scene in test.scenes] == [f"test/{i:05d}.jpg" for i in range(8)]
    for index in (0, 7):
        made, written = draw_collage(SMALL, share, "test", index), test.scenes[index]
        np.testing.assert_array_equal(made.boxes, written.boxes)
        np.testing.assert_array_equal(made.person_ids, written.person_ids)
        assert written.camera == f"look{index % 3 + 1}"
        assert made.picture.shape == (120, 160, 3)
        # JPEG is not exact; another scene differs by far more.
        assert abs(made.picture.astype(int) - read_picture(written.path)).mean() < 12
    info = folder.read_info(root)
    assert info["licence"] == "drawn"
    kept = {k: tuple(v) if isinstance(v, list) else v for k, v in info["collage"].items()}
    assert CollageConfig(**kept) == SMALL


def test_nobody_is_in_two_splits(root: Path) -> None:
    names = [{row["cutout"] for row in rows(root, split)} for split in ("train", "val", "test")]
    assert all(names)
    assert not names[0] & names[1]
    assert not names[0] & names[2]
    assert not names[1] & names[2]


def test_an_identity_is_always_the_same_cutout(root: Path) -> None:
    for split in ("train", "val", "test"):
        whose: dict[object, set[object]] = {}
        for row in rows(root, split):
            if row["person_id"] != UNLABELLED:
                whose.setdefault(row["person_id"], set()).add(row["cutout"])
        assert whose
        assert all(len(names) == 1 for names in whose.values())
        assert len(set.union(*whose.values())) == len(whose)


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_boxes_are_valid_and_inside_and_shares_fit_identities(root: Path, split: str) -> None:
    for scene in folder.read(root, split).scenes:
        assert is_valid(scene.boxes).all()
        assert (scene.boxes >= 0).all()
        assert (scene.boxes[:, 2:] <= (SMALL.width, SMALL.height)).all()
        named = scene.person_ids[scene.person_ids != UNLABELLED]
        assert len(set(named.tolist())) == len(named)
    for row in rows(root, split):
        visible = float(str(row["visible"]))
        assert SMALL.kept_from - 1e-3 <= visible <= 1
        assert row["person_id"] == UNLABELLED or visible >= SMALL.labelled_from - 1e-3


def test_validation_and_test_have_queries_who_are_elsewhere_too(root: Path) -> None:
    assert not folder.read(root, "train").queries
    for split in ("val", "test"):
        scenes = folder.read(root, split)
        assert scenes.queries
        for query in scenes.queries:
            showing = [s.name for s in scenes.scenes if query.person_id in s.person_ids]
            assert query.scene in showing
            assert len(showing) > 1


def test_a_split_without_pictures_is_left_out(
    tmp_path: Path, people: tuple[Person, ...], places: tuple[Background, ...]
) -> None:
    config = replace(SMALL, n_train_scenes=1, n_val_scenes=0, n_test_scenes=2)
    make_collages(config, people, places, tmp_path)
    assert {path.name for path in (tmp_path / folder.IMAGES).iterdir()} == {"train", "test"}


def test_a_folder_of_somebody_else_is_left_alone(
    tmp_path: Path, people: tuple[Person, ...], places: tuple[Background, ...]
) -> None:
    (tmp_path / "holiday.txt").write_text("sun")
    with pytest.raises(UsageError, match="was not drawn by fdps"):
        make_collages(SMALL, people, places, tmp_path)
    with pytest.raises(UsageError, match="workers must be at least 1, got 0"):
        make_collages(SMALL, people, places, tmp_path / "new", workers=0)
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.txt"]


# Boxes


def colours_on_black(folder: Path, n: int) -> tuple[Share, list[int]]:
    """People who are red, green and blue all over, in a black place: channels tell who is where."""
    folder.mkdir(parents=True, exist_ok=True)
    mask = person(0)[1].convert("L")
    found = []
    for channel in range(n):
        colour = [0, 0, 0]
        colour[channel] = 255
        flat = Image.new("RGB", mask.size, (colour[0], colour[1], colour[2]))
        flat.putalpha(mask)
        flat.save(folder / f"{channel}.png")
        found.append(Person(str(channel), (Cutout(folder / f"{channel}.png"),)))
    Image.new("RGB", (160, 120)).save(folder / "place.png")
    return Share(tuple(found), (), (Background(folder / "place.png"),)), list(range(n))


def test_the_box_of_one_person_is_the_extent_of_their_pixels(tmp_path: Path) -> None:
    share, _ = colours_on_black(tmp_path, 1)
    config = replace(PLAIN, n_train_scenes=12, people_per_scene=(1, 1))
    n_seen = 0
    for index in range(12):
        made = draw_collage(config, share, "train", index)
        ys, xs = np.nonzero(made.picture[:, :, 0] > 127)
        for box, visible in zip(made.boxes.tolist(), made.visible.tolist(), strict=True):
            assert box == [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
            inside = min(box[:2]) > 0 and box[2] < 160 and box[3] < 120
            assert (visible == 1) or not inside
            n_seen += 1
    assert n_seen >= 10


def test_boxes_of_people_who_hide_each_other_are_what_is_seen_of_them(tmp_path: Path) -> None:
    share, _ = colours_on_black(tmp_path, 3)
    config = replace(PLAIN, n_train_scenes=15, people_per_scene=(3, 3), crowding=1.0)
    n_hidden = 0
    for index in range(15):
        made = draw_collage(config, share, "train", index)
        for box, name, visible in zip(made.boxes, made.names, made.visible, strict=True):
            ys, xs = np.nonzero(made.picture[:, :, int(name)] > 127)
            seen = [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
            # Where two soft edges meet, neither colour has the half of a pixel.
            assert np.abs(box - seen).max() <= (0 if visible == 1 else 2)
            n_hidden += visible < 0.9
    assert n_hidden >= 8


def reference_layout(
    things: Sequence[Thing], width: int, height: int
) -> list[tuple[list[int], float]]:
    """Box and visible share of the people among things, the nearest first, pixel by pixel."""
    taken = [[False] * width for _ in range(height)]
    found = []
    for thing in things:
        alpha = np.asarray(thing.sprite.getchannel("A")).tolist()
        solid, seen = 0, []
        for row, line in enumerate(alpha):
            for column, value in enumerate(line):
                if value <= 127:
                    continue
                solid += 1
                x, y = thing.left + column, round(thing.foot) - len(alpha) + row
                if 0 <= x < width and 0 <= y < height and not taken[y][x]:
                    taken[y][x] = True
                    seen.append((x, y))
        if thing.person_id is not None:
            xs, ys = [x for x, _ in seen], [y for _, y in seen]
            found.append(([min(xs), min(ys), max(xs) + 1, max(ys) + 1], len(seen) / solid))
    return found


def test_the_layout_is_what_a_plain_loop_counts(people: tuple[Person, ...]) -> None:
    rng = np.random.default_rng(3)
    empty = View(Image.new("RGB", (160, 120)), np.zeros((0, 4), "f4"))
    n_unlabelled = n_people = 0
    for _ in range(6):
        things = []
        for number, who in enumerate(people[:5]):
            cut = read_cutout(who.cutouts[0])
            sprite = make_sprite(cut, rng.uniform(40, 130), 1.0, 1.0, rng)
            things.append(Thing(sprite, rng.uniform(60, 170), person_id=number, name=who.name))
        things.append(Thing(Image.new("RGBA", (30, 60), (9, 9, 9, 255)), 125.0))
        things.sort(key=lambda thing: -thing.foot)
        config = replace(SMALL, crowding=0.8)
        layout = lay_out(config, empty, things, rng)
        expected = reference_layout(layout.things, 160, 120)
        assert layout.boxes.tolist() == [box for box, _ in expected]
        np.testing.assert_allclose(layout.visible, [share for _, share in expected], rtol=1e-6)
        assert (layout.visible >= np.float32(config.kept_from)).all()
        hidden = layout.visible < config.labelled_from
        assert (layout.person_ids[hidden] == UNLABELLED).all()
        assert (layout.person_ids[~hidden] != UNLABELLED).all()
        n_unlabelled, n_people = n_unlabelled + int(hidden.sum()), n_people + len(hidden)
    assert 0 < n_unlabelled < n_people / 2


def test_nobody_is_placed_where_they_would_not_be_seen() -> None:
    wall = Thing(Image.new("RGBA", (400, 300), (9, 9, 9, 255)), 130.0)
    behind = Thing(Image.new("RGBA", (20, 50), (9, 9, 9, 255)), 90.0, person_id=0)
    empty = View(Image.new("RGB", (160, 120)), np.zeros((0, 4), "f4"))
    layout = lay_out(SMALL, empty, [wall, behind], np.random.default_rng(0))
    assert len(layout.things) == 1
    assert layout.boxes.shape == (0, 4)
    assert layout.names == ()


def test_people_of_the_background_are_annotated_without_identity_and_hidden_by_others() -> None:
    boxes = np.array([[10, 20, 40, 100], [60, 20, 90, 100], [145, 20, 175, 100]], dtype="f4")
    view = View(Image.new("RGB", (160, 120)), boxes)
    rng = np.random.default_rng(1)
    none = lay_out(SMALL, view, [], rng)
    assert none.boxes.tolist() == [[10, 20, 40, 100], [60, 20, 90, 100], [145, 20, 160, 100]]
    assert none.person_ids.tolist() == [UNLABELLED] * 3
    assert none.visible.tolist() == [1.0, 1.0, 0.5]
    # Wider than the picture, it hides the lower half of everybody wherever it stands.
    curtain = Thing(Image.new("RGBA", (1000, 100), (9, 9, 9, 255)), 160.0)
    hidden = lay_out(SMALL, view, [curtain], rng)
    assert hidden.boxes.tolist() == [[10, 20, 40, 60], [60, 20, 90, 60], [145, 20, 160, 60]]
    assert hidden.visible.tolist() == [0.5, 0.5, 0.25]
    assert (
        lay_out(replace(SMALL, kept_from=0.3), view, [curtain], rng).visible.tolist() == [0.5] * 2
    )


def test_nothing_is_pasted_over_people_of_the_background_who_are_nearer() -> None:
    near = np.array([[40, 10, 120, 118]], dtype="f4")
    view = View(Image.new("RGB", (160, 120)), near)
    for seed in range(20):
        far = Thing(Image.new("RGBA", (20, 50), (9, 9, 9, 255)), 90.0, person_id=0)
        layout = lay_out(SMALL, view, [far], np.random.default_rng(seed))
        for x1, _, x2, _ in layout.boxes[:-1].tolist():
            assert max(0, min(x2, 120) - max(x1, 40)) <= 0.2 * 20
        assert layout.visible[-1] > 0.9
        nearer = Thing(Image.new("RGBA", (20, 50), (9, 9, 9, 255)), 119.0, person_id=0)
        assert len(lay_out(SMALL, view, [nearer], np.random.default_rng(seed)).things) == 1


def test_sizes_follow_the_people_of_the_background_or_the_look() -> None:
    place = Image.new("RGB", (160, 120))
    rng = np.random.default_rng(0)
    look = look_of(SMALL, 0)
    alone = ground_of(SMALL, look, View(place, np.zeros((0, 4), "f4")), rng)
    assert alone == Ground(look.horizon * 120, look.tilt)
    seated = View(place, np.array([[10, 50, 60, 100]], dtype="f4"))
    assert ground_of(SMALL, look, seated, rng) == alone
    walking = View(place, np.array([[10, 50, 60, 100], [80, 30, 110, 110]], dtype="f4"))
    for _ in range(5):
        ground = ground_of(SMALL, look, walking, rng)
        assert ground.horizon + 80 / ground.tilt == pytest.approx(110)


def test_who_is_nearer_is_larger_and_stands_lower(
    people: tuple[Person, ...], places: tuple[Background, ...]
) -> None:
    share = share_out(PLAIN, people, places)["train"]
    things = standing(PLAIN, share, range(6), Ground(20.0, 0.8), np.random.default_rng(0))
    heights = [thing.sprite.height for thing in things]
    assert heights == sorted(heights, reverse=True)
    assert heights[0] > 1.5 * heights[-1]
    for thing in things:
        assert thing.foot == pytest.approx(20 + thing.sprite.height / 0.8, abs=6)


# Casting


def test_everybody_appears_equally_often_and_in_different_looks(
    people: tuple[Person, ...], places: tuple[Background, ...]
) -> None:
    config = replace(SMALL, n_train_scenes=120, people_per_scene=(2, 4))
    share = share_out(config, people, places)["train"]
    casts = [cast_of_scene(config, "train", share, index) for index in range(120)]
    assert all(len(set(cast)) == len(cast) for cast in casts)
    counts = np.bincount([who for cast in casts for who in cast])
    assert len(counts) == len(share.people) + len(share.strangers)
    assert counts.max() - counts.min() <= 3
    looks = {(who, index % 3) for index, cast in enumerate(casts) for who in cast}
    assert len(looks) == 3 * len(counts)


def test_strangers_have_a_box_and_no_identity(
    people: tuple[Person, ...], places: tuple[Background, ...]
) -> None:
    config = replace(PLAIN, unlabelled_share=0.5, labelled_from=0.15, n_train_scenes=30)
    share = share_out(config, people, places)["train"]
    names = {who.name for who in share.strangers}
    assert len(share.strangers) == 3
    seen = set()
    for index in range(30):
        made = draw_collage(config, share, "train", index)
        for name, person_id in zip(made.names, made.person_ids.tolist(), strict=True):
            assert (person_id == UNLABELLED) == (name in names)
            seen.add(name)
    assert names < seen


def test_backgrounds_are_divided_too_unless_they_are_few(
    people: tuple[Person, ...], places: tuple[Background, ...]
) -> None:
    shares = share_out(SMALL, people, places)
    parts = [set(share.backgrounds) for share in shares.values()]
    assert sum(map(len, parts)) == len(set.union(*parts)) == len(places)
    few = share_out(SMALL, people, places[:2])
    assert all(set(share.backgrounds) == set(places[:2]) for share in few.values())


def test_too_few_people_or_no_background_is_an_error(
    people: tuple[Person, ...], places: tuple[Background, ...]
) -> None:
    assert {len(s.people) for s in share_out(SMALL, people[:3], places).values()} == {1}
    with pytest.raises(UsageError, match="2 people cannot be divided among train, val, test"):
        share_out(SMALL, people[:2], places)
    with pytest.raises(UsageError, match="no background"):
        share_out(SMALL, people, ())


# Cut-outs


def test_masks_and_transparency_give_the_same_person(tmp_path: Path, material: Path) -> None:
    write_masked(tmp_path / "pictures", tmp_path / "masks", 2)
    masked = find_people(tmp_path / "pictures", tmp_path / "masks").people
    clear = find_people(material / "people").people
    for a, b in zip(masked, clear[:2], strict=True):
        first, second = read_cutout(a.cutouts[0]), read_cutout(b.cutouts[0])
        np.testing.assert_array_equal(first.rgba[:, :, 3], second.rgba[:, :, 3])
        assert first.surroundings == pytest.approx((128, 132, 125), abs=2)
        assert second.surroundings is None


@pytest.mark.parametrize("levels", [(0, 1), (0, 255)])
def test_a_mask_may_count_classes_or_show_light(tmp_path: Path, levels: tuple[int, int]) -> None:
    write_masked(tmp_path / "pictures", tmp_path / "masks", 1)
    mask = np.asarray(person(0)[1])
    Image.fromarray(np.where(mask, levels[1], levels[0]).astype(np.uint8)).save(
        tmp_path / "masks" / "p000.png"
    )
    (who,) = find_people(tmp_path / "pictures", tmp_path / "masks").people
    alpha = read_cutout(who.cutouts[0]).rgba[:, :, 3]
    assert (alpha > 0).sum() == mask.sum()
    x1, y1, x2, y2 = extent(alpha)
    ys, xs = np.nonzero(mask)
    assert (x2 - x1, y2 - y1) == (xs.max() - xs.min() + 1, ys.max() - ys.min() + 1)


def test_a_folder_in_the_folder_is_one_person(tmp_path: Path) -> None:
    write_cutouts(tmp_path, 2)
    write_cutouts(tmp_path / "ann", 3)
    (tmp_path / "._p000.png").write_bytes(b"written by a Mac")
    found = find_people(tmp_path).people
    assert [who.name for who in found] == ["ann", "p000.png", "p001.png"]
    assert len(found[0].cutouts) == 3


def test_what_cannot_be_used_is_left_out_with_the_reason(tmp_path: Path) -> None:
    pictures, masks = tmp_path / "pictures", tmp_path / "masks"
    write_masked(pictures, masks, 5)
    (masks / "p000.png").unlink()
    Image.new("1", (90, 220)).save(masks / "p001.png")
    small, small_mask = person(2, (30, LEAST_HEIGHT))
    small.save(pictures / "p002.jpg")
    small_mask.save(masks / "p002.png")
    found = find_people(pictures, masks)
    assert [who.name for who in found.people] == ["p003.jpg", "p004.jpg"]
    assert count_reasons(found.skipped) == {
        "no mask": 1,
        "empty mask": 1,
        f"lower than {LEAST_HEIGHT} pixels": 1,
    }


def test_a_cutout_just_high_enough_is_pasted(
    tmp_path: Path, places: tuple[Background, ...]
) -> None:
    for number in range(3):
        picture, mask = person(number, (30, 56))
        picture.putalpha(mask.convert("L"))
        picture.save(tmp_path / f"{number}.png")
    tiny = find_people(tmp_path).people
    config = replace(SMALL, people_per_scene=(1, 1), heights=(0.02, 0.05))
    share = share_out(config, tiny, places)["train"]
    made = draw_collage(config, share, "train", 0)
    assert is_valid(made.boxes).all()


def test_nothing_to_cut_out_is_an_error_that_counts_the_reasons(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="no folder at"):
        find_people(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(MissingDataError, match="no picture in"):
        find_people(tmp_path / "empty")
    write_masked(tmp_path / "pictures", tmp_path / "masks", 2)
    with pytest.raises(MissingDataError, match="no picture in"):
        find_people(tmp_path / "pictures", tmp_path / "empty")
    Image.new("1", (90, 220)).save(tmp_path / "masks" / "p000.png")
    (tmp_path / "masks" / "p001.png").unlink()
    with pytest.raises(MissingDataError, match=r"none of the 2 .* 1 x empty mask; 1 x no mask"):
        find_people(tmp_path / "pictures", tmp_path / "masks")


def test_a_picture_without_alpha_says_what_is_missing(tmp_path: Path) -> None:
    person(0)[0].save(tmp_path / "photo.png")
    with pytest.raises(PictureError, match=r"photo\.png has no transparent pixels") as caught:
        find_people(tmp_path)
    assert "--masks" in caught.value.hint


def test_a_mask_of_another_size_is_an_error(tmp_path: Path) -> None:
    write_masked(tmp_path / "pictures", tmp_path / "masks", 1)
    person(0, (80, 220))[1].save(tmp_path / "masks" / "p000.png")
    with pytest.raises(PictureError, match=r"p000\.png is 80x220, but its picture .* is 90x220"):
        find_people(tmp_path / "pictures", tmp_path / "masks")


def test_two_masks_of_one_picture_are_an_error(tmp_path: Path) -> None:
    write_masked(tmp_path / "pictures", tmp_path / "masks", 1)
    person(0)[1].save(tmp_path / "masks" / "p000.bmp")
    with pytest.raises(UsageError, match="are masks of one picture"):
        find_people(tmp_path / "pictures", tmp_path / "masks")


def test_copies_of_a_picture_are_one_person(tmp_path: Path) -> None:
    write_cutouts(tmp_path, 6)
    write_cutouts(tmp_path / "ann", 1)
    copy = Image.open(tmp_path / "p001.png")
    copy.resize((72, 176)).save(tmp_path / "q.png")  # another size, and cropped
    copy.crop((9, 4, 84, 216)).save(tmp_path / "r.png")
    people, doubles = join_doubles(find_people(tmp_path).people)
    assert doubles == (("ann", "p000.png"), ("p001.png", "q.png"), ("p001.png", "r.png"))
    assert [who.name for who in people] == ["ann", *(f"p00{k}.png" for k in range(1, 6))]
    assert [len(who.cutouts) for who in people] == [2, 3, 1, 1, 1, 1]


def test_different_people_stay_different(people: tuple[Person, ...]) -> None:
    assert join_doubles(people) == (people, ())
    assert join_doubles(people[:1]) == (people[:1], ())


# Backgrounds


def test_a_view_shows_what_was_cut_and_its_people(tmp_path: Path) -> None:
    """Each box holds a white patch; after cutting, mirroring and scaling it still does."""
    pixels = np.zeros((150, 200, 3), dtype=np.uint8)
    pixels[40:120, 30:60] = pixels[60:140, 130:170] = 255
    Image.fromarray(pixels).save(tmp_path / "place.png")
    place = Background(
        tmp_path / "place.png", ((30.0, 40.0, 60.0, 120.0), (130.0, 60.0, 170.0, 140.0))
    )
    rng = np.random.default_rng(2)
    n_cut = 0
    for _ in range(20):
        view = cut_view(place, (160, 120), rng)
        white = np.asarray(view.picture)[:, :, 0] > 127
        covered = np.zeros_like(white)
        for box, visible in zip(view.inside(), view.visible(), strict=True):
            x1, y1, x2, y2 = box.round().astype(int)
            assert white[y1:y2, x1:x2].mean() > 0.9 or (y2 - y1) * (x2 - x1) < 60
            covered[max(y1 - 1, 0) : y2 + 1, max(x1 - 1, 0) : x2 + 1] = True
            n_cut += visible < 0.99
        assert not (white & ~covered).any()
    assert n_cut > 3


def test_upright_pictures_are_set_in_a_row(tmp_path: Path) -> None:
    Image.new("RGB", (40, 120), (200, 0, 0)).save(tmp_path / "tall.png")
    place = Background(tmp_path / "tall.png", ((10.0, 0.0, 30.0, 120.0),))
    view = cut_scene([place], (160, 120), np.random.default_rng(0))
    assert view.picture.size == (160, 120)
    assert len(view.people) == 4
    assert sorted(np.floor(view.people[:, 0] / 40).tolist()) == [0, 1, 2, 3]
    assert (view.people[:, 2] <= 160).all()


def test_a_patch_shows_no_person(tmp_path: Path) -> None:
    pixels = np.zeros((100, 100, 3), dtype=np.uint8)
    pixels[:, :50] = (255, 0, 0)
    Image.fromarray(pixels).save(tmp_path / "half.png")
    half = Background(tmp_path / "half.png", ((0.0, 0.0, 50.0, 100.0),))
    full = Background(tmp_path / "half.png", ((0.0, 0.0, 100.0, 100.0),))
    rng = np.random.default_rng(0)
    for _ in range(10):
        red = np.asarray(cut_patch([half], (20, 20), rng))[:, 2:18, 0]
        assert red.max() == red.min()  # no edge: the patch is beside the person, or flat
    assert len(cut_patch([full], (20, 20), rng).getcolors() or ()) == 1


def test_people_in_the_pictures_of_a_data_set_keep_their_boxes(tmp_path: Path) -> None:
    write_places(tmp_path / "pictures", 2)
    scenes = [
        Scene(name, tmp_path / "pictures" / name, np.array(boxes, dtype="f4").reshape(-1, 4),
              np.full(len(boxes), 3, dtype=np.int64))
        for name, boxes in {"place00.jpg": [[5, 6, 25, 60]], "place01.jpg": []}.items()
    ]  # fmt: skip
    splits = {"train": SceneSet("mine/train", tuple(scenes))}
    folder.write_folder(tmp_path / "mine", splits, name="mine")
    found = backgrounds_with_people(tmp_path / "mine")
    assert [place.people for place in found] == [((5, 6, 25, 60),), ()]
    write_places(tmp_path / "unlabelled", 1)
    with pytest.raises(MissingDataError, match="no boxes of people") as caught:
        backgrounds_with_people(tmp_path / "unlabelled")
    assert "--backgrounds" in caught.value.hint


def test_a_damaged_background_is_found_at_once(tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    with pytest.raises(PictureError, match=r"broken\.jpg"):
        find_backgrounds(tmp_path)


# Looks, sprites and pieces


def test_without_strength_a_camera_changes_nothing() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, size=(20, 30, 3), dtype=np.uint8)
    look, light = look_of(PLAIN, 4), draw_light(PLAIN, rng)
    np.testing.assert_array_equal(record(Image.fromarray(pixels), look, light, rng), pixels)
    assert look.jpeg_quality == PLAIN.jpeg_quality[1]


def test_looks_differ_and_one_look_is_the_same_everywhere() -> None:
    looks = [look_of(SMALL, number) for number in range(12)]
    assert len(set(looks)) == 12
    assert look_of(replace(SMALL, n_train_scenes=1), 7) == looks[7]
    assert max(look.noise for look in looks) > 4
    assert min(look.resolution for look in looks) < 0.8


def test_the_edge_of_a_sprite_shows_nothing_of_the_old_background(tmp_path: Path) -> None:
    """A blue person on bright yellow: no pixel that counts may be yellow."""
    mask = person(0)[1]
    picture = Image.new("RGB", mask.size, (255, 255, 0))
    picture.paste((0, 0, 200), (0, 0), mask)
    smeared = picture.resize((45, 110)).resize(mask.size)  # as JPEG does to an edge
    smeared.save(tmp_path / "p.png")
    mask.save(tmp_path / "m.png")
    cut = read_cutout(Cutout(tmp_path / "p.png", tmp_path / "m.png"))
    rgba = np.asarray(make_sprite(cut, 150.0, 1.0, 0.0, np.random.default_rng(0)))
    seen = rgba[rgba[:, :, 3] > 40].astype(int)
    assert seen[:, 0].max() < 110  # half of the yellow would be 128
    alpha = rgba[:, :, 3]
    assert ((alpha > 20) & (alpha < 235)).sum() > 100  # and the edge is soft


def test_a_white_person_before_white_has_no_dark_edge() -> None:
    """What is transparent is black, and must not shine through where the edge is soft."""
    mask = np.asarray(person(0)[1].convert("L"))
    white = np.dstack([mask, mask, mask, mask])
    for body_px in (30.0, 150.0):
        rng = np.random.default_rng(1)
        sprite = make_sprite(CutPerson(white, None), body_px, 1.0, 0.5, rng)
        scene = Image.new("RGB", sprite.size, (255, 255, 255))
        scene.paste(sprite, (0, 0), sprite)
        assert np.asarray(scene).min() > 235


def test_a_sprite_has_the_height_that_is_asked_for_and_stands_on_its_edge() -> None:
    rng = np.random.default_rng(0)
    picture, mask = person(0)
    cut_rgba = np.dstack([np.asarray(picture), np.asarray(mask.convert("L"))])
    cut = CutPerson(cut_rgba, None)
    for body_px in (20.0, 60.0, 200.0):
        plain = np.asarray(make_sprite(cut, body_px, 0.0, 0.0, rng))[:, :, 3]
        _, y1, _, y2 = extent(plain)
        # The soft edge rounds off the top of the head, most on the smallest.
        assert abs((y2 - y1) - body_px) <= 2
        assert y2 == len(plain)
        for _ in range(5):
            bent = np.asarray(make_sprite(cut, body_px, 1.0, 1.0, rng))
            _, y1, _, y2 = extent(bent[:, :, 3])
            assert 0.85 * body_px - 2 <= y2 - y1 <= 1.15 * body_px + 2


def test_the_light_of_a_scene_is_taken_over_by_strength() -> None:
    dark, bright = np.array([60.0, 50.0, 40.0]), (150.0, 130.0, 100.0)
    assert light_gains(dark, bright, 0.0).tolist() == [1, 1, 1]
    whole = light_gains(dark, bright, 1.0)
    np.testing.assert_allclose(whole, (dark + 20) / (np.array(bright) + 20))
    half = light_gains(dark, bright, 0.5)
    assert (whole < half).all()
    assert (half < 1).all()
    grey = light_gains(np.array([90.0, 90.0, 90.0]), None, 1.0)
    np.testing.assert_allclose(grey, 1)
    assert light_gains(np.zeros(3), (255.0, 255.0, 255.0), 1.0).min() == 0.4


def test_every_kind_of_piece_hides_something(places: tuple[Background, ...]) -> None:
    rng = np.random.default_rng(0)
    shapes = set()
    for _ in range(20):
        piece = draw_piece(places, 60.0, rng)
        assert (np.asarray(piece.getchannel("A")) > 127).mean() > 0.2
        shapes.add(piece.height > 66)
    assert shapes == {True, False}


# Settings


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("n_train_scenes", 0),
        ("n_val_scenes", -1),
        ("n_test_scenes", 1),
        ("n_looks", 0),
        ("queries_per_person", 0),
        ("width", 95),
        ("height", 95),
        ("seed", -1),
        ("crowding", 1.1),
        ("light", -0.1),
        ("warp", 2.0),
        ("degrade", 1.5),
        ("labelled_from", 1.5),
        ("unlabelled_share", 1.0),
        ("kept_from", 0.0),
        ("kept_from", 0.5),
        ("people_per_scene", (0, 2)),
        ("people_per_scene", (3, 2)),
        ("heights", (0.0, 1.0)),
        ("pieces", (-1, 2)),
        ("jpeg_quality", (30, 96)),
        ("shares", (0.0, 0.5, 0.5)),
        ("shares", (0.5, -0.1, 0.5)),
    ],
)
def test_a_value_out_of_range_is_named(field: str, value: object) -> None:
    with pytest.raises(ConfigError, match=field):
        replace(SMALL, **{field: value})  # type: ignore[arg-type]


def test_found_people_know_whom_they_left_out(people: tuple[Person, ...], material: Path) -> None:
    found = find_people(material / "people")
    assert found == FoundPeople(people, ())
