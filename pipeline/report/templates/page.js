// What is shown: the views, and the ways between them.
"use strict";

const ROWS_A_PAGE = 200;
const VIEWS = ["review", "people", "alone", "aside", "unreadable", "charts", "corrections"];

// --- the other views -------------------------------------------------------------------------------------

let unreadablePage = 0;

async function showUnreadable() {
  byId("doubtful").hidden = !index.doubtful.length;
  byId("doubtful-kinds").replaceChildren(
    ...index.doubtful.map((kind) =>
      element(
        "li",
        {},
        `${kind.of ? `${number(kind.count)} of ${number(kind.of)} looked at` : count(kind.count, "image")}: `,
        `${kind.what}, the first: `,
        element("span", { class: "path" }, kind.first.join(", ")),
      ),
    ),
  );
  const rows = index.unreadable ? await load("unreadable") : [];
  const pages = Math.ceil(rows.length / ROWS_A_PAGE);
  const here = rows.slice(unreadablePage * ROWS_A_PAGE, (unreadablePage + 1) * ROWS_A_PAGE);
  const cell = (text, attributes = {}) => element("td", attributes, text);
  byId("unreadable-rows").replaceChildren(
    ...here.map(([row, name, reason]) =>
      element("tr", {}, cell(String(row)), cell(name ?? "", { class: "path" }), cell(reason)),
    ),
  );
  if (!rows.length) {
    byId("unreadable-rows").replaceChildren(
      element("tr", {}, cell("Every image could be read.", { colspan: 3 })),
    );
  }
  showPager(byId("unreadable-pager"), unreadablePage, pages, (next) => {
    unreadablePage = next;
    return showUnreadable();
  });
}

async function showAside() {
  const hidden = people.filter((person) => person.hidden);
  await loadPeople(hidden);
  byId("hidden-people").replaceChildren(
    ...hidden.map((person) =>
      element(
        "li",
        {},
        element("span", { class: "small" }, coverPicture(person)),
        element("span", { class: "text" }, `${titleOf(person)} · ${count(person.size, "face")}`),
        button(element("span", {}, "Show again", aside(`: ${titleOf(person)}`)), {
          "data-key": `hide ${person.id}`,
          onclick: () => hide(person, false),
        }),
      ),
    ),
  );
  byId("no-faces").replaceChildren(
    ...saidNow().not_faces.map((row) => {
      const face = known.get(row);
      return element(
        "li",
        {},
        element("span", { class: "small" }, picture(face.thumb, row)),
        element("span", { class: "text" }, shortName(face)),
        button(element("span", {}, "A face after all", aside(`: ${shortName(face)}`)), {
          "data-key": `face after all ${row}`,
          onclick: () => markNoFaces([face], false),
        }),
      );
    }),
  );
  for (const [id, none] of [
    ["hidden-people", "Nobody is hidden."],
    ["no-faces", "Every image shows a face."],
  ]) {
    if (!byId(id).children.length) byId(id).append(element("li", { class: "empty" }, none));
  }
}

const NAMED_AT_ONCE = 6;

// What was said, each with a way to forget it.
function showSaid() {
  const { people: saidPeople, apart, not_faces } = saidNow();
  const titles = (rows) => {
    const found = [...peopleOfRows(rows)];
    const links = found.slice(0, NAMED_AT_ONCE).flatMap((person) => [", ", personLink(person)]);
    const rest = found.length - NAMED_AT_ONCE;
    return [
      ...links.slice(1),
      ...(rest > 0 ? [` and ${rest} more`] : []),
      found.length ? "" : "nobody shown",
    ];
  };
  const faces = (rows) => (rows.length === 1 ? shortName(known.get(rows[0])) : count(rows.length, "face"));
  const items = [
    ...saidPeople.map((person, place) => [
      ["people", place],
      ...titles(rowsOfSaid(person)),
      `: ${count(rowsOfSaid(person).length, "face")} of one person${person.hidden ? ", hidden" : ""}`,
    ]),
    ...apart.map(([one, other], place) => [
      ["apart", place],
      element("strong", {}, faces(one)),
      " of ",
      ...titles(one),
      one.length === 1 ? " is not " : " are not ",
      ...titles(other),
    ]),
    ...not_faces.map((row, place) => [
      ["not_faces", place],
      element("strong", {}, faces([row])),
      " is no face",
    ]),
  ];
  byId("said").replaceChildren(
    ...items.map(([[kind, place], ...words]) => {
      const text = element("span", { class: "text" }, ...words);
      const remove = () => {
        correct("A correction was removed", [["forget", kind, place]]);
        refresh("A correction was removed");
      };
      const attributes = { "data-key": `said ${kind} ${place}`, onclick: remove };
      const label = element("span", {}, "Remove", aside(`: ${text.textContent}`));
      return element("li", {}, text, button(label, attributes));
    }),
  );
  if (!items.length) byId("said").append(element("li", { class: "empty" }, "Nothing corrected so far."));
  byId("not-kept").hidden = isKept;
}

