// Shows what Python has made: the states of a rule on one instance. Nothing is computed here but
// which state is next. The same file serves the widget and the page of the documentation site.

const FORMATS = {
  direct: "Direct answer", scratchpad: "Scratchpad", rfft: "Rule following, code",
  rfft_nl: "Rule following, sentences",
};

const BUTTONS = [
  ["first", "⇤", "First step (Home)"],
  ["back", "←", "One step back (left arrow)"],
  ["step", "→", "One step forward (right arrow)"],
  ["last", "⇥", "Last step (End)"],
  ["up", "↑", "The same line in the previous pass (up arrow)"],
  ["down", "↓", "The same line in the next pass (down arrow)"],
  ["change", "next change", "Next step that changes a variable (n)"],
];

const KEYS = {
  Home: "first", ArrowLeft: "back", ArrowRight: "step", End: "last",
  ArrowUp: "up", ArrowDown: "down", n: "change",
};

const PAUSE = 150; // milliseconds after the last key before an edited rule is traced

let count = 0; // of explorers in this document, for unique ids

const FOCUSED = new Set(["button", "input", "select", "summary", "textarea"]);

/** An element; where it can have the focus, JupyterLab's shortcuts (`b`, `d d`) stay away from it.
 * Lumino looks for the attribute at the focused element itself before it looks at those around it.
 */
