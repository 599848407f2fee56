import numpy as np

from fdps.structures import Query

BOX = np.array([0, 0, 5, 5], dtype=np.float32)
OTHER = np.array([9, 0, 15, 5], dtype=np.float32)


def test_gallery_entries_keep_order_boxes_and_repetitions() -> None:
    query = Query("q", BOX, 1, ("b", "a", "b", "c"), {0: BOX, 2: OTHER})
    names, boxes = zip(*query.gallery_entries(), strict=True)
    assert names == ("b", "a", "b", "c")
    assert boxes[0] is BOX
    assert boxes[2] is OTHER
    assert boxes[1] is boxes[3] is None


def test_a_list_of_names_alone_has_no_boxes() -> None:
    query = Query("q", BOX, 1, ("b", "a"))
    assert query.gallery_boxes is None
    assert list(query.gallery_entries()) == [("b", None), ("a", None)]


def test_without_a_list_there_are_no_entries() -> None:
    assert list(Query("q", BOX, 1).gallery_entries()) == []
