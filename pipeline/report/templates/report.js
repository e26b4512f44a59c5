// The report's page: data come as scripts that call deliver(), since a page from disk may fetch no file.
// Whatever comes from a file's name is set as text, never as HTML.
"use strict";

const CARDS_A_PAGE = 40;
const ALONE_A_PAGE = 120;
const ROWS_A_PAGE = 200;
const ROWS_OF_FACES = 3;
const FACES_MORE = 200;
const MISFITS = 3;
const NEAR = 3;

const folder = document.currentScript.src.replace(/[^/]*$/, "");
const delivered = {};
const loading = {};
let index; // of the whole report
let offsets; // where each cluster's faces begin
const byId = (id) => document.getElementById(id);

window.deliver = (name, value) => {
  delivered[name] = value;
  if (name === "index") start(value);
};

function load(name) {
  loading[name] ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = `${folder}${name}.js`;
    script.onload = () => resolve(delivered[name]);
    script.onerror = () => {
      delete loading[name];
      announce(`${name}.js is missing from this report: make it again with sh run_report.sh`);
      reject(new Error(`${name}.js is missing`));
    };
    document.head.append(script);
  });
  return loading[name];
}

// --- elements --------------------------------------------------------------------------------------

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

function button(text, attributes = {}) {
  return element("button", { type: "button", ...attributes }, text);
}

const count = (number, one, many = `${one}s`) => `${number.toLocaleString("en")} ${number === 1 ? one : many}`;

function announce(text) {
  byId("found").textContent = text;
}

function stored(key, value) {
  try {
    if (value === undefined) return localStorage.getItem(key);
    if (value === null) localStorage.removeItem(key);
    else localStorage.setItem(key, value);
  } catch {
    // Some browsers keep nothing for pages from disk.
  }
  return null;
}

// --- clusters and their faces ----------------------------------------------------------------------

const sizeOf = (cluster) => index.sizes[cluster];

function shardOf(cluster) {
  let low = 0;
  let high = index.shards.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (index.shards[middle] <= cluster) low = middle;
    else high = middle - 1;
  }
  return low;
}

// The faces of a cluster, most typical first; its shard is loaded.
function facesOf(cluster) {
  const number = shardOf(cluster);
  const shard = delivered[`faces_${number}`];
  const begin = offsets[cluster] - offsets[index.shards[number]];
  return Array.from({ length: sizeOf(cluster) }, (_, place) => {
    const at = begin + place;
    return {
      cluster,
      row: shard.rows[at],
      name: shard.names ? shard.names[at] : null,
      thumb: shard.thumbs ? shard.thumbs[at] : "",
      fit: shard.fits[at],
      sketch: shard.sketches[at],
      rival: shard.rivals[at] || null,
      photo: photoOf(shard, at),
    };
  });
}

const loadCluster = (cluster) => load(`faces_${shardOf(cluster)}`);
const loadAll = () => Promise.all(index.shards.map((_, number) => load(`faces_${number}`)));
const called = (face) => face.name ?? `row ${face.row}`;
const titleOf = (cluster) => nameOf.get(cluster) ?? `Person ${cluster + 1}`;
const nearOf = (cluster) =>
  Array.from({ length: NEAR }, (_, place) => ({
    cluster: index.near[cluster * NEAR + place],
    similarity: index.nearSimilarity[cluster * NEAR + place],
  })).filter((near) => near.cluster >= 0);

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

// --- corrections: what was said --------------------------------------------------------------------

// people: {name, parts: lists of rows}; apart: {face, person: rows}; known: row to {name, sketch, cluster}.
let said = { people: [], apart: [] };
const known = new Map();
let undone = []; // what was said before each change
let saved = ""; // what was said when last saved
let nameOf = new Map(); // of clusters
let personOf = new Map(); // cluster to the person it is of
let outOf = new Set(); // "row cluster" of faces that are to leave

const rowsOf = (person) => person.parts.flat();

function remember(faces) {
  for (const face of faces) {
    known.set(face.row, { name: face.name, sketch: face.sketch, cluster: face.cluster });
  }
}

