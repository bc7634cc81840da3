// Drives the page in headless Chromium: `node page.js PAGE REPOSITORY RESULTS [NAMES]`. PAGE is the folder that scripts/web
// builds. RESULTS gets screenshots, a report.json and the classes that the page read from pictures. NAMES, a regular expression,
// leaves out other tests; some need what earlier ones did.
import assert from "node:assert/strict";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { gzipSync } from "node:zlib";
import { chromium } from "playwright-core";
import { serve } from "./serve.js";

const [folder, repository, results, names = ""] = process.argv.slice(2);
const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
const PICTURES = ["zero.png", "one.png", "two.png", "three.jpg", "four.png", "five.png", "six.png", "seven.png", "eight.jpg",
  "nine.png"];
const FIXTURES = ["cifar-resnet20-a0.25-32x32", "se-resnet50-a0.5-64x64", "mobilenet-v2-a0.375-64x64"];
// How far a network's answers may be from PyTorch's, of about 1.
const CLOSE = 1e-4;

mkdirSync(results, { recursive: true });
const { server, port } = await serve(folder);
const url = `http://localhost:${port}/`;
const GPU = ["--headless", "--no-sandbox", "--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"];
const browser = await chromium.launch({ executablePath, args: GPU });

let failed = 0;
// What nothing in the page caught.
const uncaught = [];
async function test(name, run) {
  if (!new RegExp(names).test(name)) return;
  const start = performance.now();
  try {
    const said = await run();
    console.log(`ok: ${name}${said ? `: ${said}` : ""} (${((performance.now() - start) / 1000).toFixed(1)} s)`);
  } catch (error) {
    failed += 1;
    console.error(`FAILED: ${name}\n${error.stack}`);
  }
}

// Opens the page, and waits until it has answered for the first time or has said why not.
async function open(options = {}, before, prepare = async () => {}) {
  const context = await browser.newContext({ viewport: { width: 1100, height: 900 }, ...options });
  const page = await context.newPage();
  page.on("pageerror", (error) => uncaught.push(error.message));
  // The module that the page has, which is initialised.
  await page.addInitScript(() => {
    globalThis.octconv = async () => {
      const module = await import(document.querySelector("link[href*='octconv.js']").href);
      await module.default();
      return module;
    };
  });
  if (before) await page.addInitScript(before);
  await prepare(page);
  await page.goto(url);
  await page.waitForSelector("html[data-ready]", { timeout: 120_000 });
  return page;
}

// Opens the page without its script, which takes seconds to run a network: for tests of the package alone.
async function openWithoutScript(before) {
  return open({}, before, (page) => page.route(/\/page\.js/, (route) =>
    route.fulfill({ contentType: "text/javascript", body: "document.documentElement.dataset.ready = 'yes';" })));
}

const text = (page, id) => page.locator(`#${id}`).textContent();
const shares = (page) => page.evaluate(() => JSON.parse(document.documentElement.dataset.shares));

// Waits until nothing is left to answer.
async function answered(page) {
  await page.waitForTimeout(100);
  await page.waitForFunction(() => !document.documentElement.dataset.asking);
}

// Draws lines through points, as a mouse does.
async function draw(page, points) {
  const box = await page.locator("#paper").boundingBox();
  const at = ([x, y]) => [box.x + (x * box.width) / 100, box.y + (y * box.height) / 100];
  await page.mouse.move(...at(points[0]));
  await page.mouse.down();
  for (const point of points.slice(1)) await page.mouse.move(...at(point), { steps: 8 });
  await page.mouse.up();
  await answered(page);
}

// Has the page show a result of this network, which would take too long to measure here. The stages are real, the times are not.
async function showResult(page, network) {
  await page.evaluate(async () => {
    const { Engine, describe } = await octconv();
    const { bench } = Engine.prototype;
    const measured = Object.getOwnPropertyDescriptor(Engine.prototype, "measured");
    Object.defineProperty(Engine.prototype, "measured", { configurable: true, get: () => true });
    Engine.prototype.bench = async ({ network }, progress) => {
      const times = (ms) => Array.from({ length: 9 }, (_, i) => ms * (1 + 0.03 * ((i * 7) % 5)));
      const part = (name, i) => ({ name, macsRatio: 0.4 + 0.05 * i, octaveMs: times(1), plainMs: times(2.2 - 0.1 * i).reverse() });
      const parts = [...describe(network).stages, "all"].map(part);
      const told = { doing: "measuring", round: 8, rounds: 9, device: true, parts };
      progress(told);
      Engine.prototype.bench = bench;
      delete Engine.prototype.measured;
      if (measured) Object.defineProperty(Engine.prototype, "measured", measured);
      return { ...told, doing: "done", round: 9 };
    };
  });
  await page.selectOption("#network", network);
  await page.click("#bench");
  await page.waitForFunction(() => /times as fast/.test(document.getElementById("bench-said").textContent));
  await page.waitForSelector("#bench:not(:disabled)");
}

// What the first page fetches until it is ready.
const asked = [];
const remember = (request) => asked.push(new URL(request.url()));
const page = await open({}, undefined, async (page) => page.on("request", remember));
page.off("request", remember);

await test("WebGPU answers", async () => {
  assert.match(await text(page, "device"), /^WebGPU: /);
  assert.equal(await page.locator("#message").isHidden(), true);
  const first = await page.evaluate(() => document.documentElement.dataset.firstAnswer);
  return `first answer after ${first} ms; ${await text(page, "time")}`;
});

await test("a digit drawn with the mouse", async () => {
  const said = [];
  for (const [digit, points] of [
    ["7", [[28, 25], [72, 25], [45, 80]]],
    ["1", [[50, 18], [50, 82]]],
    ["2", [[30, 35], [38, 22], [55, 20], [67, 30], [64, 44], [45, 62], [29, 78], [72, 78]]],
  ]) {
    await page.click("#clear");
    await draw(page, points);
    assert.equal(await text(page, "answer"), digit);
    said.push(`${digit} ${await text(page, "sure")}`);
  }
  await page.click("#clear");
  return said.join(", ");
});

await test("a digit drawn with the keyboard", async () => {
  // Screen readers then leave the arrows to the page.
  await page.getByRole("application", { name: "Paper to draw a digit on" }).focus();
  for (let i = 0; i < 11; i++) await page.keyboard.press("ArrowUp");
  assert.equal(await page.locator("#pen").isVisible(), true);
  await page.keyboard.press(" ");
  assert.match(await text(page, "pen-said"), /^The pen is down, 50% from the left and 19% from the top/);
  for (let i = 0; i < 22; i++) await page.keyboard.press("ArrowDown");
  await page.keyboard.press(" ");
  await page.waitForFunction(() => document.getElementById("answer").textContent === "1");
});

