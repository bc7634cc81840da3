// Gives every kernel in a folder to Tint, the compiler of Chromium, through Dawn for Node: `node tint.js FOLDER`. Kernels
// with matrices are left out: browsers do not know wgpu's extension for them.
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { create, globals } from "webgpu";

Object.assign(globalThis, globals);
const folder = process.argv[2];
// Dawn's null backend compiles as far as Tint goes. It needs no GPU, and has every feature.
const gpu = create(["backend=null"]);
const adapter = await gpu.requestAdapter();
if (!adapter) throw new Error("Dawn has no adapter");
const device = await adapter.requestDevice({ requiredFeatures: ["shader-f16"] });

// What Tint says about a kernel; undefined if it accepts it.
async function refusal(code) {
  device.pushErrorScope("validation");
  const module = device.createShaderModule({ code });
  const { messages } = await module.getCompilationInfo();
  const error = await device.popErrorScope();
  const wrong = messages.find(({ type }) => type === "error");
  return wrong ? `line ${wrong.lineNum}: ${wrong.message}` : error?.message;
}

if (!(await refusal("fn main() -> u32 { return 1.5; }"))) throw new Error("Tint accepts what is wrong");
let accepted = 0, halves = 0, matrices = 0;
const refused = [];
for (const name of readdirSync(folder).filter((name) => name.endsWith(".wgsl")).sort()) {
  const code = readFileSync(join(folder, name), "utf8");
  if (code.includes("wgpu_cooperative_matrix")) {
    matrices += 1;
    continue;
  }
  const wrong = await refusal(code);
  if (wrong) refused.push(`${name}: ${wrong}`);
  else accepted += 1;
  if (/^enable f16;/m.test(code)) halves += 1;
}
for (const line of refused.slice(0, 20)) console.error(line);
console.log(`Tint accepts ${accepted} kernels, ${halves} of them with f16; ${matrices} need matrices; ${refused.length} are refused`);
process.exit(refused.length || !accepted || !halves ? 1 : 0);