// --- saving, loading, undoing ----------------------------------------------------------------------------

const FILE = "corrections.json";

function save() {
  const text = `${JSON.stringify(correctionsFile(), null, 1)}\n`;
  const link = element("a", {
    href: URL.createObjectURL(new Blob([text], { type: "application/json" })),
    download: FILE,
  });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  markSaved();
  byId("saved").hidden = false;
  refresh(`Saved as ${FILE} where your browser keeps downloads`);
  if (view !== "corrections") location.hash = "#corrections";
}

async function loadFile(file) {
  try {
    const read = readCorrectionsFile(await file.text());
    const { said, lost } = await onTheseFaces(read);
    if (lost && lost === read.faces.length) throw new Error("is of other images than this report");
    correct(`Loaded ${file.name}`, [["load", said]]);
    refresh(`Loaded ${file.name}${lost ? `: ${count(lost, "face")} of it not in this report` : ""}`);
  } catch (error) {
    const reason = error instanceof SyntaxError || error instanceof TypeError ? "is damaged" : error.message;
    refresh(`${file.name} ${reason}: nothing was loaded`);
  }
}

async function copyCommand() {
  const text = byId("command").textContent;
  try {
    await navigator.clipboard.writeText(text);
    announce("The command was copied.");
  } catch {
    getSelection().selectAllChildren(byId("command"));
    announce("The command is selected: copy it with Ctrl+C.");
  }
}

function undoneOrRedone(by) {
  const words = step(by);
  if (words === null) return undefined;
  clearSelection();
  return refresh(`${by < 0 ? "Undone" : "Done again"}: ${words}`);
}

// After a change: the counts, the bar below, and what is shown.
function refresh(words = "") {
  refreshCounts(words);
  return showViewAgain();
}

function refreshCounts(words) {
  const said = saidNow();
  byId("said-count").textContent = number(sayingsCount(said));
  byId("people-count").textContent = number(numberOf("people"));
  byId("alone-count").textContent = number(numberOf("alone"));
  const aside_ = people.filter((person) => person.hidden).length + said.not_faces.length;
  byId("aside-count").textContent = number(aside_);
  byId("aside-link").hidden = !aside_;
  const isPending = !isSaved();
  byId("pending").hidden = !isPending;
  document.body.classList.toggle("has-pending", isPending);
  const unsaved = isKept ? "Not saved yet." : "This browser keeps nothing: save before you leave.";
  byId("pending-text").textContent = [
    words ? `${words.replace(/[.]$/, "")}.` : "",
    words && isKept ? "" : unsaved,
  ]
    .filter(Boolean)
    .join(" ");
  byId("pending").classList.toggle("warning", !isKept);
  if (!isPending && words) announce(`${words}.`);
  for (const one of document.querySelectorAll("[data-do=undo]")) one.disabled = record.at === 0;
  for (const one of document.querySelectorAll("[data-do=redo]"))
    one.disabled = record.at === record.entries.length;
}

async function showViewAgain() {
  if (view === "people" || view === "alone") {
    keepPlaces();
    await showCards();
    await countQuestions();
  } else if (view === "review") {
    await showReview();
  } else if (view === "aside") {
    await keepFocusAfter(showAside);
  } else if (view === "corrections") {
    keepFocus(showSaid);
  }
}

async function keepFocusAfter(show) {
  const key = document.activeElement?.dataset?.key;
  await show();
  if (key) document.querySelector(`[data-key="${CSS.escape(key)}"]`)?.focus({ preventScroll: true });
}

