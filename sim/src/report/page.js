'use strict';
const story = JSON.parse(document.getElementById('story').textContent);
const $ = (id) => document.getElementById(id);
const canvas = $('picture');
const pen = canvas.getContext('2d');

const end = Math.max(1, story.end_us);
let view = { from: 0, to: end };

const ROW = 34, STRIP = 22, LEFT = 118, TOP = 26, MOST_ROWS = 400, MOST_STRIPS = 12;
const STATUS = {
  starting: '#8a9bb0', running: '#2e9e5b', generation_in_progress: '#3b82d6',
  generation_failed: '#d9822b', engine_unreachable: '#c0407a', stopped: '#6e7781',
  finished: '#7a5cc0',
};
const KINDS = {
  http: { color: '#3b82d6', name: 'HTTP' },
  store: { color: '#2e9e5b', name: 'store' },
  stream: { color: '#a06bd0', name: 'streams' },
};
const BANDS = {
  down: 'rgba(198,40,40,.22)', cut: 'rgba(217,130,43,.24)', slow: 'rgba(200,170,40,.22)',
  clock: 'rgba(90,140,220,.20)', other: 'rgba(130,130,130,.20)',
};

let game = '', find = '';
const hidden = new Set();
let hits = [];

const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function told(us) {
  const s = us / 1e6;
  if (story.end_us > 7.2e9) {
    const day = Math.floor(s / 86400), rest = s - day * 86400;
    const h = String(Math.floor(rest / 3600)).padStart(2, '0');
    const m = String(Math.floor(rest / 60) % 60).padStart(2, '0');
    return `d${day} ${h}:${m}:${(rest % 60).toFixed(1).padStart(4, '0')}`;
  }
  return `${s.toFixed(view.to - view.from < 2e4 ? 6 : 3)} s`;
}

function concerns(thing) {
  if (game && thing.game && thing.game !== game) return false;
  if (game && thing.game === undefined && thing.kind && thing.to !== undefined) return false;
  if (find && !(thing.label || '').toLowerCase().includes(find)) return false;
  return true;
}
const shownArrow = (arrow) => !hidden.has(arrow.kind) && concerns(arrow);

// Lanes without a part in what is shown make room, where one game was chosen.
function lanes() {
  if (!game) return story.lanes.map((_, i) => i);
  const used = new Set();
  for (const a of story.arrows) if (shownArrow(a)) { used.add(a.from); used.add(a.to); }
  for (const m of story.marks) if (m.game === game) used.add(m.lane);
  story.lanes.forEach((lane, i) => { if (lane.always) used.add(i); });
  return [...used].sort((a, b) => a - b);
}
function strips() {
  const all = story.games.filter((g) => !game || g.game === game);
  return all.slice(0, MOST_STRIPS);
}

// The things of a sorted list that begin at or after an instant, from the first on.
function firstAt(list, at) {
  let low = 0, high = list.length;
  while (low < high) {
    const mid = (low + high) >> 1;
    if (list[mid].at_us < at) low = mid + 1; else high = mid;
  }
  return low;
}
const longest = story.arrows.reduce((most, a) => Math.max(most, (a.arrived_us ?? a.at_us) - a.at_us), 0);

