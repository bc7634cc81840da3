// Plays a bundle of `octconv export --to wgsl` on a GPUDevice that the page has made.
//
//     const adapter = await navigator.gpu.requestAdapter();
//     const manifest = await readManifest("bundle/");
//     const device = await adapter.requestDevice(requirements(manifest));
//     const bundle = await load(device, "bundle/", manifest);
//     const [answer] = await bundle.run([new Float32Array(...)]);

const BINDINGS = { uniform: "uniform", read: "read-only-storage", read_write: "storage" };

/** The manifest of the bundle in a folder, whose URL ends in a slash. */
export async function readManifest(folder) {
  const manifest = JSON.parse(new TextDecoder().decode(await read(folder, "manifest.json")));
  if (manifest.octconv_bundle !== 1 || manifest.language !== "wgsl") {
    throw new Error("not a bundle of version 1 in WGSL");
  }
  return manifest;
}

/** What to ask an adapter for: the argument of requestDevice. */
export function requirements({ requires }) {
  const { offset_alignment, ...limits } = requires.limits;
  const camel = (name) => name.replace(/_(.)/g, (_, letter) => letter.toUpperCase());
  return {
    requiredFeatures: requires.features.map((name) => name.replaceAll("_", "-")),
    // A limit below the default asks for the default. Uniforms lie at multiples of 256, which is the default.
    requiredLimits: {
      ...Object.fromEntries(Object.entries(limits).map(([name, value]) => [camel(name), value])),
      minStorageBufferOffsetAlignment: offset_alignment,
    },
  };
}

/** The names of the features and limits that an adapter lacks. */
export function missing(adapter, manifest) {
  const { requiredFeatures, requiredLimits } = requirements(manifest);
  const lacks = ([name, value]) => {
    const has = adapter.limits[name];
    return name.startsWith("min") ? value % has !== 0 : value > has;
  };
  return [
    ...requiredFeatures.filter((name) => !adapter.features.has(name)),
    ...Object.entries(requiredLimits).filter(lacks).map(([name]) => name),
  ];
}

/** Makes buffers, pipelines and bind groups. */
export async function load(device, folder, manifest) {
  const buffers = await Promise.all(manifest.buffers.map((buffer) => makeBuffer(device, folder, buffer)));
  const kernels = await Promise.all(manifest.kernels.map((kernel) => makeKernel(device, folder, kernel)));
  const steps = manifest.dispatches.map(({ kernel, workgroups, bindings }) => {
    const entries = bindings.map(({ binding, buffer, offset, bytes }) => ({
      binding,
      resource: { buffer: buffers[buffer], offset, size: bytes },
    }));
    const { pipeline, layout } = kernels[kernel];
    return { pipeline, group: device.createBindGroup({ layout, entries }), workgroups };
  });

  /** Takes the bytes of each input, and gives those of each output. */
  async function run(inputs) {
    manifest.inputs.forEach(({ buffer, offset }, i) => device.queue.writeBuffer(buffers[buffer], offset, inputs[i]));
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    for (const { pipeline, group, workgroups } of steps) {
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, group);
      pass.dispatchWorkgroups(...workgroups);
    }
    pass.end();
    const copies = manifest.outputs.map(({ buffer, offset, bytes }) => {
      const copy = device.createBuffer({ size: bytes, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
      encoder.copyBufferToBuffer(buffers[buffer], offset, copy, 0, bytes);
      return copy;
    });
    device.queue.submit([encoder.finish()]);
    return Promise.all(
      copies.map(async (copy) => {
        await copy.mapAsync(GPUMapMode.READ);
        const bytes = copy.getMappedRange().slice(0);
        copy.destroy();
        return bytes;
      }),
    );
  }
  return { run };
}

async function makeBuffer(device, folder, { bytes, usage, file }) {
  const kind = usage === "uniform" ? GPUBufferUsage.UNIFORM : GPUBufferUsage.STORAGE;
  const made = device.createBuffer({ size: bytes, usage: kind | GPUBufferUsage.COPY_DST | GPUBufferUsage.COPY_SRC });
  if (file) device.queue.writeBuffer(made, 0, await read(folder, file));
  return made;
}

async function makeKernel(device, folder, { file, entry_point, bindings }) {
  const entries = bindings.map(({ binding, access }) => ({
    binding,
    visibility: GPUShaderStage.COMPUTE,
    buffer: { type: BINDINGS[access] },
  }));
  const layout = device.createBindGroupLayout({ entries });
  const module = device.createShaderModule({ code: new TextDecoder().decode(await read(folder, file)) });
  const pipeline = await device.createComputePipelineAsync({
    layout: device.createPipelineLayout({ bindGroupLayouts: [layout] }),
    compute: { module, entryPoint: entry_point },
  });
  return { pipeline, layout };
}

async function read(folder, file) {
  const response = await fetch(folder + file);
  if (!response.ok) throw new Error(`${file}: ${response.status}`);
  return response.arrayBuffer();
}

/** Runs a bundle's example. Gives the largest difference from the right answer, and the one that is allowed. */
export async function check(device, folder, manifest) {
  const contents = async ({ file, offset, bytes }) => (await read(folder, file)).slice(offset, offset + bytes);
  const bundle = await load(device, folder, manifest);
  const { inputs, outputs, tolerance } = manifest.example;
  const found = await bundle.run(await Promise.all(inputs.map(contents)));
  let worst = 0;
  let answer;
  for (const [i, output] of manifest.outputs.entries()) {
    const right = new Float32Array(await contents(outputs[i]));
    const values = output.dtype === "f16" ? new Float16Array(found[i]) : new Float32Array(found[i]);
    // Math.max keeps a NaN, which is not below anything.
    right.forEach((wanted, at) => (worst = Math.max(worst, Math.abs(values[at] - wanted))));
    if (i === 0 && manifest.labels) answer = manifest.labels[values.indexOf(values.reduce((a, b) => Math.max(a, b)))];
  }
  return { worst, tolerance, answer };
}
