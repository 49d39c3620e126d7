// One capture: its settings before it starts, its stages while it runs, and its end.

import { ask, duration, make, text, timeLeft } from "./dom.js";
import { showResult } from "./result.js";

const LENSES = ["fov", "lens_mm", "focal"];

/** Show a capture in `host`; `anew` is false where only the progress has changed. */
export function showCapture(host, job, state, anew) {
  if (!anew) {
    drawStages(host.querySelector(".stages"), job);
    host.querySelector(".left").textContent = timeLeft(job);
    return;
  }
  const remove = make("button", { class: "remove", onclick: () => confirmRemoval(job) }, text("remove"));
  const head = make("div", { class: "head" }, make("h2", {}, job.title), make("p", { class: "hint" }, describe(job)), remove);
  host.replaceChildren(head);
  const draws = { new: drawNew, queued: drawWaiting, running: drawRunning, done: showResult, failed: drawFailed, cancelled: drawFailed };
  draws[job.state](host, job, state);
}

const describe = (job) => [
  text("size", { width: job.size[0], height: job.size[1] }),
  job.seconds && text("length", { seconds: job.seconds.toFixed(1) }),
  text(`state_${job.state}`) + (job.state === "done" ? `, ${text("elapsed", { seconds: duration(job.elapsed) })}` : ""),
].filter(Boolean).join(" · ");