function derive() {
  personOf = new Map();
  nameOf = new Map(index.names.map(([cluster, name]) => [cluster, name]));
  outOf = new Set();
  const most = new Map();
  for (const person of said.people) {
    const counts = new Map();
    for (const row of rowsOf(person)) {
      const { cluster } = known.get(row);
      counts.set(cluster, (counts.get(cluster) ?? 0) + 1);
    }
    for (const [cluster, rows] of counts) {
      if (rows * 2 >= sizeOf(cluster) && rows > (most.get(cluster) ?? 0)) {
        most.set(cluster, rows);
        personOf.set(cluster, person);
      }
    }
  }
  for (const [cluster, person] of personOf) {
    if (person.name) nameOf.set(cluster, person.name);
    else nameOf.delete(cluster);
  }
  for (const { face, person } of said.apart) {
    const { cluster } = known.get(face);
    if (person.some((row) => known.get(row).cluster === cluster)) outOf.add(`${face} ${cluster}`);
  }
}

const isOut = (face) => outOf.has(`${face.row} ${face.cluster}`);
const clustersOf = (person) => [...new Set(rowsOf(person).map((row) => known.get(row).cluster))].filter((cluster) => cluster >= 0);
const areJoined = (a, b) => personOf.has(a) && personOf.get(a) === personOf.get(b);

// Do something to what is said; the clusters given are shown anew.
async function correct(clusters, change, words) {
  await Promise.all(clusters.map(loadCluster));
  for (const cluster of clusters) remember(facesOf(cluster));
  const before = JSON.stringify(said);
  const kin = clusters.flatMap((cluster) => (personOf.has(cluster) ? clustersOf(personOf.get(cluster)) : []));
  change();
  tidy();
  if (JSON.stringify(said) === before) return;
  undone.push(before);
  derive();
  for (const cluster of clusters) {
    if (personOf.has(cluster)) kin.push(...clustersOf(personOf.get(cluster)));
  }
  refresh(new Set([...clusters, ...kin]), words);
}

function tidy() {
  for (const person of said.people) person.parts = person.parts.filter((part) => part.length);
  said.people = said.people.filter(
    (person) => person.parts.length && (person.name || clustersOf(person).length > 1 || person.earlier),
  );
  said.apart = said.apart.filter((pair) => pair.person.length);
}

// The person that a cluster is of, with all its faces that are not to leave.
function personFor(cluster) {
  let person = personOf.get(cluster);
  if (!person) {
    person = { name: nameOf.get(cluster) ?? null, parts: [] };
    said.people.push(person);
    personOf.set(cluster, person);
  }
  const taken = new Set(said.people.flatMap(rowsOf));
  const rest = facesOf(cluster).filter((face) => !isOut(face) && !taken.has(face.row));
  person.parts.push(rest.map((face) => face.row));
  return person;
}

function mergePeople(person, other) {
  if (person === other) return person;
  person.parts.push(...other.parts);
  person.name ??= other.name;
  said.people = said.people.filter((one) => one !== other);
  const rows = new Set(rowsOf(person));
  for (const pair of said.apart) {
    if (rows.has(pair.face)) pair.person = pair.person.filter((row) => !rows.has(row));
  }
  return person;
}

function setSame(a, b, same) {
  const words = same ? `${titleOf(a)} and ${titleOf(b)} are the same person` : `${titleOf(b)} stands by itself again`;
  return correct([a, b], () => {
    if (same) {
      const [one, other] = [personFor(a), personFor(b)];
      for (const [cluster, person] of personOf) if (person === other) personOf.set(cluster, one);
      mergePeople(one, other);
    } else {
      const person = personOf.get(a);
      person.parts = person.parts.map((part) => part.filter((row) => known.get(row).cluster !== b));
    }
  }, words);
}

function setOut(face, out) {
  const { cluster } = face;
  const words = out ? `${called(face)} is not ${titleOf(cluster)}` : `${called(face)} belongs to ${titleOf(cluster)}`;
  return correct([cluster], () => {
    const faces = facesOf(cluster);
    const rows = new Set(faces.map((one) => one.row));
    if (out) {
      for (const person of said.people) {
        person.parts = person.parts.map((part) => part.filter((row) => row !== face.row));
      }
      for (const pair of said.apart) {
        if (pair.person.some((row) => rows.has(row))) pair.person = pair.person.filter((row) => row !== face.row);
      }
      const others = faces.filter((one) => one.row !== face.row && !isOut(one)).map((one) => one.row);
      const person = personOf.get(cluster);
      said.apart.push({ face: face.row, person: [...new Set([...others, ...(person ? rowsOf(person) : [])])] });
    } else {
      said.apart = said.apart.filter((pair) => pair.face !== face.row || !pair.person.some((row) => rows.has(row)));
      personOf.get(cluster)?.parts.push([face.row]);
    }
  }, words);
}

