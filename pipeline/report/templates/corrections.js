// What was said of faces, and what follows for the people shown. Nothing here touches the page.
// said: {people: [{name, hidden, parts: [rows]}], apart: [[rows, rows]], not_faces: rows}; rows are
// lines of the file list. A part is what was shown as one person when it was said: where a later run
// finds most of a part in one cluster, that cluster is of the person. The stage that finds the people
// follows the same rules (apply.py); a test holds both together.
"use strict";

const NOTHING_SAID = { people: [], apart: [], not_faces: [] };

const rowsOfSaid = (person) => person.parts.flat();
const outside = (rows, set) => rows.filter((row) => !set.has(row));
const inside = (rows, set) => rows.filter((row) => set.has(row));

// Every way to say something: from what was said before to what is said then. The later word holds.
const SAYINGS = {
  // The faces of all parts are one person, who keeps the name that any of them had, or gets one.
  same(said, parts, name) {
    const rows = new Set(parts.flat());
    const met = said.people.filter((person) => rowsOfSaid(person).some((row) => rows.has(row)));
    const person = {
      name: name ?? met.find((one) => one.name)?.name ?? null,
      hidden: met.some((one) => one.hidden),
      parts: refined(
        met.flatMap((one) => one.parts),
        parts,
      ),
    };
    const all = new Set(rowsOfSaid(person));
    return tidied({
      people: [...said.people.filter((one) => !met.includes(one)), person],
      apart: said.apart.flatMap(([one, other]) => [
        [outside(one, all), other],
        [inside(one, all), outside(other, all)],
      ]),
      not_faces: outside(said.not_faces, rows),
    });
  },

  // None of `rows` is the person of `others`.
  different(said, rows, others) {
    const leaving = new Set(rows);
    const staying = new Set(others);
    const isSplit = (person) => {
      const all = rowsOfSaid(person);
      return all.some((row) => leaving.has(row)) && all.some((row) => staying.has(row));
    };
    return tidied({
      ...said,
      people: said.people.map((person) => (isSplit(person) ? withoutRows(person, leaving) : person)),
      apart: [...said.apart, [rows, others]],
    });
  },

  // The faces are one person of this name; null takes a name away.
  called(said, rows, name) {
    return withPerson(said, rows, { name });
  },

  // The person of these faces is not to be seen or exported.
  hidden(said, rows, hidden) {
    return withPerson(said, rows, { hidden });
  },

  // The images show no face.
  notFaces(said, rows, yes) {
    const set = new Set(rows);
    const rest = outside(said.not_faces, set);
    if (!yes) return { ...said, not_faces: rest };
    return tidied({
      people: said.people.map((person) => withoutRows(person, set)),
      apart: said.apart.map(([one, other]) => [outside(one, set), outside(other, set)]),
      not_faces: [...rest, ...rows],
    });
  },

  // Forget one thing that was said: the place of a person, a pair or a face in its list.
  forget(said, kind, place) {
    return { ...said, [kind]: said[kind].filter((_, at) => at !== place) };
  },

  // What a file says, in place of all that was said.
  load(_, loaded) {
    return loaded;
  },
};

// Parts of which each lies in one of the first and in one of the second, or outside of all: that two parts
// are one person was said, of the faces in one part it was not.
function refined(first, second) {
  const placeIn = (parts) => new Map(parts.flatMap((part, place) => part.map((row) => [row, place])));
  const [one, other] = [placeIn(first), placeIn(second)];
  const rows = [...new Set([...one.keys(), ...other.keys()])];
  return [...byKey(rows, (row) => `${one.get(row)} ${other.get(row)}`).values()];
}

const say = (said, sayings) => sayings.reduce((so, [kind, ...args]) => SAYINGS[kind](so, ...args), said);

function withPerson(said, rows, change) {
  const made = SAYINGS.same(said, [rows]);
  return { ...made, people: [...made.people.slice(0, -1), { ...made.people.at(-1), ...change }] };
}

const withoutRows = (person, rows) => ({
  ...person,
  parts: person.parts.map((part) => outside(part, rows)),
});

function tidied(said) {
  return {
    people: said.people
      .map((person) => ({ ...person, parts: person.parts.filter((part) => part.length) }))
      .filter((person) => person.parts.length),
    apart: said.apart.filter(([one, other]) => one.length && other.length),
    not_faces: said.not_faces,
  };
}

const sayingsCount = (said) => said.people.length + said.apart.length + said.not_faces.length;

function rowsSpokenOf(said) {
  return new Set([...said.people.flatMap(rowsOfSaid), ...said.apart.flat(2), ...said.not_faces]);
}

// --- what follows -------------------------------------------------------------------------------------

