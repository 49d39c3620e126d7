// A finished capture: warnings, people, the report, what was assumed, and the files to take away.

import { acceptDrops, ask, fileUrl, make, text, upload } from "./dom.js";
import { settingsForm } from "./capture.js";

const SCORES = ["heldout_reprojection_px", "jitter", "foot_slide_mm"];
const FORMATS = ["bvh", "glb", "usd", "amass", "smpl", "csv", "trc"];

export async function showResult(host, job, state) {
  const place = make("div", {});
  host.append(place);
  const result = await ask(`captures/${job.id}/result`);
  if (!result || !place.isConnected) return;
  const chosen = new Set(result.people.map(({ number }) => number));
  const report = reportFrame(job, result);
  place.append(
    ...(result.warnings.length ? [warnings(result.warnings)] : []),
    ...(result.people.length > 1 ? [peopleChoice(job, result, chosen, report)] : []),
    report,
    make("div", { class: "halves" },
      make("div", {}, takeAway(job, state, chosen), character(job, chosen)),
      make("div", {}, beforeAfter(result.people), assumed(job, state, result))),
    allFiles(job, result.files));
}

const section = (title, ...children) => make("section", {}, make("h3", {}, text(title)), ...children);

const warnings = (list) => make("section", { class: "alarm", "aria-label": text("warnings") },
  make("h3", {}, text("warnings")), make("ul", {}, ...list.map((sentence) => make("li", {}, sentence))));

// ---- the report

/** The report in a frame, which plays as soon as it is loaded. */
function reportFrame(job) {
  const address = fileUrl(job.id, "result/report.html");
  const frame = make("iframe", { src: address, title: text("report"), allow: "fullscreen" });
  frame.addEventListener("load", () => frame.contentWindow.play?.(true));
  return make("section", { class: "report" }, frame, make("p", {}, make("a", { href: address, target: "_blank", rel: "noopener" }, text("open_report"))));
}

function showPerson(report, number) {
  const choice = report.querySelector("iframe").contentDocument?.getElementById("person");
  const option = choice && [...choice.options].find(({ textContent }) => textContent.endsWith(` ${number}`));
  if (!option) return;
  choice.value = option.value;
  choice.dispatchEvent(new Event("change"));
}

/** The people of the overlay as buttons on its picture. */
function peopleChoice(job, { people, still }, chosen, report) {
  const boxes = make("div", { class: "boxes" }, make("img", { src: fileUrl(job.id, still), alt: "" }));
  const names = make("p", { class: "row" });
  for (const { number, box } of people) {
    const toggle = () => {
      if (chosen.has(number) && chosen.size > 1) chosen.delete(number);
      else {
        chosen.add(number);
        showPerson(report, number);
      }
      for (const one of boxes.parentNode.querySelectorAll("button")) one.setAttribute("aria-pressed", chosen.has(Number(one.dataset.person)));
    };
    const button = (words) => make("button", { "aria-pressed": "true", "data-person": number, onclick: toggle, "aria-label": text("person", { number }) }, words);
    if (!box) {
      names.append(button(text("person", { number })));
      continue;
    }
    const frame = button(String(number));
    const [left, top, right, bottom] = box;
    Object.assign(frame.style, { left: `${100 * left}%`, top: `${100 * top}%`, width: `${100 * (right - left)}%`, height: `${100 * (bottom - top)}%` });
    boxes.append(frame);
  }
  return section("choose_people", make("p", { class: "hint" }, text("choose_people_hint")), boxes, names);
}

// ---- scores and assumptions

const digits = (value) => (typeof value === "number" ? value.toPrecision(3) : "–");

function beforeAfter(people) {
  const rows = people.flatMap(({ number, before, after }) => SCORES.filter((key) => before[key] != null || after[key] != null).map((key) => make("tr", {},
    make("th", { scope: "row" }, (people.length > 1 ? `${text("person", { number })}: ` : "") + text(`score_${key}`)),
    make("td", {}, digits(before[key])), make("td", {}, digits(after[key])))));
  const head = make("tr", {}, ...["score", "before", "after"].map((key) => make("th", { scope: "col" }, text(key))));
  return section("before_after", make("table", {}, make("thead", {}, head), make("tbody", {}, ...rows)));
}

