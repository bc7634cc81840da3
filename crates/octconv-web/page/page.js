// The page: draws, asks the network, times and checks. All computing is in octconv/, the package for npm.
import init, { Engine, describe, version } from "./octconv/octconv.js?v=0";

// What went wrong before this line, index.html says.
document.documentElement.dataset.begun = "yes";

// That of this file, in the form "?v=1": what is fetched belongs to the same build.
const VERSION = new URL(import.meta.url).search;

const $ = (id) => document.getElementById(id);
const PICTURES = ["zero.png", "one.png", "two.png", "three.jpg", "four.png", "five.png", "six.png", "seven.png",
  "eight.jpg", "nine.png"];
const FIRST = "three.jpg";

// `engine` measures and checks. The network is the GPU's if that could make it, else the reference's.
let engine, digits, network, onGpu = false;
// Whether the engine is being opened, and a measurement or a check that is under way.
let opening = false, working = null;

// ---------------------------------------------------------------- messages

// `broken`: nothing else can help any more. `passing`: the message is about one answer, and goes with the next that comes. Then
// what was there before is there again.
let broken = false, passing = false, lasting = null;

function say(text, { again = false, passes = false } = {}) {
  if (broken) return;
  if (!passes) lasting = null;
  else if (!passing && !$("message").hidden) lasting = [$("message-text").textContent, { again: !$("again").hidden }];
  passing = passes;
  $("message-text").textContent = text;
  $("message").hidden = false;
  $("again").hidden = !again;
}

function forgive() {
  if (!passing) return;
  $("message").hidden = true;
  passing = false;
  if (lasting) say(...lasting);
}

const isLost = (error) => error?.name === "DeviceLostError";
const messageOf = (error) => error?.message ?? String(error);

// Shows what went wrong with opening or, if it `passes`, with one answer. A lost device can be opened again.
function fail(error, { passes = false } = {}) {
  console.warn(error);
  if (isLost(error)) {
    $("dot").className = "dot lost";
    $("device").textContent = "The GPU is lost";
    const first = $("report").hidden ? "" : " To keep the report below, save it first.";
    say(`The browser took the GPU away (${messageOf(error)}).${first}`, { again: true });
  } else {
    const again = !passes && ["GpuError", "OutOfMemoryError", "FetchError"].includes(error?.name);
    say(messageOf(error), { again, passes });
  }
}

// After what nothing catches, such as a panic in WebAssembly, some promises never settle. Only loading the page again helps:
// opening the GPU again would wait for them.
function breakDown(error, message) {
  // A message that is there may say why.
  const before = $("message").hidden ? "" : `${$("message-text").textContent} `;
  const what = error?.message || message || error;
  say(`${before}This page has failed (${what}). Please reload it. The browser's console may say more.`);
  broken = true;
}
addEventListener("error", (event) => breakDown(event.error, event.message));
addEventListener("unhandledrejection", (event) => breakDown(event.reason));

// What went wrong with a picture stands beside the paper, until something else is on it.
function sayOfPicture(text = readable ? "" : HIDES) {
  // Screen readers would say again what stays.
  if ($("picture-said").textContent === text) return;
  $("picture-said").hidden = !text;
  $("picture-said").textContent = text;
}

// Has screen readers say it.
function speak(text) {
  $("spoken").textContent = text;
}

// ---------------------------------------------------------------- opening

// Frees an engine or a network once no answer, no maps and no work use it.
function release(old) {
  if (old) Promise.allSettled([asking, showing, working]).then(() => old.free()).catch(console.warn);
}

// Opens the engine and the network, has it answer by `answerFirst`, and times it. Measuring and checking would disturb that.
async function open(answerFirst) {
  $("message").hidden = !broken;
  [passing, lasting] = [false, null];
  $("again").disabled = true;
  opening = true;
  enableStarts();
  try {
    // The old network would only fail again meanwhile.
    const old = { engine, network };
    network = undefined;
    rate = "";
    release(old.network);
    engine = await Engine.open();
    release(old.engine);
    // The new engine knows nothing of what the old one found.
    $("report").hidden = true;
    showEngine();
    await loadDigits();
    await makeNetwork();
    await answerFirst();
    await timeInference();
    await ask();
  } finally {
    opening = false;
    enableStarts();
    $("again").disabled = false;
  }
}

