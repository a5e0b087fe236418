"use strict";
// What the page itself must do: the zooming map, points, keys. All else is HTML that the server makes.
const $ = (id) => document.getElementById(id);
const token = new URLSearchParams(location.search).get("token");
if (token) history.replaceState(null, "", location.pathname); // it is in a cookie from now on
let shown = null, picked = 0, chosen = null, base = null, over = null, painted = "", busy = false, again = false;
let seen = null, coming = false, trained = null, wanted = 0, markers = new Map(), target = null, lead = true, line = Promise.resolve();

const map = L.map("map", { crs: L.CRS.Simple, attributionControl: false, zoomAnimation: false, fadeAnimation: false,
  doubleClickZoom: false, boxZoom: false, keyboard: false });
for (const pane of ["probe", "trained"]) map.createPane(pane);

async function act(what, words = {}) { // one after the other, in the order in which they were made
  const body = JSON.stringify({ do: what, ...words }), headers = { "X-Annotate": "1", "Content-Type": "application/json" };
  const said = await (line = line.then(() => fetch("act", { method: "POST", headers, body }).then((r) => r.json())
    .catch(() => ({ error: "the server is gone: start it again, nothing is lost" }))));
  if (what !== "view") $("message").textContent = said.error || "";
  if (what === "next" || what === "skip") lead = !said.error; // other tabs stay where they are
  if (what !== "view") await refresh();
  return !said.error;
}
async function refresh() {
  if (busy) { again = true; return; }
  busy = true;
  try {
    do {
      again = false;
      const answer = await fetch("state/" + wanted).catch(() => null);
      if (!answer) $("message").textContent = "the server is gone: start it again, nothing is lost";
      else if (answer.ok) draw(await answer.json());
    } while (again);
  } finally { busy = false; }
}
function draw(now) {
  const same = shown && shown.image === now.image, other = !same || shown.look !== now.look;
  if (!shown) lead = Boolean(now.offered); // a page that is opened anew goes to the place that is asked about
  shown = now;
  $("title").textContent = now.name + (now.read_only ? " (read-only)" : "");
  const colouring = document.activeElement && document.activeElement.type === "color";
  for (const [id, html] of Object.entries(now.panels)) // what is being pressed stays until it is let go
    if ($(id).said !== html && !(colouring && id === "classes") && !$(id).matches(":active")) $(id).innerHTML = $(id).said = html;
  if (now.damaged) $("message").textContent = now.damaged;
  if (other) open(now, same);
  points(now);
  overlay(now);
  compare(now);
  pick(Math.min(picked, Math.max(0, now.names.length - 1)));
  offer(now);
}
function open(now, same) {
  const scale = 2 ** -now.levels, [height, width] = now.size;
  map.options.crs = L.extend({}, L.CRS.Simple, { transformation: new L.Transformation(scale, 0, scale, 0) });
  for (const layer of [base, over, seen, trained]) if (layer) layer.remove();
  over = seen = trained = null; painted = ""; coming = false;
  markers.forEach((m) => m.remove()); markers = new Map(); chosen = null;
  const bounds = L.latLngBounds([0, 0], [height, width]);
  map.setMinZoom(0).setMaxZoom(now.levels + 5);
  if (!same) map.fitBounds(bounds, { animate: false });
  base = layer("image", now.look, now).addTo(map);
  view();
}
function layer(kind, version, now) {
  const [height, width] = now.size;
  const pane = { image: "tilePane", trained: "trained" }[kind] || "probe";
  return L.tileLayer(`${kind}/${version}/${now.image}/{z}/{x}/{y}`, { pane, bounds: [[0, 0], [height, width]], minZoom: 0,
    maxZoom: now.levels + 5, maxNativeZoom: now.levels, noWrap: true, keepBuffer: 3 });
}
function overlay(now) { // the new map takes the old one's place when all of it is there; until then no newer one is asked for
  const kind = $("confidence").checked ? "confidence" : "map", name = kind + now.painted + "/" + now.image;
  if (name === painted || (coming && now.painted)) return;
  painted = name;
  if (!now.painted) { for (const m of [over, seen]) if (m) m.remove(); over = seen = null; coming = false; return; }
  const fresh = over = layer(kind, now.painted, now).setOpacity(0).setZIndex(10);
  coming = true;
  fresh.once("load", () => {
    if (fresh !== over) return; else if (seen) seen.remove();
    seen = fresh.setOpacity($("opacity").value / 100); coming = false; map.getContainer().dataset.painted = now.painted;
    overlay(shown);
  }).addTo(map);
}
function compare(now) { // the trained network's map lies left of the slider's place, the probe's right of it
  const kept = now.trained && `${now.trained}/${now.image}`;
  if (trained && trained.kept !== kept) { trained.remove(); trained = null; }
  if (kept && !trained) { trained = layer("trained", now.trained, now).setOpacity($("opacity").value / 100).addTo(map); trained.kept = kept; }
  $("compare").hidden = !kept;
  swipe();
}
function swipe() {
  const a = map.containerPointToLayerPoint([0, 0]), b = map.containerPointToLayerPoint(map.getSize());
  const x = trained && !$("confidence").checked ? a.x + ((b.x - a.x) * $("swipe").value) / 100 : a.x;
  map.getPane("trained").style.clip = `rect(${a.y}px,${x}px,${b.y}px,${a.x}px)`;
  map.getPane("probe").style.clip = `rect(${a.y}px,${b.x}px,${b.y}px,${x}px)`;
}
function points(now) {
  const there = new Map(now.points.map((p) => [`${now.image}/${p.join("/")}/${now.colours[p[2]]}`, p]));
  for (const [key, m] of markers) if (!there.has(key)) { m.remove(); markers.delete(key); }
  for (const [key, [row, col, label, kind]] of there) {
    if (markers.has(key)) continue;
    const icon = L.divIcon({ className: "point " + kind, iconSize: [14, 14] });
    const m = L.marker([row + 0.5, col + 0.5], { icon, draggable: kind === "points" && !now.read_only, title: now.names[label] });
    const remove = () => act("remove", { image: now.image, row, col, layer: kind });
    m.addTo(map).getElement().style.background = now.colours[label];
    m.remove_point = remove;
    m.on("contextmenu", remove);
    m.on("click mouseover dragstart", () => choose(m)).on("mouseout", () => choose(null));
    m.on("dragend", async () => {
      const to = m.getLatLng();
      if (!(await act("move", { image: now.image, row, col, to_row: Math.floor(to.lat), to_col: Math.floor(to.lng) })))
        m.setLatLng([row + 0.5, col + 0.5]);
    });
    markers.set(key, m);
  }
}
function choose(m) {
  if (chosen && chosen.getElement()) chosen.getElement().classList.remove("chosen");
  chosen = m;
  if (m) m.getElement().classList.add("chosen");
}
function pick(k) {
  picked = k;
  document.querySelectorAll("#classes tr").forEach((tr) => tr.classList.toggle("picked", tr.dataset.class === String(k)));
}
function offer(now) {
  for (const pane of ["probe", "trained"]) map.getPane(pane).style.visibility = now.offered && now.offered.check ? "hidden" : "";
  const place = now.offered && `${now.offered.image}/${now.offered.row}/${now.offered.col}`;
  const here = now.offered && now.offered.image === now.image;
  if (target && (!here || target.place !== place)) { target.remove(); target = null; }
  if (!here) { if (now.offered && lead) go(now.offered.image); return; }
  const at = [now.offered.row + 0.5, now.offered.col + 0.5];
  if (!target) target = L.circleMarker(at, { radius: 12, color: "#fff", weight: 3, fill: false, interactive: false }).addTo(map);
  target.place = place;
  if (lead) map.setView(at, Math.max(map.getZoom(), now.levels), { animate: false });
  lead = false;
}
function go(k) { wanted = (k + shown.images) % shown.images; refresh(); }
function view() {
  if (!shown) return;
  const b = map.getBounds(), row = Math.floor(b.getSouth()), col = Math.floor(b.getWest());
  act("view", { image: shown.image, row: Math.min(row, Math.floor(b.getNorth())), col,
    height: Math.ceil(Math.abs(b.getNorth() - b.getSouth())), width: Math.ceil(b.getEast() - b.getWest()) });
}
function place(label, at) { // a check point is answered by its class, wherever the pointer is
  const asked = shown.offered;
  if (asked && asked.check) return act("add", { image: asked.image, row: asked.row, col: asked.col, label, check: true });
  return act("add", { image: shown.image, row: Math.floor(at.lat), col: Math.floor(at.lng), label });
}

