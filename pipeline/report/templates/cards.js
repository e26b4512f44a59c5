// Cards of people and of faces seen once; the bar of selected faces; one face large.
"use strict";

const CARDS_A_PAGE = 40;
const ALONE_A_PAGE = 60;
const FACES_MORE = 200;
const MISFITS = 6;
const SUGGESTIONS = 3;
const closeness = (person) => nearPeople(person)[0]?.chance ?? 0;
const iouOf = (person) => (person.clusters.length ? index.iou[person.clusters[0]] : 1);
const idOf = (person) => (index.ids && person.clusters.length ? index.ids[person.clusters[0]] : null);
const mixedOf = (person) => Math.max(-1000, ...person.clusters.map((cluster) => index.mixed[cluster]));
const SORTS = {
  people: [
    ["largest", "Largest first", (person) => -person.size],
    ["smallest", "Smallest first", (person) => person.size],
    ["doubtful", "Least sure first", iouOf],
    ["sure", "Surest first", (person) => -iouOf(person)],
    ["split", "Perhaps split: most like another", (person) => -closeness(person)],
    ["mixed", "Perhaps mixed: worst face", (person) => -mixedOf(person)],
    ["name", "By name", (person) => person.name?.toLocaleLowerCase() ?? "\uffff"],
  ],
  alone: [
    ["split", "Most like a person first", (person) => -closeness(person)],
    ["line", "In the order of the list", (person) => person.clusters[0] ?? 0],
  ],
};
const FACE_ORDERS = [
  ["typical", "Most typical first", null],
  ["odd", "Least typical first", (a, b) => a.fit - b.fit],
  ["alike", "Look-alikes together", (a, b) => a.cluster - b.cluster || a.alike - b.alike],
];
const list = {
  people: { page: 0, query: "", sort: "largest" },
  alone: { page: 0, query: "", sort: "split" },
};
const opened = new Map(); // person's id to {order, shown} of cards that are open
let view = "people";
let order = []; // ids of the persons of this view that match, sorted
const pairsShown = new Set(); // "id id" of pairs on this page, so that none is shown from both sides
let matched = new Map(); // id to rows whose file names match, while searching

const isShownIn = { people: (person) => person.size > ALONE, alone: (person) => person.size === ALONE };
const peopleOfView = () => people.filter((person) => isShownIn[view](person) && !person.hidden);
const numberOf = (kind) => people.filter((person) => isShownIn[kind](person) && !person.hidden).length;

// --- lists of people -----------------------------------------------------------------------------------

// Find whom to show; false where something else was asked for meanwhile.
async function findPeople() {
  const { query, sort } = list[view];
  const text = query.trim().toLocaleLowerCase();
  const found = new Map();
  let chosen = peopleOfView();
  if (text) {
    if (index.named) await loadAll();
    if (text !== list[view]?.query.trim().toLocaleLowerCase()) return false;
    chosen = chosen.filter((person) => {
      const rows = index.named ? matchingRows(person, text) : [];
      if (rows.length) found.set(person.id, new Set(rows));
      const title = titleOf(person).toLocaleLowerCase();
      return rows.length || title.includes(text) || `person ${person.clusters[0] + 1}` === text;
    });
  }
  const [, , key] = SORTS[view].find(([name]) => name === sort);
  const keys = new Map(chosen.map((person) => [person, key(person)]));
  const compare = (a, b) => (keys.get(a) < keys.get(b) ? -1 : Number(keys.get(a) > keys.get(b)));
  order = chosen.sort(compare).map((person) => person.id);
  matched = found;
  return true;
}

function matchingRows(person, text) {
  const own = person.clusters.flatMap((cluster) => rowsMatching(cluster, text));
  const strays = person.strays.filter((row) => (known.get(row).name ?? "").toLowerCase().includes(text));
  return [...own.filter((row) => !person.left.has(row)), ...strays];
}

