// Sentences, elements and requests.

let sentences = {};

/** Load the sentences and fill those of the page in. */
export async function loadSentences() {
  sentences = await (await fetch("page/strings.en.json")).json();
  for (const node of document.querySelectorAll("[data-text]")) node.textContent = text(node.dataset.text);
}

/** Return a sentence with its values filled in; a key without a sentence is its own. */
export const text = (key, values = {}) =>
  (sentences[key] ?? key).replace(/\{(\w+)\}/g, (_, name) => String(values[name]));

export const byId = (id) => document.getElementById(id);

/** Create an element; texts among its children are never HTML. */
export function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

export function showMessage(message) {
  byId("message").textContent = message;
  byId("message").hidden = !message;
  if (message) byId("message").scrollIntoView({ block: "nearest" });
}

/** Ask the server; show its refusal and return null, else return its answer. */
export async function ask(path, body) {
  showMessage("");
  const options = body === undefined ? {} : { method: "POST", body: JSON.stringify(body) };
  try {
    const response = await fetch(`api/${path}`, options);
    const answer = await response.json();
    if (response.ok) return answer;
    showMessage(answer.error);
  } catch {
    showMessage(text("connection_lost"));
  }
  return null;
}

/** Upload a file with its progress, from 0 to 1; resolve to the answer, or to null after a refusal, which is shown. */
export function upload(path, file, progress, began = () => {}) {
  showMessage("");
  return new Promise((resolve) => {
    const request = new XMLHttpRequest();
    request.open("POST", `api/${path}`);
    request.responseType = "json";
    request.upload.onprogress = ({ loaded, total }) => progress(loaded / total);
    request.onload = () => {
      if (request.status !== 200) showMessage(request.response?.error ?? text("connection_lost"));
      resolve(request.status === 200 ? request.response : null);
    };
    request.onerror = () => {
      showMessage(text("connection_lost"));
      resolve(null);
    };
    request.onabort = () => resolve(null);
    began(request);
    request.send(file);
  });
}

export const duration = (seconds) =>
  seconds < 90 ? `${Math.round(seconds)} s` : seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;

/** Say how long a running capture still takes; nothing before it can be estimated. */
export const timeLeft = ({ seconds_left: left }) => {
  if (left === null) return "";
  return left < 60 ? text("left_seconds") : left < 5400 ? text("left_minutes", { minutes: Math.round(left / 60) }) : text("left_hours", { hours: (left / 3600).toFixed(1) });
};

export const fileUrl = (id, name) => `api/captures/${id}/files/${name.split("/").map(encodeURIComponent).join("/")}`;

/** Let files be dropped on an element. */
export function acceptDrops(node, receive) {
  node.addEventListener("dragover", (event) => {
    event.preventDefault();
    node.classList.add("dropping");
  });
  node.addEventListener("dragleave", () => node.classList.remove("dropping"));
  node.addEventListener("drop", (event) => {
    event.preventDefault();
    event.stopPropagation();
    node.classList.remove("dropping");
    receive([...event.dataTransfer.files]);
  });
}
