// What was said, one thing after the other: undone and redone, kept by the browser, saved and loaded.
"use strict";

// base: what the report was made with. entries: {words, sayings} since; `at` of them hold. saved: what
// was said when it was saved last. skipped: questions not to be asked for now.
let record;
let states; // what was said after each entry, the base first
let isKept = true; // whether the browser keeps it
const storeKey = `corrections ${location.pathname}`;

const saidNow = () => states[record.at];
const isSaved = () => JSON.stringify(saidNow()) === record.saved;
const lastWords = () => record.entries[record.at - 1]?.words ?? "";

function correct(words, sayings) {
  const next = say(saidNow(), sayings);
  if (JSON.stringify(next) === JSON.stringify(saidNow())) return false;
  record.entries.length = record.at;
  states.length = record.at + 1;
  record.entries.push({ words, sayings });
  states.push(next);
  record.at += 1;
  recordChanged();
  return true;
}

function step(by) {
  const next = record.at + by;
  if (next < 0 || next > record.entries.length) return null;
  const { words } = record.entries[Math.min(record.at, next)];
  record.at = next;
  recordChanged();
  return words;
}

function recordChanged() {
  derivePeople(saidNow());
  keepRecord();
}

// --- kept by the browser -------------------------------------------------------------------------------

function stored(key) {
  try {
    return localStorage.getItem(key);
  } catch {
    return null; // some browsers keep nothing for pages from disk
  }
}

function store(key, value) {
  try {
    localStorage.setItem(key, value);
    return true;
  } catch {
    return false;
  }
}

function keepRecord() {
  const { id: report, network } = index;
  const kept = { ...record, report, network, skipped: [...record.skipped], faces: [...known.values()] };
  isKept = store(storeKey, JSON.stringify(kept));
}

function begin(base) {
  record = { base, entries: [], at: 0, saved: JSON.stringify(base), skipped: new Set() };
  states = [base];
}

// Begin with what the report was made with, and go on with what this place's earlier reports left.
// Returns words for the user, if any.
async function recall() {
  remember(index.corrections.faces);
  const { people: saidPeople, apart, not_faces } = index.corrections;
  begin({ people: saidPeople, apart, not_faces });
  purgeOldStores();
  const text = stored(storeKey);
  const kept = text ? JSON.parse(text) : null;
  if (!kept) return "";
  if (kept.report === index.id) {
    remember(kept.faces);
    record = { ...kept, skipped: new Set(kept.skipped) };
    states = [record.base];
    for (const { sayings } of record.entries) states.push(say(states.at(-1), sayings));
    return "";
  }
  const before = kept.entries.slice(0, kept.at).reduce((said, { sayings }) => say(said, sayings), kept.base);
  const hasNewer = sayingsCount(record.base) > 0 && JSON.stringify(before) === kept.saved;
  if (hasNewer || !sayingsCount(before) || JSON.stringify(before) === record.saved) return "";
  const found = await onTheseFaces({ network: kept.network, faces: kept.faces, said: before });
  if (!sayingsCount(found.said)) return "";
  derivePeople(record.base);
  correct("Corrections of the earlier report", [["load", found.said]]);
  const number = sayingsCount(found.said);
  return `${number} corrections of the earlier report, not in these people yet, were taken along.`;
}

// Earlier versions kept a store for each report, by twelve hexadecimal digits. Those that were saved as
// a file are of no more use.
function purgeOldStores() {
  try {
    for (const key of Object.keys(localStorage).filter((one) => /^[0-9a-f]{12}$/.test(one))) {
      const { said, saved } = JSON.parse(localStorage.getItem(key));
      if (JSON.stringify(said) === saved) localStorage.removeItem(key);
    }
  } catch {
    // nothing is kept, or nothing of ours
  }
}

// --- files ----------------------------------------------------------------------------------------------

function correctionsFile() {
  const said = saidNow();
  const faces = [...rowsSpokenOf(said)]
    .sort((a, b) => a - b)
    .map((row) => {
      const { name, sketch } = known.get(row);
      return { row, name, sketch };
    });
  return { format: 2, network: index.network, faces, ...said };
}

function markSaved() {
  record.saved = JSON.stringify(saidNow());
  keepRecord();
}

// What a corrections file says; throws where it is none.
function readCorrectionsFile(text) {
  const file = JSON.parse(text);
  if (file.format !== 1 && file.format !== 2) throw new Error("is no corrections file of this tool");
  const apart = file.format === 2 ? file.apart : file.apart.map(({ face, person }) => [[face], person]);
  const said = {
    people: file.people.map(({ name, hidden = false, parts }) => ({ name, hidden, parts })),
    apart,
    not_faces: file.not_faces ?? [],
  };
  const rows = new Set(file.faces.map((face) => face.row));
  if ([...rowsSpokenOf(said)].some((row) => !rows.has(row))) throw new Error("is damaged");
  return { network: file.network, faces: file.faces, said };
}

const SAME_SKETCH = 3; // most steps between sketches of one image

function areOneSketch(a, b) {
  const [one, other] = [atob(a), atob(b)];
  const number = (text, place) => (text.charCodeAt(place) << 24) >> 24;
  return [...one].every((_, place) => Math.abs(number(one, place) - number(other, place)) <= SAME_SKETCH);
}

// The same about the faces of this report: known again by row, by name or by sketch. `lost` are those
// that are not here.
async function onTheseFaces({ network, faces, said }) {
  await loadAll();
  const [byRow, byName, bySketch] = [new Map(), new Map(), new Map()];
  for (const face of [...everyFace(), ...index.corrections.faces]) {
    byRow.set(face.row, face);
    bySketch.set(face.sketch, face);
    if (face.name !== null) byName.set(face.name, face);
  }
  const isOfNetwork = JSON.stringify(network) === JSON.stringify(index.network);
  const rowNow = new Map();
  for (const face of faces) {
    const fits = (one) => one && (!isOfNetwork || areOneSketch(one.sketch, face.sketch));
    const sameRow = byRow.get(face.row);
    const isSamePlace = sameRow && (isOfNetwork || face.name !== null) && sameRow.name === face.name;
    const found = [isSamePlace ? sameRow : null, byName.get(face.name)].find(fits);
    const likely = found ?? (isOfNetwork ? bySketch.get(face.sketch) : undefined);
    if (!likely) continue;
    rowNow.set(face.row, likely.row);
    remember([likely]);
  }
  const now = (rows) => rows.filter((row) => rowNow.has(row)).map((row) => rowNow.get(row));
  return {
    lost: faces.length - rowNow.size,
    said: tidied({
      people: said.people.map((person) => ({ ...person, parts: person.parts.map(now) })),
      apart: said.apart.map(([one, other]) => [now(one), now(other)]),
      not_faces: now(said.not_faces),
    }),
  };
}
