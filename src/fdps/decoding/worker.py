"""The child: ``python -m fdps.decoding.worker``; it decodes one file after another.

Requests come on standard input, replies go to what was standard output. While a file is open the
kernel grants no descriptor beyond those that the decoder is known to need, so it can open neither
another file nor a socket, whatever the file at hand makes of it.
"""

import contextlib
import os
import pkgutil
import sys
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

from fdps.decoding.limits import Limits, arm, descriptors, restrict
from fdps.decoding.messages import (
    BrokenMessageError,
    DecodedFrame,
    read_header,
    write_message,
)

ALIVE_EVERY_S = 0.5
REQUEST_BYTES = 1 << 26  # the numbers of the frames to skip may be many
PICTURE_DESCRIPTORS = 3  # Pillow, simplejpeg and libtiff open the file by themselves


def main() -> None:
    """Serve requests until the parent ends."""
    limits = Limits(seconds=float(sys.argv[1]), memory=int(sys.argv[2]), frames=int(sys.argv[3]))
    replies = os.fdopen(os.dup(1), "wb", buffering=0)
    requests = os.fdopen(os.dup(0), "rb", buffering=0)
    _load_decoders()
    restrict(limits)
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):  # what C libraries print must not get between the replies
        os.dup2(nothing, standard)
    write_message(replies, {"kind": "ready"})
    while True:
        try:
            request = read_header(requests, REQUEST_BYTES)
        except BrokenMessageError:
            return
        _serve(request, replies, limits)


def _load_decoders() -> None:
    """Import everything now: later no module could be opened."""
    from PIL import Image

    for name in (
        "fdps.pictures",
        *(f"fdps.decoding.{m}" for m in ("moments", "pictures", "videos")),
    ):
        import_module(name)
    Image.init()
    with contextlib.suppress(ImportError):  # without the extra there are no videos
        import av

        for module in pkgutil.walk_packages(av.__path__, "av."):  # it loads some when it meets them
            if not module.name.endswith(("__main__", "datasets")):
                import_module(module.name)


def _serve(request: dict[str, Any], replies: BinaryIO, limits: Limits) -> None:
    arm(limits.seconds)
    problem, is_spent = "", False
    try:
        if request["do"] == "picture":
            _picture(request, replies)
        else:
            _video(request, replies, limits)
    except BrokenPipeError:
        os._exit(0)
    except MemoryError:
        problem, is_spent = f"it needs more than {limits.memory / 1e9:.1f} GB of memory", True
    except Exception as error:
        problem = str(error) or type(error).__name__
    arm(0)
    write_message(replies, {"kind": "end", "problem": problem})
    if is_spent:  # what is left of its memory is in pieces
        os._exit(0)


def _picture(request: dict[str, Any], replies: BinaryIO) -> None:
    from fdps.decoding.pictures import picture_time
    from fdps.pictures import read_picture

    path = Path(request["path"])
    with descriptors(PICTURE_DESCRIPTORS):
        if "max_pixels" in request:
            _refuse_larger(path, int(request["max_pixels"]))
        image = read_picture(path)
        time_taken = picture_time(path) if request.get("wants_time") else None
    _reply(replies, DecodedFrame(image, time_taken))


def _refuse_larger(path: Path, max_pixels: int) -> None:
    """Refuse a picture by its header, before any memory is taken for its pixels."""
    from fdps.errors import PictureError
    from fdps.pictures import picture_size

    width, height = picture_size(path)
    if width * height > max_pixels:
        raise PictureError(f"{path} has {width}×{height} pixels, more than {max_pixels:,}")


def _video(request: dict[str, Any], replies: BinaryIO, limits: Limits) -> None:
    told = time.monotonic()
    with Path(request["path"]).open("rb") as file, descriptors(0):
        for frame in _frames(request, file, limits):
            if frame is not None:
                _reply(replies, frame)
            elif time.monotonic() - told > ALIVE_EVERY_S:
                write_message(replies, {"kind": "alive"})
            else:
                continue
            told = time.monotonic()
            arm(limits.seconds)


def _frames(
    request: dict[str, Any], file: BinaryIO, limits: Limits
) -> Iterator[DecodedFrame | None]:
    from fdps.decoding.moments import read_moments
    from fdps.decoding.sampling import Sampling
    from fdps.decoding.videos import read_video

    if request["do"] == "moments":
        return read_moments(file, request["moments"])
    sampling, skip = Sampling.parse(request["every"]), frozenset(request.get("skip", ()))
    return read_video(file, sampling, skip=skip, max_frames=limits.frames)


def _reply(replies: BinaryIO, frame: DecodedFrame) -> None:
    arm(0)  # the parent may be busy for as long as it likes
    height, width = frame.image.shape[:2]
    header = {
        "kind": "frame",
        "width": width,
        "height": height,
        "time": frame.time,
        "frame": frame.frame,
        "offset_s": frame.offset_s,
        "duration_s": frame.duration_s,
    }
    write_message(replies, header, frame.image.reshape(-1))


if __name__ == "__main__":
    main()
