"""Compute where the parts of a body are, from its build and its pose. Nothing here is random."""

from dataclasses import dataclass
from functools import cached_property
from math import cos, pi, sin

from fdps.data.synthetic.brush import Point
from fdps.data.synthetic.identity import Identity

FACINGS = ("front", "back", "left", "right")

_STRIDE = 0.42  # largest angle of the thigh to the vertical, in radians


@dataclass(frozen=True, slots=True)
class Pose:
    """The pose of somebody who stands or walks.

    Args:
        facing: Direction, one of :data:`FACINGS`.
        phase: Phase of the walk, 0 to 2 pi.
        stride: Length of the stride: 0 standing, 1 walking at full stride.
    """

    facing: str
    phase: float
    stride: float


@dataclass(frozen=True)
class Skeleton:
    """The places of the parts of a body on its canvas, in units; x = 0 is its middle."""

    identity: Identity
    pose: Pose
    ground: float

    @cached_property
    def height(self) -> float:
        """Height from the sole to the top of the head."""
        return self.identity.build.height

    @cached_property
    def is_side(self) -> bool:
        """Whether it is seen from the side; a figure walking to the left is mirrored at the end."""
        return self.pose.facing in ("left", "right")

    @cached_property
    def is_back(self) -> bool:
        """Whether it is seen from behind."""
        return self.pose.facing == "back"

    @cached_property
    def hip(self) -> float:
        """Height of the hip joints on the canvas."""
        return self.ground - self.height * self.identity.build.legs

    @cached_property
    def collar(self) -> float:
        """Height of the shoulders on the canvas."""
        return self.ground - self.height * 0.825

    @cached_property
    def chin(self) -> float:
        """Height of the lower end of the head on the canvas."""
        return self.ground - self.height * 0.875

    @cached_property
    def half_shoulders(self) -> float:
        """Half the width of the trunk at the shoulders."""
        build = self.identity.build
        return (0.068 if self.is_side else 0.108 * build.shoulders) * (0.45 + 0.55 * build.girth)

    @cached_property
    def half_hips(self) -> float:
        """Half the width of the trunk at the hips."""
        return (0.066 if self.is_side else 0.088) * self.identity.build.girth

    def leg(self, is_near: bool) -> list[Point]:
        """Return hip, knee and ankle of a leg."""
        phase = self.pose.phase + (0.0 if is_near else pi)
        upper = lower = (self.ground - 0.035 - self.hip) / 2
        if self.is_side:
            swing = _STRIDE * self.pose.stride * sin(phase)
            bend = self.pose.stride * (0.12 + 0.75 * max(0.0, cos(phase)))
            knee = (upper * sin(swing), self.hip + upper * cos(swing))
            ankle = (knee[0] + lower * sin(swing - bend), knee[1] + lower * cos(swing - bend))
            return [(0.0, self.hip), knee, ankle]
        side = 1.0 if is_near else -1.0
        lift = 0.05 * self.pose.stride * max(0.0, sin(phase))
        x = side * self.half_hips * 0.52
        spread = side * 0.012 * (1.0 + self.pose.stride)
        return [
            (x, self.hip),
            (x + spread, self.hip + upper - lift * 0.5),
            (x + spread, self.hip + upper + lower - lift),
        ]

    def arm(self, is_near: bool) -> list[Point]:
        """Return shoulder, elbow and wrist of an arm, which swings against the leg of its side."""
        phase = self.pose.phase + (pi if is_near else 0.0)
        upper, lower = 0.165 * self.height, 0.15 * self.height
        top = self.collar + 0.036
        if self.is_side:
            swing = 0.55 * self.pose.stride * sin(phase)
            flex = 0.15 + 0.35 * self.pose.stride
            elbow = (upper * sin(swing), top + upper * cos(swing))
            return [
                (0.0, top),
                elbow,
                (elbow[0] + lower * sin(swing + flex), elbow[1] + lower * cos(swing + flex)),
            ]
        side = 1.0 if is_near else -1.0
        shoulder = (side * (self.half_shoulders - 0.026), top)
        lift = 0.03 * self.pose.stride * sin(phase)
        elbow = (shoulder[0] + side * 0.042, top + upper)
        return [shoulder, elbow, (elbow[0] + side * 0.004, elbow[1] + lower - lift)]

    @cached_property
    def sink(self) -> float:
        """Length by which a stride lowers the body, so that one foot touches the ground."""
        lowest = max(self.leg(True)[-1][1], self.leg(False)[-1][1])
        return self.ground - 0.035 - lowest