function setName(cluster, text) {
  const name = text.trim() || null;
  if (name === (nameOf.get(cluster) ?? null)) return Promise.resolve();
  const other = name && said.people.find((person) => person.name === name);
  const words = name ? `${titleOf(cluster)} is ${name}` : `${titleOf(cluster)} has no name`;
  const clusters = [cluster, ...(other ? clustersOf(other) : [])];
  return correct(clusters, () => {
    const person = personFor(cluster);
    person.name = name;
    if (other) mergePeople(other, person);
  }, other ? `${words}, the same person as before` : words);
}

function undo() {
  if (!undone.length) return;
  said = JSON.parse(undone.pop());
  derive();
  refresh(null, "undone");
}

function forget(kind, number) {
  undone.push(JSON.stringify(said));
  said[kind].splice(number, 1);
  derive();
  refresh(null, "correction removed");
}

function correctionsFile() {
  const rows = new Set([...said.people.flatMap(rowsOf), ...said.apart.flatMap((pair) => [pair.face, ...pair.person])]);
  const faces = [...rows].sort((a, b) => a - b).map((row) => {
    const { name, sketch } = known.get(row);
    return { row, name, sketch };
  });
  const people = said.people.map(({ name, parts }) => ({ name, parts }));
  return { format: 1, network: index.network, faces, people, apart: said.apart };
}

function save() {
  const blob = new Blob([`${JSON.stringify(correctionsFile(), null, 1)}\n`], { type: "application/json" });
  const link = element("a", { href: URL.createObjectURL(blob), download: "corrections.json" });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  saved = JSON.stringify(said);
  refresh(new Set(), "saved corrections.json");
}

// After a change: what is shown of these clusters (all where null), the counts, the bar below.
function refresh(clusters, words) {
  stored(index.id, JSON.stringify({ said, known: [...known], saved }));
  const number = said.people.length + said.apart.length;
  byId("said-count").textContent = number.toLocaleString("en");
  const pending = JSON.stringify(said) !== saved;
  byId("pending").hidden = !pending;
  document.body.classList.toggle("has-pending", pending);
  if (words) byId("pending-text").textContent = `${words[0].toUpperCase()}${words.slice(1)}.`;
  else byId("pending-text").textContent = `${count(number, "correction")} not saved yet.`;
  byId("pending").querySelector("[data-do=undo]").disabled = !undone.length;
  byId("names").replaceChildren(...[...new Set(nameOf.values())].map((name) => element("option", { value: name })));
  if (!byId("list-view").hidden) {
    keepFocus(() => {
      for (const card of byId("cards").children) {
        const cluster = Number(card.dataset.cluster);
        const touched = clusters === null || clusters.has(cluster) || nearOf(cluster).some((near) => clusters.has(near.cluster));
        if (touched) card.replaceWith(showCard(cluster, matched.get(cluster), card.dataset.shown));
      }
    });
  }
  if (!byId("corrections-view").hidden) keepFocus(showSaid);
}

// Show something anew, and give the focus back to what stands in its place.
function keepFocus(show) {
  const key = document.activeElement?.dataset?.key;
  show();
  if (key && document.activeElement?.dataset?.key !== key) {
    document.querySelector(`[data-key="${CSS.escape(key)}"]`)?.focus({ preventScroll: true });
  }
}

// --- views -----------------------------------------------------------------------------------------

const VIEWS = ["people", "alone", "unreadable", "charts", "corrections"];
const SORTS = {
  people: [
    ["largest", "Largest first", (a, b) => sizeOf(b) - sizeOf(a)],
    ["smallest", "Smallest first", (a, b) => sizeOf(a) - sizeOf(b)],
    ["doubtful", "Least confident first", (a, b) => index.iou[a] - index.iou[b]],
    ["confident", "Most confident first", (a, b) => index.iou[b] - index.iou[a]],
    ["split", "Perhaps split: most like another", (a, b) => closeness(b) - closeness(a)],
    ["mixed", "Perhaps mixed: worst face", (a, b) => index.mixed[b] - index.mixed[a]],
  ],
  alone: [
    ["split", "Most like a person first", (a, b) => closeness(b) - closeness(a)],
    ["doubtful", "Least confident first", (a, b) => index.iou[a] - index.iou[b]],
    ["line", "In the order of the list", (a, b) => a - b],
  ],
};
const NOTES = {
  people: "Faces stand from most to least typical. Pick one to see it large, or to say that it is not this person.",
  alone: "Faces that were put with nobody, each with the person most like it.",
};
const closeness = (cluster) => index.nearSimilarity[cluster * NEAR];
let view = "people";
let page = 0;
let order = []; // the clusters of this view that match, sorted
let facesFirst = 1; // of a card, before it is asked for more
let matched = new Map(); // cluster to the rows whose file names match, while searching
const sortOf = { people: "largest", alone: "split" };
const queryOf = { people: "", alone: "" };

