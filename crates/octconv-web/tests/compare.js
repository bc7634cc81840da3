// Compares what the native program and the page read from pictures: `node compare.js NATIVE PAGE`. NATIVE has what
// `octconv classify --json` prints, PAGE the probabilities of all classes by the names of the pictures.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { basename } from "node:path";

const [native, page] = process.argv.slice(2).map((file) => readFileSync(file, "utf8"));
const found = JSON.parse(page);
// Browsers decode JPEG with other rounding.
const CLOSE = 0.01;
let compared = 0, most = 0;
for (const { picture, answers } of native.trim().split("\n").map((line) => JSON.parse(line))) {
  const shares = found[basename(picture)];
  assert.equal(shares.indexOf(Math.max(...shares)), answers[0].class, picture);
  for (const { class: index, probability } of answers) {
    most = Math.max(most, Math.abs(shares[index] - probability));
    compared += 1;
  }
}
assert.ok(compared >= 30 && most <= CLOSE, `${compared} compared, ${most} apart`);
console.log(`${compared} probabilities are at most ${most.toExponential(1)} apart`);