async function showList() {
  if (!(await findPeople())) return;
  await showCards();
  const { query } = list[view];
  const [one, many] = view === "people" ? ["person", "people"] : ["face", "faces"];
  const nobody = view === "people" ? "Nobody was seen twice." : "Nobody was seen once only.";
  const match = order.length === 1 ? "matches" : "match";
  const words = `${count(order.length, one, many)} ${match} “${query.trim()}”`;
  byId("found").textContent = query.trim() ? words : order.length ? "" : nobody;
}

// The cards of this page of `order`.
async function showCards() {
  const many = view === "people" ? CARDS_A_PAGE : ALONE_A_PAGE;
  const state = list[view];
  const pages = Math.ceil(order.length / many);
  state.page = Math.max(0, Math.min(state.page, pages - 1));
  const here = order.slice(state.page * many, (state.page + 1) * many).map((id) => personById.get(id));
  const asked = `${view} ${JSON.stringify(state)}`;
  await loadPeople(here);
  if (asked !== `${view} ${JSON.stringify(list[view])}`) return;
  const cards = byId("cards");
  cards.className = `cards ${view}`;
  const across = facesAcross();
  pairsShown.clear();
  keepFocus(() => cards.replaceChildren(...here.map((person) => showCard(person, across))));
  showPager(byId("pager"), state.page, pages, (next) => {
    state.page = next;
    return showCards();
  });
}

function showPager(pager, now, pages, turnTo) {
  pager.hidden = pages < 2;
  const turn = async (next) => {
    await turnTo(next);
    pager.closest("section").querySelector("h1").focus({ preventScroll: true });
    window.scrollTo(0, 0);
  };
  pager.replaceChildren(
    button("First", { onclick: () => turn(0), disabled: now === 0 }),
    button("Previous", { onclick: () => turn(now - 1), disabled: now === 0 }),
    element("span", { class: "where" }, `Page ${number(now + 1)} of ${number(pages)}`),
    button("Next", { onclick: () => turn(now + 1), disabled: now >= pages - 1 }),
    button("Last", { onclick: () => turn(pages - 1), disabled: now >= pages - 1 }),
  );
}

// How many faces stand in the one row of a closed card, which the style sheet decides.
function facesAcross() {
  const faces = element("ul", { class: "faces" });
  const probe = element("li", { class: "card" }, faces);
  byId("cards").append(probe);
  const columns = getComputedStyle(faces).gridTemplateColumns.split(" ").length;
  probe.remove();
  return columns;
}

// A card: a row of the person's faces; all of them, and what is doubtful, where it is open.
function showCard(person, across) {
  const title = titleOf(person);
  const state = opened.get(person.id);
  const isAlone = person.size === ALONE;
  const all = facesOfPerson(person);
  const rows = matched.get(person.id);
  const matching = rows ? all.filter((face) => rows.has(face.row)) : all;
  const faces = state ? ordered(all, state.order) : matching;
  const card = element("li", {
    class: state ? "card open" : "card",
    id: person.id,
    tabindex: "-1",
    "aria-labelledby": `title-${person.id}`,
  });
  const facts = element("p", { class: "facts" });
  const named = person.name && person.clusters.length ? `Person ${person.clusters[0] + 1}` : null;
  facts.append(
    ...[
      named ? element("span", {}, named) : null,
      isAlone ? null : element("span", {}, count(person.size, "face")),
      !isAlone && index.iou && iouOf(person) < 0.9 ? sureness(iouOf(person)) : null,
    ].filter(Boolean),
  );
  const heading = element("h2", { id: `title-${person.id}` }, title);
  const field = personField({
    label: `Name of ${title}`,
    value: person.name ?? "",
    placeholder: "Who is this?",
    near: () => nearPeople(person).map((near) => near.person),
    assign: (other) => samePeople(other, person),
    call: (text) => nameIt(person, text),
    eager: isAlone,
    key: `name ${person.id}`,
  });
  card.append(element("div", { class: "head" }, heading, facts, field, isAlone ? null : openButton(person)));
  const limit = state ? state.shown : matching.length > across ? across - 1 : across;
  const shown = faceList(`Faces of ${title}`, faces.slice(0, limit), openFace);
  const rest = (state ? faces.length : all.length) - Math.min(limit, faces.length);
  if (rest > 0) {
    const more = () => openCard(person, { shown: (state?.shown ?? 0) + FACES_MORE });
    const text = element("span", {}, `+${number(rest)}`, aside(` more faces of ${title}`));
    const attributes = { class: "face", tabindex: "-1", onclick: more, "data-key": `more ${person.id}` };
    shown.append(element("li", { class: "more" }, button(text, attributes)));
  }
  card.append(shown);
  if (isAlone) card.append(...suggestionsOf(person, SUGGESTIONS));
  else if (state) card.append(showDetails(person, all, state));
  else card.append(...suggestionsOf(person, 1, 0.5));
  return card;
}

