"""Kinds of poses that are rare in recordings of walking and sport: ranges of each joint.

Numbers are degrees about x, y and z as in `body_model.joint_limits`. The range of a left joint also holds, mirrored,
for the right joint, which is drawn independently. Joints that a kind does not name have the ranges RELAXED_RANGES."""

from dataclasses import dataclass, field

from selfmocap.body_model.joint_limits import AngleRange

JointRanges = dict[str, tuple[AngleRange, AngleRange, AngleRange]]

RELAXED_RANGES: JointRanges = {
    "left_hip": ((-15, 10), (-12, 12), (0, 14)),
    "left_knee": ((0, 22), (0, 0), (0, 0)),
    "left_ankle": ((-10, 10), (-10, 10), (-6, 6)),
    "left_foot": ((-10, 5), (0, 0), (0, 0)),
    "spine1": ((-6, 10), (-8, 8), (-6, 6)),
    "spine2": ((-5, 10), (-10, 10), (-6, 6)),
    "spine3": ((-6, 8), (-8, 8), (-6, 6)),
    "neck": ((-12, 18), (-28, 28), (-12, 12)),
    "head": ((-15, 18), (-28, 28), (-12, 12)),
    "left_collar": ((0, 0), (-8, 8), (-8, 6)),
    "left_shoulder": ((-40, 45), (-30, 25), (-85, -55)),
    "left_elbow": ((-30, 30), (-60, -5), (0, 25)),
    "left_wrist": ((-15, 15), (-15, 15), (-25, 35)),
    "left_hand": ((0, 0), (0, 0), (-15, 5)),
}
_BUSY_ARM: JointRanges = {
    "left_collar": ((0, 0), (-18, 10), (-8, 18)),
    "left_shoulder": ((-60, 60), (-95, 30), (-85, 30)),
    "left_elbow": ((-55, 55), (-130, -5), (0, 35)),
}


@dataclass(frozen=True)
class PoseKind:
    """A family of poses between which a person moves."""

    name: str
    joints: JointRanges = field(default_factory=dict)
    pitch: AngleRange = (-5, 8)
    """Forward lean of the pelvis, degrees: 90 is face down."""
    roll: AngleRange = (-4, 4)
    """Lean of the pelvis to the person's right, degrees."""
    leg_symmetry: float = 0.85
    """Weight of the left leg's mirror image in the right leg's pose, in [0, 1]."""
    anchored_by_pelvis: bool = False
    """Whether the pelvis stays in place, or else the point between the ankles."""
    supports: tuple[str, ...] = ()
    """Joints that all rest on the ground; the pelvis is rotated to level them. Without any, feet are laid flat."""