function showEngine() {
  $("dot").className = `dot ${engine.kind}`;
  $("device").textContent = engine.kind === "webgpu" ? `WebGPU: ${engine.device}` : "No WebGPU: running on the CPU";
  if (engine.kind === "cpu") {
    say(`There is no WebGPU here: ${engine.why}. So the CPU reference answers, in WebAssembly. It gives the same answers, ` +
      "but slowly. Timing and checking need WebGPU.", { again: Boolean(navigator.gpu) });
  }
}

async function makeNetwork() {
  const { description, weights } = digits;
  // Those that are maps: the last end with vectors.
  const vectors = ["global_pool", "linear", "softmax"];
  const keep = description.stages.filter((name) =>
    !vectors.includes(description.nodes.find((node) => node.name === name).op));
  if (!$("stage").options.length) $("stage").append(...keep.map((name) => new Option(name, name)));
  onGpu = engine.kind === "webgpu";
  try {
    network = await engine.network(description, weights, { keep });
  } catch (error) {
    if (!onGpu || isLost(error)) throw error;
    console.warn(error);
    onGpu = false;
    const reference = await Engine.open({ cpu: true });
    network = await reference.network(description, weights, { keep });
    // The network keeps what it needs of it.
    reference.free();
    say(`This GPU does not make the network: ${error.message}. So the CPU reference reads digits, in WebAssembly. The check ` +
      "below says what else this GPU does not run.", { again: true });
  }
}

async function get(path) {
  const answer = await fetch(path).catch((error) => error);
  if (answer.ok) return answer;
  throw Object.assign(new Error(`${path} could not be loaded: ${answer.message ?? answer.status}`), { name: "FetchError" });
}

const getFiles = () => Promise.all([
  get(`digits/digits.json${VERSION}`).then((answer) => answer.json()),
  get(`digits/weights.safetensors${VERSION}`).then((answer) => answer.arrayBuffer()),
]);
// They come while the GPU is opened.
let files = getFiles();
files.catch(() => {});

async function loadDigits() {
  if (digits) return;
  // Those that could not be loaded are asked for again the next time.
  const loaded = files ?? getFiles();
  files = null;
  const [recipe, weights] = await loaded;
  const { picture, labels, alpha } = recipe;
  const description = describe(recipe.network, { alpha, classes: labels.length, channels: picture.channels });
  description.picture = picture;
  digits = { description, labels, weights: new Uint8Array(weights) };
}

// ---------------------------------------------------------------- the paper

const paper = $("paper");
const ink = paper.getContext("2d", { willReadFrequently: true });
// `pointer` is the mouse, pen or finger that draws: others do not disturb it.
let last = null, pointer = null, pen = { x: 140, y: 140, down: false };
// A picture that was opened goes to the network as it is, and not as the paper shows it.
let shown = null, blank = true;
// Counts what changes the paper, so that a picture that loads slowly does not replace what came after it.
let changes = 0;
// Against being recognised, some browsers give noise or white for what is on a canvas. Its user may allow it at any time.
let readable = true;
const HIDES = "This browser hides from pages what is drawn on them, so nothing can be read here. If it asks whether this " +
  "page may read canvases, allow it and press Clear.";

function clear() {
  changes += 1;
  shown = null;
  blank = true;
  fill("#fff", paper.width, paper.height);
  readable = showsPixels();
  sayOfPicture();
}

function fill(colour, width, height) {
  ink.fillStyle = colour;
  ink.fillRect(0, 0, width, height);
}

// Whether the paper, which is white, can be read with something dark on it. A browser that changes it only a little does not
// change answers.
function showsPixels() {
  fill("#000", 8, 16);
  const { data } = ink.getImageData(0, 0, 16, 16);
  fill("#fff", 8, 16);
  const wrong = data.reduce((sum, value, i) => sum + Math.abs(value - (i % 4 === 3 || i % 64 >= 32 ? 255 : 0)), 0);
  return wrong / data.length < 16;
}