function clustersOfView() {
  const people = index.people;
  return view === "people"
    ? Array.from({ length: people }, (_, place) => place)
    : Array.from({ length: index.sizes.length - people }, (_, place) => people + place);
}

async function find() {
  const query = queryOf[view].trim().toLowerCase();
  let clusters = clustersOfView();
  const found = new Map();
  if (query) {
    if (index.named) await loadAll();
    if (query !== queryOf[view].trim().toLowerCase()) return false; // typed on meanwhile
    clusters = clusters.filter((cluster) => {
      const rows = index.named ? rowsMatching(cluster, query) : [];
      if (rows.length) found.set(cluster, new Set(rows));
      return rows.length || titleOf(cluster).toLowerCase().includes(query) || `person ${cluster + 1}` === query;
    });
  }
  const [, , compare] = SORTS[view].find(([key]) => key === sortOf[view]) ?? SORTS[view][0];
  order = clusters.sort((a, b) => compare(a, b) || a - b);
  matched = found;
  return true;
}

function rowsMatching(cluster, query) {
  const number = shardOf(cluster);
  const shard = delivered[`faces_${number}`];
  shard.lower ??= shard.names.map((name) => name.toLowerCase());
  const begin = offsets[cluster] - offsets[index.shards[number]];
  const rows = [];
  for (let at = begin; at < begin + sizeOf(cluster); at++) {
    if (shard.lower[at].includes(query)) rows.push(shard.rows[at]);
  }
  return rows;
}

async function showList() {
  if (!(await find())) return;
  const many = view === "people" ? CARDS_A_PAGE : ALONE_A_PAGE;
  page = Math.max(0, Math.min(page, Math.ceil(order.length / many) - 1));
  const here = order.slice(page * many, (page + 1) * many);
  const asked = `${view} ${page} ${queryOf[view]} ${sortOf[view]}`;
  await Promise.all([...new Set(here.map(shardOf))].map((number) => load(`faces_${number}`)));
  if (asked !== `${view} ${page} ${queryOf[view]} ${sortOf[view]}`) return;
  const cards = byId("cards");
  cards.className = `cards ${view}`;
  facesFirst = ROWS_OF_FACES * facesInARow() - 1;
  cards.replaceChildren(...here.map((cluster) => showCard(cluster, matched.get(cluster))));
  const what = view === "people" ? count(order.length, "person", "people") : count(order.length, "face");
  const query = queryOf[view].trim();
  announce(query ? `${what} match “${query}”` : order.length ? "" : `Nobody was ${view === "people" ? "seen twice" : "seen once only"}.`);
  showPager(byId("pager"), page, Math.ceil(order.length / many), (next) => {
    page = next;
    return showList();
  });
}

function showPager(pager, now, pages, go) {
  pager.hidden = pages < 2;
  const turn = async (next) => {
    await go(next);
    const title = pager.closest("section").querySelector("h1");
    title.focus({ preventScroll: true });
    window.scrollTo(0, 0);
  };
  pager.replaceChildren(
    button("First", { onclick: () => turn(0), disabled: now === 0 }),
    button("Previous", { onclick: () => turn(now - 1), disabled: now === 0 }),
    element("span", { class: "where" }, `Page ${(now + 1).toLocaleString("en")} of ${pages.toLocaleString("en")}`),
    button("Next", { onclick: () => turn(now + 1), disabled: now >= pages - 1 }),
    button("Last", { onclick: () => turn(pages - 1), disabled: now >= pages - 1 }),
  );
}

// How many faces stand in a row of a card, which the style sheet decides.
function facesInARow() {
  const list = element("ul", { class: "faces" });
  const checks = element("div", { class: "checks" }, element("section"), element("section"));
  const probe = element("li", { class: "card" }, element("div", { class: "body" }, list, checks));
  byId("cards").append(probe);
  const columns = getComputedStyle(list).gridTemplateColumns.split(" ").length;
  probe.remove();
  return columns;
}