function draw() {
  const width = canvas.clientWidth, rows = lanes(), games = strips();
  const height = TOP + games.length * STRIP + rows.length * ROW + 14;
  const ratio = window.devicePixelRatio || 1;
  canvas.width = width * ratio;
  canvas.height = height * ratio;
  canvas.style.height = `${height}px`;
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  pen.font = '12px system-ui, sans-serif';
  pen.textBaseline = 'middle';
  const span = view.to - view.from, wide = width - LEFT;
  const x = (us) => LEFT + ((us - view.from) / span) * wide;
  const laneTop = TOP + games.length * STRIP;
  const y = new Map(rows.map((lane, i) => [lane, laneTop + i * ROW + ROW / 2]));
  const text = style('--text'), faint = style('--faint'), line = style('--line'), bad = style('--bad');
  hits = [];

  axis(x, width, height, faint, line);
  pen.save();
  pen.beginPath();
  pen.rect(LEFT, 0, wide, height);
  pen.clip();
  games.forEach((g, i) => strip(g, TOP + i * STRIP, x));
  for (const band of story.bands) {
    if (band.to_us < view.from || band.from_us > view.to) continue;
    const a = y.get(band.lane), b = band.other === undefined ? a : y.get(band.other);
    if (a === undefined && b === undefined) continue;
    const top = Math.min(a ?? b, b ?? a), bottom = Math.max(a ?? b, b ?? a);
    const left = x(band.from_us), w = Math.max(2, x(band.to_us) - left);
    pen.fillStyle = BANDS[band.kind] || BANDS.other;
    pen.fillRect(left, top - ROW / 2 + 2, w, bottom - top + ROW - 4);
    hits.push({ left, right: left + w, top: top - ROW / 2, bottom: bottom + ROW / 2, thing: band });
  }
  for (const at of y.values()) {
    pen.strokeStyle = line;
    pen.beginPath();
    pen.moveTo(LEFT, at);
    pen.lineTo(width, at);
    pen.stroke();
  }
  const seen = [];
  for (let i = firstAt(story.arrows, view.from - longest); i < story.arrows.length; i++) {
    const a = story.arrows[i];
    if (a.at_us > view.to) break;
    if ((a.arrived_us ?? a.at_us) < view.from || !shownArrow(a)) continue;
    seen.push(a);
    arrow(a, x, y, bad);
  }
  for (let i = firstAt(story.marks, view.from); i < story.marks.length; i++) {
    const m = story.marks[i];
    if (m.at_us > view.to) break;
    if (!concerns(m) || !y.has(m.lane)) continue;
    seen.push(m);
    const left = x(m.at_us), at = y.get(m.lane);
    pen.fillStyle = m.bad ? bad : text;
    pen.beginPath();
    pen.arc(left, at, m.bad ? 4.5 : 3, 0, 7);
    pen.fill();
    hits.push({ left: left - 5, right: left + 5, top: at - 6, bottom: at + 6, thing: m });
  }
  if (story.broken) {
    const left = x(story.broken.at_us);
    pen.strokeStyle = bad;
    pen.lineWidth = 2;
    pen.beginPath();
    pen.moveTo(left, 0);
    pen.lineTo(left, height);
    pen.stroke();
    pen.lineWidth = 1;
    pen.fillStyle = bad;
    pen.textAlign = left > width - 220 ? 'right' : 'left';
    pen.fillText(story.broken.promise, left + (left > width - 220 ? -5 : 5), TOP - 6);
    pen.textAlign = 'left';
  }
  pen.restore();
  pen.fillStyle = text;
  for (const [lane, at] of y) pen.fillText(story.lanes[lane].name, 8, at, LEFT - 14);
  pen.fillStyle = faint;
  games.forEach((g, i) => pen.fillText(g.game, 8, TOP + i * STRIP + STRIP / 2, LEFT - 14));
  table(seen);
}

function axis(x, width, height, faint, line) {
  const span = view.to - view.from;
  const rough = span / 8, ten = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((n) => n * ten).find((n) => n >= rough);
  for (let at = Math.ceil(view.from / step) * step; at <= view.to; at += step) {
    const left = x(at);
    pen.strokeStyle = line;
    pen.beginPath();
    pen.moveTo(left, TOP - 6);
    pen.lineTo(left, height);
    pen.stroke();
    pen.fillStyle = faint;
    pen.fillText(told(at), Math.min(left + 3, width - 70), 9);
  }
}

function strip(g, top, x) {
  const spans = g.spans;
  spans.forEach((s, i) => {
    const until = i + 1 < spans.length ? spans[i + 1].at_us : end;
    if (until < view.from || s.at_us > view.to) return;
    const left = x(s.at_us), w = Math.max(1, x(until) - left);
    pen.fillStyle = STATUS[s.status] || '#999';
    pen.globalAlpha = 0.75;
    pen.fillRect(left, top + 3, w, STRIP - 6);
    pen.globalAlpha = 1;
    if (w > 26) {
      pen.fillStyle = '#fff';
      pen.fillText(String(s.turn), Math.max(left, LEFT) + 4, top + STRIP / 2);
    }
    const label = `${s.status}, turn ${s.turn}`;
    hits.push({ left, right: left + w, top, bottom: top + STRIP,
      thing: { at_us: s.at_us, label, game: g.game } });
  });
}