map.on("moveend", view);
map.on("move zoom resize viewreset", () => map._loaded && swipe());
map.on("click", (e) => { // the middle of the screen's pixel, which may be one of the image's
  if (!(shown.offered && shown.offered.check)) place(picked, map.containerPointToLatLng(e.containerPoint.add([0.5, 0.5])));
});
map.on("contextmenu", (e) => e.originalEvent.preventDefault());

document.addEventListener("click", async (e) => {
  const b = e.target.closest("button");
  if (!b) return;
  const data = { ...b.dataset };
  if ("do" in data) { const words = { ...data }; delete words.do; if ("theirs" in words) words.theirs = words.theirs === "1"; act(data.do, words); }
  else if ("pick" in data) { pick(+data.pick); if (shown.offered && shown.offered.check) place(+data.pick); }
  else if ("image" in data) go(+data.image);
  else if ("rename" in data) { const name = prompt("name of the class", data.name); if (name !== null) act("name_class", { label: +data.rename, name }); }
  else if ("newClass" in data) { const name = prompt("name of the new class"); if (name !== null) act("add_class", { name }); }
  else if (b.id === "previous" || b.id === "following") step(b.id === "previous" ? -1 : 1);
  b.blur();
});
function step(by) {
  const items = [...document.querySelectorAll("#images li")];
  for (let k = 1; k <= items.length; k++) {
    const at = (((shown.image + by * k) % items.length) + items.length) % items.length;
    if (!$("without").checked || items[at].classList.contains("empty")) return go(at);
  }
}