const ordered = (faces, name) => {
  const compare = FACE_ORDERS.find(([key]) => key === name)[2];
  return compare ? [...faces].sort(compare) : faces;
};

function openButton(person) {
  const isOpen = opened.has(person.id);
  const words = aside(`${isOpen ? "Close" : "Open"} ${titleOf(person)}`);
  return button(element("span", {}, element("span", { "aria-hidden": "true" }, isOpen ? "▴" : "▾"), words), {
    class: "opener",
    title: isOpen ? "Close" : "Open",
    "aria-expanded": String(isOpen),
    "data-key": `open ${person.id}`,
    onclick: () => (isOpen ? closeCard(person) : openCard(person, {})),
  });
}

function openCard(person, change) {
  opened.set(person.id, { order: "typical", shown: FACES_MORE, ...opened.get(person.id), ...change });
  return showCards();
}

function closeCard(person) {
  opened.delete(person.id);
  return showCards();
}

// The tools of an open card, and checks where something is doubtful.
function showDetails(person, faces, state) {
  const title = titleOf(person);
  const sort = element(
    "select",
    {
      "data-key": `order ${person.id}`,
      onchange: (event) => openCard(person, { order: event.target.value }),
    },
    ...FACE_ORDERS.map(([key, text]) =>
      element("option", { value: key, selected: key === state.order }, text),
    ),
  );
  const pick = () => {
    for (const face of faces) selected.set(face.row, face);
    showSelection();
  };
  const tools = element(
    "div",
    { class: "tools" },
    element("label", { class: "sort" }, element("span", {}, "Faces"), " ", sort),
    button("Select all", { onclick: pick, "data-key": `all ${person.id}` }),
    button(person.hidden ? "Show this person again" : "Hide this person", {
      onclick: () => hide(person, !person.hidden),
      "data-key": `hide ${person.id}`,
    }),
  );
  const details = element("div", { class: "details" }, tools, ...piecesOf(person));
  const misfits = misfitsOf(faces);
  if (misfits.length) {
    details.append(
      element(
        "section",
        { "aria-label": `Doubtful faces of ${title}` },
        element("h3", {}, "Doubtful faces"),
        element("ul", { class: "checklist" }, ...misfits.map((face) => misfitItem(face, faces))),
      ),
    );
  }
  details.append(...suggestionsOf(person, index.near.length, 0));
  return details;
}

// Faces that are more like somebody else, or hardly fit, the worst first.
function misfitsOf(faces) {
  if (faces.length < 3) return [];
  const isDoubtful = (face) =>
    (face.rival && personOfCluster(face.rival[0]) !== personOfRow(face.row, face.cluster)) ||
    likeness(face.fit) < 0.25;
  const worst = [...faces].sort((a, b) => a.fit - b.fit).filter(isDoubtful);
  return worst.slice(0, Math.min(MISFITS, Math.floor(faces.length / 3)));
}

