// The clock of the page: scene, video, curves and slider show the same frame.

const byId = (id) => document.getElementById(id);
const data = readPlayback(byId("playback").textContent);
const { people, parents, joints } = data;
const frames = data.frames.index;
const seconds = data.frames.time;
const fractions = fractionsOf(seconds);

const JOINTS_SHOWN = {
  "Knees and elbows": ["left_knee", "right_knee", "left_elbow", "right_elbow"],
  "Hips and shoulders": ["left_hip", "right_hip", "left_shoulder", "right_shoulder"],
  "Ankles and wrists": ["left_ankle", "right_ankle", "left_wrist", "right_wrist"],
  "Spine, neck and head": ["spine1", "spine2", "spine3", "neck", "head"],
};

const video = byId("video");
const slider = byId("frame");
let [shown, playing, moment, selected, useVideoCamera] = [0, false, seconds[0], people[0], false];

const reasonOf = (person, frame) => {
  const found = person.lowConfidence.find(([first, last]) => first <= frames[frame] && frames[frame] <= last);
  return found && found[2];
};
const stateOf = (person, frame) => {
  if (person.row[frame] < 0) return "";
  if (reasonOf(person, frame) !== undefined) return "unreliable";
  return person.filled[person.row[frame]] ? "filled" : "observed";
};
for (const person of people) person.states = frames.map((_, frame) => stateOf(person, frame));

const colourOf = (person) => style(`person-${((person.number - 1) % 5) + 1}`);
const rgb = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16) / 255);
const mixed = (a, b, fraction) => a.map((number, n) => number * (1 - fraction) + b[n] * fraction);
const wordsOf = (name) => name.replaceAll("_", " ").replace(/\d/, " $&");

// ---- the scene

const canvas = byId("scene");
const scene = makeScene(canvas, data);
if (!scene) byId("no-scene").hidden = false;

const middleOf = ({ root }) =>
  [0, 1, 2].map((axis) => (3 / root.length) * root.reduce((sum, number, at) => sum + (at % 3 === axis ? number : 0), 0));
for (const person of people) person.middle = middleOf(person);

for (const person of people) {
  const { row, root, camera, hasFloor } = person;
  const pathOf = (position) => {
    const positions = Array.from(row, (at) => (at < 0 ? null : position(at)));
    return { positions: positions.filter(Boolean), segments: pathLines(positions) };
  };
  person.path = pathOf((at) => [root[3 * at], hasFloor ? 0.01 : root[3 * at + 1], root[3 * at + 2]]);
  person.cameraPath = pathOf((at) => cameraPose(camera, at).eye);
}

/** Return the target of the view: the current or last position of the selected person, or the mean of their path. */
function targetOf({ row, root, middle }, frame) {
  if (!byId("follow").checked) return middle;
  let at = frame;
  while (at > 0 && row[at] < 0) at--;
  const offset = 3 * Math.max(row[at], 0);
  return [root[offset], middle[1], root[offset + 2]];
}

function startOf(person) {
  const [{ eye }, target] = [cameraPose(person.camera, 0), targetOf(person, 0)];
  return { azimuth: Math.atan2(eye[0] - target[0], eye[2] - target[2]) + 0.5, height: 0.2, distance: 4.2 };
}

const orbit = makeOrbit(canvas, startOf(selected), () => {
  useVideoCamera = false;
  drawScene();
});

/** Return the colours of skin, hair, shirt, trousers and shoes; of a bare body all are the person's. */
function tintsOf(colour) {
  if (!byId("clothes").checked) return Array(5).fill(colour);
  return [[0.86, 0.7, 0.6], [0.27, 0.2, 0.16], colour, [0.25, 0.28, 0.36], [0.16, 0.16, 0.17]];
}

function drawScene() {
  byId("video-camera").setAttribute("aria-pressed", useVideoCamera);
  if (!scene) return;
  const aspect = canvas.clientWidth / canvas.clientHeight;
  const row = Math.max(selected.row[shown], 0);
  const target = targetOf(selected, shown);
  const view = useVideoCamera ? videoView(selected.camera, row, aspect, target) : orbit.view(aspect, target);
  const grey = rgb(style("muted"));
  const present = people.filter((person) => person.row[shown] >= 0).map((person) => ({
    person,
    row: person.row[shown],
    bones: bonesOf(person, person.row[shown], parents),
    tints: tintsOf(rgb(colourOf(person))).map((tint) => mixed(tint, grey, person.states[shown] === "observed" ? 0 : 0.75)),
  }));
  const colours = { paper: rgb(style("stage")), shade: rgb(style("shade")), ink: rgb(style("muted")) };
  const lines = people.map((person) => ({ segments: person.path.segments, colour: rgb(colourOf(person)) }));
  if (!useVideoCamera) {
    for (const segments of [frustumLines(selected.camera, row), selected.cameraPath.segments]) {
      lines.push({ segments, colour: colours.ink });
    }
  }
  scene.draw(view, present, lines, colours, selected.hasFloor);
}

// ---- curves

const seekFraction = (fraction) => seek(nearest(seconds[0] + fraction * (seconds[seconds.length - 1] - seconds[0])));
const host = byId("curves");
const curvesOf = (title, unit, digits, range) => makeCurves(host, { title, unit, digits, range, fractions, seek: seekFraction });
const angleCurves = curvesOf("Joint angles", "°", 0, [0, 45]);
const residualCurves = people.some((person) => person.keypointPx.length) && curvesOf("Keypoint residual", " px", 1, [0, 4]);
const confidenceCurves = curvesOf("Confidence", "", 2, [0, 1]);
const allCurves = [angleCurves, residualCurves, confidenceCurves].filter(Boolean);