function stroke(from, to) {
  if (shown) clear();
  changes += 1;
  sayOfPicture();
  blank = false;
  ink.strokeStyle = "#111";
  ink.lineWidth = 22;
  ink.lineCap = ink.lineJoin = "round";
  ink.beginPath();
  ink.moveTo(from.x, from.y);
  ink.lineTo(to.x + 0.01, to.y);
  ink.stroke();
  ask();
}

function place(event) {
  const box = paper.getBoundingClientRect();
  const scale = paper.width / box.width;
  return { x: (event.clientX - box.left) * scale, y: (event.clientY - box.top) * scale };
}

paper.addEventListener("pointerdown", (event) => {
  if (!event.isPrimary || event.button !== 0) return;
  pointer = event.pointerId;
  paper.setPointerCapture(event.pointerId);
  last = place(event);
  stroke(last, last);
});
paper.addEventListener("pointermove", (event) => {
  if (!last || event.pointerId !== pointer) return;
  for (const part of event.getCoalescedEvents?.() ?? [event]) {
    const to = place(part);
    stroke(last, to);
    last = to;
  }
});
for (const end of ["pointerup", "pointercancel"]) {
  paper.addEventListener(end, (event) => {
    if (event.pointerId === pointer) last = null;
  });
}

// Shows where the keyboard's pen is.
function showPen() {
  $("pen").hidden = false;
  $("pen").className = pen.down ? "pen down" : "pen";
  $("pen").style.left = `${(100 * pen.x) / paper.width}%`;
  $("pen").style.top = `${(100 * pen.y) / paper.height}%`;
}
paper.addEventListener("blur", () => { $("pen").hidden = true; });

paper.addEventListener("keydown", (event) => {
  const step = { ArrowLeft: [-8, 0], ArrowRight: [8, 0], ArrowUp: [0, -8], ArrowDown: [0, 8] }[event.key];
  if (step) {
    const to = { x: Math.min(270, Math.max(10, pen.x + step[0])), y: Math.min(270, Math.max(10, pen.y + step[1])) };
    if (pen.down) stroke(pen, to);
    pen = { ...to, down: pen.down };
  } else if (event.key === " ") {
    pen.down = !pen.down;
    if (pen.down) stroke(pen, pen);
    const [x, y] = [pen.x / paper.width, pen.y / paper.height].map((share) => Math.round(100 * share));
    $("pen-said").textContent = `The pen is ${pen.down ? "down" : "up"}, ${x}% from the left and ${y}% from the top.`;
  } else if (event.key === "Delete" || event.key === "Backspace") {
    clear();
    ask();
  } else {
    return;
  }
  showPen();
  event.preventDefault();
});

$("clear").addEventListener("click", () => { clear(); ask(); });
$("file").addEventListener("change", (event) => {
  openPicture(event.target.files[0]);
  // Or else the same file could not be opened again.
  event.target.value = "";
});
addEventListener("dragover", (event) => { event.preventDefault(); paper.classList.add("over"); });
addEventListener("dragleave", () => paper.classList.remove("over"));
addEventListener("drop", (event) => {
  event.preventDefault();
  paper.classList.remove("over");
  openPicture(event.dataTransfer.files[0]);
});

// Does nothing if the paper changes after the change of number `change`, before the picture is read.
async function openPicture(file, change = ++changes) {
  if (!file) return;
  let own = change;
  if (change === changes) sayOfPicture();
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
    if (change !== changes) return;
    // Larger pictures tell no more, and would take long on this thread.
    const scale = Math.min(1, 2048 / Math.max(bitmap.width, bitmap.height));
    const [w, h] = [bitmap.width, bitmap.height].map((side) => Math.max(1, Math.round(side * scale)));
    // No OffscreenCanvas: Safari has it from 16.4 on.
    const canvas = Object.assign(document.createElement("canvas"), { width: w, height: h });
    const pixels = canvas.getContext("2d", { willReadFrequently: true });
    pixels.drawImage(bitmap, 0, 0, w, h);
    clear();
    own = changes;
    const fit = Math.min(paper.width / w, paper.height / h);
    ink.drawImage(bitmap, (paper.width - w * fit) / 2, (paper.height - h * fit) / 2, w * fit, h * fit);
    shown = pixels.getImageData(0, 0, w, h);
    blank = false;
    await ask();
  } catch (error) {
    if (own === changes) sayOfPicture(`This is no picture that the browser can read: ${error.message}`);
  } finally {
    bitmap?.close();
  }
}

