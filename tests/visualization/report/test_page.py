import base64
import hashlib
import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from selfmocap.body_model.body import Body
from selfmocap.body_model.motion import Motion
from selfmocap.body_model.skeleton import DEFAULT_KEYPOINTS
from selfmocap.geometry.camera import Camera
from selfmocap.losses.keypoint_residuals import keypoint_residuals_px
from selfmocap.tracking.observations import Observations
from selfmocap.visualization.clothes import PARTS, clothed_parts
from selfmocap.visualization.report import page, playback
from selfmocap.visualization.report.page import write_report
from selfmocap.visualization.report.residuals import keypoint_px_by_frame
from tests.helpers.exported_files import wandering_motion

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
CODES = {"int8": "i1", "int16": "<i2", "uint8": "u1", "uint16": "<u2", "uint32": "<u4", "float32": "<f4"}


class Page(HTMLParser):
    """Collect the tags, addresses and scripts of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.text = path.read_text()
        self.tags: list[tuple[str, dict]] = []
        self.contents: dict[str, str] = {}
        self.visible = ""
        self.feed(self.text)

    def handle_starttag(self, tag: str, attributes: list) -> None:
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, text: str) -> None:
        tag, attributes = self.tags[-1] if self.tags else ("", {})
        if tag in ("script", "style"):
            self.contents.setdefault(attributes.get("id", tag), text)
        else:
            self.visible += text

    @property
    def addresses(self) -> list[str]:
        return [
            value
            for _, attributes in self.tags
            for key, value in attributes.items()
            if key in ("src", "href")
        ]

    @property
    def playback(self) -> dict:
        return json.loads(self.contents["playback"])


def numbers(packed: dict, *shape: int) -> np.ndarray:
    return (
        np.frombuffer(base64.b64decode(packed["data"]), CODES[packed["type"]])
        .astype(float)
        .reshape(-1, *shape)
    )


def played(data: dict, person: dict, row: int) -> tuple[np.ndarray, np.ndarray]:
    """Compute joints and skin in the world like playback.js and scene.js."""
    rest = numbers(person["rest_joints"], 3)
    turns = Rotation.from_quat(numbers(person["rotations"], 24, 4)[row]).as_matrix()
    R, p = [turns[0]], [numbers(person["root"], 3)[row]]
    for joint, parent in enumerate(data["parents"][1:], 1):
        R.append(R[parent] @ turns[joint])
        p.append(p[parent] + R[parent] @ (rest[joint] - rest[parent]))
    R, p = np.stack(R), np.stack(p)
    skin, offsets = person["skin"], person["pose_offsets"]
    metres = numbers(offsets["metres"], data["pose_offsets"])[row]
    vertices = numbers(skin["vertices"], 3) / 32767 * skin["scale"]
    vertices += np.einsum("k,vkc->vc", metres, numbers(offsets["shapes"], data["pose_offsets"], 3) / 127)
    joints, weights = numbers(skin["joints"], 4).astype(int), numbers(skin["weights"], 4)
    weights /= weights.sum(1, keepdims=True)
    moved = np.einsum("vkab,vkb->vka", R[joints], vertices[:, None] - rest[joints]) + p[joints]
    return p, (weights[..., None] * moved).sum(1)


@pytest.fixture(scope="module")
def motion(body: Body) -> Motion:
    return wandering_motion(body, frames=40)


def test_playback_equals_the_motion_within_a_millimetre(motion: Motion, body: Body, tmp_path: Path) -> None:
    write_report(tmp_path / "report.html", [motion], body, {}, None)
    data = Page(tmp_path / "report.html").playback
    posed = body.pose(motion.parameters)
    for row in (0, 17, 39):
        joints, vertices = played(data, data["people"][0], row)
        assert np.abs(joints - posed.joints[row].numpy()).max() < 2e-4
        assert np.abs(vertices - posed.vertices[row].numpy()).max() < 1e-3
    assert np.array_equal(numbers(data["faces"], 3), body.faces.numpy())
    assert np.allclose(numbers(data["people"][0]["confidence"]), motion.confidence, atol=1e-6)


def test_people_share_one_timeline_and_are_absent_in_their_gaps(body: Body, tmp_path: Path) -> None:
    one, other = wandering_motion(body, 3, index=[4, 5, 9]), wandering_motion(body, 2, index=[5, 7], seed=4)
    data = playback.playback([one, other], body, [{}, {}])
    assert data["frames"]["index"] == [4, 5, 6, 7, 8, 9]
    assert data["frames"]["time"] == [round(n / 30, 4) for n in range(4, 10)]
    assert [numbers(p["row"]).tolist() for p in data["people"]] == [
        [0, 1, -1, -1, -1, 2],
        [-1, 0, -1, 1, -1, -1],
    ]


def test_the_page_is_self_contained_and_small(motion: Motion, body: Body, tmp_path: Path) -> None:
    (tmp_path / "person-1").mkdir()
    (tmp_path / "person-1" / "motion.bvh").write_bytes(bytes(1500))
    ten_seconds = wandering_motion(body, frames=300)
    write_report(tmp_path / "report.html", [ten_seconds], body, {}, None)
    shown = Page(tmp_path / "report.html")
    assert shown.addresses == ["data:,", "person-1/motion.bvh"]
    assert not re.search(r"https?:|@import|url\(", shown.text)
    assert len(shown.text) < 5_000_000
    assert "2 kB" in shown.visible


def test_files_that_are_not_kept_have_no_links(
    motion: Motion, body: Body, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "person-1").mkdir()
    for name in ("person-1/motion.npz", "person-1/motion.bvh", "overlay.mp4"):
        (tmp_path / name).write_bytes(bytes(1500))
    monkeypatch.setattr(page, "MAX_EMBEDDED_BYTES", 1000)
    path, overlay = tmp_path / "report.html", tmp_path / "overlay.mp4"
    write_report(path, [motion], body, {}, overlay, unlinked={"motion.npz", "overlay.mp4"})
    assert Page(path).addresses == ["data:,", "person-1/motion.bvh"]


def test_the_policy_allows_this_script_and_no_connection(motion: Motion, body: Body, tmp_path: Path) -> None:
    write_report(tmp_path / "report.html", [motion], body, {}, None)
    shown = Page(tmp_path / "report.html")
    policy = next(a["content"] for tag, a in shown.tags if tag == "meta" and a.get("http-equiv"))
    allowed = dict(part.split(" ", 1) for part in policy.split("; "))
    assert allowed["default-src"] == "'none'"
    for tag in ("script", "style"):
        digest = base64.b64encode(hashlib.sha256(shown.contents[tag].encode()).digest()).decode()
        assert allowed[f"{tag}-src"] == f"'sha256-{digest}'"
    assert "connect-src" not in allowed
    assert "unsafe" not in policy


def test_assumptions_terms_and_times_are_shown(motion: Motion, body: Body, tmp_path: Path) -> None:
    person = {"stature": 1.75, "stature_from": "proportions", "floor": False, "segments": [[2.3, 3.6]]}
    report = {
        "people": [person],
        "focal": {"px": 1412.0, "source": "default", "uncertainty": 0.18},
        "shots": [{"camera": {"static": False, "kinds": ["unknown"]}}],
    }
    write_report(tmp_path / "report.html", [motion], body, report, None)
    shown = Page(tmp_path / "report.html")
    assert "1.75 m, estimated from the body's proportions" in shown.visible
    assert "1412 px (± 18%), assumed" in shown.visible and "its path is unknown" in shown.visible
    assert "2.30–3.60 s" in shown.visible and ("button", {"data-time": "2.3"}) in shown.tags
    assert shown.playback["people"][0]["has_floor"] is False
    terms = [attributes for tag, attributes in shown.tags if attributes.get("class") == "term"]
    assert len(terms) >= 3 and all(one["tabindex"] == "0" and one["data-explanation"] for one in terms)


def test_a_dressed_body_has_all_parts_where_they_belong(body: Body) -> None:
    parts, height = clothed_parts(body), body.v_template.reshape(3, -1)[1].numpy()
    means = {name: height[parts == index].mean() for index, name in enumerate(PARTS)}
    assert means["shoes"] < means["trousers"] < means["shirt"] < means["hair"] == max(means.values())
    assert (np.bincount(parts, minlength=len(PARTS)) > 100).all()


def test_external_names_and_reasons_are_escaped(motion: Motion, body: Body, tmp_path: Path) -> None:
    (tmp_path / "person-1").mkdir()
    (tmp_path / "person-1" / 'motion"><script>.csv').touch()
    report = {
        "video": {"path": f"clips/{HOSTILE.replace('/', '∕')}"},
        "stages": [{"name": HOSTILE, "seconds": 2.0}],
        "people": [{"low_confidence_ranges": [[3, 5, HOSTILE]]}],
        "warnings": [f"the film is turned: {HOSTILE}"],
    }
    write_report(tmp_path / "report.html", [motion], body, report, None)
    shown = Page(tmp_path / "report.html")
    assert [tag for tag, _ in shown.tags].count("script") == 2
    assert "img" not in {tag for tag, _ in shown.tags}
    assert all(not key.startswith("on") for _, attributes in shown.tags for key in attributes)
    assert HOSTILE in shown.visible and f"the film is turned: {HOSTILE}" in shown.visible
    assert shown.playback["people"][0]["low_confidence_ranges"] == [[3, 5, HOSTILE]]


def test_missing_or_invalid_parts_of_a_report_are_left_out(
    motion: Motion, body: Body, tmp_path: Path
) -> None:
    nan = float("nan")
    people = [
        {
            "accepted": True,
            "before": {"heldout_reprojection_px": 4.0, "jitter": nan},
            "after": None,
            "low_confidence_ranges": "no",
        },
        7,
    ]
    for report in ({}, {"video": None, "people": None, "stages": 3}, {"people": people}):
        write_report(tmp_path / "report.html", [motion, motion], body, report, None)
    text = Page(tmp_path / "report.html").visible
    assert "4.00 px" in text
    assert "nan" not in text


def test_adaptation_before_and_after(motion: Motion, body: Body, tmp_path: Path) -> None:
    person = {
        "accepted": True,
        "before": {"heldout_reprojection_px": 4.21, "mask_iou": 0.8, "flow_px": 1.0},
        "after": {"heldout_reprojection_px": 0.876, "mask_iou": 0.9, "flow_px": 2.0},
    }
    write_report(tmp_path / "report.html", [motion], body, {"people": [person]}, None)
    text = (tmp_path / "report.html").read_text()
    assert '<td>4.21 px</td><td class="better">0.876 px</td>' in text
    assert '<td>0.800</td><td class="better">0.900</td>' in text
    assert '<td>1.00 px</td><td class="worse">2.00 px</td>' in text


def test_a_small_overlay_is_embedded_and_a_large_one_linked(
    motion: Motion, body: Body, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overlay = tmp_path / "over lay.mp4"
    overlay.write_bytes(bytes(range(200)))
    write_report(tmp_path / "report.html", [motion], body, {}, overlay)
    assert base64.b64decode(Page(tmp_path / "report.html").contents["video-data"]) == bytes(range(200))
    monkeypatch.setattr(page, "MAX_EMBEDDED_BYTES", 199)
    write_report(tmp_path / "report.html", [motion], body, {}, overlay)
    linked = Page(tmp_path / "report.html")
    assert "video-data" not in linked.contents
    assert "over%20lay.mp4" in linked.addresses


def test_long_motions_are_subsampled_and_the_page_says_so(
    motion: Motion, body: Body, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(playback, "MAX_SHOWN_FRAMES", 15)
    report = {"people": [{"after": {"keypoint_px_by_frame": [*range(39), None]}}]}
    write_report(tmp_path / "report.html", [motion], body, report, None)
    shown = Page(tmp_path / "report.html")
    assert shown.playback["frames"]["index"] == [*range(0, 40, 3)]
    ((name, residuals),) = shown.playback["people"][0]["keypoint_px"]
    assert name == "after"
    assert np.array_equal(numbers(residuals), [*range(0, 39, 3), np.nan], equal_nan=True)
    joints, _ = played(shown.playback, shown.playback["people"][0], 13)
    assert np.abs(joints - body.pose(motion[39:].parameters).joints[0].numpy()).max() < 2e-4
    assert "one frame in 3 is shown" in shown.visible


def test_a_report_without_frames_or_with_too_few_residuals_is_refused(
    motion: Motion, body: Body, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="at least one frame"):
        write_report(tmp_path / "report.html", [], body, {}, None)
    report = {"people": [{"before": {"keypoint_px_by_frame": [1.0]}}]}
    with pytest.raises(ValueError, match="1 residuals .* 40 frames"):
        write_report(tmp_path / "report.html", [motion], body, report, None)
    assert not [*tmp_path.iterdir()]


def test_the_residual_curve_is_robust_px_of_the_crop_and_its_mean_is_the_number(motion: Motion) -> None:
    camera: Camera = motion.camera
    observed_frames = [0, 1, 3]
    pixels = camera.project(camera.to_world(motion.keypoints_cam))[observed_frames]
    confidence = torch.rand(3, 23)
    confidence[2] = 0
    observations = Observations(
        frame_index=motion.frame_index[observed_frames],
        frame_times=motion.frame_times[observed_frames],
        image_size=motion.image_size,
        boxes=torch.tensor([[600.0, 300.0, 64.0], [600.0, 300.0, 128.0], [600.0, 300.0, 64.0]]),
        keypoint_set=DEFAULT_KEYPOINTS.name,
        keypoints=pixels + torch.tensor([3.0, 4.0]),
        keypoint_confidence=confidence,
    )
    robust = [2 * (math.hypot(1, distance / 2) - 1) for distance in (5.0, 2.5)]
    px = keypoint_px_by_frame(motion[:4], observations)
    assert px == pytest.approx([*robust, None, None], abs=2e-3)
    weights = confidence.sum(1)
    residuals, by_frame = keypoint_residuals_px(motion[:4], observations)
    mean = float((residuals * by_frame).sum() / by_frame.sum())
    assert mean == pytest.approx(
        float((weights[:2] * torch.tensor(robust)).sum() / weights[:2].sum()), abs=2e-3
    )
