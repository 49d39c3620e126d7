// The list of captures, and what is added to it.

import { acceptDrops, ask, byId, loadSentences, make, showMessage, text, upload } from "./dom.js";
import { showCapture } from "./capture.js";

let state = { captures: [], input_settings: [], programs: [], folder: "" };
let selected = location.hash.slice(1);
let shown = "";

const stageNow = ({ stages }) => stages[stages.length - 1];
const fractionOf = (stage) => (stage && stage.total ? Math.min(stage.done / stage.total, 1) : 0);
const stateText = (job) => text(`state_${job.state}`);

function select(id) {
  selected = id;
  history.replaceState(null, "", `#${id}`);
  shown = "";
  draw();
}

function drawList() {
  const rows = state.captures.map((job) => {
    const stage = job.state === "running" && stageNow(job);
    const row = make("button", { onclick: () => {
      select(job.id);
      byId("detail").focus({ preventScroll: true });
      byId("detail").scrollIntoView({ block: "nearest" });
    }, "aria-current": job.id === selected ? "true" : undefined, "data-id": job.id, "data-state": job.state },
      make("span", { class: "name" }, job.title), make("span", { class: "state" }, stateText(job)));
    if (stage) row.append(make("progress", { max: 1, value: fractionOf(stage), "aria-label": stage.name }));
    return make("li", {}, row);
  });
  const focused = document.activeElement?.dataset?.id;
  byId("captures").replaceChildren(...rows);
  if (focused) byId("captures").querySelector(`[data-id="${CSS.escape(focused)}"]`)?.focus();
  byId("no-captures").hidden = rows.length > 0;
}

function draw() {
  const job = state.captures.find((one) => one.id === selected) ?? state.captures[0];
  selected = job?.id ?? "";
  drawList();
  if (!job) {
    const steps = ["step_add", "step_capture", "step_take_away"].map((key) => make("li", {}, text(key)));
    byId("detail").replaceChildren(make("h2", {}, text("steps")), make("ol", { class: "steps" }, ...steps));
    shown = "";
    return;
  }
  const key = `${job.id} ${job.state}`;
  if (key !== shown || job.state === "running") showCapture(byId("detail"), job, state, key !== shown);
  if (shown.startsWith(`${job.id} `) && key !== shown) byId("status").textContent = `${job.title}: ${stateText(job)}`;
  shown = key;
}

function watch() {
  const events = new EventSource("api/events");
  events.onopen = () => showMessage("");
  events.onerror = () => showMessage(text("connection_lost"));
  events.onmessage = ({ data }) => {
    state = JSON.parse(data);
    byId("folder-hint").textContent = text("on_machine_hint", { folder: state.folder });
    draw();
  };
}

// ---- adding

const gigabytes = (bytes) => `${(bytes / 1e9).toFixed(2)} GB`;

async function uploadVideo(file, name = file.name) {
  if (file.size > state.free_bytes) {
    showMessage(text("no_room", { name, size: gigabytes(file.size), free: gigabytes(state.free_bytes) }));
    return;
  }
  const label = make("span", {}, text("uploading", { name, percent: 0 }));
  const bar = make("progress", { max: 1, value: 0, "aria-label": name });
  const stop = make("button", { "aria-label": text("stop_upload", { name }) }, text("cancel"));
  const row = make("li", {}, label, bar, stop);
  byId("uploads").append(row);
  const answer = await upload(`uploads?name=${encodeURIComponent(name)}`, file, (fraction) => {
    bar.value = fraction;
    label.textContent = fraction < 1 ? text("uploading", { name, percent: Math.floor(100 * fraction) }) : text("checking", { name });
  }, (request) => stop.addEventListener("click", () => request.abort()));
  row.remove();
  if (answer) select(answer.id);
}

async function uploadVideos(files) {
  for (const file of files) await uploadVideo(file);
}

async function choose(body) {
  const answer = await ask("captures", body);
  if (answer) select(answer.id);
}

async function listVideos() {
  const names = (await ask("videos")) ?? [];
  byId("videos").replaceChildren(...names.map((video) => make("li", {}, make("button", { onclick: () => choose({ video }) }, video))));
}

async function record() {
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { width: 1280, height: 720 } });
  } catch (error) {
    showMessage(text("no_webcam", { reason: error.message }));
    return;
  }
  const blocks = [];
  const recorder = new MediaRecorder(stream);
  recorder.ondataavailable = ({ data }) => blocks.push(data);
  recorder.onstop = () => {
    for (const track of stream.getTracks()) track.stop();
    byId("recorder").hidden = true;
    const kind = recorder.mimeType.includes("mp4") ? "mp4" : "webm";
    uploadVideo(new Blob(blocks), `webcam.${kind}`);
  };
  byId("live").srcObject = stream;
  byId("live").play();
  byId("recorder").hidden = false;
  byId("stop-recording").onclick = () => recorder.stop();
  byId("stop-recording").focus();
  recorder.start();
}

await loadSentences();
byId("choose-files").addEventListener("click", () => byId("files").click());
byId("files").addEventListener("change", async ({ target }) => {
  const files = [...target.files];
  target.value = "";
  await uploadVideos(files);
});
byId("example").addEventListener("click", () => choose({}));
byId("webcam").addEventListener("click", record);
byId("on-machine").addEventListener("toggle", ({ target }) => target.open && listVideos());
acceptDrops(document.body, uploadVideos);
watch();