function misfitItem(face, faces) {
  const rival = face.rival ? personOfCluster(face.rival[0]) : null;
  const attributes = { class: "small", title: face.name ?? `row ${face.row}` };
  return element(
    "li",
    {},
    element(
      "button",
      { ...attributes, type: "button", "aria-label": shortName(face), onclick: () => openFace(face, faces) },
      picture(face.thumb, face.row),
    ),
    element(
      "span",
      { class: "text" },
      fitWords(face.fit),
      rival?.size ? element("span", { class: "closer" }, "more like ", personLink(rival)) : null,
    ),
    button(element("span", {}, "Not this person", aside(`: ${shortName(face)}`)), {
      class: "toggle",
      "data-key": `out ${face.row}`,
      onclick: () => takeOut([face]),
    }),
  );
}

// What the person was put together from, each with a way back.
function piecesOf(person) {
  if (!person.said) return [];
  const rowsNow = new Set(rowsOf(person));
  const parts = person.said.parts.map((part) => inside(part, rowsNow)).filter((part) => part.length);
  if (parts.length < 2) return [];
  const faceOfRow = new Map(facesOfPerson(person).map((face) => [face.row, face]));
  const items = parts.map((part) => {
    const face = faceOfRow.get(part[0]);
    const words = count(part.length, "face");
    return element(
      "li",
      {},
      element("span", { class: "small" }, picture(face.thumb, face.row)),
      element("span", { class: "text" }, words),
      button(element("span", {}, "Separate", aside(` these ${words}`)), {
        class: "toggle",
        "data-key": `separate ${part[0]}`,
        onclick: () => separate(person, part),
      }),
    );
  });
  return [
    element(
      "section",
      { "aria-label": `Put together as ${titleOf(person)}` },
      element("h3", {}, "Put together from"),
      element("ul", { class: "checklist pieces" }, ...items),
    ),
  ];
}

// Who might be the same person, in a list, or nothing.
function suggestionsOf(person, limit, least = 0) {
  const near = nearPeople(person)
    .filter((one) => one.chance >= least && !pairsShown.has(`${one.person.id} ${person.id}`))
    .slice(0, limit);
  for (const one of near) pairsShown.add(`${person.id} ${one.person.id}`);
  if (!near.length) return [];
  return [
    element(
      "section",
      { "aria-label": `Might be ${titleOf(person)}` },
      element("h3", {}, "Might be the same person"),
      element("ul", { class: "checklist" }, ...near.map((one) => nearItem(person, one))),
    ),
  ];
}

function nearItem(person, { person: other, chance }) {
  const pair = aside(`: ${titleOf(person)} and ${titleOf(other)}`);
  const say_ = (text, key, onclick) =>
    button(element("span", {}, text, pair.cloneNode(true)), { class: "toggle", "data-key": key, onclick });
  return element(
    "li",
    {},
    element(
      "a",
      { href: `#${other.id}`, class: "small", tabindex: "-1", "aria-hidden": "true" },
      coverPicture(other),
    ),
    element(
      "span",
      { class: "text" },
      element(
        "span",
        { class: "what" },
        personLink(other),
        other.size > 1 ? ` · ${count(other.size, "face")}` : "",
      ),
      likelihood(chance),
    ),
    say_("Same", `same ${person.id} ${other.id}`, () => samePeople(person, other)),
    say_("Different", `different ${person.id} ${other.id}`, () => differentPeople(person, other)),
  );
}

// --- the bar of selected faces -------------------------------------------------------------------------

function showSelection() {
  for (const item of document.querySelectorAll(".face[aria-pressed]")) {
    const isSelected = selected.has(Number(item.dataset.key.slice(5)));
    item.classList.toggle("selected", isSelected);
    item.setAttribute("aria-pressed", String(isSelected));
  }
  const bar = byId("selection");
  const faces = [...selected.values()];
  bar.hidden = !faces.length;
  document.body.classList.toggle("has-selection", !bar.hidden);
  if (bar.hidden) return;
  const target = personField({
    label: "Move to: name or number of a person",
    placeholder: "Move to…",
    near: () => nearPeople(personOfRow(faces[0].row, faces[0].cluster)).map((one) => one.person),
    assign: (person) => moveTo(faces, person),
    call: async (text) => {
      const other = isCalled(text);
      if (other) await moveTo(faces, other);
      else if (await makePerson(faces)) await nameIt(personOfRow(faces[0].row, faces[0].cluster), text);
    },
    eager: true,
    key: "selection move",
  });
  const does = (text, key, action) =>
    button(text, { "data-key": `selection ${key}`, onclick: () => action(faces) });
  keepFocus(() =>
    bar.replaceChildren(
      element("p", {}, `${count(faces.length, "face")} selected`),
      does("New person", "new", makePerson),
      target,
      does("Not this person", "out", takeOut),
      does("Not a face", "none", (some) => markNoFaces(some, true)),
      ...(faces.length === 1 ? [does("Look closer", "open", ([face]) => openFace(face, [face]))] : []),
      does("Clear", "clear", clearSelection),
    ),
  );
}

