// The people as they stand with what was said, and the doubts about them.
"use strict";

const ALONE = 1; // faces of somebody seen once
const known = new Map(); // row to the face, of rows that anything was said of
let people; // all persons who have a face
let personById;
let personOfLabel;
let settled;
let apartPeople; // "id id" of people said to be different

const clusterOfRow = (row) => known.get(row)?.cluster ?? -1;

function remember(faces) {
  for (const { row, name, sketch, cluster, thumb } of faces) {
    known.set(row, { row, name, sketch, cluster, thumb });
  }
}

// Find the people anew. A person: id, the clusters that are of them, `left` (rows of these that are not)
// and `strays` (rows of other clusters), size, name, hidden.
function derivePeople(said) {
  const count = index.sizes.length;
  settled = settle(said, clusterOfRow, sizeOf, count);
  personOfLabel = new Map();
  const at = (label) => {
    if (!personOfLabel.has(label)) {
      personOfLabel.set(label, newPerson(label < count && !settled.ofCluster.has(label) ? [label] : []));
    }
    return personOfLabel.get(label);
  };
  for (const [cluster, label] of settled.ofCluster) at(label).clusters.push(cluster);
  for (const [row, label] of settled.ofRow) {
    const cluster = clusterOfRow(row);
    const home = settled.ofCluster.get(cluster) ?? cluster;
    if (home < 0 || home === label) continue;
    at(home).left.add(row);
    if (label >= 0) at(label).strays.push(row);
  }
  const nameOfCluster = new Map(index.names);
  const hidden = new Set(index.hidden);
  people = [];
  for (let cluster = 0; cluster < count; cluster++) {
    const person = at(settled.ofCluster.get(cluster) ?? cluster);
    person.name ??= nameOfCluster.get(cluster) ?? null;
    person.hidden ||= hidden.has(cluster);
    if (Math.min(...person.clusters) === cluster) people.push(person);
  }
  people.push(...[...personOfLabel.values()].filter((person) => !person.clusters.length));
  for (const one of said.people) {
    const row = rowsOfSaid(one).find((each) => settled.labelOf(each) >= 0);
    const person = row === undefined ? null : personOfLabel.get(settled.labelOf(row));
    if (!person) continue;
    person.name = one.name ?? (person.said ? person.name : null);
    person.hidden = one.hidden || (person.said !== null && person.hidden);
    person.said = one;
  }
  for (const person of people) {
    const faces = person.clusters.reduce((sum, cluster) => sum + sizeOf(cluster), 0);
    person.size = faces - person.left.size + person.strays.length;
    person.clusters.sort((a, b) => a - b);
    const [first] = person.clusters;
    person.id = first === undefined ? `row-${Math.min(...person.strays)}` : `person-${first + 1}`;
  }
  people = people.filter((person) => person.size);
  personById = new Map(people.map((person) => [person.id, person]));
  apartPeople = new Set();
  for (const [one, other] of said.apart) {
    for (const a of peopleOfRows(one)) {
      for (const b of peopleOfRows(other)) apartPeople.add(`${a.id} ${b.id}`);
    }
  }
}

const newPerson = (clusters) => ({
  id: "",
  clusters,
  left: new Set(),
  strays: [],
  size: 0,
  name: null,
  hidden: false,
  said: null,
});

const personOfRow = (row, cluster = clusterOfRow(row)) => {
  const label = settled.ofRow.get(row) ?? settled.ofCluster.get(cluster) ?? cluster;
  return personOfLabel.get(label) ?? null;
};
const personOfCluster = (cluster) => personOfLabel.get(settled.ofCluster.get(cluster) ?? cluster);
const peopleOfRows = (rows) => new Set(rows.map((row) => personOfRow(row)).filter(Boolean));
const areApart = (a, b) => apartPeople.has(`${a.id} ${b.id}`) || apartPeople.has(`${b.id} ${a.id}`);

function titleOf(person) {
  if (person.name) return person.name;
  if (person.clusters.length) return `Person ${person.clusters[0] + 1}`;
  return `New person ${person.id.slice(4)}`;
}

const homesOf = (person) => [...person.clusters, ...person.strays.map(clusterOfRow)];
const loadPerson = (person) => loadClusters(homesOf(person));
const loadPeople = (some) => loadClusters(some.flatMap(homesOf));

// The faces of a person, most typical of their cluster first; the shards are loaded.
function facesOfPerson(person) {
  const own = person.clusters.flatMap(facesOf).filter((face) => !person.left.has(face.row));
  return [...own, ...person.strays.map((row) => faceOf(row, clusterOfRow(row)))];
}

