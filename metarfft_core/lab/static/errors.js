// Shows what error_viewer.py puts into `view`, and tells it what a reader chooses.

const FOCUSED = new Set(["button", "input", "select"]);

// An element. JupyterLab looks at the focused element itself first for the attribute that keeps its
// shortcuts (`b`, `d d`) away, so each element that can have the focus needs it.
function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  if (FOCUSED.has(name) || "tabindex" in attributes) {
    element.setAttribute("data-lm-suppress-shortcuts", "true");
  }
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value === true) element.setAttribute(key, "");
    else if (value !== false && value !== null) element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
}

let serial = 0; // ids stay apart where a page has several viewers

function render({ model, el }) {
  const own = `me-errors-${(serial += 1)}`;
  const number = new Intl.NumberFormat("en");
  const filters = new Map(); // by name: how its counts and its choice are shown

  function choose(name, value) {
    const chosen = { ...model.get("view").chosen };
    if (value === null) delete chosen[name];
    else chosen[name] = value;
    model.set("chosen", chosen);
    model.set("number", 0);
    model.save_changes();
  }

  function turn(step) {
    const { place, kept } = model.get("view");
    const next = place + step;
    if (next < 0 || next >= kept) return;
    model.set("number", next);
    model.save_changes();
  }

  function select(filter) {
    const id = `${own}-${filter.name}`;
    const options = [null, ...filter.options.map((option) => option.value)];
    const box = make("select", {
      id, onchange: () => choose(filter.name, options[box.selectedIndex]),
    }, ...options.map(() => make("option")));
    filters.set(filter.name, (now, chosen) => {
      const labels = [`all (${number.format(now.all)})`,
        ...now.options.map((option) => `${option.label} (${number.format(option.count)})`)];
      labels.forEach((label, place) => { box.options[place].textContent = label; });
      box.selectedIndex = Math.max(0, options.indexOf(chosen ?? null));
    });
    return make("div", { class: "me-field" }, make("label", { for: id }, filter.label), box);
  }

  function classes(filter) {
    const rows = [null, ...filter.options.map((option) => option.value)].map((value) => {
      const input = make("input", {
        type: "radio", name: `${own}-kind`, value: value ?? "all",
        onchange: () => choose(filter.name, value),
      });
      const [label, bar, count] = ["me-label", "me-bar", "me-count"].map(
        (name) => make("span", { class: name }));
      bar.setAttribute("aria-hidden", "true");
      return { value, input, label, bar, count,
        row: make("label", { class: "me-class" }, input, label, count, bar) };
    });
    filters.set(filter.name, (now, chosen) => {
      const all = [{ label: "all classes", count: now.all }, ...now.options];
      rows.forEach((one, place) => {
        one.label.textContent = all[place].label;
        one.count.textContent = number.format(all[place].count);
        one.bar.style.setProperty("--me-share", now.all ? all[place].count / now.all : 0);
        one.input.checked = one.value === (chosen ?? null);
      });
    });
    return make("fieldset", { class: "me-classes" },
      make("legend", {}, "Class of the first divergence"), ...rows.map((one) => one.row));
  }

  function luck(filter) {
    const input = make("input", {
      type: "checkbox", onchange: () => choose(filter.name, input.checked ? true : null),
    });
    const text = make("span");
    filters.set(filter.name, (now, chosen) => {
      text.textContent = `only right by luck (${number.format(now.count)})`;
      input.checked = Boolean(chosen);
    });
    return make("label", { class: "me-luck", title: "the answer is right, the trace is wrong" },
      input, text);
  }

  const all = model.get("view").filters;
  const bar = make("div", { class: "me-filters" },
    ...all.filter((one) => !["kind", "luck"].includes(one.name)).map(select),
    luck(all.find((one) => one.name === "luck")),
    make("button", { type: "button", onclick: () => {
      model.set("chosen", {});
      model.set("number", 0);
      model.save_changes();
    } }, "Clear filters"));
  const status = make("p", { class: "me-status", role: "status" });
  const [earlier, later] = [["Previous trace", -1], ["Next trace", 1]].map(([label, step]) =>
    make("button", { type: "button", onclick: () => turn(step) }, label));
  const about = make("div", { class: "me-about" });
  const trace = make("div", {
    class: "me-trace", tabindex: "0", role: "group",
    "aria-label": "The trace; arrow left and right show the previous and the next one",
    onkeydown: (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!step || event.ctrlKey || event.altKey || event.metaKey) return;
      event.preventDefault();
      turn(step);
    },
  });
  const note = make("p", { class: "me-note" });
  el.append(make("div", {
    class: "me-errors", role: "region", "aria-label": "Errors of a run",
    "data-lm-suppress-shortcuts": "true",
  }, bar, make("div", { class: "me-main" }, classes(all.find((one) => one.name === "kind")),
    make("div", { class: "me-example" },
      make("div", { class: "me-turn" }, earlier, later, status), about, trace)), note));

  function show() {
    const view = model.get("view");
    for (const filter of view.filters) filters.get(filter.name)(filter, view.chosen[filter.name]);
    status.textContent = view.kept
      ? `Trace ${number.format(view.place + 1)} of ${number.format(view.kept)}. ${view.said}`
      : view.said;
    earlier.setAttribute("aria-disabled", view.place === 0);
    later.setAttribute("aria-disabled", view.place + 1 >= view.kept);
    note.textContent = view.note;
    note.hidden = !view.note;
    trace.hidden = about.hidden = !view.example;
    if (!view.example) return;
    about.replaceChildren(
      make("p", { class: "me-which" }, view.example.about),
      make("p", { class: "me-named" }, make("strong", {}, view.example.named),
        `: ${view.example.reason}. ${view.example.answer}`));
    trace.replaceChildren(table(view.example));
    const at = trace.querySelector(".me-at");
    trace.scrollTop = at ? at.offsetTop - (trace.clientHeight - at.offsetHeight) / 2 : 0;
  }

  model.on("change:view", show);
  show();
  return () => model.off("change:view", show);
}

function table(example) {
  const body = make("tbody");
  const said = (text, name) => body.append(make("tr", { class: name },
    make("th", { colspan: "3", scope: "colgroup" }, text)));
  let before = "before";
  for (const [step, model, rule, where] of example.steps) {
    if (where === "at") said(`First divergence: ${example.named}`, "me-said");
    if (where === "after" && before !== "after") {
      said("What follows is not judged: it may follow from the first divergence", "me-rest");
    }
    before = where;
    const cells = where === "at"
      ? example.differs.map((parts) => marked(parts))
      : [model, rule].map((text) => make("td", {}, text === null ? nothing() : code(text)));
    body.append(make("tr", { class: `me-${where}` },
      make("td", { class: "me-step" }, where === "at" ? "\u25b6 " : "", step ?? ""), ...cells));
  }
  if (example.left_out) said(`${example.left_out} more steps are not shown`, "me-rest");
  const head = ["Step", "The model's trace", "The right trace"].map(
    (text) => make("th", { scope: "col" }, text));
  return make("table", {}, make("thead", {}, make("tr", {}, ...head)), body);
}

function code(...parts) {
  return make("code", {}, ...parts);
}

function nothing() {
  return make("span", { class: "me-nothing" }, "\u2013",
    make("span", { class: "me-hidden" }, " nothing"));
}

function marked([same, differing, rest]) {
  if (!(same || differing || rest)) return make("td", {}, nothing());
  return make("td", {}, code(same, differing && make("mark", {}, differing), rest));
}

export default { render };
