"""Leave out scenes that are not searched, or are too near to a query to count.

Axes: B query scenes, S scenes of the set.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Bool, Int64

from fdps.errors import UsageError
from fdps.evaluation.protocols import EvaluationOptions
from fdps.structures import Scene, SceneSet


class Nearby:
    """Cameras, frame numbers and times of a scene set, as far as the options need them.

    Raises:
        UsageError: A scene lacks what an option needs.
    """

    def __init__(self, scenes: SceneSet, options: EvaluationOptions) -> None:
        self._options = options
        self._cameras = self._frames = self._seconds = None
        if options.cameras != "all":
            self._cameras = _cameras(scenes, f"cameras={options.cameras!r}")
        if options.min_frame_gap:
            self._cameras = _cameras(scenes, "min_frame_gap")
            self._frames = _all_known(scenes, _frame, "min_frame_gap", "the frame number")
        if options.min_seconds_gap:
            self._cameras = _cameras(scenes, "min_seconds_gap")
            self._seconds = _all_known(scenes, _time, "min_seconds_gap", "the time")

    def searchable(self, own: Int64[np.ndarray, " B"]) -> Bool[np.ndarray, "B S"] | None:
        """Scenes of the cameras that are searched for queries in ``own``; ``None``: of all."""
        if self._cameras is None or self._options.cameras == "all":
            return None
        is_same = self._cameras[own][:, None] == self._cameras
        return np.asarray(is_same if self._options.cameras == "same" else ~is_same)

    def near(self, own: Int64[np.ndarray, " B"]) -> Bool[np.ndarray, "B S"] | None:
        """Scenes that the query's camera took within a gap, its own included; ``None``: no gap."""
        if self._cameras is None or (self._frames is None and self._seconds is None):
            return None
        near = np.zeros((len(own), len(self._cameras)), dtype=np.bool_)
        if self._frames is not None:
            apart = np.abs(self._frames - self._frames[own][:, None])
            near |= apart <= self._options.min_frame_gap
        if self._seconds is not None:
            apart = np.abs(self._seconds - self._seconds[own][:, None])
            near |= apart <= self._options.min_seconds_gap
        return np.asarray(near & (self._cameras[own][:, None] == self._cameras))


def _frame(scene: Scene) -> int | None:
    return scene.frame


def _time(scene: Scene) -> float | None:
    return scene.seconds


def _camera(scene: Scene) -> str | None:
    return scene.camera


def _cameras(scenes: SceneSet, option: str) -> np.ndarray:
    """A number per camera."""
    names = _all_known(scenes, _camera, option, "the camera")
    return np.asarray(np.unique(names, return_inverse=True)[1]).reshape(-1)


def _all_known(
    scenes: SceneSet, value: Callable[[Scene], Any], option: str, what: str
) -> np.ndarray:
    values = [value(scene) for scene in scenes.scenes]
    if None in values:
        raise UsageError(
            f"{option} needs {what} of every scene; "
            f"{scenes.scenes[values.index(None)].name!r} of {scenes.name} has none",
            hint="evaluate without that option",
        )
    return np.array(values)