// The person's rows, each cluster's apart: what a later run finds again.
function partsOf(person) {
  const parts = byKey(facesOfPerson(person), (face) => face.cluster);
  const strays = person.strays;
  const own = person.clusters.map((cluster) => (parts.get(cluster) ?? []).map((face) => face.row));
  if (!own.length) return [strays];
  const first = own[0].filter((row) => !strays.includes(row));
  return [[...first, ...strays], ...own.slice(1)].filter((part) => part.length);
}

const rowsOf = (person) => facesOfPerson(person).map((face) => face.row);

function coverOf(person) {
  if (person.clusters.length && !person.left.size) return index.covers[person.clusters[0]];
  const stray = person.strays.length && !person.clusters.length ? known.get(person.strays[0]) : null;
  return stray ? stray.thumb : index.covers[person.clusters[0]];
}

// Who might be the same person, likeliest first, nobody twice and nobody of whom that was denied.
function nearPeople(person) {
  const chances = new Map();
  const homes = person.clusters.length ? person.clusters : person.strays.map(clusterOfRow).slice(0, 1);
  for (const near of homes.flatMap(nearOf)) {
    const other = personOfCluster(near.cluster);
    if (!other?.size || other === person || other.hidden || areApart(person, other)) continue;
    chances.set(other, Math.max(chances.get(other) ?? 0, near.chance));
  }
  return [...chances]
    .map(([other, chance]) => ({ person: other, chance }))
    .sort((a, b) => b.chance - a.chance);
}

function isCalled(name) {
  const wanted = name.toLocaleLowerCase();
  return people.find((person) => person.name?.toLocaleLowerCase() === wanted) ?? null;
}

// People whose name or number the text begins, or whose name holds it.
function peopleMatching(text, limit) {
  const wanted = text.trim().toLocaleLowerCase();
  const number = wanted.replace(/^person\s*/, "");
  const rank = (person) => {
    const name = person.name?.toLocaleLowerCase();
    if (name?.startsWith(wanted)) return 0;
    if (name?.includes(wanted)) return 1;
    return person.clusters[0] + 1 === Number(number) ? 0 : 2;
  };
  return people
    .map((person) => [rank(person), person])
    .filter(([place]) => place < 2)
    .sort((a, b) => a[0] - b[0] || b[1].size - a[1].size)
    .slice(0, limit)
    .map(([, person]) => person);
}

// --- questions ---------------------------------------------------------------------------------------

const DOUBT = 0.1; // least chance of being wrong of what is asked about

// Everything worth asking now, the most valuable first: how many pairs of faces an answer would put
// right, times the chance that it does. Sides are people, or the rows of a cut through one.
async function openQuestions(skipped) {
  const touched = index.cuts.map(([cluster]) => cluster).filter((cluster) => personOfCluster(cluster).said);
  await loadClusters(touched);
  const joins = new Map();
  for (const person of people.filter((one) => !one.hidden)) {
    for (const { person: other, chance } of nearPeople(person).filter((near) => near.chance >= DOUBT)) {
      const key = [person.id, other.id].sort().join(" ");
      const value = chance * person.size * other.size;
      if (!(joins.get(key)?.value >= value)) joins.set(key, { key, value, chance, people: [person, other] });
    }
  }
  const cuts = index.cuts
    .map(([cluster, start, middle, end, chance]) => ({
      key: `cut ${cluster} ${start} ${middle} ${end}`,
      value: (1 - chance) * (middle - start) * (end - middle),
      chance,
      cut: [cluster, start, middle, end],
    }))
    .filter((question) => isOpenCut(question.cut));
  return [...joins.values(), ...cuts]
    .filter(({ key }) => !skipped.has(key))
    .sort((a, b) => b.value - a.value || (a.key < b.key ? -1 : 1));
}

// Whether nothing was said of the two sides. Where nothing was said of the cluster, its faces need not
// be loaded to know.
function isOpenCut(cut) {
  const person = personOfCluster(cut[0]);
  if (!person.size || person.hidden) return false;
  if (!person.said && !person.left.size) return true;
  if (!delivered[`faces_${shardOf(cut[0])}`]) return false;
  const sides = sidesOfCut(cut).map((side) => new Set(side.map((face) => face.row)));
  if (!sides[0].size || !sides[1].size) return false;
  // What was said to be one person are different parts.
  const partsOf_ = (side) =>
    (person.said?.parts ?? []).flatMap((part, place) => (part.some((row) => side.has(row)) ? [place] : []));
  const [one, other] = sides.map(partsOf_);
  return !one.some((part) => other.some((another) => another !== part));
}

// The faces of both sides of a cut that still are the cluster's person.
function sidesOfCut([cluster, start, middle, end]) {
  const person = personOfCluster(cluster);
  const here = facesOf(cluster).filter((face) => personOfRow(face.row, cluster) === person);
  const side = (from, to) => here.filter((face) => face.alike >= from && face.alike < to);
  const sides = [side(start, middle), side(middle, end)];
  return sides[0].length <= sides[1].length ? sides : sides.reverse();
}