await test("other buttons and a second finger do not draw", async () => {
  await page.click("#clear");
  await answered(page);
  assert.equal(await page.locator("#pen").isHidden(), true);
  await page.evaluate(() => {
    const paper = document.getElementById("paper");
    const box = paper.getBoundingClientRect();
    // The mouse's number, which the browser lets the page capture.
    const at = { pointerId: 1, bubbles: true, clientX: box.left + 100, clientY: box.top + 100 };
    for (const kind of [{ isPrimary: true, button: 2 }, { isPrimary: false, button: 0 }]) {
      for (const type of ["pointerdown", "pointerup"]) paper.dispatchEvent(new PointerEvent(type, { ...at, ...kind }));
    }
  });
  await answered(page);
  assert.equal(await text(page, "answer"), "–");
});

await test("a picture that loads slowly does not replace a newer one", async () => {
  await page.route("**/three.jpg", async (route) => {
    await new Promise((resolve) => setTimeout(resolve, 400));
    await route.continue();
  });
  await page.evaluate(() => [3, 5].forEach((i) => document.querySelectorAll("#pictures button")[i].click()));
  await page.waitForTimeout(1500);
  await page.waitForFunction(() => document.documentElement.dataset.shares);
  await answered(page);
  assert.equal(await text(page, "answer"), "5");
  await page.unroute("**/three.jpg");
});

await test("a picture from a file", async () => {
  await page.setInputFiles("#file", join(folder, "pictures/seven.png"));
  await page.waitForFunction(() => document.getElementById("answer").textContent === "7");
  await answered(page);
  // So that the same file can be opened again.
  assert.equal(await page.inputValue("#file"), "");
});

const read = {};
await test("the ten shipped pictures", async () => {
  for (const [digit, name] of PICTURES.entries()) {
    await page.evaluate(() => delete document.documentElement.dataset.shares);
    await page.locator("#pictures button").nth(digit).click();
    await page.waitForFunction(() => document.documentElement.dataset.shares);
    await answered(page);
    read[name] = await shares(page);
    assert.equal(await text(page, "answer"), String(digit), name);
  }
  writeFileSync(join(results, "pictures.json"), JSON.stringify(read));
});

await test("the maps of every stage", async () => {
  const stages = await page.locator("#stage option").allTextContents();
  assert.ok(stages.length >= 3, stages.join());
  for (const stage of stages) {
    await page.selectOption("#stage", stage);
    await page.waitForTimeout(200);
    const caption = await text(page, "high-size");
    const colours = await page.evaluate(() => {
      const canvas = document.getElementById("high");
      return new Set(new Uint32Array(canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.buffer)).size;
    });
    assert.match(caption, /^\d+ maps of \d+ × \d+: high/);
    assert.ok(colours > 8, `${stage}: ${colours} colours`);
  }
  await page.selectOption("#stage", stages[0]);
  assert.match(await text(page, "low-size"), /low frequency/);
});

await test("logits of networks", async () => {
  const said = [];
  for (const name of FIXTURES) {
    const fixture = JSON.parse(readFileSync(join(repository, "tests/networks", `${name}.json`), "utf8"));
    const most = await page.evaluate(async ({ network: name, alpha, width, stem, input, seed, logits }) => {
      const { Engine, describe } = await octconv();
      const engine = await Engine.open();
      const [n, , t, h, w] = input;
      const settings = { alpha, width, ...(stem ? { stem } : {}) };
      const description = describe(name, settings);
      // Without the softmax at its end.
      const { input: scores } = description.nodes.pop();
      description.output = scores;
      const network = await engine.network(description, undefined, { size: { n, t, h, w }, seed });
      const found = await network.run(network.randomInput(seed));
      if (found.length !== logits.length) throw new Error(`${found.length} logits, not ${logits.length}`);
      // Runs that overlap get their own answers.
      const inputs = [network.randomInput(seed + 1), network.randomInput(seed)];
      const [other, again] = await Promise.all(inputs.map((input) => network.run(input)));
      if (other.every((value, i) => value === found[i])) throw new Error("another input has the same answer");
      if (!again.every((value, i) => value === found[i])) throw new Error("runs that overlap get wrong answers");
      return logits.reduce((most, logit, i) => Math.max(most, Math.abs(found[i] - logit)), 0);
    }, fixture);
    assert.ok(most <= CLOSE, `${name}: ${most}`);
    said.push(`${name} ${most.toExponential(1)}`);
  }
  return said.join(", ");
});

await test("a layer on the GPU and on the reference", async () => {
  const most = await page.evaluate(async () => {
    const { Engine } = await octconv();
    const map = { channels: 12, alpha: 0.5 };
    const description = { input: map, ...map, kernel: [3, 3], padding: "same", bias: true, residual: true, activation: "relu" };
    const values = (count, seed) => Float32Array.from({ length: count }, (_, i) => Math.sin(i * 12.9898 + seed));
    const weights = {};
    for (const [i, name] of ["w_hh", "w_hl", "w_lh", "w_ll"].entries()) weights[name] = values(6 * 6 * 9, i);
    for (const [i, name] of ["bias_h", "bias_l"].entries()) weights[name] = values(6, 7 + i);
    const inputs = { x_h: values(6 * 15 * 13, 1), x_l: values(6 * 8 * 7, 2) };
    Object.assign(inputs, { residual_h: values(6 * 15 * 13, 3), residual_l: values(6 * 8 * 7, 4) });
    const outputs = [];
    for (const cpu of [false, true]) {
      const engine = await Engine.open({ cpu });
      const layer = await engine.layer(description, { h: 15, w: 13 }, weights);
      if (layer.shapes.y_l.join() !== "1,6,1,8,7") throw new Error(JSON.stringify(layer.shapes));
      outputs.push(await layer.run(inputs));
    }
    let most = 0, count = 0;
    for (const name of ["y_h", "y_l"]) {
      outputs[0][name].forEach((value, i) => { most = Math.max(most, Math.abs(value - outputs[1][name][i])); count += value > 0; });
    }
    return count > 100 ? most : NaN;
  });
  assert.ok(most <= CLOSE, `${most}`);
});

await test("200 random layers", async () => {
  const found = await page.evaluate(async () => {
    const { Engine } = await octconv();
    return (await Engine.open()).verify({ cases: 200, seed: 4000 });
  });
  assert.equal(found.wrong, 0, found.examples.join("; "));
  // Each of them ran, or was refused for what the device lacks.
  assert.equal(found.failed, 0, found.failures.join("; "));
  assert.equal(found.cases + found.refused, 200);
  assert.ok(found.cases >= 190 && found.worst > 0 && found.worst <= 1, JSON.stringify(found));
  return `${found.cases} cases, ${found.kernels} kernels, worst ${found.worst.toFixed(3)} of the bound`;
});

