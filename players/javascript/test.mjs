// Plays bundles in Chromium, on SwiftShader's WebGPU. Ends with 1 if one gives a wrong answer, and with 3 if the device lacks
// something that one requires.
//
//     node test.mjs FOLDER...

import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { join, normalize, resolve } from "node:path";
import { chromium } from "playwright-core";

const here = import.meta.dirname;
const folders = process.argv.slice(2).map((folder) => resolve(folder));

// The page and the player, and the bundles as /0/, /1/ and so on.
const server = createServer(async (request, response) => {
  const [, first, ...rest] = decodeURIComponent(new URL(request.url, "http://localhost").pathname).split("/");
  const root = folders[Number(first)];
  try {
    if (first === "") {
      response.writeHead(200, { "content-type": "text/html" }).end("<!doctype html><title>octconv</title>");
    } else if (first === "play.js") {
      response.writeHead(200, { "content-type": "text/javascript" }).end(await readFile(join(here, "play.js")));
    } else {
      const file = normalize(join(root, ...rest));
      if (!file.startsWith(root)) throw new Error("outside of the bundle");
      response.writeHead(200).end(await readFile(file));
    }
  } catch {
    response.writeHead(404).end();
  }
});
await new Promise((done) => server.listen(0, "127.0.0.1", done));
const address = `http://127.0.0.1:${server.address().port}/`;

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--headless", "--no-sandbox", "--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"],
});
let failed = 0;
let leftOut = 0;
try {
  const page = await browser.newPage();
  await page.goto(address);
  for (const [i, folder] of folders.entries()) {
    const found = await page.evaluate(async (folder) => {
      const { check, missing: missingOf, readManifest, requirements } = await import("/play.js");
      const manifest = await readManifest(folder);
      // The page's own device: the player has no part in it.
      const adapter = await navigator.gpu.requestAdapter();
      const missing = missingOf(adapter, manifest);
      if (missing.length > 0) return { name: manifest.name, missing };
      const device = await adapter.requestDevice(requirements(manifest));
      let problem;
      device.addEventListener("uncapturederror", ({ error }) => (problem ??= error.message));
      const result = await check(device, folder, manifest);
      return { name: manifest.name, on: adapter.info.description || adapter.info.vendor, problem, ...result };
    }, `/${i}/`);
    const { name, on, missing, problem, worst, tolerance, answer } = found;
    if (missing) {
      leftOut += 1;
      console.log(`${name}: not played, because the device lacks ${missing.join(", ")}`);
      continue;
    }
    const good = !problem && worst <= tolerance;
    failed += good ? 0 : 1;
    console.log(`on ${on}`);
    console.log(`${name}: differs by ${worst.toPrecision(3)}, and ${tolerance.toPrecision(3)} is allowed`);
    if (answer) console.log(`the answer is ${answer}`);
    if (problem) console.log(`error: ${problem}`);
    if (!good) console.log(`${folder}: failed`);
  }
} finally {
  await browser.close();
  server.close();
}
process.exit(failed > 0 ? 1 : leftOut > 0 ? 3 : 0);
