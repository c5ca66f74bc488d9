// The parameter form. All values and messages come from Python (parameter_form.py); this file only
// shows them, and sends what is written.

const WAIT = 300; // milliseconds after the last key before a value is sent

function make(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== false) node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children);
  return node;
}

// "[a, b]" as ["a", "b"], and back.
const listed = (text) => text.replace(/^\[|\]$/g, "").split(",").map((one) => one.trim()).filter(Boolean);
const joined = (names) => `[${names.join(", ")}]`;

function render({ model, el }) {
  const prefix = `mrf-${Math.random().toString(36).slice(2, 8)}-`;
  const id = (key, part) => prefix + part + "-" + key.replaceAll(".", "-");
  const shown = new Map(); // by key: {row, note, message, controls, write}
  let pending = {};
  let timer = null;

  function flush() {
    clearTimeout(timer);
    timer = null;
    if (!Object.keys(pending).length) return;
    model.set("texts", { ...model.get("texts"), ...pending });
    pending = {};
    model.save_changes();
  }

  function send(key, text, now) {
    pending[key] = text;
    clearTimeout(timer);
    if (now) flush();
    else timer = setTimeout(flush, WAIT);
  }

  const textOf = (key) => pending[key] ?? model.get("texts")[key] ?? "";

  function choice(field, attributes) {
    const select = make("select", attributes);
    if (!field.required) select.append(make("option", { value: "" }, `${field.default} (default)`));
    for (const option of field.options) {
      if (field.required || option !== field.default) select.append(make("option", { value: option }, option));
    }
    select.addEventListener("change", () => send(field.key, select.value, true));
    const write = (text) => { select.value = text === field.default && !field.required ? "" : text; };
    return { node: select, controls: [select], write };
  }

  function toggle(field, attributes) {
    const box = make("input", { ...attributes, type: "checkbox" });
    box.addEventListener("change", () => send(field.key, box.checked ? "true" : "false", true));
    return { node: box, controls: [box], write: (text) => { box.checked = text === "true"; } };
  }

  function several(field, attributes) {
    const boxes = field.options.map((option) => make("input", { type: "checkbox", value: option }));
    const group = make("div", {
      role: "group", class: "mrf-several", "aria-labelledby": id(field.key, "label"),
      "aria-describedby": attributes["aria-describedby"],
    }, ...boxes.map((box) => make("label", {}, box, " ", box.value)));
    group.addEventListener("change", () => {
      const before = listed(textOf(field.key));
      const on = boxes.filter((box) => box.checked).map((box) => box.value);
      const kept = before.filter((name) => on.includes(name));
      send(field.key, joined([...kept, ...on.filter((name) => !kept.includes(name))]), true);
    });
    const write = (text) => boxes.forEach((box) => { box.checked = listed(text).includes(box.value); });
    return { node: group, controls: boxes, write };
  }

  function written(field, attributes) {
    const long = field.kind === "value" && (model.get("original")[field.key] ?? "").length > 40;
    const input = make(long ? "textarea" : "input", {
      ...attributes, ...(long ? { rows: 3 } : { type: "text" }), spellcheck: "false",
      autocomplete: "off", placeholder: field.required ? undefined : field.default || "not given",
    });
    // A model's name is looked up, so it is sent when it is complete.
    const complete = field.key === "model.name";
    input.addEventListener("input", () => { if (!complete) send(field.key, input.value, false); });
    input.addEventListener("change", () => send(field.key, input.value, true));
    const write = (text) => {
      if (input.value !== text && !(field.key in pending)) input.value = text;
    };
    return { node: input, controls: [input], write };
  }

  const KINDS = { choice, switch: toggle, several, text: written, value: written };

  function rowOf(field) {
    const described = `${id(field.key, "help")} ${id(field.key, "message")}`;
    const attributes = { id: id(field.key, "field"), "aria-describedby": described };
    const { node, controls, write } = KINDS[field.kind](field, attributes);
    const label = field.kind === "several"
      ? make("span", { class: "mrf-key", id: id(field.key, "label") }, field.label)
      : make("label", { class: "mrf-key", for: attributes.id }, field.label);
    const note = make("span", { class: "mrf-note" });
    const back = make("button", { type: "button", class: "mrf-back", hidden: true },
      "Undo", make("span", { class: "mrf-unseen" }, ` ${field.key}`));
    back.addEventListener("click", () => {
      send(field.key, model.get("original")[field.key], true);
      write(model.get("original")[field.key]);
      controls[0].focus();
    });
    const message = make("p", { class: "mrf-message", id: id(field.key, "message"), role: "status" });
    const help = make("p", { class: "mrf-help", id: id(field.key, "help") }, `${field.help} `);
    if (field.kind === "text" || field.kind === "value") {
      help.append(make("span", { class: "mrf-type" }, field.type));
    }
    const row = make("div", { class: "mrf-row", "data-key": field.key },
      make("div", { class: "mrf-label" }, label),
      make("div", { class: "mrf-side" },
        make("div", { class: "mrf-input" }, node, note, back), message, help));
    shown.set(field.key, { row, note, back, message, controls, write });
    return row;
  }

  function sectionOf(section) {
    const count = make("span", { class: "mrf-count" });
    const message = make("p", { class: "mrf-message", role: "status" });
    const block = make("details", { class: "mrf-section", open: section.key === "" },
      make("summary", {}, make("span", { class: "mrf-title" }, section.title), count),
      ...(section.help ? [make("p", { class: "mrf-help mrf-about" }, section.help)] : []),
      message, ...section.fields.map(rowOf));
    return { section, block, count, message };
  }

  const sections = model.get("sections").map(sectionOf);
  const difference = make("div", { role: "status", class: "mrf-difference" });
  const cost = make("dl", { class: "mrf-cost" });
  const status = make("p", { class: "mrf-status", role: "status" });
  const save = make("button", { type: "button", class: "mrf-save" });
  const outcome = make("p", { role: "status", class: "mrf-outcome" });
  save.addEventListener("click", () => {
    flush();
    if (save.getAttribute("aria-disabled") === "true") return;
    model.set("asked", model.get("asked") + 1);
    model.save_changes();
  });

  const root = make("div", { class: "mrf-form", "data-lm-suppress-shortcuts": "true" },
    make("div", { class: "mrf-head" },
      make("strong", {}, "Parameters"), make("span", {}, ` from ${model.get("base")}`)),
    make("div", { class: "mrf-body" },
      make("div", { class: "mrf-fields" }, ...sections.map((one) => one.block)),
      make("div", { class: "mrf-aside" }, make("div", { class: "mrf-stay" },
        make("section", { "aria-label": "What the run costs" },
          make("div", { class: "mrf-caption" }, "What it costs"), status, cost),
        make("section", { "aria-label": "What differs" },
          make("div", { class: "mrf-caption" }, "What differs"), difference),
        make("section", { "aria-label": "Saving" }, save, outcome)))));

  // JupyterLab matches `d d` on the focused element itself, before it looks at the root above it.
  root.querySelectorAll("input, select, textarea, button, summary").forEach(
    (node) => node.setAttribute("data-lm-suppress-shortcuts", "true"));

  function showFields() {
    const texts = model.get("texts");
    const messages = model.get("messages");
    const differing = new Set(model.get("difference").map(([key]) => key));
    for (const [key, { row, note, back, message, controls, write }] of shown) {
      write(texts[key] ?? "");
      const wrong = messages[key];
      row.classList.toggle("mrf-wrong", Boolean(wrong));
      row.classList.toggle("mrf-changed", differing.has(key));
      message.textContent = wrong ? `✕ ${wrong}` : "";
      controls.forEach((one) => (wrong ? one.setAttribute("aria-invalid", "true") : one.removeAttribute("aria-invalid")));
      note.textContent = differing.has(key) && !wrong ? "● changed" : "";
      back.hidden = !differing.has(key);
    }
    for (const { section, block, count, message } of sections) {
      const keys = section.fields.map((field) => field.key);
      const wrong = keys.filter((key) => messages[key]).length + (messages[section.key] ? 1 : 0);
      const changed = keys.filter((key) => differing.has(key)).length;
      count.textContent = [wrong ? `✕ ${wrong} wrong` : "", changed ? `● ${changed} changed` : ""]
        .filter(Boolean).join(", ");
      message.textContent = messages[section.key] ? `✕ ${messages[section.key]}` : "";
      if (wrong) block.open = true;
    }
  }

  function showDifference() {
    const rows = model.get("difference");
    difference.replaceChildren(rows.length
      ? make("table", {},
        make("thead", {}, make("tr", {}, ...["key", "base", "here"].map((one) => make("th", { scope: "col" }, one)))),
        make("tbody", {}, ...rows.map(([key, before, after]) => make("tr", {},
          make("th", { scope: "row" }, key), make("td", {}, make("del", {}, before)),
          make("td", {}, make("ins", {}, after))))))
      : make("p", {}, `Nothing differs from ${model.get("base")}.`));
  }

  function showCost() {
    status.textContent = model.get("status");
    cost.classList.toggle("mrf-old", Boolean(model.get("status")));
    cost.replaceChildren(...model.get("cost").map(([what, value, note]) => make("div", {},
      make("dt", {}, what),
      make("dd", {}, make("span", { class: "mrf-value" }, value), make("span", { class: "mrf-help" }, note)))));
  }

  function showSaving() {
    const target = model.get("target");
    save.textContent = target ? `Save as ${target}` : "Save";
    save.setAttribute("aria-disabled", target ? "false" : "true");
    outcome.textContent = model.get("outcome")
      || (target ? "" : model.get("difference").length ? "Correct the marked values, then save." : "Change a value, then save.");
  }

  const watched = [
    ["texts", showFields], ["messages", showFields], ["difference", showFields],
    ["difference", showDifference], ["cost", showCost], ["status", showCost],
    ["target", showSaving], ["outcome", showSaving], ["difference", showSaving]];
  watched.forEach(([name, show]) => model.on(`change:${name}`, show));
  [showFields, showDifference, showCost, showSaving].forEach((show) => show());
  el.append(root);
  return () => watched.forEach(([name, show]) => model.off(`change:${name}`, show));
}

export default { render };