function node(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  if (FOCUSED.has(name) || "tabindex" in attributes) {
    made.setAttribute("data-lm-suppress-shortcuts", "true");
  }
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

function find(states, from, direction, wanted) {
  for (let at = from + direction; at >= 0 && at < states.length; at += direction) {
    if (wanted(states[at])) return at;
  }
  return from;
}

/** The state that a command leads to; where there is none, the same state. */
export function target(command, states, at) {
  const line = states[at].line;
  switch (command) {
    case "first": return 0;
    case "last": return states.length - 1;
    case "back": return Math.max(at - 1, 0);
    case "step": return Math.min(at + 1, states.length - 1);
    case "up": return find(states, at, -1, (state) => state.line === line);
    case "down": return find(states, at, 1, (state) => state.line === line);
    case "change": return find(states, at, 1, (state) => state.changed.length > 0);
  }
  return at;
}

class Explorer {
  constructor(model, el) {
    this.model = model;
    this.id = `mr-explorer-${++count}`;
    this.root = node("div", {
      class: "mr-explorer", tabindex: -1, role: "group",
      "aria-label": "Explorer: step through a rule",
    });
    this.root.append(this.choice(), this.controls(), this.main(), this.traceBox(),
                     this.formatsBox());
    el.append(this.root);
    this.root.addEventListener("keydown", (event) => this.key(event));
    const listen = {
      "change:view": () => this.show(), "change:position": () => this.move(),
      "change:problem": () => this.explain(),
    };
    for (const [name, call] of Object.entries(listen)) model.on(name, call);
    this.leave = () => {
      clearTimeout(this.timer);
      for (const [name, call] of Object.entries(listen)) model.off(name, call);
    };
    this.show();
  }

  // --- the parts

  field(label, input) {
    input.id = `${this.id}-${label.toLowerCase()}`;
    return node("div", { class: "mr-field" }, node("label", { for: input.id }, label), input);
  }

  choice() {
    this.task = node("select");
    for (const group of this.model.get("options")) {
      const tasks = group.tasks.map((task) => node("option", { value: task.id }, task.title));
      this.task.append(node("optgroup", { label: group.label }, ...tasks));
    }
    this.task.addEventListener("change", () => this.ask(null));
    const fields = ["Length", "Seed", "Index"].map((label) => {
      const input = node("input", { type: "number", step: 1, min: label === "Length" ? 1 : 0 });
      input.addEventListener("change", () => this.ask(null));
      this[label.toLowerCase()] = input;
      return this.field(label, input);
    });
    this.question = node("p", { class: "mr-question" });
    return node("div", { class: "mr-choice" }, this.field("Task", this.task), ...fields,
                this.question);
  }

  controls() {
    this.buttons = {};
    const buttons = BUTTONS.map(([command, text, label]) => {
      const button = node("button", { type: "button", "aria-label": label, title: label }, text);
      button.addEventListener("click", () => this.go(command));
      this.buttons[command] = button;
      return button;
    });
    this.slider = node("input", { type: "range", min: 0, "aria-label": "Step" });
    this.slider.addEventListener("input", () => this.place(Number(this.slider.value)));
    this.status = node("p", { class: "mr-status", role: "status", "aria-live": "polite" });
    return node("div", { class: "mr-controls" },
                node("div", { class: "mr-buttons", role: "group", "aria-label": "Steps" },
                     ...buttons), this.slider, this.status);
  }

  section(name, title, ...children) {
    const heading = node("div", { class: "mr-heading", id: `${this.id}-${name}` }, title);
    return node("section", { class: `mr-${name}`, "aria-labelledby": heading.id }, heading,
                ...children);
  }

  main() {
    this.gutter = node("div", { class: "mr-gutter", "aria-hidden": "true" });
    this.strip = node("div", { class: "mr-strip", "aria-hidden": "true" });
    this.editor = node("textarea", {
      "aria-label": "Rule; your changes are traced at once; Escape returns to the steps",
      spellcheck: "false", autocapitalize: "off", autocomplete: "off", wrap: "off",
      "aria-describedby": `${this.id}-problem`,
    });
    this.editor.addEventListener("input", () => this.typed());
    this.editor.addEventListener("keydown", (event) => this.editorKey(event));
    this.problem = node("p", {
      class: "mr-problem", id: `${this.id}-problem`, role: "status", "aria-live": "polite",
    });
    this.reset = node("button", { type: "button", class: "mr-reset" }, "Back to the task's rule");
    this.reset.addEventListener("click", () => { this.ask(null); this.slider.focus(); });
    this.variables = node("tbody");
    this.passes = node("p", { class: "mr-passes" });
    const head = node("thead", {}, node("tr", {}, ...["Variable", "Value", "Before"].map(
      (text) => node("th", { scope: "col" }, text))));
    return node(
      "div", { class: "mr-main" },
      this.section("rule", "Rule",
                   node("div", { class: "mr-code" }, this.strip, this.gutter, this.editor),
                   this.problem, this.reset),
      this.section("variables", "Variables after the line",
                   node("table", {}, head, this.variables), this.passes));
  }

  traceBox() {
    this.trace = node("ol", {
      tabindex: 0, "aria-label": "Trace; the arrow keys step through it",
    });
    this.trace.addEventListener("click", (event) => {
      const line = event.target.closest("li");
      if (line) this.place([...this.trace.children].indexOf(line));
    });
    return this.section("trace", "Trace", this.trace);
  }

  formatsBox() {
    this.sizes = node("summary");
    this.formats = node("div", { class: "mr-formats" });
    return node("details", { class: "mr-details" }, this.sizes, this.formats);
  }

  // --- what a reader does

  key(event) {
    const at = event.target;
    const typing = at.matches("textarea, select, input[type=number]");
    if (typing || event.ctrlKey || event.metaKey || event.altKey || !(event.key in KEYS)) return;
    if (at.closest(".mr-formats")) return; // there the arrows scroll
    event.preventDefault();
    this.go(KEYS[event.key]);
  }

  editorKey(event) {
    if (event.key === "Escape") {
      event.preventDefault();
      this.slider.focus();
    } else if (event.key === "Enter" && !event.isComposing) { // keep the indentation
      event.preventDefault();
      const before = this.editor.value.slice(0, this.editor.selectionStart);
      const line = before.slice(before.lastIndexOf("\n") + 1);
      const indent = line.match(/^ */)[0] + (line.trimEnd().endsWith(":") ? "    " : "");
      document.execCommand("insertText", false, `\n${indent}`); // the one way that keeps undo
    }
  }

  typed() {
    this.frame();
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.ask(this.editor.value), PAUSE);
  }

  ask(rule) {
    clearTimeout(this.timer);
    const numbers = [this.length, this.seed, this.index].map((input) => input.valueAsNumber);
    if (!numbers.every(Number.isInteger)) return;
    const [length, seed, index] = numbers;
    // a request that was refused may be made again, so each is another one
    const again = (this.model.get("request").again ?? 0) + 1;
    this.model.set("request", { task: this.task.value, length, seed, index, rule, again });
    this.model.save_changes();
  }

  go(command) {
    const { states } = this.model.get("view");
    this.place(target(command, states, this.at()));
  }

  at() {
    return Math.min(this.model.get("position"), this.model.get("view").states.length - 1);
  }

  place(position) {
    if (position === this.model.get("position")) return;
    this.model.set("position", position);
    this.model.save_changes();
  }

  // --- what is shown

  show() {
    const view = this.model.get("view");
    const asked = view.request;
    this.task.value = asked.task;
    Object.assign(this.length, { value: asked.length, min: view.lengths[0], max: view.lengths[1] });
    this.length.title = `Length: ${view.length_of}`;
    this.seed.value = asked.seed;
    this.index.value = asked.index;
    this.question.replaceChildren(view.question, " ",
                                  node("span", {}, "Answer: ", node("code", {}, view.answer)));
    if (asked.rule === null) this.editor.value = view.rule; // otherwise a reader is typing
    this.reset.hidden = asked.rule === null && !this.model.get("problem").text;
    this.slider.max = view.states.length - 1;
    this.fillTrace(view);
    this.fillFormats(view);
    this.explain();
    this.move();
  }

  fillTrace(view) {
    const source = view.rule.split("\n").map((line) => line.trim());
    this.trace.replaceChildren(...view.states.map(({ line, text }, number) => {
      const code = text.slice(0, source[line - 1].length);
      return node("li", {}, node("span", { class: "mr-number" }, `${number}`),
                  node("code", {}, code,
                       node("span", { class: "mr-facts" }, text.slice(code.length))));
    }));
    this.current = null;
  }

  fillFormats(view) {
    const sizes = view.formats.map(({ name, size }) => `${name} ${size.toLocaleString("en")}`);
    this.sizes.textContent = `The same instance in four formats (${view.unit}: ${sizes.join(", ")})`;
    this.formats.replaceChildren(...view.formats.map(({ name, prompt, completion, size }) => {
      const text = (title, content) => [
        node("div", { class: "mr-small" }, title),
        node("pre", { tabindex: 0, role: "region", "aria-label": `${FORMATS[name]}: ${title}` },
             content)];
      return node("div", { class: "mr-format" },
                  node("div", { class: "mr-heading" }, FORMATS[name]),
                  node("div", { class: "mr-small" },
                       `${name}: ${size.toLocaleString("en")} ${view.unit}`),
                  ...text("prompt", prompt), ...text("completion", completion));
    }));
  }

  explain() {
    const { text } = this.model.get("problem");
    this.problem.textContent = text ? `✗ ${text}. The last trace stays.` : "";
    this.root.classList.toggle("mr-refused", Boolean(text));
    const match = /^line (\d+)/.exec(text ?? "");
    this.refused = match ? Number(match[1]) : 0;
    this.editor.setAttribute("aria-invalid", text ? "true" : "false");
    this.reset.hidden = this.editor.value === this.model.get("view").rule
      && this.model.get("view").request.rule === null;
    this.frame();
  }

  /** The line numbers and the marks beside the rule. */
  frame() {
    const lines = this.editor.value.replace(/\n$/, "").split("\n").length;
    const { line } = this.model.get("view").states[this.at()];
    this.editor.rows = lines;
    this.gutter.replaceChildren(...Array.from({ length: lines }, (_, index) => {
      const number = index + 1;
      const mark = number === this.refused ? "✗" : number === line ? "▶" : " ";
      return node("div", { class: number === this.refused ? "mr-wrong" : "" },
                  `${mark} ${String(number).padStart(2)}`);
    }));
    this.strip.hidden = line > lines;
    this.strip.style.setProperty("--mr-line", line - 1);
  }

  move() {
    const view = this.model.get("view");
    const at = this.at();
    const state = view.states[at];
    this.slider.value = at;
    this.slider.setAttribute("aria-valuetext", `${at} of ${view.states.length - 1}`);
    const change = state.changed.length ? `changes ${state.changed.join(", ")}` : "changes nothing";
    this.status.replaceChildren(node("strong", {}, `Step ${at} of ${view.states.length - 1}`),
                                `, line ${state.line}: ${change}`);
    for (const command of Object.keys(this.buttons)) {
      const idle = target(command, view.states, at) === at;
      this.buttons[command].setAttribute("aria-disabled", idle ? "true" : "false");
    }
    this.frame();
    this.fillVariables(view, state);
    this.markTrace(at);
  }

  fillVariables(view, state) {
    this.variables.replaceChildren(...view.names[state.function].map((name) => {
      const place = state.variables[name];
      const changed = state.changed.includes(name);
      const value = place === undefined ? node("span", { class: "mr-small" }, "not set yet")
        : node("code", {}, view.values[place]);
      const was = !changed ? "" : name in state.was ? node("code", {}, state.was[name]) : "new";
      return node("tr", { class: changed ? "mr-changed" : "" },
                  node("th", { scope: "row" }, node("code", {}, `${changed ? "*" : " "} ${name}`)),
                  node("td", {}, value), node("td", {}, was));
    }));
    const parts = state.passes.map(([line, number]) => `pass ${number} of the loop in line ${line}`);
    if (state.function !== view.states[0].function) parts.unshift(`inside ${state.function}`);
    const text = parts.join(", ") || "outside of any loop";
    this.passes.textContent = text[0].toUpperCase() + text.slice(1);
  }

  markTrace(at) {
    this.current?.removeAttribute("aria-current");
    this.current = this.trace.children[at];
    this.current.setAttribute("aria-current", "step");
    const { offsetTop: top, offsetHeight: height } = this.current;
    const box = this.trace;
    if (top < box.scrollTop + height || top + 2 * height > box.scrollTop + box.clientHeight) {
      box.scrollTop = top - box.clientHeight / 2; // the page itself does not scroll
    }
  }
}

export function render({ model, el }) {
  const explorer = new Explorer(model, el);
  return explorer.leave;
}

export default { render };
