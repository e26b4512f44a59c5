// What a user does to people and faces: each becomes things said, with words for it.
"use strict";

// Say something of people, whose faces are loaded first; `make` gives what is said, or null.
async function act(involved, words, make) {
  await loadPeople(involved);
  for (const person of involved) remember(facesOfPerson(person));
  const sayings = make();
  if (!sayings || !correct(words, sayings)) return false;
  clearSelection();
  refresh(words);
  return true;
}

async function samePeople(a, b) {
  let name = a.name ?? b.name;
  if (a.name && b.name && a.name !== b.name) {
    name = await ask(`One person has one name: ${a.name} or ${b.name}?`, [a.name, b.name, "Cancel"]);
    if (name === null || name === "Cancel") return false;
  }
  return act([a, b], `${titleOf(a)} and ${titleOf(b)} are the same person`, () => [
    ["same", [...partsOf(a), ...partsOf(b)], name],
  ]);
}

const differentPeople = (a, b) =>
  act([a, b], `${titleOf(a)} and ${titleOf(b)} are different people`, () => [
    ["different", rowsOf(a), rowsOf(b)],
  ]);

// Both sides of a cut through a person, as faces.
function answerCut(person, sides, same) {
  const [one, other] = sides.map((side) => side.map((face) => face.row));
  const words = same ? `${titleOf(person)} is one person` : `${titleOf(person)} was two people`;
  const said = same ? ["same", [one, other], person.name] : ["different", one, other];
  return act([person], words, () => [said]);
}

async function nameIt(person, text) {
  const other = text ? isCalled(text) : null;
  if (other && other.id !== person.id) {
    const faces = count(other.size, "face");
    const question = `${other.name} is somebody already, with ${faces}. Is this the same person?`;
    if ((await ask(question, ["Same person", "Cancel"])) !== "Same person") return refresh();
    return act([person, other], `${titleOf(person)} is ${other.name}`, () => [
      ["same", [...partsOf(other), ...partsOf(person)], other.name],
    ]);
  }
  const words = text ? `${titleOf(person)} is ${text}` : `${titleOf(person)} has no name any more`;
  return act([person], words, () => [
    ["same", partsOf(person)],
    ["called", rowsOf(person), text || null],
  ]);
}

const hide = (person, hidden) =>
  act([person], `${titleOf(person)} is ${hidden ? "hidden" : "shown again"}`, () => [
    ["same", partsOf(person), person.name],
    ["hidden", rowsOf(person), hidden],
  ]);

// Take a piece of a person that was put together apart again; both get the names they had before.
function separate(person, rows) {
  const set = new Set(rows);
  return act([person], `${titleOf(person)} was separated`, () => {
    const rest = rowsOf(person).filter((row) => !set.has(row));
    const named = [rows, rest].map((side, place) => [side, nameBefore(side, place ? rows : rest)]);
    return [
      ["different", rows, rest],
      ...named.filter(([, name]) => name !== person.name).map(([side, name]) => ["called", side, name]),
      ...(named.every(([, name]) => name === person.name) ? [["called", rows, null]] : []),
    ];
  });
}

// The name of some rows when they were not yet one person with others, null where they had none.
function nameBefore(rows, others) {
  const ofRows = (said, some) => said.people.find((one) => rowsOfSaid(one).some((row) => some.has(row)));
  const [own, foreign] = [new Set(rows), new Set(others)];
  for (const said of states.slice(0, record.at + 1).reverse()) {
    const person = ofRows(said, own);
    if (person && person !== ofRows(said, foreign)) return person.name;
    if (!person) return new Map(index.names).get(clusterOfRow(rows[0])) ?? null;
  }
  return null;
}

// --- selected faces ----------------------------------------------------------------------------------

// Faces by the person whom they are of now, each with the rows that stay there.
function bySource(faces) {
  const rows = new Set(faces.map((face) => face.row));
  return [...byKey(faces, (face) => personOfRow(face.row, face.cluster))].map(([person, some]) => ({
    person,
    rows: some.map((face) => face.row),
    rest: rowsOf(person).filter((row) => !rows.has(row)),
  }));
}

const sourcesOf = (faces) => [...new Set(faces.map((face) => personOfRow(face.row, face.cluster)))];
const leave = ({ rows, rest }) => (rest.length ? [["different", rows, rest]] : []);

const makePerson = (faces) =>
  act(sourcesOf(faces), `${count(faces.length, "face")}: a new person`, () => [
    ...bySource(faces).flatMap(leave),
    ["same", [faces.map((face) => face.row)]],
  ]);

function moveTo(faces, target) {
  const coming = faces.filter((face) => personOfRow(face.row, face.cluster) !== target);
  return act(
    [...sourcesOf(coming), target],
    `${count(coming.length, "face")} moved to ${titleOf(target)}`,
    () =>
      coming.length
        ? [
            ...bySource(coming).flatMap(leave),
            ["same", [...partsOf(target), ...bySource(coming).map(({ rows }) => rows)], target.name],
          ]
        : null,
  );
}

// Each leaves by itself: nothing is said of them among one another.
function takeOut(faces) {
  const people_ = sourcesOf(faces);
  const words = `${faces.length === 1 ? shortName(faces[0]) : count(faces.length, "face")}: not ${
    people_.length === 1 ? titleOf(people_[0]) : "these people"
  }`;
  return act(people_, words, () =>
    bySource(faces).flatMap(({ rows, rest }) => rows.flatMap((row) => leave({ rows: [row], rest }))),
  );
}

const markNoFaces = (faces, yes) =>
  act(
    yes ? sourcesOf(faces) : [],
    `${count(faces.length, "image")}: ${yes ? "no face" : "a face after all"}`,
    () => [["notFaces", faces.map((face) => face.row), yes]],
  );
