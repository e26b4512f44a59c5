// What the page is made of. Whatever comes from a file's name is set as text, never as HTML.
"use strict";

const OPTIONS = 8;
const byId = (id) => document.getElementById(id);

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

const button = (text, attributes = {}) => element("button", { type: "button", ...attributes }, text);
// Words that a screen reader says and nobody sees.
const aside = (text) => element("span", { class: "hidden" }, text);

const number = (value) => value.toLocaleString("en");
const count = (value, one, many = `${one}s`) => `${number(value)} ${value === 1 ? one : many}`;
const announce = (text) => {
  byId("status").textContent = text;
};

const shortName = (face) => (face.name === null ? `Row ${face.row}` : face.name.replace(/^.*\//, ""));

function picture(thumb, row) {
  if (!thumb) return element("span", { class: "blank", "aria-hidden": "true" }, String(row));
  const image = element("img", {
    src: `thumbs/${thumb.slice(0, 2)}/${thumb.slice(2)}.jpg`,
    alt: "",
    loading: "lazy",
    decoding: "async",
    width: 96,
    height: 96,
  });
  image.addEventListener("error", () => image.replaceWith(picture("", row)), { once: true });
  return image;
}

const coverPicture = (person) => picture(coverOf(person), person.clusters[0] + 1 || person.strays[0]);
const personLink = (person) => element("a", { href: `#${person.id}` }, titleOf(person));

function likelihood(chance) {
  const words = chance >= 0.5 ? "likely" : chance >= 0.1 ? "perhaps" : "unlikely";
  const title = `Estimated chance that they are one person: ${Math.round(100 * chance)} %`;
  return element("span", { class: `chance ${words}`, title }, words);
}

function sureness(iou) {
  const [level, words] =
    iou >= 0.9 ? ["high", "sure"] : iou >= 0.7 ? ["middle", "fairly sure"] : ["low", "unsure"];
  const title = `Predicted IoU ${iou.toFixed(2)}: how much of these and of one true person are the same`;
  return element("span", { class: `confidence ${level}`, title }, words);
}

// From 0, as like as other people usually are, to 1, as like as the faces of one person are.
const likeness = (similarity) => (similarity - index.outside) / Math.max(index.typical - index.outside, 0.1);

function fitWords(similarity) {
  const share = likeness(similarity);
  const words = share >= 0.6 ? "fits well" : share >= 0.25 ? "fits so-so" : "hardly fits";
  const title =
    `Similarity ${similarity.toFixed(1)}; usual inside a person: ${index.typical.toFixed(1)}, ` +
    `to the nearest other person: ${index.outside.toFixed(1)}`;
  return element("span", { class: "why", title }, words);
}

// --- asking ------------------------------------------------------------------------------------------

// Ask something with a few answers; resolves to the chosen one, null where it was closed.
function ask(words, answers) {
  const dialog = byId("ask");
  const opener = document.activeElement;
  return new Promise((resolve) => {
    const choose = (answer) => {
      dialog.onclose = null;
      dialog.close();
      opener?.focus({ preventScroll: true });
      resolve(answer);
    };
    dialog.onclose = () => choose(null);
    dialog.replaceChildren(
      element("p", { id: "ask-words" }, words),
      element(
        "div",
        { class: "actions" },
        ...answers.map((answer, place) =>
          button(answer, { class: place ? "" : "main", onclick: () => choose(answer) }),
        ),
      ),
    );
    dialog.showModal();
  });
}

// --- a field that finds people -----------------------------------------------------------------------

let fields = 0;

// `near` are the people offered before anything is typed; `assign` is called with the person chosen, and
// `call`, where names may be new, with the text. `eager`: Enter takes the first match.
function personField({ label, value = "", placeholder, near = () => [], assign, call, eager, key }) {
  fields += 1;
  const id = `people-${fields}`;
  let options = [];
  let active = -1;
  const input = element("input", {
    type: "text",
    role: "combobox",
    class: "name",
    maxlength: 100,
    placeholder,
    autocomplete: "off",
    spellcheck: "false",
    "aria-label": label,
    "aria-autocomplete": "list",
    "aria-expanded": "false",
    "aria-controls": id,
    "data-key": key,
    "data-value": value,
  });
  const list = element("ul", { id, class: "options", role: "listbox", "aria-label": "People", hidden: true });
  input.value = value;

  const close = () => {
    list.hidden = true;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
    active = -1;
  };
  const mark = (place) => {
    active = place;
    for (const [at, option] of [...list.children].entries()) {
      option.setAttribute("aria-selected", String(at === place));
    }
    if (place < 0) input.removeAttribute("aria-activedescendant");
    else input.setAttribute("aria-activedescendant", `${id}-${place}`);
    list.children[place]?.scrollIntoView({ block: "nearest" });
  };
  const take = (person) => {
    close();
    input.value = value;
    assign(person);
  };
  const show = () => {
    const text = input.value.trim();
    options = text && text !== value ? peopleMatching(text, OPTIONS) : near().slice(0, OPTIONS);
    list.replaceChildren(
      ...options.map((person, place) =>
        element(
          "li",
          {
            role: "option",
            id: `${id}-${place}`,
            "aria-selected": "false",
            // Before the field loses the focus.
            onmousedown: (event) => {
              event.preventDefault();
              take(person);
            },
          },
          element("span", { class: "small" }, coverPicture(person)),
          element("span", { class: "text" }, titleOf(person)),
          element("span", { class: "why" }, count(person.size, "face")),
        ),
      ),
    );
    list.hidden = !options.length;
    input.setAttribute("aria-expanded", String(!list.hidden));
    mark(eager && text && text !== value && options.length ? 0 : -1);
  };
  const commit = () => {
    const text = input.value.trim();
    close();
    if (text === value || !call) {
      input.value = value;
      return;
    }
    value = text; // the field loses the focus when it is shown anew, and is not to say it twice
    call(text);
  };
  input.addEventListener("input", show);
  input.addEventListener("focus", show);
  input.addEventListener("blur", () => {
    if (!list.hidden) close();
    if (call && input.isConnected && input.value.trim() !== value && !byId("ask").open) commit();
  });
  input.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (list.hidden) show();
      const step = event.key === "ArrowDown" ? 1 : -1;
      if (options.length) mark((active + step + options.length + (active < 0 && step < 0)) % options.length);
    } else if (event.key === "Enter") {
      event.preventDefault();
      if (active >= 0) take(options[active]);
      else commit();
    } else if (event.key === "Escape" && (!list.hidden || input.value !== value)) {
      event.preventDefault();
      event.stopPropagation();
      input.value = value;
      close();
    }
  });
  return element("span", { class: "person-field" }, input, list);
}