// After a change nobody jumps: who is still there stays in place, and who left stands beside.
function keepPlaces() {
  const before = new Set(order);
  const born = people.filter(
    (person) => !before.has(person.id) && !person.hidden && comesFrom(person, before),
  );
  const bornOf = byKey(born, (person) => comesFrom(person, before));
  order = order.flatMap((id) => [
    ...(personById.has(id) && !personById.get(id).hidden ? [id] : []),
    ...(bornOf.get(id) ?? []).map((person) => person.id),
  ]);
}

// The shown person whose faces somebody new was among.
function comesFrom(person, shown) {
  const homes = person.clusters.length ? person.clusters : person.strays.map(clusterOfRow);
  return homes.map((cluster) => `person-${cluster + 1}`).find((id) => shown.has(id)) ?? null;
}

async function countQuestions() {
  review = await openQuestions(record.skipped);
  showToDo();
}

// What there is to do, said first.
function showToDo() {
  const joins = review.filter((question) => question.people).length;
  const cuts = new Set(review.filter((question) => question.cut).map((question) => question.cut[0])).size;
  const parts = [
    ...(joins ? [count(joins, "possible merge")] : []),
    ...(cuts ? [count(cuts, "doubtful person", "doubtful people")] : []),
  ];
  byId("review-count").textContent = number(review.length);
  byId("to-do").hidden = !parts.length || view !== "people";
  byId("to-do-link").textContent = `Review ${parts.join(" and ")}`;
}

// --- ways about ------------------------------------------------------------------------------------------

// Of a view's place on its way back: where it was scrolled to, and what it showed.
const placeNow = () => ({ scroll: window.scrollY, view, list: list[view] ?? null });