function arrow(a, x, y, bad) {
  const from = y.get(a.from), to = y.get(a.to);
  if (from === undefined || to === undefined) return;
  const left = x(a.at_us), lost = a.arrived_us === undefined || a.arrived_us === null;
  const right = lost ? left + 6 : x(a.arrived_us);
  const there = lost ? from + (to - from) * 0.6 : to;
  pen.strokeStyle = pen.fillStyle = lost || a.bad ? bad : (KINDS[a.kind] || { color: '#888' }).color;
  pen.setLineDash(lost ? [4, 3] : []);
  pen.beginPath();
  pen.moveTo(left, from);
  pen.lineTo(right, there);
  pen.stroke();
  pen.setLineDash([]);
  const turn = Math.atan2(there - from, right - left);
  if (lost) {
    pen.fillText('×', right - 3, there);
  } else {
    pen.beginPath();
    pen.moveTo(right, there);
    pen.lineTo(right - 7 * Math.cos(turn - 0.4), there - 7 * Math.sin(turn - 0.4));
    pen.lineTo(right - 7 * Math.cos(turn + 0.4), there - 7 * Math.sin(turn + 0.4));
    pen.fill();
  }
  hits.push({ line: [left, from, right, there], thing: a });
}

function describe(thing) {
  const name = (i) => story.lanes[i].name;
  if (thing.to !== undefined) {
    const lost = thing.arrived_us === undefined || thing.arrived_us === null;
    const took = lost ? 'never arrives' : `arrives ${told(thing.arrived_us)}`;
    return ['message', `${name(thing.from)} → ${name(thing.to)}`, `${thing.label} (${took})`];
  }
  if (thing.from_us !== undefined) {
    const other = thing.other === undefined ? '' : ` – ${name(thing.other)}`;
    return ['fault', name(thing.lane) + other, `${thing.label}, until ${told(thing.to_us)}`];
  }
  return ['event', thing.lane === undefined ? '' : name(thing.lane), thing.label];
}

function table(seen) {
  const bands = story.bands.filter((b) => b.to_us >= view.from && b.from_us <= view.to && !find);
  const all = [...seen, ...bands].map((thing) => ({ at: thing.at_us ?? thing.from_us, thing }));
  if (story.broken && story.broken.at_us >= view.from && story.broken.at_us <= view.to) {
    all.push({ at: story.broken.at_us, thing: story.broken, broken: true });
  }
  all.sort((a, b) => a.at - b.at);
  const kept = all.slice(0, MOST_ROWS);
  $('count').textContent = all.length > kept.length
    ? `${all.length}, the first ${kept.length} listed: come closer for more` : `${all.length}`;
  $('rows').replaceChildren(...kept.map(({ at, thing, broken }) => {
    const row = document.createElement('tr');
    const [what, where, detail] = broken
      ? ['broken promise', '', `${thing.promise}: ${thing.text}`] : describe(thing);
    row.className = broken || thing.bad ? 'bad' : '';
    for (const cell of [told(at), what, where, thing.game || '', detail]) {
      row.appendChild(document.createElement('td')).textContent = cell;
    }
    return row;
  }));
}

function look(from, to) {
  const least = 50;
  let span = Math.min(Math.max(to - from, least), end);
  let begin = Math.min(Math.max(from, 0), end - span);
  view = { from: begin, to: begin + span };
  requestAnimationFrame(draw);
}
function zoom(by, at) {
  const span = (view.to - view.from) * by;
  const share = (at - view.from) / (view.to - view.from);
  look(at - span * share, at - span * share + span);
}
const middle = () => (view.from + view.to) / 2;
function toBroken() {
  const span = Math.min(end, Math.max(end / 50, 2e6));
  if (story.broken.game) choose(story.broken.game);
  look(story.broken.at_us - span * 0.8, story.broken.at_us + span * 0.2);
}
function choose(name) {
  game = name;
  $('game').value = name;
}
const under = (event) => {
  const box = canvas.getBoundingClientRect();
  const px = event.clientX - box.left;
  return { px, py: event.clientY - box.top,
    at: view.from + ((px - LEFT) / (box.width - LEFT)) * (view.to - view.from) };
};

