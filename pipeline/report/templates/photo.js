// The photo that a face was found in, shown from its own place on this machine, with the face's box.
"use strict";

// Of a face of a shard: its photo's path, and its box in percent of the photo as displayed.
function photoOf(shard, at) {
  const box = shard.boxes?.[at];
  return box ? { path: shard.photos[box[0]], box: box.slice(1) } : null;
}

function photoFigure(face) {
  if (!face.photo) return null;
  const { path, box } = face.photo;
  const href = `file://${path.split("/").map(encodeURIComponent).join("/")}`;
  const [left, top, width, height] = box;
  const style = `left:${left}%;top:${top}%;width:${width}%;height:${height}%`;
  const image = element("img", { src: href, alt: `The photo, ${path}` });
  const shown = element(
    "a",
    { class: "shown", href, target: "_blank", rel: "noreferrer" },
    image,
    element("span", { class: "box", style, "aria-hidden": "true" }),
  );
  // Moved away, or of a kind that browsers do not show: its name says where it was.
  image.addEventListener("error", () => shown.remove(), { once: true });
  return element("figure", { class: "photo" }, shown, element("figcaption", {}, path));
}