function openView(name) {
  const isList = name in list;
  for (const section of document.querySelectorAll("main > section")) {
    section.hidden = section.id !== (isList ? "list-view" : `${name}-view`);
  }
  for (const link of document.querySelectorAll("nav[aria-label=Views] a")) {
    if (link.hash === `#${name}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (!isList) {
    byId("to-do").hidden = true;
    return;
  }
  byId("list-title").textContent = name === "people" ? "People" : "Seen once";
  byId("search").value = list[name].query;
  const sorts = SORTS[name].filter(([key]) => index.iou || !/doubtful|sure/.test(key));
  const options = sorts.map(([key, text]) =>
    element("option", { value: key, selected: key === list[name].sort }, text),
  );
  byId("sort").replaceChildren(...options);
}

// Show what the address says; `place` is where the user was there before.
async function go(place, focus) {
  const hash = location.hash.slice(1);
  const before = view;
  clearSelection();
  const person = /^(person|row)-\d+$/.test(hash) ? personNamed(hash) : null;
  if (person) {
    view = person.size > ALONE ? "people" : "alone";
    if (!order.includes(person.id) || view !== before) list[view].query = "";
  } else {
    view = VIEWS.includes(hash) ? hash : "people";
    if (place?.list && view === place.view) Object.assign(list[view], place.list);
    else if (view !== before && view in list) list[view].page = 0;
  }
  openView(view);
  if (person) {
    if (person.size > ALONE) opened.set(person.id, { order: "typical", shown: FACES_MORE });
    await findPeople();
    const many = view === "people" ? CARDS_A_PAGE : ALONE_A_PAGE;
    list[view].page = Math.floor(Math.max(0, order.indexOf(person.id)) / many);
    await showCards();
    byId("found").textContent = "";
  } else if (view in list) {
    await showList();
  } else {
    await { review: showReview, aside: showAside, unreadable: showUnreadable, corrections: showSaid }[
      view
    ]?.();
  }
  if (place) window.scrollTo(0, place.scroll);
  else if (person) showAt(byId(person.id));
  else if (focus) {
    document.querySelector("main > section:not([hidden]) h1")?.focus({ preventScroll: true });
    window.scrollTo(0, 0);
  }
}

function showAt(card) {
  card?.scrollIntoView({ block: "start" });
  card?.focus({ preventScroll: true });
}

// The person of an address: of a number the one whom that number's faces are of now.
function personNamed(hash) {
  const found = personById.get(hash);
  if (found) return found;
  const cluster = Number(hash.slice(7)) - 1;
  return hash.startsWith("person") && cluster < index.sizes.length ? personOfCluster(cluster) : null;
}

// --- start -----------------------------------------------------------------------------------------------

const THEMES = ["auto", "light", "dark"];

function setTheme(theme) {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  const text = theme[0].toUpperCase() + theme.slice(1);
  byId("theme").replaceChildren(element("span", { "aria-hidden": "true" }, "◐ "), aside("Colours: "), text);
  store("theme", theme);
}

function listen() {
  byId("theme").addEventListener("click", () => {
    setTheme(THEMES[(THEMES.indexOf(document.documentElement.dataset.theme ?? "auto") + 1) % THEMES.length]);
  });
  let typing;
  byId("search").addEventListener("input", (event) => {
    Object.assign(list[view], { query: event.target.value, page: 0 });
    clearTimeout(typing);
    typing = setTimeout(showList, 150);
  });
  byId("sort").addEventListener("change", (event) => {
    Object.assign(list[view], { sort: event.target.value, page: 0 });
    showList();
  });
  document.addEventListener("keydown", pressed);
  for (const id of ["face", "ask"]) {
    byId(id).addEventListener("click", (event) => {
      if (event.target === byId(id)) byId(id).close();
    });
  }
  byId("face").addEventListener("close", () => {
    const key = byId("face").dataset.opener;
    if (key) document.querySelector(`[data-key="${CSS.escape(key)}"]`)?.focus({ preventScroll: true });
  });
  document.querySelector(".skip").addEventListener("click", (event) => {
    event.preventDefault(); // no view has this address
    byId("main").focus();
  });
  const does = { save, undo: () => undoneOrRedone(-1), redo: () => undoneOrRedone(1), copy: copyCommand };
  for (const one of document.querySelectorAll("[data-do]"))
    one.addEventListener("click", does[one.dataset.do]);
  byId("load-file").addEventListener("change", (event) => {
    if (event.target.files[0]) loadFile(event.target.files[0]);
    event.target.value = "";
  });
  window.addEventListener("beforeunload", (event) => {
    if (!isKept && !isSaved()) event.preventDefault();
  });
}

function pressed(event) {
  const isTyping = /^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement?.tagName);
  const isAsking = byId("face").open || byId("ask").open;
  const key = event.key.toLowerCase();
  // A name that is as it was has nothing of its own to undo.
  const isUnchanged = document.activeElement?.dataset?.value === document.activeElement?.value;
  const isUndo = (event.ctrlKey || event.metaKey) && key === "z";
  if (isAsking || (isTyping && !(isUndo && isUnchanged))) return;
  if (isUndo) {
    event.preventDefault();
    undoneOrRedone(event.shiftKey ? 1 : -1);
  } else if (event.ctrlKey || event.metaKey || event.altKey) {
    return;
  } else if (key === "/" && view in list) {
    event.preventDefault();
    byId("search").focus();
  } else if (key === "escape" && selected.size) {
    clearSelection();
  } else if (view === "review" && "ynsz".includes(key)) {
    event.preventDefault();
    answerQuestion(key);
  }
}

// Going back leads to the place that was left: the address's own entry keeps it.
function keepWayBack() {
  history.scrollRestoration = "manual";
  const keep = () => history.replaceState(placeNow(), "");
  document.addEventListener("click", (event) => event.target.closest?.("a[href^='#']") && keep(), true);
  window.addEventListener("pagehide", keep);
  window.addEventListener("popstate", (event) => go(event.state, true));
}

async function start() {
  setTheme(THEMES.includes(stored("theme")) ? stored("theme") : "auto");
  await loadIndex();
  const words = await recall();
  derivePeople(saidNow());
  listen();
  keepWayBack();
  byId("unreadable-link").hidden = !index.unreadable && !index.doubtful.length;
  await go(history.state, false);
  refreshCounts(words);
  if (view !== "review") await countQuestions();
}

start()
  .then(() => {
    byId("trouble").hidden = true;
    document.documentElement.setAttribute("data-ready", "");
  })
  .catch((error) => {
    byId("trouble").textContent = error.message;
    byId("trouble").hidden = false;
  });
window.addEventListener("unhandledrejection", (event) => {
  byId("trouble").textContent = event.reason?.message ?? String(event.reason);
  byId("trouble").hidden = false;
});