async function showPicture(name) {
  const change = ++changes;
  try {
    const file = await (await get(`pictures/${name}`)).blob();
    await openPicture(file, change);
  } catch (error) {
    if (change === changes) sayOfPicture(error.message);
  }
}

for (const name of PICTURES) {
  const button = document.createElement("button");
  button.type = "button";
  const image = Object.assign(new Image(), { src: `pictures/${name}`, alt: `a handwritten ${name.split(".")[0]}` });
  button.append(image);
  button.addEventListener("click", () => showPicture(name));
  $("pictures").append(button);
}

// ---------------------------------------------------------------- the answer

// Milliseconds without a new answer after which screen readers say the last one.
const QUIET = 800;
let asking = null, again = false, quiet;

// Answers the newest drawing. What is drawn meanwhile is answered next.
function ask() {
  if (asking) {
    again = true;
    return asking;
  }
  clearTimeout(quiet);
  asking = (async () => {
    document.documentElement.dataset.asking = "yes";
    try {
      do {
        again = false;
        await answer();
      } while (again);
      const spoken = `${$("answer").textContent}, ${$("sure").textContent}`;
      if (network && hasDigit()) quiet = setTimeout(() => speak(spoken), QUIET);
    } catch (error) {
      fail(error, { passes: true });
    } finally {
      asking = null;
      delete document.documentElement.dataset.asking;
    }
  })();
  return asking;
}

const hasDigit = () => !blank && readable;

async function answer() {
  const asked = network;
  if (!asked) return;
  if (!hasDigit()) {
    showBlank();
    return;
  }
  const start = performance.now();
  const { data, width, height } = shown ?? ink.getImageData(0, 0, paper.width, paper.height);
  try {
    // The network ends with a softmax.
    const shares = await asked.run(asked.picture(data, width, height));
    // The GPU may have been opened again meanwhile. What the old one says no longer counts.
    if (asked !== network) return;
    forgive();
    showAnswer(Array.from(shares), performance.now() - start);
    await showMaps();
  } catch (error) {
    if (asked === network) throw error;
  }
}

let rate = "";

function showBlank() {
  for (const row of $("bars").children) {
    row.className = "";
    row.querySelector(".fill").style.width = "0";
    row.querySelector(".percent").textContent = "";
  }
  $("answer").textContent = "–";
  $("sure").textContent = readable ? "draw a digit" : "cannot be read";
  $("time").textContent = "";
  // They keep their sizes, so that nothing moves.
  for (const id of ["high", "low"]) $(id).getContext("2d").clearRect(0, 0, $(id).width, $(id).height);
  delete document.documentElement.dataset.shares;
}

function showAnswer(shares, took) {
  const best = shares.indexOf(Math.max(...shares));
  const bars = $("bars");
  if (!bars.children.length) {
    bars.innerHTML = shares.map((_, i) =>
      `<li><span>${digits.labels[i]}</span><span class="track"><span class="fill"></span></span><span class="percent"></span></li>`)
      .join("");
  }
  shares.forEach((share, i) => {
    const row = bars.children[i];
    row.className = i === best ? "first" : "";
    row.querySelector(".fill").style.width = `${100 * share}%`;
    row.querySelector(".percent").textContent = `${(100 * share).toFixed(1)}%`;
  });
  const root = document.documentElement.dataset;
  root.shares = JSON.stringify(shares);
  root.firstAnswer ??= performance.now().toFixed(0);
  $("answer").textContent = digits.labels[best];
  $("sure").textContent = `${(100 * shares[best]).toFixed(1)}% sure`;
  $("time").textContent = `${rate}${took.toFixed(1)} ms from the drawing to the answer.`;
}

async function timeInference() {
  const timed = network;
  if (!timed) return;
  const { ms, device } = await timed.time();
  const where = !onGpu ? "on the CPU" : device ? "on this GPU, by its own clock" : "on this GPU, by the clock of this page";
  rate = ms === null ? "" : `${ms.toFixed(ms < 10 ? 2 : 0)} ms an inference ${where}; `;
}