// The label of each cluster and of each row spoken of, where it is not that of its cluster; -1 for what
// is no face. `clusterOf` gives a row's cluster, -1 for none; `sizeOf` a cluster's faces; `count` is
// how many clusters there are: labels from there on are new.
function settle(said, clusterOf, sizeOf, count) {
  const gone = new Set(said.not_faces);
  const placed = (row) => !gone.has(row) && clusterOf(row) >= 0;
  const people = said.people.map((person) => rowsOfSaid(person).filter(placed));
  const personOf = new Map(people.flatMap((rows, number) => rows.map((row) => [row, number])));
  const foes = foesOf(people, personOf, said.apart);
  const goneOf = byKey([...gone], clusterOf);
  const facesIn = (cluster) => sizeOf(cluster) - (goneOf.get(cluster)?.length ?? 0);
  const together = peopleTogether(said.people, people, foes, placed, clusterOf, facesIn);
  const ofCluster = new Map();
  const ofRow = new Map([...gone].map((row) => [row, -1]));
  let fresh = count;
  for (const group of new Set(together)) {
    for (const cluster of group.clusters) ofCluster.set(cluster, fresh);
    for (const number of group.people) for (const row of people[number]) ofRow.set(row, fresh);
    fresh += 1;
  }
  const labelOf = (row) => ofRow.get(row) ?? ofCluster.get(clusterOf(row)) ?? clusterOf(row);
  for (const pair of said.apart) {
    const [near, far] = pair.map((rows) => byKey(rows, labelOf));
    for (const label of [...near.keys()].filter((one) => one >= 0 && far.has(one))) {
      for (const row of leaving(near.get(label), far.get(label), personOf)) ofRow.set(row, fresh);
      fresh += 1;
    }
  }
  return { ofCluster, ofRow, labelOf };
}

// Of faces that must part: those of no person that was spoken of, else the fewer.
function leaving(near, far, personOf) {
  if (near.some((row) => personOf.has(row))) return far;
  if (far.some((row) => personOf.has(row))) return near;
  return near.length <= far.length ? near : far;
}

function byKey(rows, keyOf) {
  const found = new Map();
  for (const row of rows) {
    const key = keyOf(row);
    if (found.has(key)) found.get(key).push(row);
    else found.set(key, [row]);
  }
  return found;
}

// For each person the rows that are said to be somebody else.
function foesOf(people, personOf, apart) {
  const foes = people.map(() => new Set());
  for (const [one, other] of [...apart, ...apart.map(([first, second]) => [second, first])]) {
    for (const number of new Set(one.map((row) => personOf.get(row)))) {
      if (number === undefined) continue;
      for (const row of other) foes[number].add(row);
    }
  }
  return foes;
}

// For each person the group of people who share a cluster, with the clusters that they take whole.
function peopleTogether(saidPeople, people, foes, placed, clusterOf, sizeOf) {
  const claims = new Map();
  saidPeople.forEach((person, number) => {
    const own = byKey(people[number], clusterOf);
    const against = byKey([...foes[number]].filter(placed), clusterOf);
    for (const part of person.parts) {
      const shared = [...byKey(part.filter(placed), clusterOf)];
      const more = ([a, rowsOfA], [b, rowsOfB]) =>
        rowsOfB.length - rowsOfA.length || sizeOf(a) - sizeOf(b) || a - b;
      const home = shared.sort(more)[0]?.[0];
      if (home === undefined || own.get(home).length < (against.get(home)?.length ?? 0)) continue;
      claims.set(`${number} ${home}`, { own: own.get(home).length, home, number });
    }
  });
  const together = people.map((_, number) => ({ people: [number], clusters: [] }));
  const owner = new Map();
  const first = (a, b) => b.own - a.own || a.number - b.number || a.home - b.home;
  for (const { home, number } of [...claims.values()].sort(first)) {
    if (!owner.has(home)) owner.set(home, number);
    const [one, other] = [together[owner.get(home)], together[number]];
    if (owner.get(home) === number) {
      one.clusters.push(home);
    } else if (one !== other && mayJoin(one, other, saidPeople, people, foes)) {
      const joined = {
        people: [...one.people, ...other.people],
        clusters: [...one.clusters, ...other.clusters],
      };
      for (const member of joined.people) together[member] = joined;
    }
  }
  return together;
}

function mayJoin(one, other, saidPeople, people, foes) {
  const names = new Set([...one.people, ...other.people].map((number) => saidPeople[number].name));
  names.delete(null);
  const areFoes = (a) => other.people.some((b) => people[b].some((row) => foes[a].has(row)));
  return names.size < 2 && !one.people.some(areFoes);
}
