// The queue of questions: one at a time, the most valuable first.
"use strict";

const SIDE_FACES = 9; // shown of each side
let review = []; // the open questions

async function showReview() {
  review = await openQuestions(record.skipped);
  showToDo();
  const [question] = review;
  const box = byId("question");
  if (!question) {
    const skipped = record.skipped.size;
    const again = () => {
      record.skipped.clear();
      keepRecord();
      showReview();
    };
    box.replaceChildren(
      element("p", { class: "nothing" }, skipped ? "Nothing else is doubtful." : "Nothing doubtful left."),
      ...(skipped ? [button(`Look at the ${number(skipped)} skipped`, { onclick: again })] : []),
    );
    byId("progress").textContent = "";
    return;
  }
  const sides = await sidesOf(question);
  if (question !== review[0]) return;
  const answered = record.entries.slice(0, record.at).filter((entry) => entry.review).length;
  const progress = `${number(review.length)} to go${answered ? `, ${number(answered)} answered` : ""} `;
  byId("progress").replaceChildren(progress, likelihood(question.chance));
  const answer = (key, words, attributes = {}) =>
    button(element("span", {}, words, " ", element("kbd", {}, key.toUpperCase())), {
      "data-key": `answer ${key}`,
      "aria-keyshortcuts": key.toUpperCase(),
      onclick: () => answerQuestion(key),
      ...attributes,
    });
  keepFocus(() =>
    box.replaceChildren(
      element("div", { class: "sides" }, ...sides.map(showSide)),
      element(
        "div",
        { class: "answers" },
        answer("y", "Same", { class: "main" }),
        answer("n", "Different"),
        answer("s", "Skip"),
        answer("z", "Undo", { disabled: record.at === 0 }),
      ),
    ),
  );
}

// Title and faces of both sides of a question.
async function sidesOf(question) {
  if (question.cut) {
    await loadCluster(question.cut[0]);
    const person = personOfCluster(question.cut[0]);
    await loadPerson(person);
    return sidesOfCut(question.cut).map((faces, place) => ({
      title: place ? `The others of ${titleOf(person)}` : `Some of ${titleOf(person)}`,
      faces,
    }));
  }
  await loadPeople(question.people);
  return question.people.map((person) => ({ title: titleOf(person), person, faces: facesOfPerson(person) }));
}

function showSide({ title, person, faces }) {
  const shown = faces.slice(0, SIDE_FACES);
  return element(
    "section",
    { class: "side", "aria-label": title },
    element("h2", {}, person ? personLink(person) : title),
    element("p", { class: "why" }, count(faces.length, "face")),
    element(
      "ul",
      { class: `faces ${shown.length === 1 ? "one" : shown.length <= 4 ? "few" : "many"}` },
      ...shown.map((face) =>
        element(
          "li",
          {},
          element(
            "button",
            {
              type: "button",
              class: "face",
              title: face.name ?? `row ${face.row}`,
              "aria-label": shortName(face),
              onclick: () => openFace(face, faces),
            },
            picture(face.thumb, face.row),
          ),
        ),
      ),
    ),
  );
}

async function answerQuestion(key) {
  const [question] = review;
  if (key === "z") return undoneOrRedone(-1);
  if (!question) return undefined;
  if (key === "s") {
    record.skipped.add(question.key);
    keepRecord();
    return showReview();
  }
  const same = key === "y";
  const before = record.at;
  if (question.cut) await answerCut(personOfCluster(question.cut[0]), await facesOfCut(question.cut), same);
  else await (same ? samePeople : differentPeople)(...question.people);
  if (record.at > before) record.entries[record.at - 1].review = true;
  return showReview();
}

async function facesOfCut(cut) {
  await loadPerson(personOfCluster(cut[0]));
  return sidesOfCut(cut);
}