// A card: the cluster's faces, and beside them what to look at.
function showCard(cluster, rows, shown) {
  const faces = facesOf(cluster);
  const alone = view === "alone";
  const title = titleOf(cluster);
  const card = element("li", { class: "card", id: `person-${cluster + 1}`, "data-cluster": cluster, tabindex: "-1", "aria-labelledby": `title-${cluster}` });
  const heading = element("h2", { id: `title-${cluster}` }, title);
  const facts = element("p", { class: "facts" });
  if (nameOf.has(cluster)) facts.append(element("span", {}, `Person ${cluster + 1}`));
  if (!alone) facts.append(element("span", {}, count(faces.length, "face")));
  if (index.iou && !alone) facts.append(confidence(index.iou[cluster]));
  card.append(element("div", { class: "head" }, heading, facts, alone ? null : nameField(cluster, title)));

  const joined = personOf.has(cluster) ? clustersOf(personOf.get(cluster)).filter((other) => other !== cluster) : [];
  if (joined.length) {
    card.append(element("p", { class: "joined" }, "Same person as ", ...joined.flatMap((other, place) => [place ? ", " : "", numberLink(other)])));
  }

  const first = Number(shown ?? facesFirst);
  const matching = rows ? faces.filter((face) => rows.has(face.row)) : faces;
  const list = element("ul", { class: "faces", "aria-label": `Faces of ${title}` });
  const body = element("div", { class: "body" }, list);
  showFaces(list, faces, matching.slice(0, first), matching.length > first || matching.length < faces.length ? (more) => {
    const all = matching.length < faces.length && more === "all" ? faces : matching;
    card.dataset.shown = Math.min(all.length, list.querySelectorAll(".face").length + FACES_MORE);
    const next = showCard(cluster, more === "all" ? null : rows, card.dataset.shown);
    const at = list.querySelectorAll(".face").length;
    card.replaceWith(next);
    next.querySelectorAll(".face")[Math.min(at, next.querySelectorAll(".face").length - 1)]?.focus();
  } : null, matching);
  if (shown) card.dataset.shown = shown;
  const checks = element("div", { class: "checks" }, ...(matching.length < faces.length ? [] : showChecks(cluster, faces)));
  if (checks.children.length) body.append(checks);
  card.append(body);
  return card;
}

function confidence(iou) {
  const level = iou >= 0.9 ? "high" : iou >= 0.7 ? "middle" : "low";
  return element(
    "span",
    { class: `confidence ${level}`, title: "How much of this cluster and of one true person are the same, as the graph network predicts: 1 is all" },
    `predicted IoU ${iou.toFixed(2)}`,
  );
}

function nameField(cluster, title) {
  const input = element("input", {
    type: "text",
    class: "name",
    list: "names",
    maxlength: 100,
    placeholder: "Add a name",
    autocomplete: "off",
    "aria-label": `Name of ${title}`,
    "data-key": `name ${cluster}`,
    onchange: () => setName(cluster, input.value),
    onkeydown: (event) => {
      if (event.key === "Enter") setName(cluster, input.value);
      if (event.key === "Escape") input.value = nameOf.get(cluster) ?? "";
    },
  });
  input.value = nameOf.get(cluster) ?? "";
  return input;
}

function showFaces(list, faces, shown, more, matching) {
  shown.forEach((face, place) => {
    const out = isOut(face);
    const item = button(picture(face.thumb, face.row), {
      class: out ? "face out" : "face",
      tabindex: place ? "-1" : "0",
      title: called(face),
      "aria-label": `${called(face)}${out ? ", marked as not this person" : ""}`,
      "data-key": `face ${face.row}`,
      onclick: () => openFace(face, matching),
    });
    list.append(element("li", {}, item));
  });
  if (more) {
    const rest = matching.length - shown.length;
    const all = rest ? "" : "all";
    list.append(element("li", { class: "more" }, button(rest ? `+${rest.toLocaleString("en")}` : `All ${faces.length}`, {
      class: "face",
      tabindex: "-1",
      "aria-label": rest ? `Show more of ${rest} further faces` : `Show all ${faces.length} faces`,
      onclick: () => more(all),
    })));
  }
  list.addEventListener("keydown", walk);
}

// Arrow keys go from face to face; Tab goes on to what follows the list.
function walk(event) {
  const items = [...event.currentTarget.querySelectorAll(".face")];
  const at = items.indexOf(document.activeElement);
  if (at < 0) return;
  const top = items[at].offsetTop;
  const across = items.filter((item) => item.offsetTop === items[0].offsetTop).length;
  const next = { ArrowRight: at + 1, ArrowLeft: at - 1, ArrowDown: at + across, ArrowUp: at - across, Home: 0, End: items.length - 1 }[event.key];
  if (next === undefined) return;
  event.preventDefault();
  const target = items[next] ?? (event.key === "ArrowDown" && items.at(-1).offsetTop > top ? items.at(-1) : null);
  if (!target) return;
  items[at].tabIndex = -1;
  target.tabIndex = 0;
  target.focus();
}