// ---------------------------------------------------------------- the maps

let showing = null;
$("stage").addEventListener("change", () => { showing = showMaps().catch((error) => fail(error, { passes: true })); });

async function showMaps() {
  const asked = network, stage = $("stage").value;
  if (!asked || !hasDigit()) return;
  const { high, low } = await asked.maps(stage);
  // The network or the stage may be another meanwhile.
  if (asked !== network || !hasDigit() || stage !== $("stage").value) return;
  drawMaps($("high"), $("high-size"), high, "high frequency");
  drawMaps($("low"), $("low-size"), low, "low frequency, half of the rows and columns");
}

// A few colours from dark to light, the same in both themes.
const RAMP = [[13, 17, 38], [45, 61, 138], [60, 122, 196], [120, 190, 205], [248, 244, 214]];

function drawMaps(canvas, caption, map, name) {
  canvas.parentElement.hidden = !map;
  if (!map) return;
  const { channels, height, width, values } = map;
  // Whole rows, if that can be.
  const columns = [8, 6, 5, 4].find((columns) => channels % columns === 0) ?? Math.min(channels, 8);
  const rows = Math.ceil(channels / columns), gap = 1;
  canvas.width = columns * (width + gap) - gap;
  canvas.height = rows * (height + gap) - gap;
  const context = canvas.getContext("2d");
  const image = context.createImageData(canvas.width, canvas.height);
  const most = values.reduce((a, b) => Math.max(a, b), 1e-9);
  for (let c = 0; c < channels; c++) {
    const left = (c % columns) * (width + gap), top = Math.floor(c / columns) * (height + gap);
    for (let i = 0; i < width * height; i++) {
      const at = Math.sqrt(Math.max(0, values[c * width * height + i] / most)) * (RAMP.length - 1);
      const below = Math.min(RAMP.length - 2, Math.floor(at));
      const place = 4 * ((top + Math.floor(i / width)) * canvas.width + left + (i % width));
      for (let k = 0; k < 3; k++) {
        image.data[place + k] = RAMP[below][k] + (at - below) * (RAMP[below + 1][k] - RAMP[below][k]);
      }
      image.data[place + 3] = 255;
    }
  }
  context.putImageData(image, 0, 0);
  caption.textContent = `${channels} maps of ${height} × ${width}: ${name}`;
}

// ---------------------------------------------------------------- bench

// Shows a number. There is none if nothing was measured, or if a clock was too coarse.
const number = (value, digits = 2) => (Number.isFinite(value) ? value.toFixed(digits) : "–");

