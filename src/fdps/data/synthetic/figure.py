"""Draw a person from an identity and a pose.

A figure is a few dozen shapes in body heights, painted from the far side to the near side.
"""

from PIL import Image

from fdps.data.synthetic.body import Pose, Skeleton
from fdps.data.synthetic.brush import Brush, Paint, Point, shade
from fdps.data.synthetic.cloth import cloth
from fdps.data.synthetic.identity import Identity
from fdps.data.synthetic.outfit import draw_before, draw_behind, draw_head

_FAR = 0.8  # brightness of limbs on the far side of the body, which lie in its shade


def draw_figure(identity: Identity, pose: Pose, unit_px: float) -> Image.Image:
    """Draw a person.

    Args:
        identity: The person to draw.
        pose: The pose of the person.
        unit_px: Height of an average body in pixels, at least 8.

    Returns:
        A sprite; its lower middle is the ground between the feet.
    """
    brush = Brush(unit_px, width=1.0, height=1.16 * max(1.0, identity.build.height))
    body = Skeleton(identity, pose, brush.ground - 0.012)
    upper = cloth(brush, identity.upper, top=body.collar, is_back=body.is_back)
    lower = cloth(brush, identity.lower, top=body.hip)
    draw_behind(brush, body)
    if body.is_side:
        _draw_arm(brush, body, upper, is_near=False)
    for is_near in (False, True):
        _draw_leg(brush, body, lower, is_near=is_near)
    _draw_skirt(brush, body, lower)
    _draw_trunk(brush, body, upper)
    draw_before(brush, body)
    draw_head(brush, body)
    for is_near in (True,) if body.is_side else (False, True):
        _draw_arm(brush, body, upper, is_near=is_near)
    sprite = brush.sprite()
    drop = round(body.sink * unit_px)
    if drop > 0:
        lowered = Image.new("RGBA", sprite.size)
        lowered.paste(sprite, (0, drop))
        sprite = lowered
    is_left = pose.facing == "left"
    return sprite.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if is_left else sprite


def _shadowed(paint: Paint, is_far: bool) -> Paint:
    if not is_far:
        return paint
    if isinstance(paint, Image.Image):
        return paint.point(lambda value: value * _FAR)
    return shade(paint, _FAR)


def _draw_leg(brush: Brush, body: Skeleton, cloth_paint: Paint, *, is_near: bool) -> None:
    identity, girth = body.identity, body.identity.build.girth
    hip, knee, ankle = body.leg(is_near)
    is_far = body.is_side and not is_near
    skin = shade(identity.skin, _FAR if is_far else 1.0)
    shoe = shade(identity.shoes, _FAR if is_far else 1.0)
    paint = _shadowed(cloth_paint, is_far)
    thick = [0.098 * girth, 0.072 * girth, 0.046 * girth]
    if identity.lower.kind == "wide":
        thick = [0.1 * girth, 0.088 * girth, 0.09 * girth]
    if identity.lower.kind in ("trousers", "wide"):
        brush.limb([hip, knee, ankle], thick, paint)
    else:
        brush.limb([hip, knee, ankle], [width * 0.85 for width in thick], skin)
        if identity.lower.kind == "shorts":
            brush.limb([hip, knee], [thick[0], thick[1] * 1.2], paint)
    toe = 0.055 if body.is_side else 0.0
    brush.limb(
        [(ankle[0], ankle[1] + 0.012), (ankle[0] + toe, ankle[1] + 0.018)],
        [0.048, 0.034] if body.is_side else [0.05, 0.05],
        shoe,
    )


def _draw_skirt(brush: Brush, body: Skeleton, paint: Paint) -> None:
    if body.identity.lower.kind != "skirt":
        return
    hem = body.hip + 0.24 * body.height
    flare = body.half_hips * 1.35 + 0.05 * body.pose.stride
    half = body.half_hips
    top = body.hip - 0.06
    brush.polygon([(-half, top), (half, top), (flare, hem), (-flare, hem)], paint)


def _draw_trunk(brush: Brush, body: Skeleton, paint: Paint) -> None:
    identity, s, h = body.identity, body.half_shoulders, body.half_hips
    neck = 0.034
    brush.polygon(
        [(-neck, body.chin - 0.03), (neck, body.chin - 0.03), (neck, body.collar + 0.03),
         (-neck, body.collar + 0.03)],
        shade(identity.skin, 0.85),
    )  # fmt: skip
    hem = body.hip + {"coat": 0.2, "jumper": 0.045}.get(identity.upper.kind, 0.025)
    flare = h * (1.15 if identity.upper.kind == "coat" else 1.02)
    waist = (body.collar + body.hip) / 2 + 0.03
    edge = [
        (neck * 1.1, body.collar - 0.012),
        (s * 0.8, body.collar + 0.004),
        (s, body.collar + 0.035),
        ((s + h) / 2.15, waist),
        (h, body.hip),
        (flare, hem),
    ]
    brush.polygon(edge + [(-x, y) for x, y in reversed(edge)], paint)
    if identity.upper.kind == "coat" and not body.is_back:
        dark = shade(identity.upper.colour, 0.62)
        x = body.half_shoulders * 0.6 if body.is_side else 0.0
        brush.line([(x, body.collar + 0.02), (x, hem)], 0.008, dark)


def _draw_arm(brush: Brush, body: Skeleton, paint: Paint, *, is_near: bool) -> None:
    identity, girth = body.identity, 0.4 + 0.6 * body.identity.build.girth
    is_far = body.is_side and not is_near
    shoulder, elbow, wrist = body.arm(is_near)
    skin = shade(identity.skin, _FAR if is_far else 0.96)
    thick = [0.06 * girth, 0.054 * girth, 0.042 * girth]
    outline = shade(identity.upper.colour, 0.6)
    kind = identity.upper.kind
    bare = kind in ("tshirt", "vest")
    brush.limb([shoulder, elbow, wrist], [width * 0.85 for width in thick], skin)
    brush.ellipse(wrist, (0.024, 0.028), skin)
    if kind == "vest":
        return
    end = _between(shoulder, elbow, 0.75)
    joints = [shoulder, end] if bare else [shoulder, elbow, _between(elbow, wrist, 0.9)]
    widths = [thick[0], thick[1] * 1.1] if bare else thick
    if not is_far:  # a thin dark edge parts the sleeve from the trunk
        brush.limb(joints, [width + 0.012 for width in widths], outline)
    brush.limb(joints, widths, _shadowed(paint, is_far))


def _between(a: Point, b: Point, share: float) -> Point:
    return a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share
