"""Draw head, hair, hat and bag of a figure."""

from fdps.data.synthetic.body import Skeleton
from fdps.data.synthetic.brush import Brush, Point, shade


def draw_behind(brush: Brush, body: Skeleton) -> None:
    """Draw what the trunk hides in part: long hair from the front, a backpack from the side."""
    identity = body.identity
    if identity.hair_style == "long" and not body.is_back:
        _long_hair(brush, body)
    if identity.bag == "backpack" and body.is_side:
        x = -body.half_shoulders - 0.035
        _round_box(brush, (x, body.collar + 0.14), (0.065, 0.125), identity.bag_colour)
        _round_box(
            brush, (x - 0.03, body.collar + 0.19), (0.04, 0.05), shade(identity.bag_colour, 0.75)
        )


def draw_before(brush: Brush, body: Skeleton) -> None:
    """Draw what hangs before the trunk: straps, a backpack seen from behind, a bag in the hand."""
    bag, colour = body.identity.bag, body.identity.bag_colour
    s = body.half_shoulders
    if bag == "backpack":
        if body.is_back:
            _round_box(brush, (0.0, body.collar + 0.14), (s * 0.78, 0.135), colour)
            _round_box(brush, (0.0, body.collar + 0.2), (s * 0.55, 0.055), shade(colour, 0.75))
        elif not body.is_side:
            for side in (-0.62, 0.62):
                strap = [(side * s, body.collar), (side * s, body.collar + 0.17)]
                brush.line(strap, 0.022, colour)
        else:
            brush.line([(0.0, body.collar), (-0.02, body.collar + 0.17)], 0.02, colour)
    elif bag == "strap":
        end = (s * 0.8, body.hip - 0.02)
        brush.line([(-s * 0.75, body.collar + 0.01), end], 0.018, shade(colour, 0.8))
        _round_box(brush, (end[0] + 0.02, end[1] + 0.03), (0.055, 0.045), colour)
    elif bag == "handbag":
        x, y = body.arm(True)[-1]
        brush.line([(x - 0.03, y + 0.07), (x, y), (x + 0.03, y + 0.07)], 0.01, shade(colour, 0.7))
        _round_box(brush, (x, y + 0.11), (0.062, 0.052), colour)


def draw_head(brush: Brush, body: Skeleton) -> None:
    """Draw head, face, hair and hat."""
    identity = body.identity
    centre, half = _skull(body)
    brush.ellipse(centre, (half * 0.82, half), identity.skin)
    if body.is_side:
        brush.ellipse((centre[0] + half * 0.8, centre[1] + half * 0.15),
                      (half * 0.2, half * 0.16), identity.skin)  # fmt: skip
    elif not body.is_back:
        for side in (-0.34, 0.34):
            eye = (centre[0] + side * half, centre[1])
            brush.ellipse(eye, (half * 0.1, half * 0.1), (44, 34, 32))
    _draw_hair(brush, body, centre, half)
    _draw_hat(brush, body, centre, half)


def _draw_hair(brush: Brush, body: Skeleton, centre: Point, half: float) -> None:
    identity, (x, y) = body.identity, centre
    style, hair = identity.hair_style, identity.hair
    if style == "bald":
        return
    if body.is_back:
        brush.ellipse((x, y - half * 0.1), (half * 0.88, half * 0.98), hair)
        if style == "long":
            _long_hair(brush, body)
    elif body.is_side:
        brush.ellipse((x - half * 0.25, y - half * 0.3), (half * 0.72, half * 0.78), hair)
    else:
        _cap_of_hair(brush, centre, half, hair)
    if style == "bun":
        back = -0.85 if body.is_side else 0.0
        brush.ellipse((x + back * half, y - half * 0.95), (half * 0.42, half * 0.4), hair)
    if style == "ponytail" and (body.is_side or body.is_back):
        back = -0.8 if body.is_side else 0.0
        tail = [(x + back * half, y - half * 0.3), (x + back * half * 1.5, y + half * 1.5)]
        brush.limb(tail, [half * 0.6, half * 0.3], shade(hair, 0.85))
    if style == "curly":
        for side in (-0.75, -0.3, 0.3, 0.75):
            top = (x + side * half - (0.2 * half if body.is_side else 0), y - half * (1 - side**2))
            brush.ellipse(top, (half * 0.42, half * 0.42), hair)


def _cap_of_hair(brush: Brush, centre: Point, half: float, hair: tuple[int, int, int]) -> None:
    """Draw hair from the front: the upper part of the head, down to the temples."""
    x, y = centre
    brush.polygon(
        [(x - half * 0.86, y + half * 0.1), (x - half * 0.8, y - half * 0.6),
         (x - half * 0.4, y - half * 1.02), (x + half * 0.4, y - half * 1.02),
         (x + half * 0.8, y - half * 0.6), (x + half * 0.86, y + half * 0.1),
         (x + half * 0.6, y - half * 0.35), (x - half * 0.6, y - half * 0.4)],
        hair,
    )  # fmt: skip


def _skull(body: Skeleton) -> tuple[Point, float]:
    """Return the centre of the head and half its height."""
    half = 0.062 * body.height
    return (0.012 if body.is_side else 0.0, body.chin - half * 0.62), half


def _long_hair(brush: Brush, body: Skeleton) -> None:
    (x, y), half = _skull(body)
    back = -0.45 * half if body.is_side else 0.0
    width = half * (1.1 if body.is_side else 1.95)
    joints = [(x + back, y - half * 0.2), (x + back * 1.3, y + half * 1.9)]
    brush.limb(joints, [width, width * 0.9], body.identity.hair)


def _draw_hat(brush: Brush, body: Skeleton, centre: Point, half: float) -> None:
    identity, (x, y) = body.identity, centre
    if identity.hat == "none":
        return
    colour, dark = identity.hat_colour, shade(identity.hat_colour, 0.75)
    brim_y = y - half * 0.35
    crown = [(x - half * 0.95, brim_y), (x - half * 0.8, y - half * 1.05), (x, y - half * 1.3),
             (x + half * 0.8, y - half * 1.05), (x + half * 0.95, brim_y)]  # fmt: skip
    brush.polygon(crown, colour)
    if identity.hat == "beanie":
        brush.limb([(x - half * 0.85, brim_y), (x + half * 0.85, brim_y)], [half * 0.4] * 2, dark)
        brush.ellipse((x, y - half * 1.4), (half * 0.28, half * 0.28), dark)
    elif identity.hat == "brim":
        brush.ellipse((x, brim_y), (half * 1.6, half * 0.22), dark)
    elif body.is_side:
        brush.limb([(x, brim_y), (x + half * 1.6, brim_y + half * 0.1)], [half * 0.25] * 2, dark)
    elif not body.is_back:
        brush.ellipse((x, brim_y + half * 0.05), (half * 0.85, half * 0.2), dark)


def _round_box(
    brush: Brush, centre: Point, half: tuple[float, float], colour: tuple[int, int, int]
) -> None:
    x, y = centre
    a, b = half
    r = min(a, b) * 0.5
    right = [(a - r, -b), (a, r - b), (a, b - r), (a - r, b)]
    outline = right + [(-dx, dy) for dx, dy in reversed(right)]
    brush.polygon([(x + dx, y + dy) for dx, dy in outline], colour)