// --- faces -------------------------------------------------------------------------------------------

const selected = new Map(); // row to face
let anchor = null; // the row from which Shift extends

// A list of faces to select from: click or x, with Shift from the last one on; Enter opens.
function faceList(label, faces, open) {
  const list = element("ul", { class: "faces", "aria-label": label });
  faces.forEach((face, place) => {
    const isSelected = selected.has(face.row);
    const item = element(
      "button",
      {
        type: "button",
        class: isSelected ? "face selected" : "face",
        tabindex: place ? "-1" : "0",
        title: face.name ?? `row ${face.row}`,
        "aria-label": shortName(face),
        "aria-pressed": String(isSelected),
        "data-key": `face ${face.row}`,
        onclick: (event) => pick(faces, place, event.shiftKey),
        ondblclick: () => open(face, faces),
        onkeydown: (event) => {
          if (event.ctrlKey || event.metaKey || event.altKey) return;
          if (event.key === "Enter") {
            event.preventDefault();
            open(face, faces);
          } else if (event.key === "x" || event.key === "X") {
            pick(faces, place, event.shiftKey);
          }
        },
      },
      picture(face.thumb, face.row),
    );
    list.append(element("li", {}, item));
  });
  list.addEventListener("keydown", walk);
  return list;
}

function pick(faces, place, extend) {
  const from = faces.findIndex((face) => face.row === anchor);
  if (extend && from >= 0) {
    const [low, high] = [Math.min(from, place), Math.max(from, place)];
    for (const face of faces.slice(low, high + 1)) selected.set(face.row, face);
  } else {
    const face = faces[place];
    if (!selected.delete(face.row)) selected.set(face.row, face);
    anchor = face.row;
  }
  showSelection();
}

function clearSelection() {
  selected.clear();
  anchor = null;
  showSelection();
}

// Arrow keys go from face to face; Tab goes on to what follows the list.
function walk(event) {
  const items = [...event.currentTarget.querySelectorAll(".face")];
  const at = items.indexOf(document.activeElement);
  if (at < 0) return;
  const top = items[at].offsetTop;
  const across = items.filter((item) => item.offsetTop === items[0].offsetTop).length;
  const places = {
    ArrowRight: at + 1,
    ArrowLeft: at - 1,
    ArrowDown: at + across,
    ArrowUp: at - across,
    Home: 0,
    End: items.length - 1,
  };
  const next = places[event.key];
  if (next === undefined) return;
  event.preventDefault();
  const isAboveLast = event.key === "ArrowDown" && items.at(-1).offsetTop > top;
  const target = items[next] ?? (isAboveLast ? items.at(-1) : null);
  if (!target) return;
  items[at].tabIndex = -1;
  target.tabIndex = 0;
  target.focus();
}

// Show something anew, and give the focus back to what stands in its place.
function keepFocus(show) {
  const key = document.activeElement?.dataset?.key;
  show();
  if (key && document.activeElement?.dataset?.key !== key) {
    document.querySelector(`[data-key="${CSS.escape(key)}"]`)?.focus({ preventScroll: true });
  }
}
