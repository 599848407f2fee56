"""The table of ``fdps archive info``."""

from typing import TYPE_CHECKING

from fdps.names import printable

if TYPE_CHECKING:
    from fdps.search.care.info import ArchiveInfo

_SHOWN = 10  # folders; --json has all


def print_contents(archive: str, info: "ArchiveInfo", is_calibrated: bool) -> None:
    """Print what is in an archive, one line for each thing."""
    stamp, contents = info.stamp, info.contents
    calibrated = "calibrated" if is_calibrated else "not calibrated"
    print(f"Archive {printable(archive)} of {stamp.created[:10]}, format {stamp.format_version}")
    print(f"Model   {printable(stamp.model or 'unknown')} ({stamp.model_hash[:12]}), {calibrated}")
    n_videos = contents.n_videos
    videos = f", {n_videos} of the files {'is a video' if n_videos == 1 else 'are videos'}"
    print(f"People  {info.n_people} in {info.n_scenes} scenes{videos if n_videos else ''}")
    if contents.first and contents.last:
        print(f"Time    {_shown(contents.first)} to {_shown(contents.last)}")
    for camera, n_scenes in contents.cameras.items():
        print(f"Camera  {printable(camera or 'unknown')}: {n_scenes} scenes")
    for folder, n_scenes in list(contents.sources.items())[:_SHOWN]:
        print(f"Source  {printable(folder)}: {n_scenes} scenes")
    if len(contents.sources) > _SHOWN:
        print(f"Source  {len(contents.sources)} folders in all; --json names each")
    size, free = contents.n_bytes / 1e6, contents.n_free_bytes / 1e6
    print(f"Size    {size:.1f} MB, {free:.1f} MB of it free for what comes")
    keep = contents.retention
    print(f"Keeps   {f'{keep.keep} from the time {keep.by}' if keep else 'everything for ever'}")
    if contents.n_forgotten:
        print(f"Forgot  people at {contents.n_forgotten} places, who will not be indexed again")
    print(f"Audit   {contents.n_entries} entries, head {contents.head[:12]}")


def _shown(time: str) -> str:
    return time[:19].replace("T", " ")