function showChecks(cluster, faces) {
  const checks = [];
  const misfits = faces.length < 3 ? [] : faces.slice(-Math.min(MISFITS, Math.floor(faces.length / 3))).reverse();
  if (misfits.length) {
    checks.push(element("section", { "aria-label": `Faces that fit ${titleOf(cluster)} least` },
      element("h3", {}, "Fit least"),
      element("ul", { class: "checklist" }, ...misfits.map((face) => misfitItem(face, faces)))));
  }
  const near = nearOf(cluster);
  if (near.length) {
    checks.push(element("section", { "aria-label": `People like ${titleOf(cluster)}` },
      element("h3", {}, "Might be the same person"),
      element("ul", { class: "checklist" }, ...(view === "alone" ? near.slice(0, 1) : near).map((one) => nearItem(cluster, one)))));
  }
  return checks;
}

function misfitItem(face, faces) {
  const out = isOut(face);
  const what = element("span", { class: "why" }, `similarity ${face.fit.toFixed(1)}`);
  const line = face.rival ? element("span", { class: "closer" }, `${face.rival[1].toFixed(1)} to `, personLink(face.rival[0])) : null;
  return element("li", {},
    button(picture(face.thumb, face.row), { class: "small", title: called(face), "aria-label": `Show ${called(face)}`, onclick: () => openFace(face, faces), "data-key": `misfit ${face.row}` }),
    element("span", { class: "text" }, what, line, meter(face.fit)),
    button(out ? "Taken out ✓" : "Not this person", {
      class: out ? "toggle on" : "toggle",
      "aria-pressed": String(out),
      "aria-label": `${called(face)} is not ${titleOf(face.cluster)}`,
      "data-key": `out ${face.row}`,
      onclick: () => setOut(face, !out),
    }));
}

function nearItem(cluster, { cluster: other, similarity }) {
  const same = areJoined(cluster, other);
  const link = titleOf(other) === titleOf(cluster) ? numberLink(other) : personLink(other);
  return element("li", { class: likeness(similarity) < 0.2 ? "far" : "" },
    element("a", { href: `#person-${other + 1}`, class: "small", tabindex: "-1", "aria-hidden": "true" }, picture(index.covers[other], other + 1)),
    element("span", { class: "text" },
      element("span", { class: "what" }, link, ...(sizeOf(other) > 1 ? [` (${sizeOf(other).toLocaleString("en")}`, element("span", { class: "hidden" }, " faces"), ")"] : [])),
      element("span", { class: "why" }, `similarity ${similarity.toFixed(1)}`),
      meter(similarity)),
    button(same ? "Same person ✓" : "Same person", {
      class: same ? "toggle on" : "toggle",
      "aria-pressed": String(same),
      "aria-label": `${titleOf(cluster)} and ${titleOf(other)} are the same person`,
      "data-key": `same ${cluster} ${other}`,
      onclick: () => setSame(cluster, other, !same),
    }));
}

const personLink = (cluster) => element("a", { href: `#person-${cluster + 1}` }, titleOf(cluster));
const numberLink = (cluster) => element("a", { href: `#person-${cluster + 1}` }, `Person ${cluster + 1}`);

// From 0, as like as other people's nearest faces usually are, to 1, as like as one person's are.
const likeness = (similarity) => (similarity - index.outside) / Math.max(index.typical - index.outside, 0.1);

function meter(similarity) {
  const share = Math.max(0.03, Math.min(1, likeness(similarity)));
  const title = `Usual to the nearest other person: ${index.outside.toFixed(1)}; usual inside a person: ${index.typical.toFixed(1)}`;
  return element("span", { class: "meter", title, "aria-hidden": "true" }, element("span", { style: `width:${(100 * share).toFixed(0)}%` }));
}

// --- one face --------------------------------------------------------------------------------------