function assumed(job, state, result) {
  const { focal, people, cameras, fps } = result;
  const px = focal.px ?? focal.value ?? focal;
  const facts = [
    text("assumed_focal", { px: Array.isArray(px) ? px.map(Math.round).join(", ") : Math.round(px), source: focal.source ?? "" }),
    ...people.map(({ number, stature, stature_from: source }) => text("assumed_stature", { number, metres: Number(stature).toFixed(2), source })),
    ...new Set(cameras.map(({ static: still }) => text(still ? "assumed_camera_static" : "assumed_camera_moving"))),
    text("assumed_fps", { fps: Number(fps).toFixed(2) }),
  ];
  const form = settingsForm(job, state, text("run_again"));
  const change = make("details", { class: "change" }, make("summary", {}, text("change")), make("p", { class: "hint" }, text("change_hint")), form.node);
  return section("assumed", make("ul", {}, ...facts.map((fact) => make("li", {}, fact))), change);
}

// ---- files

const download = (job, name) => make("a", { href: fileUrl(job.id, name), download: true }, text("download", { name: name.split("/").slice(-2).join("/") }));
const zipLink = (job, part, words) => make("a", { href: `api/captures/${job.id}/zip${part ? `?part=${encodeURIComponent(part)}` : ""}`, download: true, class: "button" }, words);

function takeAway(job, state, chosen) {
  const outcome = make("div", { role: "status" });
  const write = async (body) => {
    outcome.replaceChildren(make("p", {}, text("writing")));
    const answer = await ask(`captures/${job.id}/export`, { ...body, people: [...chosen] });
    outcome.replaceChildren();
    if (!answer) return;
    const written = (await ask(`captures/${job.id}/result`)).files.filter(({ name }) => name.startsWith(`${answer.part}/`));
    outcome.append(make("p", {}, text("written")), make("ul", { class: "links" }, ...written.map(({ name }) => make("li", {}, download(job, name)))),
      make("p", {}, zipLink(job, answer.part, text("as_zip"))), ...answer.warnings.map((sentence) => make("p", { class: "alarm" }, sentence)));
  };
  const programs = make("p", { class: "row" }, ...state.programs.map((program) =>
    make("button", { onclick: () => write({ program }), "data-program": program }, text("for_program", { program: text(`program_${program}`) }))));
  const boxes = FORMATS.map((name) => make("label", { class: "check" }, make("input", { type: "checkbox", value: name }), name));
  const others = make("details", {}, make("summary", {}, text("other_formats")), make("p", { class: "row" }, ...boxes),
    make("p", {}, make("button", { onclick: () => write({ formats: boxes.map((box) => box.firstChild).filter((box) => box.checked).map((box) => box.value) }) }, text("write_files"))));
  return section("take_away", programs, others, outcome, make("p", {}, zipLink(job, "", text("everything"))));
}

function character(job, chosen) {
  const input = make("input", { type: "file", accept: ".glb,.vrm,.bvh", hidden: true, "aria-label": text("choose_character") });
  const outcome = make("div", { role: "status" });
  const view = make("div", { class: "character" });
  const receive = async ([file]) => {
    if (!file) return;
    outcome.replaceChildren(make("p", {}, text("moving_character", { name: file.name })));
    view.replaceChildren();
    const people = [...chosen].join(",");
    const answer = await upload(`captures/${job.id}/retarget?name=${encodeURIComponent(file.name)}&people=${people}`, file, () => {});
    outcome.replaceChildren();
    if (!answer) return;
    outcome.append(make("p", {}, download(job, answer.file)));
    const canvas = make("canvas", { role: "img", tabindex: 0, "aria-label": text("character_view", { name: file.name }) });
    view.replaceChildren(canvas);
    const { showCharacter } = await import("./viewer.js");
    await showCharacter(canvas, fileUrl(job.id, answer.file));
    canvas.dataset.shown = "true";
  };
  input.addEventListener("change", () => receive([...input.files]));
  const zone = make("div", { class: "target" }, make("p", {}, text("character_hint")),
    make("p", {}, make("button", { onclick: () => input.click() }, text("choose_character")), input));
  acceptDrops(zone, receive);
  return section("character", zone, outcome, view);
}

const megabytes = (bytes) => (bytes >= 1e6 ? `${(bytes / 1e6).toFixed(1)} MB` : `${Math.ceil(bytes / 1e3)} kB`);

const allFiles = (job, files) => make("details", {}, make("summary", {}, text("all_files")),
  make("ul", { class: "links" }, ...files.map(({ name, bytes }) => make("li", {}, make("a", { href: fileUrl(job.id, name), download: true }, name), ` ${megabytes(bytes)}`))));
