"""Write miniature exports of CVAT: 'for video 1.1' and 'for images 1.1'."""

from pathlib import Path

import numpy as np

from fake.people import draw_scene, write_picture

HEAD = '<?xml version="1.0" encoding="utf-8"?>\n'
META = (
    "<version>1.1</version><meta><task><name>gate</name><size>3</size>"
    "<mode>interpolation</mode><labels><label><name>person</name></label></labels></task></meta>"
)


def write_video(root: Path, *, tracks: tuple[int, ...] = (0, 3), n_frames: int = 3) -> str:
    """A track for each person, in every frame, and outside the view in the frame behind the last.

    Returns:
        The XML.
    """
    rng = np.random.default_rng(0)
    boxes: dict[int, list[str]] = {track: [] for track in tracks}
    for frame in range(n_frames):
        picture, rows = draw_scene(rng, tracks)
        write_picture(root / "images" / f"frame_{frame:06d}.png", picture)
        for track, (x, y, w, h) in zip(tracks, rows.tolist(), strict=True):
            boxes[track].append(video_box(frame, x, y, x + w, y + h))
    for track in tracks:
        boxes[track].append(video_box(n_frames, 1, 2, 3, 4, outside=1))
    body = "".join(
        f'<track id="{track}" label="person" source="manual">{"".join(rows)}</track>'
        for track, rows in boxes.items()
    )
    return write_xml(root, body)


def video_box(
    frame: int, x1: float, y1: float, x2: float, y2: float, *, outside: int = 0, inner: str = ""
) -> str:
    """A ``<box>`` of a track."""
    return (
        f'<box frame="{frame}" outside="{outside}" occluded="0" keyframe="1" xtl="{x1:.2f}" '
        f'ytl="{y1:.2f}" xbr="{x2:.2f}" ybr="{y2:.2f}" z_order="0">{inner}</box>'
    )


def write_images(root: Path) -> str:
    """Two pictures; the first shows person 7 and somebody, the second person 7. Returns the XML."""
    rng = np.random.default_rng(0)
    body = ""
    for number, (name, people) in enumerate({"a/1.jpg": [7, -1], "b.jpg": [7]}.items()):
        picture, rows = draw_scene(rng, [max(k, 0) for k in people])
        write_picture(root / "images" / name, picture)
        boxes = ""
        for person, (x, y, w, h) in zip(people, rows.tolist(), strict=True):
            inner = f'<attribute name="person_id">{person}</attribute>' if person >= 0 else ""
            boxes += (
                f'<box label="person" occluded="0" source="manual" xtl="{x:.2f}" ytl="{y:.2f}" '
                f'xbr="{x + w:.2f}" ybr="{y + h:.2f}" z_order="0">{inner}</box>'
            )
        body += f'<image id="{number}" name="{name}" width="160" height="120">{boxes}</image>'
    return write_xml(root, body)


def write_xml(root: Path, body: str, head: str = HEAD) -> str:
    """``annotations.xml``; returns its text."""
    text = f"{head}<annotations>{META}{body}</annotations>\n"
    (root / "images").mkdir(parents=True, exist_ok=True)
    (root / "annotations.xml").write_text(text, encoding="utf-8")
    return text