function confirmRemoval(job) {
  const dialog = make("dialog", { "aria-label": text("remove") }, make("p", {}, text("remove_question", { title: job.title })));
  const act = async () => {
    dialog.close();
    await ask(`captures/${job.id}/remove`, {});
  };
  dialog.append(make("p", { class: "row" }, make("button", { class: "danger", onclick: act }, text("remove")),
    make("button", { autofocus: true, onclick: () => dialog.close() }, text("keep"))));
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

// ---- before

function drawNew(host, job, state) {
  const form = settingsForm(job, state, text("capture"));
  host.append(preview(job, form), form.node);
  const others = state.captures.filter((one) => one.state === "new");
  if (others.length > 1) {
    const all = async () => {
      const settings = form.values();
      for (const one of others) await ask(`captures/${one.id}/start`, { settings });
    };
    form.node.append(make("p", {}, make("button", { type: "button", onclick: all }, text("capture_all", { count: others.length }))));
  }
}

/** The first frame, and the video where the browser can play it, turned and mirrored as the form says. */
function preview(job, form) {
  const picture = make("img", { src: `api/captures/${job.id}/first`, alt: text("first_frame", { title: job.title }) });
  const stage = make("div", { class: "preview" }, picture);
  const film = make("video", { src: `api/captures/${job.id}/video`, controls: true, muted: true, preload: "metadata", "aria-label": text("video_preview", { title: job.title }) });
  const tools = make("p", { class: "row" });
  film.addEventListener("loadedmetadata", () => {
    if (!film.videoWidth) return;
    picture.replaceWith(film);
    for (const end of ["start", "end"]) {
      const field = form.field(end);
      if (field) tools.append(make("button", { type: "button", onclick: () => { field.value = film.currentTime.toFixed(2); } }, text(`${end}_here`)));
    }
  }, { once: true });
  const turn = () => {
    const [degrees, mirrored] = [Number(form.field("rotate").value), form.field("mirror").checked];
    stage.className = `preview turn-${degrees}${mirrored ? " mirrored" : ""}`;
  };
  for (const name of ["rotate", "mirror"]) form.field(name).addEventListener("change", turn);
  turn();
  return make("div", {}, stage, tools);
}

/** The form of the settings: its node, a field by name, and the values to send. */
export function settingsForm(job, state, action) {
  const given = job.settings;
  const prefix = `set-${job.id}-`;
  const labelled = (name, field, hint) => {
    field.id = prefix + name;
    field.name = name;
    const note = hint ? make("span", { class: "hint", id: `${field.id}-hint` }, hint) : null;
    if (note) field.setAttribute("aria-describedby", note.id);
    const label = make("label", { for: field.id }, text(name));
    return make("div", { class: field.type === "checkbox" ? "field check" : "field" }, label, field, note);
  };
  const choice = (name, options, value, words = (option) => text(`${name}_${option}`)) => labelled(name,
    make("select", {}, ...options.map((option) => make("option", { value: option, selected: String(value) === String(option) }, words(option)))));
  const number = (name, value, hint, attributes = {}) => labelled(name, make("input", { type: "number", step: "any", min: 0, value, ...attributes }), hint);
  const has = (name) => state.input_settings.includes(name);
  const lens = LENSES.find((name) => given[name] !== undefined) ?? "unknown";
  const people = ["all", "largest", 2, 3, 4, 5];
  const grid = make("div", { class: "grid" },
    choice("quality", ["fast", "balanced", "best"], given.quality ?? "balanced"),
    choice("people", people, given.people ?? "all", (n) => (typeof n === "string" ? text(`people_${n}`) : text("people_count", { count: n }))),
    labelled("height", make("input", { inputmode: "decimal", value: given.height, pattern: "[0-9.,\\s]*" }), text("height_hint")),
    choice("lens", ["unknown", ...LENSES], lens),
    number("lens_value", given[lens] ?? "", ""),
    choice("camera", ["auto", "yes", "no"], given.static_camera ?? "auto"),
    number("slow_motion", given.slow_motion ?? "", text("slow_motion_hint")),
    ...["start", "end"].filter(has).map((name) => number(name, given[name] ?? "")),
    choice("rotate", [0, 90, 180, 270], given.rotate ?? 0, String),
    labelled("mirror", make("input", { type: "checkbox", checked: Boolean(given.mirror) })));
  const field = (name) => grid.querySelector(`[name="${name}"]`);
  const showLens = () => { field("lens_value").closest(".field").hidden = field("lens").value === "unknown"; };
  field("lens").addEventListener("change", showLens);
  showLens();

  const values = () => {
    const settings = { quality: field("quality").value, people: field("people").value, static_camera: field("camera").value };
    const statures = field("height").value.replace(/\s/g, "");
    if (statures) settings.height = statures;
    if (field("lens").value !== "unknown" && field("lens_value").value) settings[field("lens").value] = Number(field("lens_value").value);
    for (const name of ["slow_motion", "start", "end"]) if (field(name)?.value) settings[name] = Number(field(name).value);
    if (field("rotate").value !== "0") settings.rotate = Number(field("rotate").value);
    if (field("mirror").checked) settings.mirror = true;
    return settings;
  };
  const start = make("button", { class: "primary" }, action);
  const node = make("form", { class: "settings", "aria-label": text("settings") }, make("p", {}, start), grid);
  node.addEventListener("submit", async (event) => {
    event.preventDefault();
    start.disabled = true;
    await ask(`captures/${job.id}/start`, { settings: values() });
    start.disabled = false;
  });
  return { node, field, values };
}

// ---- while it runs, and its end without a result

const cancelButton = (job) => make("p", {}, make("button", { onclick: () => ask(`captures/${job.id}/cancel`, {}) }, text("cancel")));

function drawWaiting(host, job) {
  host.append(make("p", {}, text("is_queued")), cancelButton(job));
}

function drawRunning(host, job) {
  const stages = make("ol", { class: "stages" });
  drawStages(stages, job);
  host.append(make("img", { class: "still", src: `api/captures/${job.id}/first`, alt: text("first_frame", { title: job.title }) }),
    make("p", { class: "left" }, timeLeft(job)), stages, cancelButton(job));
}

function drawStages(list, job) {
  list.replaceChildren(...job.stages.map((stage, n) => {
    const isLast = n === job.stages.length - 1;
    const count = stage.total ? `${stage.done} / ${stage.total}` : String(stage.done);
    const bar = make("progress", { max: stage.total || 1, value: stage.total ? stage.done : undefined, "aria-label": stage.name });
    return make("li", { "aria-current": isLast ? "step" : undefined }, make("span", { class: "name" }, stage.name), bar, make("span", { class: "hint" }, count));
  }));
}

function drawFailed(host, job, state) {
  if (job.state === "failed") host.append(make("h3", {}, text("why_failed")), make("p", { class: "alarm", role: "alert" }, job.error));
  else host.append(make("p", {}, text("was_cancelled")));
  const form = settingsForm(job, state, text("retry"));
  host.append(preview(job, form), form.node);
}