await test("what was tuned is known after measuring", async () => {
  const counts = await page.evaluate(async () => {
    const { Engine, describe } = await octconv();
    const engine = await Engine.open();
    const description = describe("cifar-resnet20", { alpha: 0.25, channels: 1 });
    const options = { size: { h: 16, w: 16 } };
    const network = await engine.network(description, undefined, options);
    // Measuring comes first, with none done.
    const tuned = await engine.tune(network, ({ done, of }) => done < Math.min(of, 2));
    const kept = Object.keys(localStorage).filter((key) => key.startsWith("octconv tuned "));
    const answer = await (await engine.network(description, undefined, options)).run(network.randomInput(1));
    return { tuned, kept: kept.length, classes: answer.length };
  });
  assert.deepEqual(counts, { tuned: 2, kept: 1, classes: 10 });
});

await test("each stage of each network has its own short title", async () => {
  const said = [];
  for (const network of await page.locator("#network option").evaluateAll((all) => all.map(({ value }) => value))) {
    await showResult(page, network);
    const titles = await page.locator("#bench-table tbody td:first-child").allTextContents();
    assert.equal(new Set(titles).size, titles.length, titles.join());
    assert.ok(titles.length >= 5 && titles.every((title) => title.length <= 11), titles.join());
    const drawn = await page.locator("#plot text").allTextContents();
    assert.deepEqual(drawn.filter((text) => !text.endsWith("×")), titles);
    const label = await page.locator("#plot svg").getAttribute("aria-label");
    assert.deepEqual(label.replace(/.*: /, "").split(", ").map((part) => part.split(" ")[0]), titles);
    said.push(titles.join(" "));
  }
  assert.ok(said.join().includes("features.3 "), said.join());
  return said.at(-1);
});

await test("the plot's text keeps its size on a narrow page", async () => {
  const before = page.viewportSize();
  for (const network of ["mobilenet-v2", "resnet50"]) {
    await showResult(page, network);
    for (const width of [390, 700, before.width]) {
      await page.setViewportSize({ ...before, width });
      // It is drawn again for the new width.
      await page.waitForFunction(() => Math.abs(document.querySelector("#plot svg").getScreenCTM().a - 1) < 0.01, null, { timeout: 5000 });
      const told = await page.evaluate(() => {
        const outer = document.getElementById("plot").getBoundingClientRect();
        const texts = [...document.querySelectorAll("#plot text")];
        const boxes = texts.map((text) => text.getBoundingClientRect());
        // The boxes of slanted titles overlap, and the titles do not.
        const titles = texts.filter((text) => text.getAttribute("text-anchor") === "middle").map((text) => text.getBoundingClientRect());
        return {
          out: boxes.filter(({ left, right, bottom }) => left < outer.left - 8 || right > outer.right + 8 || bottom > outer.bottom).length,
          over: titles.filter(({ left }, i) => i > 0 && left < titles[i - 1].right + 2).length,
        };
      });
      assert.deepEqual(told, { out: 0, over: 0 }, `${network} at ${width}`);
    }
  }
  await page.setViewportSize(before);
});

