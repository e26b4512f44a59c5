// The report's data come as scripts that call deliver(), since a page from disk may fetch no file.
// index: what is known of every cluster from the start. faces_N: the faces of some clusters.
"use strict";

const dataFolder = document.currentScript.src.replace(/[^/]*$/, "");
const delivered = {};
const loading = {};
let index; // of the whole report
let offsets; // where each cluster's faces begin

window.deliver = (name, value) => {
  delivered[name] = value;
};

function load(name) {
  loading[name] ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = `${dataFolder}${name}.js`;
    script.onload = () => resolve(delivered[name]);
    script.onerror = () => {
      delete loading[name];
      reject(new Error(`${name}.js is missing from this report: make it again with sh run_report.sh`));
    };
    document.head.append(script);
  });
  return loading[name];
}

async function loadIndex() {
  index = await load("index");
  offsets = [0];
  for (const size of index.sizes) offsets.push(offsets.at(-1) + size);
}

const sizeOf = (cluster) => index.sizes[cluster];

// Where in an ascending list the last entry stands that is not above the value.
function lastUpTo(list, value) {
  let low = 0;
  let high = list.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (list[middle] <= value) low = middle;
    else high = middle - 1;
  }
  return low;
}

const shardOf = (cluster) => lastUpTo(index.shards, cluster);
const loadCluster = (cluster) => load(`faces_${shardOf(cluster)}`);
const loadAll = () => Promise.all(index.shards.map((_, number) => load(`faces_${number}`)));

function loadClusters(clusters) {
  return Promise.all([...new Set([...clusters].map(shardOf))].map((number) => load(`faces_${number}`)));
}

// The face at a place of a shard.
function faceAt(shard, at, cluster) {
  return {
    cluster,
    row: shard.rows[at],
    name: shard.names ? shard.names[at] : null,
    thumb: shard.thumbs ? shard.thumbs[at] : "",
    fit: shard.fits[at],
    alike: shard.alike[at],
    sketch: shard.sketches[at],
    rival: shard.rivals[at] || null,
    photo: photoOf(shard, at),
  };
}

// The faces of a cluster, most typical first; its shard is loaded.
function facesOf(cluster) {
  const number = shardOf(cluster);
  const shard = delivered[`faces_${number}`];
  const begin = offsets[cluster] - offsets[index.shards[number]];
  return Array.from({ length: sizeOf(cluster) }, (_, place) => faceAt(shard, begin + place, cluster));
}

// The face of this row in its cluster, whose shard is loaded.
function faceOf(row, cluster) {
  const number = shardOf(cluster);
  const shard = delivered[`faces_${number}`];
  shard.placeOf ??= new Map(shard.rows.map((one, at) => [one, at]));
  return faceAt(shard, shard.placeOf.get(row), cluster);
}

// The rows of a cluster whose file names hold the text; its shard is loaded.
function rowsMatching(cluster, text) {
  const number = shardOf(cluster);
  const shard = delivered[`faces_${number}`];
  shard.lower ??= shard.names.map((name) => name.toLowerCase());
  const begin = offsets[cluster] - offsets[index.shards[number]];
  const rows = [];
  for (let at = begin; at < begin + sizeOf(cluster); at++) {
    if (shard.lower[at].includes(text)) rows.push(shard.rows[at]);
  }
  return rows;
}

// Every face of the report: row, name, sketch and cluster; all shards are loaded.
function* everyFace() {
  for (let cluster = 0; cluster < index.sizes.length; cluster++) yield* facesOf(cluster);
}

const nearOf = (cluster) => index.near[cluster].map(([other, chance]) => ({ cluster: other, chance }));
