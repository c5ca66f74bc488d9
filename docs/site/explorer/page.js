// The page "Step through a rule": the explorer of JupyterLab, with Pyodide in the place of a kernel.

import { start } from "./kit.mjs";

const FIRST = { task: "lc_283", length: 3, seed: 0, index: 7, rule: null, again: 0 };
const PAUSE = 300; // milliseconds after the last key before a text is judged

/** What the explorer needs of a widget's model: values, and who listens to their changes. */
class Model {
  constructor(values, answer) {
    this.values = values;
    this.answer = answer;
    this.listeners = new Map();
  }

  get(name) { return this.values[name]; }

  set(name, value) {
    this.values[name] = value;
    this.tell(name);
    if (name === "request") this.take(this.answer(value, this.values.position));
  }

  take(changes) {
    Object.assign(this.values, changes);
    for (const name of Object.keys(changes)) this.tell(name);
  }

  tell(name) { for (const call of this.listeners.get(`change:${name}`) ?? []) call(); }

  on(name, call) {
    if (!this.listeners.has(name)) this.listeners.set(name, new Set());
    this.listeners.get(name).add(call);
  }

  off(name, call) { this.listeners.get(name)?.delete(call); }

  save_changes() {}
}

function item(...parts) {
  const made = document.createElement("li");
  made.append(...parts);
  return made;
}

/** Judge the text that a reader types as the trace of what the explorer shows. */
function exercise(model, kit, root) {
  const text = root.querySelector("textarea");
  const verdict = root.querySelector("[role=status]");
  const list = root.querySelector("ul");
  let timer;

  function judge() {
    const typed = text.value.replace(/\s+$/, "");
    const { problem, false: lines } = kit("judged", {
      request: model.get("view").request, text: typed });
    list.replaceChildren(...(lines ?? []).map(
      ({ line, text: said, reason }) => item(`✗ Line ${line}: ${reason}`, said && ` (${said})`)));
    const count = typed.split("\n").length;
    verdict.textContent = problem ? `✗ ${problem}`
      : lines.length ? `${lines.length} of ${count} lines must change`
      : "✓ Every line is true, and so is the answer.";
  }

  function begin() {
    text.value = `${model.get("view").states[0].text}\n`;
    judge();
  }

  text.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(judge, PAUSE);
  });
  model.on("change:view", begin);
  begin();
  root.hidden = false;
}

async function show() {
  const root = document.getElementById("metarfft-explorer");
  const status = root.querySelector(".metarfft-status");
  try {
    const pyodide = new URL("pyodide/", import.meta.url);
    status.textContent = "Python is loading (14 MB, once) …";
    const [{ loadPyodide }, { render }, archive] = await Promise.all([
      import(new URL("pyodide.mjs", pyodide)), import("./explorer.js"),
      fetch(new URL("metarfft.zip", import.meta.url)).then((found) => found.arrayBuffer())]);
    const kit = await start(loadPyodide, { indexURL: pyodide.href }, archive);
    const model = new Model({ options: kit("options"), request: FIRST, position: 0, problem: {} },
                            (request, position) => kit("answer", { request, position }));
    model.take(kit("answer", { request: FIRST, position: 0 }));
    root.querySelector(".metarfft-twin").remove();
    render({ model, el: root.querySelector(".metarfft-live") });
    exercise(model, kit, root.querySelector(".metarfft-exercise"));
    status.remove();
  } catch (error) {
    console.info(error);
    status.textContent = "Python is not part of this copy of the site (see the end of the page), "
      + "so here are the steps of one instance as a table.";
  }
}

show();