POSE_KINDS = (
    PoseKind("standing", _BUSY_ARM),
    PoseKind(
        "reaching",
        {
            "left_collar": ((0, 0), (-25, 5), (-5, 30)), "left_shoulder": ((-60, 50), (-115, 10), (-45, 75)),
            "left_elbow": ((-55, 55), (-60, 0), (0, 20)), "spine1": ((-8, 25), (-18, 18), (-14, 14)),
            "spine2": ((-5, 20), (-20, 20), (-12, 12)), "spine3": ((-10, 12), (-14, 14), (-12, 12)),
            "left_hip": ((-45, 12), (-20, 20), (0, 30)), "left_knee": ((0, 50), (0, 0), (0, 0)),
        },
        pitch=(-8, 25),
        roll=(-12, 12),
    ),
    PoseKind(
        "arms overhead",
        {
            "left_collar": ((0, 0), (-12, 10), (10, 38)), "left_shoulder": ((-70, 40), (-45, 20), (35, 80)),
            "left_elbow": ((-45, 45), (-120, 0), (0, 25)), "head": ((-35, 15), (-28, 28), (-12, 12)),
            "spine3": ((-22, 5), (-10, 10), (-10, 10)),
        },
    ),
    PoseKind(
        "sitting",
        {
            **_BUSY_ARM, "left_hip": ((-105, -72), (-20, 20), (0, 28)), "left_knee": ((55, 110), (0, 0), (0, 0)),
            "left_ankle": ((-18, 25), (-10, 10), (-8, 8)), "spine1": ((-4, 25), (-12, 12), (-8, 8)),
            "spine2": ((-4, 18), (-14, 14), (-8, 8)),
        },
        pitch=(-20, 25),
        anchored_by_pelvis=True,
    ),
    PoseKind(
        "sitting on the floor",
        {
            **_BUSY_ARM, "left_hip": ((-115, -70), (-35, 35), (5, 45)), "left_knee": ((5, 140), (-10, 10), (0, 0)),
            "left_ankle": ((-15, 45), (-15, 15), (-15, 15)), "spine1": ((0, 35), (-12, 12), (-8, 8)),
            "spine2": ((0, 20), (-14, 14), (-8, 8)),
        },
        pitch=(-30, 20),
        anchored_by_pelvis=True,
        leg_symmetry=0.4,
        supports=("pelvis", "left_ankle", "right_ankle"),
    ),
    PoseKind(
        "squatting",
        {
            **_BUSY_ARM, "left_hip": ((-122, -80), (-20, 25), (5, 35)), "left_knee": ((90, 145), (0, 0), (0, 0)),
            "left_ankle": ((-38, -10), (-10, 10), (-8, 8)), "spine1": ((0, 25), (-8, 8), (-6, 6)),
        },
        pitch=(5, 35),
    ),
    PoseKind(
        "kneeling",
        {
            **_BUSY_ARM, "left_hip": ((-75, 5), (-15, 15), (0, 20)), "left_knee": ((85, 145), (0, 0), (0, 0)),
            "left_ankle": ((20, 50), (-10, 10), (-8, 8)), "left_foot": ((-45, 5), (0, 0), (0, 0)),
        },
        pitch=(-5, 20),
        anchored_by_pelvis=True,
        supports=("left_knee", "right_knee", "left_foot", "right_foot"),
    ),
    PoseKind(
        "on all fours",
        {
            "left_hip": ((-105, -80), (-10, 10), (0, 15)), "left_knee": ((85, 110), (0, 0), (0, 0)),
            "left_ankle": ((30, 52), (-8, 8), (-6, 6)), "left_shoulder": ((-25, 25), (-105, -75), (-15, 15)),
            "left_elbow": ((-20, 20), (-30, 0), (0, 10)), "left_wrist": ((-10, 10), (-10, 10), (40, 70)),
            "head": ((-45, 5), (-28, 28), (-12, 12)), "neck": ((-35, 5), (-20, 20), (-12, 12)),
        },
        pitch=(70, 95),
        anchored_by_pelvis=True,
        supports=("left_knee", "right_knee", "left_wrist", "right_wrist"),
    ),
    PoseKind(
        "bending down",
        {
            **_BUSY_ARM, "spine1": ((5, 45), (-12, 12), (-10, 10)), "spine2": ((5, 28), (-12, 12), (-8, 8)),
            "spine3": ((0, 22), (-8, 8), (-8, 8)), "left_hip": ((-75, -15), (-12, 12), (0, 18)),
            "left_knee": ((0, 60), (0, 0), (0, 0)), "left_ankle": ((-25, 5), (-8, 8), (-6, 6)),
        },
        pitch=(15, 60),
    ),
    PoseKind(
        "lying on the back",
        {
            "left_shoulder": ((-60, 60), (-70, 5), (-85, 70)), "left_elbow": ((-50, 50), (-110, -5), (0, 30)),
            "left_hip": ((-85, 5), (-20, 25), (0, 35)), "left_knee": ((0, 110), (0, 0), (0, 0)),
            "left_ankle": ((0, 40), (-10, 10), (-8, 8)),
        },
        pitch=(-98, -82),
        anchored_by_pelvis=True,
        leg_symmetry=0.2,
        supports=("pelvis", "left_shoulder", "right_shoulder"),
    ),
    PoseKind(
        "lying face down",
        {
            "left_shoulder": ((-60, 60), (0, 45), (-80, 70)), "left_elbow": ((-50, 50), (-50, -5), (0, 15)),
            "left_hip": ((-5, 15), (-20, 25), (0, 35)), "left_knee": ((0, 80), (0, 0), (0, 0)),
            "left_ankle": ((25, 52), (-10, 10), (-8, 8)), "head": ((-30, 5), (-50, 50), (-12, 12)),
        },
        pitch=(82, 98),
        anchored_by_pelvis=True,
        leg_symmetry=0.2,
        supports=("pelvis", "left_shoulder", "right_shoulder"),
    ),
    PoseKind(
        "lunging",
        {
            **_BUSY_ARM, "left_hip": ((-100, 22), (-12, 12), (0, 22)), "left_knee": ((5, 105), (0, 0), (0, 0)),
            "left_ankle": ((-30, 25), (-8, 8), (-6, 6)), "left_foot": ((-40, 0), (0, 0), (0, 0)),
        },
        pitch=(-5, 30),
        leg_symmetry=0.0,
    ),
)  # fmt: skip