await test("the GPU's speed: measuring can be stopped, and is done once", async () => {
  await page.evaluate(async () => {
    const { Engine } = await octconv();
    const { prototype } = Engine;
    const before = Object.getOwnPropertyDescriptors(prototype);
    globalThis.measures = { begun: 0, done: false };
    globalThis.restore = () => {
      delete prototype.measured;
      for (const name of ["measure", "measured"]) if (before[name]) Object.defineProperty(prototype, name, before[name]);
    };
    Object.defineProperty(prototype, "measured", { configurable: true, get: () => globalThis.measures.done });
    prototype.measure = async (goesOn) => {
      globalThis.measures.begun += 1;
      for (let probes = 0; probes < 500; probes++) {
        if (!(goesOn?.() ?? true)) return false;
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      return true;
    };
  });
  await page.click("#bench");
  await page.waitForFunction(() => /how fast the GPU is/.test(document.getElementById("bench-said").textContent));
  await page.click("#bench-stop");
  await page.waitForFunction(() => document.getElementById("bench-said").textContent === "stopped before there was a result",
    null, { timeout: 3000 });
  await page.evaluate(() => { globalThis.measures.done = true; });
  await page.click("#bench");
  await page.waitForFunction(() => /^compiling/.test(document.getElementById("bench-said").textContent), null, { timeout: 8000 });
  await page.click("#bench-stop");
  await page.waitForSelector("#bench:not(:disabled)", { timeout: 60_000 });
  assert.equal(await page.evaluate(() => globalThis.measures.begun), 1);
  await page.evaluate(() => globalThis.restore());
});

await test("the bench's plot", async () => {
  // Smaller than the page offers, because this device is a processor.
  await page.evaluate(() => {
    document.getElementById("side").append(new Option("32 × 32", "32"));
    document.getElementById("network").append(new Option("ResNet-20", "cifar-resnet20"));
    // Other tests have drawn there.
    document.getElementById("plot").replaceChildren();
  });
  await page.selectOption("#network", "cifar-resnet20");
  await page.selectOption("#side", "32");
  await page.click("#bench");
  assert.equal(await page.locator("#verify").isDisabled(), true);
  await page.waitForSelector("#plot .point", { timeout: 200_000 });
  await page.waitForFunction(() => document.querySelectorAll("#plot .point").length >= 12, null, { timeout: 200_000 });
  await page.click("#bench-stop");
  await page.waitForFunction(() => !document.getElementById("bench").disabled, null, { timeout: 60_000 });
  assert.equal(await page.locator("#report").isVisible(), true);
  const points = await page.locator("#plot .point").count();
  const lines = await page.locator("#plot .predicted").count();
  assert.ok(points >= 2 * lines && lines >= 4, `${points} points, ${lines} lines`);
  return `${points} points; ${await text(page, "bench-said")}`;
});

await test("the check and its report", async () => {
  await page.click("#verify");
  await page.waitForSelector("#verify-said.verdict.right", { timeout: 120_000 });
  await page.fill("#card", " My card 9000 ");
  const [download] = await Promise.all([page.waitForEvent("download"), page.click("#save")]);
  await download.saveAs(join(results, "report.json"));
  const report = JSON.parse(readFileSync(join(results, "report.json"), "utf8"));
  assert.equal(report.octconv_report, 2);
  assert.ok(report.verify.reduce((sum, row) => sum + row.cases, 0) > 0);
  assert.equal(report.networks.length, 1);
  assert.match(report.adapter.name, /^My card 9000 \(.+\)$/);
  return text(page, "verify-said");
});

// A finger draws a line, and the page does not move under it.
async function drawByFinger(touched) {
  await touched.click("#clear");
  await touched.waitForFunction(() => !document.documentElement.dataset.shares);
  const paper = touched.locator("#paper");
  await paper.scrollIntoViewIfNeeded();
  const box = await paper.boundingBox();
  const before = await touched.evaluate(() => scrollY);
  const devtools = await touched.context().newCDPSession(touched);
  const touch = (type, at) => devtools.send("Input.dispatchTouchEvent", {
    type, touchPoints: at === undefined ? [] : [{ x: box.x + box.width / 2, y: box.y + (at * box.height) / 100 }],
  });
  await touch("touchStart", 20);
  for (let at = 24; at <= 80; at += 4) await touch("touchMove", at);
  await touch("touchEnd");
  await touched.waitForFunction(() => document.getElementById("answer").textContent === "1");
  // The page has not moved under the finger.
  assert.equal(await touched.evaluate(() => scrollY), before);
}

for (const [name, options] of Object.entries({
  wide: {}, dark: { colorScheme: "dark" },
  narrow: { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true },
  "narrow-dark": { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true, colorScheme: "dark" },
})) {
  await test(`screenshot: ${name}`, async () => {
    // The first page has results to show.
    const shown = options.viewport ? await open(options) : page;
    if (shown !== page) await showResult(shown, options.colorScheme ? "resnet50" : "mobilenet-v2");
    await shown.emulateMedia({ colorScheme: options.colorScheme ?? "light" });
    await shown.locator("#pictures button").nth(3).click();
    await answered(shown);
    await shown.mouse.move(0, 0);
    const wide = await shown.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(wide <= 0, `${wide} pixels too wide`);
    await shown.screenshot({ path: join(results, `${name}.png`), fullPage: true });
    if (options.hasTouch) await drawByFinger(shown);
    if (shown !== page) await shown.context().close();
  });
}

await test("why a check failed stands beside its button, and the next one begins anew", async () => {
  await page.evaluate(() => {
    const { requestDevice } = GPUAdapter.prototype;
    globalThis.allow = () => { GPUAdapter.prototype.requestDevice = requestDevice; };
    GPUAdapter.prototype.requestDevice = () => Promise.reject(new DOMException("no device today", "OperationError"));
  });
  for (const name of ["verify", "bench"]) {
    await page.click(`#${name}`);
    await page.waitForFunction((id) => /^This failed: .*no device today/.test(document.getElementById(id).textContent), `${name}-said`,
      { timeout: 20_000 });
    await page.waitForSelector(`#${name}:not(:disabled)`);
    assert.equal(await page.locator("#message").isHidden(), true);
    assert.match(await text(page, "spoken"), /no device today/);
    assert.match(await text(page, "device"), /^WebGPU: /);
  }
  await page.evaluate(() => globalThis.allow());
  assert.equal(await page.locator("#report").isVisible(), true);
  await page.click("#verify");
  assert.doesNotMatch(await text(page, "verify-said"), /failed/);
  await page.click("#verify-stop");
  await page.waitForSelector("#verify:not(:disabled)", { timeout: 60_000 });
  assert.doesNotMatch(await text(page, "verify-said"), /no device/);
});

await test("a GPU that is lost while checking is not the one that answers", async () => {
  await page.evaluate(() => {
    const { requestDevice } = GPUAdapter.prototype;
    GPUAdapter.prototype.requestDevice = async function (...options) {
      GPUAdapter.prototype.requestDevice = requestDevice;
      const device = await requestDevice.apply(this, options);
      globalThis.lose = () => device.destroy();
      return device;
    };
  });
  await page.click("#verify");
  await page.waitForFunction(() => /random layers/.test(document.getElementById("verify-said").textContent), null, { timeout: 60_000 });
  await page.evaluate(() => globalThis.lose());
  await page.waitForFunction(() => /^The GPU was lost while checking \(/.test(document.getElementById("verify-said").textContent),
    null, { timeout: 60_000 });
  await page.locator("#pictures button").nth(4).click();
  await page.waitForFunction(() => document.getElementById("answer").textContent === "4");
  await answered(page);
  assert.equal(await page.locator("#message").isHidden(), true);
  assert.equal(await page.locator("#dot").getAttribute("class"), "dot webgpu");
  // The next check has another device.
  await page.click("#verify");
  await page.waitForFunction(() => /random layers/.test(document.getElementById("verify-said").textContent), null, { timeout: 60_000 });
  await page.click("#verify-stop");
  await page.waitForSelector("#verify:not(:disabled)", { timeout: 60_000 });
});

await test("an answer that failed is forgotten with the next", async () => {
  await page.evaluate(async () => {
    const { Network } = await octconv();
    const { run } = Network.prototype;
    Network.prototype.run = async () => {
      Network.prototype.run = run;
      throw Object.assign(new Error("no answer today"), { name: "GpuError" });
    };
  });
  await page.locator("#pictures button").nth(2).click();
  await page.waitForSelector("#message:not([hidden])");
  assert.equal(await text(page, "message-text"), "no answer today");
  await page.locator("#pictures button").nth(2).click();
  await page.waitForSelector("#message[hidden]", { state: "attached" });
});

await test("a browser that hides what is drawn", async () => {
  const hidden = () => page.waitForSelector("#picture-said:not([hidden])");
  for (const kind of ["noise", "white", "a little noise"]) {
    await page.click("#clear");
    await page.evaluate((kind) => {
      const { getImageData } = CanvasRenderingContext2D.prototype;
      globalThis.allow = () => { CanvasRenderingContext2D.prototype.getImageData = getImageData; };
      CanvasRenderingContext2D.prototype.getImageData = function (...place) {
        const image = getImageData.apply(this, place);
        const change = { noise: () => 256 * Math.random(), white: () => 255, "a little noise": (value) => value ^ (Math.random() < 0.5) };
        image.data.forEach((value, i, all) => { all[i] = change[kind](value); });
        return image;
      };
    }, kind);
    await page.click("#clear");
    if (kind === "a little noise") {
      await page.locator("#pictures button").nth(7).click();
      await page.waitForFunction(() => document.getElementById("answer").textContent === "7");
      assert.equal(await page.locator("#picture-said").isHidden(), true);
    } else {
      await hidden();
      assert.match(await text(page, "picture-said"), /^This browser hides from pages what is drawn on them/);
      await draw(page, [[50, 18], [50, 82]]);
      await page.locator("#pictures button").nth(5).click();
      await page.waitForTimeout(500);
      await answered(page);
      await hidden();
      assert.equal(await text(page, "answer"), "–");
      assert.equal(await page.evaluate(() => document.documentElement.dataset.shares), undefined);
    }
    await page.evaluate(() => globalThis.allow());
  }
  await page.click("#clear");
  await page.locator("#pictures button").nth(1).click();
  await page.waitForFunction(() => document.getElementById("answer").textContent === "1");
  assert.equal(await page.locator("#picture-said").isHidden(), true);
});

await test("a lost device", async () => {
  const lost = await open({}, () => {
    const request = GPUAdapter.prototype.requestDevice;
    globalThis.devices = [];
    GPUAdapter.prototype.requestDevice = async function (...options) {
      const device = await request.apply(this, options);
      devices.push(device);
      return device;
    };
  });
  // Twice: the second time, what the first one made is freed.
  for (const digit of [5, 6]) {
    await answered(lost);
    await lost.evaluate(() => devices.forEach((device) => device.destroy()));
    await lost.locator("#pictures button").nth(4).click();
    await lost.waitForSelector("#message:not([hidden])");
    assert.match(await text(lost, "message-text"), /took the GPU away .*the device is lost/);
    await lost.click("#again");
    await lost.waitForSelector("#message[hidden]", { state: "attached" });
    await lost.locator("#pictures button").nth(digit).click();
    await lost.waitForFunction((digit) => document.getElementById("answer").textContent === String(digit), digit);
  }
  // With that of a check, all are lost: the page finds that by itself.
  await answered(lost);
  await lost.click("#verify");
  await lost.waitForFunction(() => /random layers/.test(document.getElementById("verify-said").textContent), null, { timeout: 60_000 });
  await lost.evaluate(() => devices.forEach((device) => device.destroy()));
  await lost.waitForSelector("#again:not([hidden])");
  assert.match(await text(lost, "message-text"), /took the GPU away/);
  await lost.context().close();
});

await test("a refused shader", async () => {
  const refused = await open({}, () => {
    const create = GPUDevice.prototype.createShaderModule;
    GPUDevice.prototype.createShaderModule = function (descriptor) {
      return create.call(this, { ...descriptor, code: `const BROKEN: u32 = nothing_here;\n${descriptor.code}` });
    };
  });
  // The reference reads digits then, each time.
  for (const digit of [3, 8]) {
    assert.match(await text(refused, "message-text"), /compiling .* failed: .*unresolved value 'nothing_here'.*CPU reference reads/);
    assert.match(await text(refused, "time"), /from the drawing/);
    await refused.evaluate(() => document.getElementById("message-text").replaceChildren());
    await refused.click("#again");
    await refused.waitForFunction(() => document.getElementById("message-text").textContent);
    await refused.locator("#pictures button").nth(digit).click();
    await refused.waitForFunction((digit) => document.getElementById("answer").textContent === String(digit), digit);
  }
  await refused.context().close();
});

await test("a compiler that runs out of memory, as WebKit says of each error", async () => {
  const refusing = await open({}, () => {
    const create = GPUDevice.prototype.createComputePipeline;
    const pop = GPUDevice.prototype.popErrorScope;
    GPUDevice.prototype.createComputePipeline = function (descriptor) {
      // About half of the kernels, once the page is open.
      this.refuses = globalThis.refusing && descriptor.label.length % 2 === 1;
      return create.call(this, descriptor);
    };
    GPUDevice.prototype.popErrorScope = async function () {
      const { refuses } = this;
      this.refuses = false;
      const error = await pop.call(this);
      return refuses ? new GPUOutOfMemoryError("") : error;
    };
  });
  await refusing.evaluate(() => { globalThis.refusing = true; });
  await refusing.click("#verify");
  await refusing.waitForSelector("#verify-said.verdict.wrong", { timeout: 120_000 });
  const said = await text(refusing, "verify-said");
  assert.match(said, /^[1-9]\d* random layers .*: these are right; [1-9]\d* others failed.*compiling .*out of memory, which may be its compiler/);
  const found = await refusing.evaluate(async () => {
    const { Engine } = await octconv();
    const engine = await Engine.open();
    const { failures } = await engine.verify({ cases: 24, seed: 4000 });
    return { failures, problems: JSON.parse(engine.report()).problems.map(({ problem }) => problem) };
  });
  assert.equal(new Set(found.failures).size, found.failures.length);
  assert.deepEqual(found.problems, found.failures);
  await refusing.context().close();
  return said;
});

await test("errors that wgpu does not know", async () => {
  const broken = await open({}, () => {
    const create = GPUDevice.prototype.createComputePipeline;
    const pop = GPUDevice.prototype.popErrorScope;
    GPUDevice.prototype.createComputePipeline = function (descriptor) {
      this.fails = true;
      return create.call(this, descriptor);
    };
    GPUDevice.prototype.popErrorScope = async function () {
      const { fails } = this;
      this.fails = false;
      const error = await pop.call(this);
      return fails ? new GPUInternalError("the compiler fell over") : error;
    };
  });
  assert.match(await text(broken, "message-text"), /compiling .* failed: .*the compiler fell over/);
  assert.equal(await text(broken, "answer"), "3");
  await broken.context().close();
});

await test("no memory to map a buffer", async () => {
  const full = await open({}, () => {
    const create = GPUDevice.prototype.createBuffer;
    GPUDevice.prototype.createBuffer = function (descriptor) {
      if (descriptor.mappedAtCreation) throw new RangeError("no memory to map");
      return create.call(this, descriptor);
    };
  });
  assert.match(await text(full, "message-text"), /creating octconv .* bytes failed: .*no memory to map/);
  assert.equal(await text(full, "answer"), "3");
  await full.context().close();
});

await test("a browser whose devices have no adapterInfo", async () => {
  const silent = await open({}, () => {
    delete GPUDevice.prototype.adapterInfo;
    delete GPUAdapter.prototype.info;
  });
  assert.match(await text(silent, "device"), /^WebGPU: /);
  assert.equal(await silent.locator("#message").isHidden(), true);
  assert.equal(await text(silent, "answer"), "3");
  await silent.context().close();
});

await test("a browser that looks at the GPU only when something is submitted", async () => {
  const slow = await open({ userAgent: "Mozilla/5.0 (X11; Linux x86_64; rv:150.0) Gecko/20100101 Firefox/150.0" }, () => {
    const { onSubmittedWorkDone: done, submit } = GPUQueue.prototype;
    const finished = [];
    globalThis.looks = 0;
    GPUQueue.prototype.onSubmittedWorkDone = function () {
      return new Promise((resolve) => { done.call(this).then(() => finished.push(resolve)); });
    };
    GPUQueue.prototype.submit = function (lists) {
      submit.call(this, lists);
      if (lists.length === 0) globalThis.looks += 1;
      finished.splice(0).forEach((resolve) => resolve());
    };
  });
  assert.equal(await text(slow, "answer"), "3");
  assert.ok(await slow.evaluate(() => globalThis.looks) > 0);
  // It looks no longer than something is waited for.
  await answered(slow);
  const looks = await slow.evaluate(() => globalThis.looks);
  await slow.waitForTimeout(200);
  assert.equal(await slow.evaluate(() => globalThis.looks), looks);
  await slow.context().close();
});

await test("a GPU without a clock", async () => {
  const timeless = await openWithoutScript(() => {
    for (const { prototype } of [GPUAdapter, GPUDevice]) {
      const { get } = Object.getOwnPropertyDescriptor(prototype, "features");
      Object.defineProperty(prototype, "features", {
        get() { return new Set([...get.call(this)].filter((name) => name !== "timestamp-query")); },
      });
    }
    // The way there and back, far longer than what is timed.
    globalThis.way = 0;
    const done = GPUQueue.prototype.onSubmittedWorkDone;
    GPUQueue.prototype.onSubmittedWorkDone = async function () {
      await done.call(this);
      await new Promise((resolve) => setTimeout(resolve, globalThis.way));
    };
  });
  const { time, benched, features } = await timeless.evaluate(async () => {
    const { Engine } = await octconv();
    const engine = await Engine.open();
    const options = { network: "cifar-resnet20", side: 32, rounds: 2 };
    const benched = await engine.bench(options);
    globalThis.way = 400;
    const softmax = { name: "answer", op: "softmax", input: "input" };
    const network = await engine.network({ name: "one", input: { channels: 8 }, output: "answer", nodes: [
      { name: "pool", op: "global_pool", input: "input" }, { ...softmax, input: "pool" }] }, undefined, { size: { h: 8, w: 8 } });
    return { time: await network.time(), benched, features: JSON.parse(engine.report()).adapter.features };
  });
  assert.equal(features.timestamp_query, false);
  assert.equal(time.device, false);
  assert.ok(time.ms < 200, `${time.ms} ms has the way in it`);
  assert.equal(benched.device, false);
  assert.ok(benched.parts.every(({ octaveMs, plainMs }) => octaveMs.length === 2 && plainMs.length === 2), JSON.stringify(benched));
  await timeless.context().close();
});

await test("memory is given back", async () => {
  const counted = await openWithoutScript(() => {
    globalThis.software = true;
    Object.defineProperty(GPUAdapterInfo.prototype, "isFallbackAdapter", { get: () => globalThis.software });
    const { createBuffer, popErrorScope } = GPUDevice.prototype;
    const { destroy } = GPUBuffer.prototype;
    const { requestDevice } = GPUAdapter.prototype;
    globalThis.held = new Map();
    globalThis.devices = [];
    globalThis.most = 0;
    globalThis.room = Infinity;
    GPUDevice.prototype.createBuffer = function (descriptor) {
      const buffer = createBuffer.call(this, descriptor);
      held.set(buffer, descriptor.size);
      const sum = [...held.values()].reduce((a, b) => a + b, 0);
      globalThis.most = Math.max(globalThis.most, sum);
      this.full = descriptor.size > globalThis.room;
      return buffer;
    };
    GPUDevice.prototype.popErrorScope = async function () {
      const { full } = this;
      this.full = false;
      const error = await popErrorScope.call(this);
      return full ? new GPUOutOfMemoryError("") : error;
    };
    GPUBuffer.prototype.destroy = function () {
      held.delete(this);
      destroy.call(this);
    };
    GPUAdapter.prototype.requestDevice = async function (...options) {
      const device = await requestDevice.apply(this, options);
      devices.push({ gone: false });
      const own = devices.at(-1);
      device.lost.then(() => { own.gone = true; });
      return device;
    };
  });
  const MIB = 1 << 20;
  const found = await counted.evaluate(async (MIB) => {
    const { Engine } = await octconv();
    // GPUs are measured with larger buffers.
    globalThis.software = false;
    const engine = await Engine.open();
    globalThis.most = 0;
    globalThis.room = 40 * MIB;
    await engine.measure();
    const { most } = globalThis;
    const large = [...held.values()].filter((bytes) => bytes >= MIB).length;
    const { roofline } = JSON.parse(engine.report());
    // Whose kernels would take long here.
    globalThis.software = true;
    const before = devices.length;
    await engine.bench({ network: "cifar-resnet20", side: 32, rounds: 1 });
    const after = devices.slice(before);
    engine.free();
    await new Promise((resolve) => setTimeout(resolve, 100));
    return { most, large, bytes: roofline.buffer_bytes, opened: after.length, left: devices.filter(({ gone }) => !gone).length };
  }, MIB);
  assert.ok(found.most >= 256 * MIB && found.most < 272 * MIB, `${found.most / MIB} MiB`);
  assert.equal(found.large, 0);
  assert.equal(found.bytes, 32 * MIB);
  assert.equal(found.opened, 1);
  assert.equal(found.left, 0);
  await counted.context().close();
});

await test("compiling for the bench can be stopped", async () => {
  const told = await page.evaluate(async () => {
    const { Engine } = await octconv();
    const engine = await Engine.open();
    const told = [];
    const { doing } = await engine.bench({ network: "resnet18", side: 64, rounds: 1 }, (benched) => {
      told.push(benched.doing);
      // Kernels are counted about ten times a second, so how often depends on the machine.
      return !/kernels$/.test(benched.doing);
    });
    return { told, doing };
  });
  assert.match(told.told.at(-1), /^compiling resnet18 with(out)? octaves: \d+ of \d+ kernels$/);
  assert.equal(told.doing, "stopped");
});

await test("a device that cannot be had", async () => {
  const refused = await open({}, () => {
    const { requestDevice } = GPUAdapter.prototype;
    globalThis.allow = () => { GPUAdapter.prototype.requestDevice = requestDevice; };
    GPUAdapter.prototype.requestDevice = () => Promise.reject(new DOMException("no device today", "OperationError"));
  });
  assert.match(await text(refused, "message-text"), /no device today.*CPU reference answers/);
  assert.equal(await text(refused, "answer"), "3");
  await refused.evaluate(() => globalThis.allow());
  await refused.click("#again");
  await refused.waitForFunction(() => document.getElementById("device").textContent.startsWith("WebGPU: "));
  await refused.waitForSelector("#message[hidden]", { state: "attached" });
  await refused.context().close();
});

await test("a page that has failed does not try again", async () => {
  const failed = await open({}, () => { GPU.prototype.requestAdapter = async () => null; });
  assert.equal(await failed.locator("#again").isVisible(), true);
  const says = /^There is no WebGPU here: .*This page has failed \(unreachable executed\)\. Please reload it/;
  await failed.evaluate(() => dispatchEvent(new ErrorEvent("error", { message: "unreachable executed" })));
  assert.match(await text(failed, "message-text"), says);
  assert.equal(await failed.locator("#again").isVisible(), false);
  // What fails afterwards does not replace that.
  await failed.evaluate(async () => {
    const { Network } = await octconv();
    Network.prototype.run = () => Promise.reject(Object.assign(new Error("lost"), { name: "DeviceLostError" }));
  });
  await failed.locator("#pictures button").nth(2).click();
  await failed.waitForFunction(() => document.getElementById("device").textContent === "The GPU is lost");
  assert.match(await text(failed, "message-text"), says);
  assert.equal(await failed.locator("#again").isVisible(), false);
  await failed.context().close();
});

await test("a browser without OffscreenCanvas", async () => {
  const old = await open({}, () => {
    delete Navigator.prototype.gpu;
    delete globalThis.OffscreenCanvas;
  });
  assert.equal(await text(old, "answer"), "3");
  assert.equal(await old.locator("#picture-said").isHidden(), true);
  await old.context().close();
});

await test("a picture that cannot be loaded or read", async () => {
  await page.route("**/pictures/six.png", (route) => route.fulfill({ status: 404 }));
  await page.locator("#pictures button").nth(6).click();
  await page.waitForSelector("#picture-said:not([hidden])");
  assert.match(await text(page, "picture-said"), /^pictures\/six\.png could not be loaded: 404/);
  await page.unroute("**/pictures/six.png");
  await page.setInputFiles("#file", join(folder, "page.css"));
  await page.waitForFunction(() => document.getElementById("picture-said").textContent.startsWith("This is no picture"));
  // Neither is about the engine, and the next picture takes it away.
  assert.equal(await page.locator("#message").isHidden(), true);
  await page.locator("#pictures button").nth(6).click();
  await page.waitForSelector("#picture-said", { state: "hidden" });
  await page.waitForFunction(() => document.getElementById("answer").textContent === "6");
  await answered(page);
});

await test("wrong arguments", async () => {
  const said = await page.evaluate(async () => {
    const { Engine, describe } = await octconv();
    const engine = await Engine.open({ cpu: true });
    const size = { h: 2, w: 2 };
    const description = { input: { channels: 4, alpha: 0 }, channels: 4, alpha: 0 };
    const weights = { w_hh: new Float32Array(16) };
    const layer = await engine.layer(description, size, weights);
    const digits = describe("cifar-resnet20", { channels: 1 });
    const picture = { channels: 1, height: 8, width: 4, resize: "fit", mean: [0.5], std: [0.5] };
    const own = { ...digits, picture };
    const network = await engine.network(own, undefined, { size: { h: 4, w: 8 } });
    const kept = await engine.network(own, undefined, { keep: ["layer1.0.conv1"] });
    const four = new Float32Array(4), [norm, all] = [{ ...description, norm: true }, { gamma_h: four, beta_h: four, mean_h: four }];
    const calls = [
      [() => engine.layer(description, size), "weights must be an object"],
      [() => engine.layer(), "description must be an object"],
      [() => engine.layer(description, { ...size, batch: 2 }, weights), "size: unknown field `batch`"],
      [() => engine.layer(norm, size, weights), "weights.gamma_h is missing"],
      [() => engine.layer(description, size, { ...weights, ...all }), "weights.var_h is missing: a batch norm has gamma_h, "],
      [() => engine.layer(description, size, { ...weights, gamma_l: four }), "weights.gamma_h is missing"],
      [() => engine.layer(norm, size, { ...weights, ...all, var_h: four, var_l: four }), "weights.var_l: the layer has no such output"],
      [() => layer.run(), "inputs must be an object"],
      [() => layer.run(null), "inputs must be an object"],
      [() => layer.run({ x_h: new Float32Array(16), x_l: four }), "inputs.x_l: this layer reads x_h"],
      [() => layer.run({ x_h: [1] }), "inputs.x_h must be a Float32Array"],
      [() => engine.network(), "description must be an object"],
      [() => engine.network(digits, [1]), "weights must be a Uint8Array or an ArrayBuffer"],
      [() => engine.network(digits, new ArrayBuffer(4)), "weights: "],
      [() => engine.network(digits, undefined, { seed: Infinity }), "options: "],
      [() => network.run(), "input must be a Float32Array"],
      [() => network.maps(), "node must be a string"],
      [() => kept.maps("layer1.0.conv1"), "node layer1.0.conv1 has no maps yet"],
      [() => engine.network(digits, undefined, { f16: true }), "options.f16 is true: must be false"],
      [async () => network.picture(new Uint8Array(4), 1, 1), "inputs of 8x4 of pictures, and this network's are of 4x8"],
    ];
    return Promise.all(calls.map(([call, wanted]) =>
      call().then(() => "taken", ({ name, message }) => `${name}: ${message}`).then((said) => [said, wanted])));
  });
  for (const [text, wanted] of said) assert.ok(text.startsWith("OctconvError: ") && text.includes(wanted), `${text}, not ${wanted}`);
});

await test("the GPU refuses the inputs that the CPU refuses", async () => {
  const said = await page.evaluate(async () => {
    const { Engine } = await octconv();
    const found = [];
    for (const cpu of [false, true]) {
      const engine = await Engine.open({ cpu });
      const layer = await engine.layer({ input: { channels: 1 }, channels: 1 }, { h: 2, w: 2 }, { w_hh: new Float32Array(1) });
      const [x_h, residual_h] = [new Float32Array(4), new Float32Array(4)];
      for (const inputs of [{ x_h, residual_h }, { x_h, x_hh: x_h }, {}, { x_h: new Float32Array(3) }]) {
        found.push(await layer.run(inputs).then(() => "taken", ({ name }) => name));
      }
      // No path reads the high part of this one's input.
      const low = { input: { channels: 2, split: [1, 1] }, channels: 1, alpha: 1, high_to_low: false };
      const lowest = await engine.layer(low, { h: 2, w: 2 }, { w_ll: new Float32Array(1) });
      found.push(Object.keys(lowest.shapes).join(" "));
      for (const inputs of [{ x_h, x_l: new Float32Array(1) }, { x_l: new Float32Array(1) }]) {
        found.push(await lowest.run(inputs).then(() => "taken", ({ name }) => name));
      }
    }
    return found;
  });
  const each = [...Array(4).fill("OctconvError"), "x_l y_l", "OctconvError", "taken"];
  assert.deepEqual(said, [...each, ...each]);
});

await test("arrays may be changed after a call", async () => {
  const values = await page.evaluate(async () => {
    const { Engine } = await octconv();
    const found = [];
    for (const cpu of [false, true]) {
      const engine = await Engine.open({ cpu });
      const weights = { w_hh: new Float32Array([2]) };
      const made = engine.layer({ input: { channels: 1 }, channels: 1 }, { h: 1, w: 1 }, weights);
      weights.w_hh[0] = 100;
      const layer = await made;
      const x_h = new Float32Array([3]);
      const first = layer.run({ x_h });
      x_h[0] = 5;
      const second = layer.run({ x_h });
      // The calls that were made are answered.
      layer.free();
      found.push(...(await Promise.all([first, second])).map(({ y_h }) => y_h[0]));
    }
    return found;
  });
  assert.deepEqual(values, [6, 10, 6, 10]);
});

await test("what is freed gives its memory back at once", async () => {
  const counting = await openWithoutScript(() => {
    globalThis.bytes = 0;
    const create = GPUDevice.prototype.createBuffer, destroy = GPUBuffer.prototype.destroy;
    GPUDevice.prototype.createBuffer = function (descriptor) {
      const buffer = create.call(this, descriptor);
      bytes += buffer.size;
      buffer.counted = true;
      return buffer;
    };
    GPUBuffer.prototype.destroy = function () {
      if (this.counted) bytes -= this.size;
      this.counted = false;
      destroy.call(this);
    };
  });
  const { most, left } = await counting.evaluate(async () => {
    const { Engine, describe } = await octconv();
    const engine = await Engine.open();
    const map = { channels: 8, alpha: 0.5 }, size = { h: 64, w: 64 };
    const kernels = Object.fromEntries(["w_hh", "w_hl", "w_lh", "w_ll"].map((name) => [name, new Float32Array(16 * 9)]));
    const layer = await engine.layer({ input: map, ...map, kernel: [3, 3], padding: "same" }, size, kernels);
    const inputs = { x_h: new Float32Array(4 * 64 * 64), x_l: new Float32Array(4 * 32 * 32) };
    await layer.run(inputs);
    const network = await engine.network(describe("cifar-resnet20", { alpha: 0.25 }), undefined, { size });
    await network.run(network.randomInput(1));
    const most = bytes;
    layer.free();
    network.free();
    return { most, left: bytes };
  });
  assert.ok(most > 1e6 && left === 0, `${left} of ${most} bytes`);
  await counting.context().close();
});

await test("measuring can be stopped", async () => {
  const found = await page.evaluate(async () => {
    const { Engine } = await octconv();
    const engine = await Engine.open();
    const said = [await engine.measure(() => false), engine.measured];
    return [...said, await engine.measure(), engine.measured];
  });
  assert.deepEqual(found, [false, false, true, true]);
});

await test("timing keeps the maps of the last run", async () => {
  const same = await page.evaluate(async () => {
    const { Engine, describe } = await octconv();
    const engine = await Engine.open({ cpu: true });
    const description = describe("cifar-resnet20", { alpha: 0.25, channels: 1 });
    const network = await engine.network(description, undefined, { size: { h: 16, w: 16 }, keep: ["layer1.0.conv1"] });
    await network.run(network.randomInput(5));
    const { high: before } = await network.maps("layer1.0.conv1");
    await network.time();
    const { high: after } = await network.maps("layer1.0.conv1");
    return before.values.length > 0 && before.values.every((value, i) => value === after.values[i]);
  });
  assert.equal(same, true);
});

await test("files that cannot be loaded", async () => {
  const digits = "**/digits.json*";
  const partial = await open({}, undefined, (page) => page.route(digits, (route) => route.fulfill({ status: 503 })));
  assert.match(await text(partial, "message-text"), /digits\/digits\.json.* could not be loaded: 503/);
  await partial.unroute(digits);
  await partial.click("#again");
  await partial.waitForSelector("#message[hidden]", { state: "attached" });
  await partial.locator("#pictures button").nth(4).click();
  await partial.waitForFunction(() => document.getElementById("answer").textContent === "4");
  await partial.context().close();
});

await test("a page that cannot begin", async () => {
  const says = async (message, at, prepare = async () => {}) => {
    const page = await (await browser.newContext()).newPage();
    await prepare(page);
    await page.goto(at);
    await page.waitForSelector("#message:not([hidden])");
    assert.match(await text(page, "message-text"), message);
    assert.doesNotMatch(await text(page, "device"), /Opening/);
    await page.context().close();
  };
  await says(/^Browsers do not run this page from a file/, `file://${resolve(folder, "index.html")}`);
  await says(/^A part of this page could not be loaded/, url, (page) => page.route("**/octconv.js*", (route) => route.abort()));
  const newer = { contentType: "text/javascript", body: "const x = await @new;" };
  await says(/too old/, url, (page) => page.route("**/page.js*", (route) => route.fulfill(newer)));
  await says(/WebAssembly is not defined/, url, (page) => page.addInitScript(() => delete globalThis.WebAssembly));
});

await test("parts of one version, each loaded once", async () => {
  const parts = asked.filter(({ pathname }) => /\.(js|wasm|css|json|safetensors)$/.test(pathname));
  assert.ok(parts.length >= 7, parts.join(" "));
  assert.match(parts[0].search, /^\?v=[1-9]\d*$/);
  for (const { search } of parts) assert.equal(search, parts[0].search, parts.join(" "));
  assert.equal(new Set(parts.map(String)).size, parts.length, parts.join(" "));
});

await test("a page from elsewhere without https", async () => {
  const insecure = await open({}, () => {
    delete Navigator.prototype.gpu;
    Object.defineProperty(globalThis, "isSecureContext", { get: () => false });
  });
  assert.match(await text(insecure, "message-text"), /not from https or localhost/);
  await insecure.context().close();
});

await test("no WebGPU", async () => {
  const plain = await open({}, () => delete Navigator.prototype.gpu);
  assert.match(await text(plain, "message-text"), /^There is no WebGPU here: .* the CPU reference answers, in WebAssembly/);
  assert.match(await text(plain, "device"), /CPU/);
  assert.equal(await plain.locator("#bench").isDisabled(), true);
  for (const digit of [3, 8]) {
    await plain.evaluate(() => delete document.documentElement.dataset.shares);
    await plain.locator("#pictures button").nth(digit).click();
    await plain.waitForFunction(() => document.documentElement.dataset.shares);
    assert.equal(await text(plain, "answer"), String(digit));
    const found = await shares(plain);
    found.forEach((share, i) => assert.ok(Math.abs(share - read[PICTURES[digit]][i]) < 1e-3));
  }
  await plain.screenshot({ path: join(results, "no-webgpu.png"), fullPage: true });
  // Nothing catches a panic.
  await plain.evaluate(() => dispatchEvent(new ErrorEvent("error", { message: "unreachable executed" })));
  assert.match(await text(plain, "message-text"), /This page has failed \(unreachable executed\)\. Please reload it/);
  const said = await text(plain, "time");
  const first = await plain.evaluate(() => document.documentElement.dataset.firstAnswer);
  await plain.context().close();
  return `first answer after ${first} ms; ${said}`;
});

await test("the package's example", async () => {
  const example = await (await browser.newContext()).newPage();
  // As npm would install it.
  const npm = await serve(process.env.PACKAGE ?? join(folder, "../npm"));
  await example.goto(`http://localhost:${npm.port}/example.html`);
  await example.waitForFunction(() => document.getElementById("out").textContent.length > 3, null, { timeout: 60_000 });
  assert.match(await text(example, "out"), /: 8192\+2048 numbers, 10 classes$/);
  npm.server.close();
  await example.context().close();
});

await test("small on the wire", async () => {
  const { files } = JSON.parse(readFileSync(join(folder, "../npm/package.json"), "utf8"));
  assert.ok(files.includes("snippets"));
  const parts = ["octconv/octconv_bg.wasm", "octconv/octconv.js", "index.html", "page.css", "page.js"];
  const bytes = parts.reduce((sum, part) => sum + gzipSync(readFileSync(join(folder, part))).length, 0);
  assert.ok(bytes < 1 << 20, `${bytes} bytes`);
  return `${bytes} bytes with gzip`;
});

await test("nothing is left uncaught", async () => assert.deepEqual(uncaught, []));

await browser.close();
server.close();
process.exit(failed ? 1 : 0);