document.addEventListener("change", (e) => {
  if ("colour" in e.target.dataset) { const colour = e.target.value; e.target.blur(); act("colour_class", { label: +e.target.dataset.colour, colour }); }
  else if (e.target.id === "confidence") { overlay(shown); swipe(); }
  else if (e.target.id === "without") $("images").classList.toggle("without", e.target.checked);
});
document.addEventListener("submit", (e) => { e.preventDefault(); act(e.target.dataset.do, Object.fromEntries(new FormData(e.target))); });
$("opacity").addEventListener("input", () => [seen, trained].forEach((m) => m && m.setOpacity($("opacity").value / 100)));
$("swipe").addEventListener("input", swipe);

document.addEventListener("keydown", (e) => {
  if (e.target.matches("input:not([type=range]):not([type=checkbox])") || !shown) return;
  const key = e.key.toLowerCase(), ctrl = e.ctrlKey || e.metaKey;
  if (ctrl && key === "z") { e.preventDefault(); act(e.shiftKey ? "redo" : "undo"); }
  else if (ctrl && key === "y") { e.preventDefault(); act("redo"); }
  else if (ctrl || e.altKey) return;
  else if (/^[1-9]$/.test(key) && +key <= shown.names.length) { pick(+key - 1); if (shown.offered && shown.offered.check) place(+key - 1); }
  else if ((key === "delete" || key === "backspace") && chosen) chosen.remove_point();
  else if (key === "n") act("next");
  else if (key === "s") act("skip");
  else if (key === "c") $("confidence").click();
  else if (key === "[" || key === "]") step(key === "[" ? -1 : 1);
});

new EventSource("events").onmessage = refresh;
refresh();