function near(line, px, py) {
  const [ax, ay, bx, by] = line;
  const length = (bx - ax) ** 2 + (by - ay) ** 2 || 1;
  const along = Math.min(1, Math.max(0, ((px - ax) * (bx - ax) + (py - ay) * (by - ay)) / length));
  return Math.hypot(px - ax - along * (bx - ax), py - ay - along * (by - ay)) < 5;
}
function pointed(px, py) {
  for (let i = hits.length - 1; i >= 0; i--) {
    const hit = hits[i];
    const is = hit.line ? near(hit.line, px, py)
      : px >= hit.left && px <= hit.right && py >= hit.top && py <= hit.bottom;
    if (is) return hit.thing;
  }
  return null;
}

let drag = null;
canvas.addEventListener('wheel', (event) => {
  event.preventDefault();
  zoom(event.deltaY > 0 ? 1.25 : 0.8, under(event).at);
}, { passive: false });
canvas.addEventListener('pointerdown', (event) => {
  canvas.setPointerCapture(event.pointerId);
  drag = { px: event.clientX, from: view.from, to: view.to };
});
canvas.addEventListener('pointerup', () => { drag = null; });
canvas.addEventListener('pointermove', (event) => {
  const { px, py } = under(event);
  if (drag) {
    const by = ((event.clientX - drag.px) / (canvas.clientWidth - LEFT)) * (drag.to - drag.from);
    look(drag.from - by, drag.to - by);
    return;
  }
  const thing = pointed(px, py), tip = $('tip');
  tip.hidden = !thing;
  if (thing) {
    const [what, where, detail] = describe(thing);
    tip.textContent = [`${told(thing.at_us ?? thing.from_us)}  ${what}`, where, thing.game, detail]
      .filter(Boolean).join('\n');
    tip.style.left = `${Math.min(px + 14, canvas.clientWidth - 320)}px`;
    tip.style.top = `${py + 12}px`;
  }
});
canvas.addEventListener('pointerleave', () => { $('tip').hidden = true; });
document.addEventListener('keydown', (event) => {
  if (event.target.tagName === 'INPUT' || event.target.tagName === 'SELECT') return;
  const step = (view.to - view.from) * 0.2;
  const keys = {
    '+': () => zoom(0.7, middle()), '=': () => zoom(0.7, middle()), '-': () => zoom(1.4, middle()),
    '0': () => look(0, end), b: () => story.broken && toBroken(),
    ArrowLeft: () => look(view.from - step, view.to - step),
    ArrowRight: () => look(view.from + step, view.to + step),
  };
  if (!keys[event.key] || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  keys[event.key]();
});

$('game').append(new Option('all of them', ''), ...story.games.map((g) => new Option(g.game, g.game)));
$('game').addEventListener('change', (event) => { choose(event.target.value); draw(); });
$('find').addEventListener('input', (event) => { find = event.target.value.toLowerCase(); draw(); });
for (const [kind, { color, name }] of Object.entries(KINDS)) {
  const label = document.createElement('label'), box = document.createElement('input');
  box.type = 'checkbox';
  box.checked = true;
  box.addEventListener('change', () => { box.checked ? hidden.delete(kind) : hidden.add(kind); draw(); });
  label.append(box, ` ${name}`);
  label.style.color = color;
  $('kinds').append(label);
}
$('all').addEventListener('click', () => look(0, end));
$('closer').addEventListener('click', () => zoom(0.5, middle()));
$('farther').addEventListener('click', () => zoom(2, middle()));
for (const [name, value] of story.facts) {
  const pair = document.createElement('div');
  pair.appendChild(document.createElement('dt')).textContent = name;
  pair.appendChild(document.createElement('dd')).textContent = value;
  $('facts').append(pair);
}
for (const [status, color] of Object.entries(STATUS)) {
  const patch = document.createElement('i');
  patch.style.background = color;
  $('legend').append(patch, status.replaceAll('_', ' '));
}
if (story.broken) {
  $('verdict').className = 'bad';
  $('verdict').textContent = `Broken: ${story.broken.promise}. ${story.broken.text}`;
  $('broken').hidden = false;
  $('broken').addEventListener('click', toBroken);
} else {
  $('verdict').textContent = 'Every promise was kept.';
}
window.addEventListener('resize', draw);
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', draw);
if (story.broken) toBroken();
// At once, and not with the next frame.
draw();
document.documentElement.dataset.ready = 'yes';
