// A file server for the page: `node serve.js FOLDER PORT`, or from another module.
import { createReadStream, statSync } from "node:fs";
import { createServer } from "node:http";
import { extname, join, normalize, sep } from "node:path";
import { fileURLToPath } from "node:url";

const TYPES = {
  ".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8",
  ".json": "application/json", ".wasm": "application/wasm", ".png": "image/png", ".jpg": "image/jpeg",
};

/** Serves `folder` on a port (0: any that is free). */
export function serve(folder, port = 0) {
  const server = createServer((request, response) => {
    try {
      // Both throw if the address is malformed.
      const path = normalize(decodeURIComponent(new URL(request.url, "http://localhost").pathname));
      let file = join(folder, path);
      if (path.split(sep).includes("..")) throw new Error("outside");
      if (statSync(file).isDirectory()) file = join(file, "index.html");
      const { size } = statSync(file);
      response.writeHead(200, {
        "content-type": TYPES[extname(file)] ?? "application/octet-stream", "content-length": size, "cache-control": "no-cache",
      });
      createReadStream(file).pipe(response);
    } catch {
      response.writeHead(404).end("there is no such file\n");
    }
  });
  return new Promise((resolve) => server.listen(port, "127.0.0.1", () => resolve({ server, port: server.address().port })));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [folder, port] = process.argv.slice(2);
  const served = await serve(folder, Number(port ?? 8000));
  console.log(`http://localhost:${served.port}`);
}