// --- one face ------------------------------------------------------------------------------------------

function openFace(face, faces) {
  const dialog = byId("face");
  const person = personOfRow(face.row, face.cluster);
  const at = faces.findIndex((one) => one.row === face.row);
  const turnTo = (place) => faces[place] && openFace(faces[place], faces);
  const facts = element("dl", {});
  const fact = (term, ...value) =>
    facts.append(element("div", {}, element("dt", {}, term), element("dd", {}, ...value)));
  fact("Person", person ? personLink(person) : "none: said to be no face");
  if (person && idOf(person) !== null) fact("Id, kept by later runs", String(idOf(person)));
  if (person?.size > ALONE) fact("Here", fitWords(face.fit));
  const rival = face.rival ? personOfCluster(face.rival[0]) : null;
  if (rival?.size && rival !== person) fact("More like", personLink(rival));
  if (face.name?.includes("/")) fact("File", face.name);
  fact("Row", String(face.row));
  const path = face.name === null ? null : face.name.startsWith("/") ? face.name : index.root + face.name;
  const then = (action) => async () => {
    await action();
    openFace(face, faces);
  };
  const actions = element("div", { class: "actions" });
  if (person?.size > ALONE) {
    const out = then(() => takeOut([face]));
    actions.append(button("Not this person", { "data-key": "face out", onclick: out }));
  }
  const marked = !person;
  const mark = then(() => markNoFaces([face], !marked));
  actions.append(
    button(marked ? "A face after all" : "Not a face", { "data-key": "face none", onclick: mark }),
  );
  if (path) {
    const href = `file://${path.split("/").map(encodeURIComponent).join("/")}`;
    const attributes = { class: "button", target: "_blank", rel: "noreferrer", href };
    actions.append(element("a", attributes, "Open the image"));
  }
  const end = faces.length - 1;
  const content = element(
    "div",
    { class: "face-sheet" },
    element("div", { class: "large" }, picture(face.thumb, face.row)),
    element("div", { class: "about" }, element("h2", { id: "face-name" }, shortName(face)), facts, actions),
    photoFigure(face),
    element(
      "div",
      { class: "turn" },
      button("Previous", { onclick: () => turnTo(at - 1), disabled: at <= 0, "data-key": "face previous" }),
      element("span", { class: "where" }, `${number(at + 1)} / ${number(faces.length)}`),
      button("Next", { onclick: () => turnTo(at + 1), disabled: at >= end, "data-key": "face next" }),
      button("Close", { onclick: () => dialog.close(), "data-key": "face close" }),
    ),
  );
  for (const image of content.querySelectorAll("img")) image.setAttribute("loading", "eager");
  dialog.onkeydown = (event) => {
    if (event.key === "ArrowRight") turnTo(at + 1);
    if (event.key === "ArrowLeft") turnTo(at - 1);
  };
  for (const link of content.querySelectorAll("dl a")) link.addEventListener("click", () => dialog.close());
  if (!dialog.open) dialog.dataset.opener = document.activeElement?.dataset?.key ?? "";
  keepFocus(() => dialog.replaceChildren(content));
  if (!dialog.open) dialog.showModal();
  // Not the first link, which would lead away.
  const focused = document.activeElement;
  if (!dialog.contains(focused) || focused.tagName === "A") {
    content.querySelector(".turn button:not(:disabled)").focus();
  }
}