function openFace(face, faces) {
  const dialog = byId("face");
  const at = faces.findIndex((one) => one.row === face.row);
  const go = (next) => faces[next] && openFace(faces[next], faces);
  const out = isOut(face);
  const facts = element("dl", {});
  const fact = (term, ...value) => facts.append(element("div", {}, element("dt", {}, term), element("dd", {}, ...value)));
  fact("Person", personLink(face.cluster));
  if (sizeOf(face.cluster) > 1) fact("Similarity", face.fit.toFixed(1), meter(face.fit));
  if (face.rival) fact("Fits better", personLink(face.rival[0]), `, similarity ${face.rival[1].toFixed(1)}`);
  if (face.name?.includes("/")) fact("File", face.name);
  fact("Row", String(face.row));
  const path = face.name === null ? null : face.name.startsWith("/") ? face.name : index.root + face.name;
  const actions = element("div", { class: "actions" });
  if (sizeOf(face.cluster) > 1) {
    actions.append(button(out ? "Belongs after all" : "Not this person", {
      class: out ? "toggle on" : "main",
      "data-key": "face out",
      onclick: async () => {
        await setOut(face, !out);
        openFace(face, faces);
      },
    }));
  }
  if (path) {
    actions.append(element("a", { class: "button", target: "_blank", rel: "noreferrer", href: `file://${path.split("/").map(encodeURIComponent).join("/")}` }, "Open the image"));
  }
  const content = element("div", { class: "face-sheet" },
    element("div", { class: "large" }, picture(face.thumb, face.row)),
    element("div", { class: "about" },
      element("h2", { id: "face-name" }, called(face).replace(/^.*\//, "")),
      out ? element("p", { class: "joined" }, `Marked as not ${titleOf(face.cluster)}`) : null,
      facts,
      actions),
    photoFigure(face),
    element("div", { class: "turn" },
      button("Previous", { onclick: () => go(at - 1), disabled: at <= 0, "data-key": "face previous" }),
      element("span", { class: "where" }, `${at + 1} / ${faces.length}`),
      button("Next", { onclick: () => go(at + 1), disabled: at >= faces.length - 1, "data-key": "face next" }),
      button("Close", { onclick: () => dialog.close(), "data-key": "face close" })));
  content.querySelectorAll("img").forEach((image) => image.setAttribute("loading", "eager"));
  dialog.onkeydown = (event) => {
    if (event.key === "ArrowRight") go(at + 1);
    if (event.key === "ArrowLeft") go(at - 1);
  };
  content.querySelectorAll("dl a").forEach((link) => link.addEventListener("click", () => dialog.close()));
  const opener = dialog.open ? null : document.activeElement?.dataset?.key;
  if (opener !== null) dialog.dataset.opener = opener ?? "";
  keepFocus(() => dialog.replaceChildren(content));
  if (!dialog.open) dialog.showModal();
  if (!dialog.contains(document.activeElement)) content.querySelector(".turn button:not(:disabled)").focus();
}

// --- the other views -------------------------------------------------------------------------------

let unreadablePage = 0;

async function showUnreadable() {
  const rows = index.unreadable ? await load("unreadable") : [];
  const pages = Math.ceil(rows.length / ROWS_A_PAGE);
  byId("unreadable-rows").replaceChildren(...rows
    .slice(unreadablePage * ROWS_A_PAGE, (unreadablePage + 1) * ROWS_A_PAGE)
    .map(([row, name, reason]) => element("tr", {}, element("td", {}, String(row)), element("td", { class: "path" }, name ?? ""), element("td", {}, reason))));
  if (!rows.length) {
    byId("unreadable-rows").replaceChildren(element("tr", {}, element("td", { colspan: 3 }, "Every image could be read.")));
  }
  showPager(byId("unreadable-pager"), unreadablePage, pages, (next) => {
    unreadablePage = next;
    return showUnreadable();
  });
}

function showSaid() {
  const faceWords = (row) => known.get(row).name ?? `row ${row}`;
  const lines = said.people.map((person, number) => {
    const clusters = clustersOf(person);
    const words = element("span", { class: "text" });
    if (person.name) words.append(element("strong", {}, person.name), ": ");
    words.append(...clusters.slice(0, 12).flatMap((cluster, place) => [place ? " + " : "", numberLink(cluster)]));
    if (clusters.length > 12) words.append(` + ${clusters.length - 12} more`);
    words.append(element("span", { class: "why" }, ` ${clusters.length > 1 ? "are the same person, " : ""}${count(rowsOf(person).length, "face")} stay together`));
    return [words, "people", number];
  });
  said.apart.forEach((pair, number) => {
    const of = known.get(pair.person[0]).cluster;
    const words = element("span", { class: "text" }, element("strong", {}, faceWords(pair.face)), " is not ", personLink(of));
    lines.push([words, "apart", number]);
  });
  byId("said").replaceChildren(...lines.map(([words, kind, number]) =>
    element("li", {}, words, button("Remove", { "aria-label": `Remove: ${words.textContent}`, "data-key": `said ${kind} ${number}`, onclick: () => forget(kind, number) }))));
  if (!lines.length) byId("said").replaceChildren(element("li", { class: "empty" }, "Nothing corrected so far."));
}

async function go(focus) {
  const hash = location.hash.slice(1);
  const person = /^person-(\d+)$/.exec(hash);
  const before = view;
  if (person && Number(person[1]) <= index.sizes.length) {
    const cluster = Number(person[1]) - 1;
    view = cluster < index.people ? "people" : "alone";
    if (!order.includes(cluster) || view !== before) queryOf[view] = "";
    openView(view);
    await find();
    const many = view === "people" ? CARDS_A_PAGE : ALONE_A_PAGE;
    page = Math.floor(Math.max(0, order.indexOf(cluster)) / many);
    await showList();
    const card = byId(`person-${cluster + 1}`);
    card?.scrollIntoView({ block: "start" });
    card?.focus({ preventScroll: true });
    return undefined;
  }
  view = VIEWS.includes(hash) ? hash : "people";
  if (view !== before) page = 0;
  openView(view);
  if (view === "unreadable") await showUnreadable();
  else if (view === "corrections") showSaid();
  else if (view !== "charts") await showList();
  if (focus) {
    document.querySelector("main > section:not([hidden]) h1")?.focus({ preventScroll: true });
    window.scrollTo(0, 0);
  }
  return undefined;
}

function openView(name) {
  const list = name === "people" || name === "alone";
  for (const section of document.querySelectorAll("main > section")) {
    section.hidden = section.id !== (list ? "list-view" : `${name}-view`);
  }
  for (const link of document.querySelectorAll("nav[aria-label=Views] a")) {
    if (link.hash === `#${name}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (list) {
    byId("list-title").textContent = name === "people" ? "People" : "Seen once";
    byId("list-note").textContent = NOTES[name];
    byId("search").value = queryOf[name];
    const sorts = SORTS[name].filter(([key]) => index.iou || !/doubtful|confident/.test(key));
    byId("sort").replaceChildren(...sorts.map(([key, text]) => element("option", { value: key, selected: key === sortOf[name] }, text)));
  }
}

// --- start -----------------------------------------------------------------------------------------

const THEMES = ["auto", "light", "dark"];

function setTheme(theme) {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  const text = theme[0].toUpperCase() + theme.slice(1);
  byId("theme").textContent = `◐ ${text}`;
  byId("theme").setAttribute("aria-label", `Colours: ${text}`);
  stored("theme", theme);
}

function start(value) {
  index = value;
  offsets = [0];
  for (const size of index.sizes) offsets.push(offsets.at(-1) + size);
  for (const { row, name, sketch, cluster } of index.corrections.faces) known.set(row, { name, sketch, cluster });
  said = { people: index.corrections.people.map((person) => ({ ...person, earlier: true })), apart: index.corrections.apart };
  saved = JSON.stringify(said);
  const kept = stored(index.id);
  if (kept) {
    const before = JSON.parse(kept);
    said = before.said;
    saved = before.saved;
    for (const [row, face] of before.known) known.set(row, face);
  }
  derive();
  setTheme(THEMES.includes(stored("theme")) ? stored("theme") : "auto");
  byId("theme").addEventListener("click", () => {
    setTheme(THEMES[(THEMES.indexOf(document.documentElement.dataset.theme ?? "auto") + 1) % THEMES.length]);
  });
  let typing;
  byId("search").addEventListener("input", (event) => {
    queryOf[view] = event.target.value;
    page = 0;
    clearTimeout(typing);
    typing = setTimeout(showList, 150);
  });
  byId("sort").addEventListener("change", (event) => {
    sortOf[view] = event.target.value;
    page = 0;
    showList();
  });
  document.addEventListener("keydown", (event) => {
    const typingNow = /^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement?.tagName);
    if (event.key === "/" && !typingNow && !byId("list-view").hidden && !byId("face").open) {
      event.preventDefault();
      byId("search").focus();
    }
  });
  byId("face").addEventListener("click", (event) => {
    if (event.target === byId("face")) byId("face").close();
  });
  byId("face").addEventListener("close", () => {
    const key = byId("face").dataset.opener;
    if (key) document.querySelector(`[data-key="${CSS.escape(key)}"]`)?.focus({ preventScroll: true });
  });
  document.querySelector(".skip").addEventListener("click", (event) => {
    event.preventDefault(); // no view has this address
    byId("main").focus();
  });
  for (const one of document.querySelectorAll("[data-do=save]")) one.addEventListener("click", save);
  for (const one of document.querySelectorAll("[data-do=undo]")) one.addEventListener("click", undo);
  window.addEventListener("hashchange", () => go(true));
  refresh(new Set());
  go(false).then(() => document.documentElement.setAttribute("data-ready", ""));
}