const median = (values) => {
  const sorted = [...values].sort((a, b) => a - b);
  return (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2;
};

// One at a time: a check would disturb the times of a measurement.
function enableStarts() {
  for (const id of ["bench", "verify"]) $(id).disabled = opening || Boolean(working) || engine?.kind !== "webgpu";
}

// Buttons that start and stop work: their ids are `name` and `name`-stop. `doing` says what it does. `run` gets a function that
// says whether to go on.
function work(name, doing, run) {
  let stopped = false;
  const start = async () => {
    const used = engine;
    try {
      await run(() => !stopped);
    } catch (error) {
      console.warn(error);
      $(`${name}-said`).textContent = isLost(error) ? `The GPU was lost while ${doing} (${messageOf(error)}).` :
        `This failed: ${messageOf(error)}`;
      $(`${name}-progress`).value = 0;
      // Work has devices of its own. Whether that of the network is lost too, an answer tells.
      if (isLost(error)) ask();
    } finally {
      speak($(`${name}-said`).textContent);
      working = null;
      $(`${name}-stop`).disabled = true;
      enableStarts();
      // It is wanted most after a failure.
      if (used === engine) showReport();
    }
  };
  $(name).addEventListener("click", () => {
    stopped = false;
    forgive();
    $(`${name}-said`).textContent = `${doing} …`;
    speak(`${doing} …`);
    working = start();
    $(`${name}-stop`).disabled = false;
    enableStarts();
  });
  $(`${name}-stop`).addEventListener("click", () => {
    stopped = true;
    $(`${name}-stop`).disabled = true;
    $(`${name}-said`).textContent = "stopping …";
  });
}

work("bench", "measuring", async (goesOn) => {
  const used = engine;
  if (!used.measured) {
    $("bench-said").textContent = "measuring how fast the GPU is …";
    // How long that takes is not known.
    $("bench-progress").removeAttribute("value");
    await used.measure(goesOn);
  }
  if (!goesOn()) {
    $("bench-said").textContent = "stopped before there was a result";
    $("bench-progress").value = 0;
    return;
  }
  const [network, side] = [$("network").value, Number($("side").value)];
  const last = await used.bench({ network, side }, (benched) => {
    showBench(benched);
    return goesOn();
  });
  showBench(last);
});

function showBench({ doing, round, rounds, parts, device }) {
  $("bench-progress").value = parts.length ? (round + 0.5) / (rounds + 1) : 0.02;
  // What comes behind the last stage is almost nothing.
  const done = parts.map((part) => ({ ...part, title: title(part, parts) })).filter(({ name, octaveMs, plainMs }) =>
    name !== "end" && Math.min(octaveMs.length, plainMs.length) > 0);
  let text = doing === "measuring" ? `round ${Math.min(round + 1, rounds)} of ${rounds}` : doing;
  if (doing === "done" || doing === "stopped") {
    $("bench-progress").value = 1;
    const whole = done.at(-1);
    text = whole?.name === "all" ? verdict(whole, device) : "stopped before there was a result";
  }
  $("bench-said").textContent = text;
  if (done.length) plot(done);
}

function verdict(whole, device) {
  const [octave, plain] = [median(whole.octaveMs), median(whole.plainMs)];
  const clock = device ? "the GPU's own clock" : "the clock of this page";
  return `With octaves it takes ${number(octave, 1)} ms and without ${number(plain, 1)} ms by ${clock}: ` +
    `${number(median(ratiosOf(whole)))} times as fast, where multiply-adds predict ${number(1 / whole.macsRatio)}.`;
}

// Of each round, because a GPU that gets slower does so for both.
const ratiosOf = ({ octaveMs, plainMs }) =>
  octaveMs.slice(0, plainMs.length).map((ms, i) => plainMs[i] / ms).filter((ratio) => Number.isFinite(ratio) && ratio > 0);

// Stages are named for their last nodes: "layer1.2.conv3". The title is the shortest beginning that no other stage has.
function title({ name }, parts) {
  if (name === "all") return "whole";
  const words = name.split(".");
  const begins = words.map((_, i) => words.slice(0, i + 1).join("."));
  return begins.find((begin) => parts.every((other) => other.name === name || !`${other.name}.`.startsWith(`${begin}.`))) ?? name;
}

let plotted = null;
addEventListener("resize", () => { if (plotted) plot(plotted); });

// In pixels of the page, so that text keeps its size on a narrow one.
function plot(parts) {
  plotted = parts;
  const ratios = parts.map(ratiosOf);
  const predicted = parts.map(({ macsRatio }) => 1 / macsRatio);
  const top = Math.min(8, Math.ceil(2 * Math.max(2, ...predicted.filter(Number.isFinite), ...ratios.flat()) + 0.4) / 2);
  const [w, left] = [$("plot").clientWidth, 34];
  // Titles that are too long to stand side by side.
  const slanted = 7 * Math.max(...parts.map(({ title }) => title.length)) > (w - left) / parts.length;
  const bottom = slanted ? 72 : 34, h = 226 + bottom;
  const x = (i) => left + ((i + 0.5) * (w - left)) / parts.length;
  const y = (value) => 8 + (h - bottom - 8) * (1 - Math.min(value, top) / top);
  const half = Math.min(34, (w - left) / parts.length / 2 - 4);
  const out = [];
  for (let tick = 0; tick <= top; tick += 0.5) {
    out.push(`<line class="${tick === 1 ? "even" : "grid"}" x1="${left}" x2="${w}" y1="${y(tick)}" y2="${y(tick)}"/>`);
    if (tick % 1 === 0) out.push(`<text x="${left - 8}" y="${y(tick) + 4}" text-anchor="end">${tick}×</text>`);
  }
  parts.forEach((part, i) => {
    ratios[i].forEach((ratio, k) => {
      const spread = ((k * 37) % 17) / 17 - 0.5;
      out.push(`<circle class="point" cx="${(x(i) + spread * half).toFixed(1)}" cy="${y(ratio).toFixed(1)}" r="3.5"/>`);
    });
    const line = (name, value) => Number.isFinite(value) &&
      out.push(`<line class="${name}" x1="${x(i) - half}" x2="${x(i) + half}" y1="${y(value)}" y2="${y(value)}"/>`);
    line("predicted", predicted[i]);
    line("median", median(ratios[i]));
    const at = slanted ? `text-anchor="end" transform="translate(${x(i) + 4} ${h - bottom + 16}) rotate(-45)"` :
      `text-anchor="middle" x="${x(i)}" y="${h - 12}"`;
    out.push(`<text ${at} class="${part.name === "all" ? "whole" : ""}">${part.title}</text>`);
  });
  const label = parts.map((part, i) => `${part.title} ${number(median(ratios[i]))}`).join(", ");
  $("plot").innerHTML = `<p class="key"><span class="key-median"></span> times as fast as plain, the median of the points` +
    ` <span class="key-predicted"></span> predicted</p>` +
    `<svg viewBox="0 0 ${w} ${h}" role="img" aria-label="How many times as fast octave is: ${label}">${out.join("")}</svg>`;
  const cell = (value) => `<td>${value}</td>`;
  $("bench-table").hidden = false;
  $("bench-table").tBodies[0].innerHTML = parts.map((part, i) =>
    `<tr><td>${part.title}</td>` +
    [median(part.octaveMs), median(part.plainMs), median(ratios[i]), predicted[i]]
      .map((value) => cell(number(value))).join("") + "</tr>").join("");
}

// ---------------------------------------------------------------- verify

work("verify", "checking", async (goesOn) => {
  $("verify-said").className = "verdict";
  const show = ({ cases, wrong, kernels, seconds, refused, failed }, done) => {
    $("verify-progress").value = done ? 10 : seconds;
    $("verify-said").textContent = `${cases} random layers with ${kernels} different kernels: ` +
      (wrong ? `${wrong} are wrong` : !cases ? "none ran" : failed ? "these are right" : done ? "all are right" : "all right so far") +
      (failed ? `; ${failed} others failed` : "") + (refused ? `; ${refused} do not fit this device` : "") + (done ? "." : " …");
  };
  const seed = 1 + Math.floor(Math.random() * 1e9);
  const found = await engine.verify({ seconds: 10, seed }, (verified) => {
    show(verified, false);
    return goesOn();
  });
  show(found, true);
  if (found.cases + found.failed === 0) {
    $("verify-said").textContent = found.refused ?
      `nothing could be compared: ${found.refused} random layers do not fit this device.` : "nothing was compared.";
    return;
  }
  $("verify-said").className = `verdict ${found.wrong || found.failed ? "wrong" : "right"}`;
  if (found.wrong) $("verify-said").textContent += ` The first: ${found.examples[0]}`;
  if (found.failed) $("verify-said").textContent += ` What failed first: ${found.failures[0]}`;
});

function showReport() {
  $("report").hidden = false;
}

const report = () => engine.report($("card").value);

$("save").addEventListener("click", () => {
  const url = URL.createObjectURL(new Blob([`${report()}\n`], { type: "application/json" }));
  Object.assign(document.createElement("a"), { href: url, download: "report.json" }).click();
  // Some browsers ask first whether to save it.
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
});
$("copy").addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText(report());
    $("copied").textContent = "Copied.";
  } catch (error) {
    $("copied").textContent = `The browser does not let this page copy: ${error.message}`;
  }
});

// ---------------------------------------------------------------- start

$("again").addEventListener("click", () => open(ask).catch(fail));

clear();
const untouched = changes;
try {
  await init({ module_or_path: `octconv/octconv_bg.wasm${VERSION}` });
  $("version").textContent = version();
  // One may have drawn or opened a picture meanwhile.
  await open(() => (changes === untouched ? showPicture(FIRST) : ask()));
} catch (error) {
  if (!engine) $("device").textContent = "The page did not start";
  fail(error);
}
document.documentElement.dataset.ready = "yes";