const angles = element("select", "");
angles.id = "angles";
angles.setAttribute("aria-label", "Joints");
angles.append(...Object.keys(JOINTS_SHOWN).map((name) => element("option", "", name)));
host.querySelector("figcaption b").after(angles);
angles.addEventListener("change", () => showCurves());

const overFrames = (person, values) => Float32Array.from(person.row, (row) => (row < 0 ? NaN : values[row]));

function showCurves() {
  const { states } = selected;
  const series = JOINTS_SHOWN[angles.value].map((name, n) => ({
    name: wordsOf(name),
    values: jointAngles(selected, joints.indexOf(name), joints.length),
    colour: style(`curve-${n + 1}`),
  }));
  angleCurves.show({ series, states });
  const residuals = selected.keypointPx.map(([name, values], n, { length }) => ({
    name, values: overFrames(selected, values), colour: n + 1 < length ? style("muted") : colourOf(selected), faint: n + 1 < length,
  }));
  if (residualCurves) residualCurves.show({ series: residuals, states });
  const confidence = { name: "", values: overFrames(selected, selected.confidence), colour: colourOf(selected) };
  confidenceCurves.show({ series: [confidence], states });
  for (const curves of allCurves) curves.at(shown);
}

function drawAll() {
  drawStrip(byId("strip"), people.map((person) => ({ colour: colourOf(person), states: person.states })), fractions);
  showCurves();
  drawScene();
}

// ---- the clock

/** Return the last frame that has started at a time, s. */
function nearest(time) {
  let [low, high] = [0, seconds.length - 1];
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (seconds[middle] <= time + 1e-3) low = middle;
    else high = middle - 1;
  }
  return low;
}

function show(frame) {
  shown = frame;
  slider.value = frame;
  byId("clock").textContent = `${seconds[frame].toFixed(2)} s`;
  byId("number").textContent = `frame ${frames[frame]}`;
  const unreliable = people.filter((person) => person.states[frame] === "unreliable");
  byId("warning").textContent = unreliable.map((person) => {
    const subject = people.length > 1 ? `Person ${person.number}: low` : "Low";
    return `${subject} confidence: ${reasonOf(person, frame)}`;
  }).join(" · ");
  for (const curves of allCurves) curves.at(frame);
  drawScene();
}

const videoReady = () => video && !video.error && video.readyState > 0;

function seek(frame) {
  moment = seconds[frame];
  if (videoReady()) video.currentTime = moment - data.video_start + 0.004;
  show(frame);
}

function playVideo() {
  if (videoReady()) video.play().catch((error) => {
    if (error.name !== "AbortError") throw error;
  });
}

let [before, request] = [0, 0];
function play(wanted) {
  playing = wanted;
  byId("play").textContent = playing ? "Pause" : "Play";
  cancelAnimationFrame(request);
  if (!playing) {
    if (videoReady()) video.pause();
    return;
  }
  if (shown === frames.length - 1) seek(0);
  playVideo();
  before = performance.now();
  request = requestAnimationFrame(tick);
}

function tick(now) {
  moment = videoReady() ? data.video_start + video.currentTime : moment + ((now - before) / 1000) * Number(byId("speed").value);
  before = now;
  if (moment > seconds[seconds.length - 1] + 0.05 || (videoReady() && video.ended)) {
    seek(0);
    playVideo();
  } else {
    const frame = nearest(moment);
    if (frame !== shown) show(frame);
  }
  request = requestAnimationFrame(tick);
}

slider.max = frames.length - 1;
slider.addEventListener("input", () => {
  play(false);
  seek(Number(slider.value));
});
byId("play").addEventListener("click", () => play(!playing));
byId("speed").addEventListener("change", () => {
  if (video) video.playbackRate = video.defaultPlaybackRate = Number(byId("speed").value);
});
for (const name of ["follow", "clothes"]) byId(name).addEventListener("change", drawScene);
byId("video-camera").addEventListener("click", () => {
  useVideoCamera = !useVideoCamera;
  drawScene();
});
byId("top-view").addEventListener("click", () => {
  useVideoCamera = false;
  byId("follow").checked = false;
  orbit.lookDown(people.flatMap(({ path, cameraPath }) => [...path.positions, ...cameraPath.positions]), targetOf(selected, shown));
  drawScene();
});
for (const link of document.querySelectorAll("[data-frame]")) {
  link.addEventListener("click", () => seek(Math.max(frames.findLastIndex((frame) => frame <= Number(link.dataset.frame)), 0)));
}
for (const link of document.querySelectorAll("[data-time]")) {
  link.addEventListener("click", () => seek(nearest(Number(link.dataset.time))));
}
document.addEventListener("keydown", (event) => {
  if (event.target.closest("input, select, button, a") || event.ctrlKey || event.metaKey || event.altKey) return;
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (event.key === " ") play(!playing);
  else if (step) seek(Math.min(Math.max(shown + step, 0), frames.length - 1));
  else return;
  event.preventDefault();
});

const personChoice = byId("person");
if (personChoice) {
  personChoice.append(...people.map((person, n) => Object.assign(element("option", "", `Person ${person.number}`), { value: n })));
  personChoice.addEventListener("change", () => {
    selected = people[personChoice.value];
    drawAll();
  });
}

if (video) {
  const embedded = byId("video-data");
  if (embedded) {
    video.src = URL.createObjectURL(new Blob([bytesOf(embedded.textContent)], { type: "video/mp4" }));
    embedded.remove();
  }
  video.addEventListener("loadedmetadata", () => {
    seek(shown);
    if (playing) playVideo();
  });
  video.addEventListener("error", () => (byId("no-video").hidden = false));
}
new ResizeObserver(drawAll).observe(byId("panes"));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
show(0);
