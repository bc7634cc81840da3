// Mends what wgpu 30 expects of WebGPU and some browsers do otherwise. wgpu would panic, which ends all of WebAssembly.
// Devices of others on the page stay as they are.

const MENDED = Symbol.for("octconv: WebGPU is mended");

// Does nothing the second time, also if another copy of this file did it.
export function mendWebGPU() {
  const device = globalThis.GPUDevice?.prototype;
  if (!device || device[MENDED]) return;
  Object.defineProperty(device, MENDED, { value: true });
  nameDevices(device);
  makeErrorsKnown(device);
  createUnmapped(device);
  if (/\bFirefox\//.test(globalThis.navigator?.userAgent)) hurryAnswers(globalThis.GPUAdapter.prototype);
}

// The label that octconv gives its devices.
const OWN = "octconv";

// What nothing is known about, in the words of the specification.
const UNKNOWN = Object.freeze({
  vendor: "", architecture: "", device: "", description: "", subgroupMinSize: 4, subgroupMaxSize: 128, isFallbackAdapter: false,
});

// wgpu reads members of both. Safari 26.0 has no `adapterInfo`; older browsers have neither.
function nameDevices(device) {
  for (const [prototype, name] of [[device, "adapterInfo"], [globalThis.GPUAdapter?.prototype, "info"]]) {
    if (prototype && !(name in prototype)) Object.defineProperty(prototype, name, { get: () => UNKNOWN, configurable: true });
  }
}

// wgpu knows two kinds of errors. The third, GPUInternalError, comes from compilers and drivers.
function makeErrorsKnown(device) {
  const pop = device.popErrorScope;
  device.popErrorScope = async function () {
    const error = await pop.call(this);
    if (this.label !== OWN) return error;
    const known = !error || error instanceof GPUValidationError || error instanceof GPUOutOfMemoryError;
    return known ? error : new GPUValidationError(error.message);
  };
}

// A buffer that is mapped from the beginning needs memory of the browser's, and createBuffer throws if there is none. Then
// the buffer is made without, and it is mapping that fails: wgpu has a way for that error.
function createUnmapped(device) {
  const create = device.createBuffer;
  device.createBuffer = function (descriptor) {
    try {
      return create.call(this, descriptor);
    } catch (error) {
      if (this.label !== OWN || !descriptor.mappedAtCreation) throw error;
      const buffer = create.call(this, { ...descriptor, mappedAtCreation: false });
      buffer.getMappedRange = () => { throw error; };
      return buffer;
    }
  };
}

// Milliseconds between looks, and how long they go on.
const PAUSE = 4, MOST = 60_000;

// Firefox looks ten times a second whether the GPU has finished, and each time that something is submitted.
function hurryAnswers(adapter) {
  const open = adapter.requestDevice;
  adapter.requestDevice = async function (descriptor) {
    const device = await open.call(this, descriptor);
    if (device.label === OWN) hurry(device.queue);
    return device;
  };
}

function hurry(queue) {
  let waiting = 0, timer = null, end;
  const rest = () => {
    clearInterval(timer);
    timer = null;
  };
  const look = () => {
    if (performance.now() > end) rest();
    else queue.submit([]);
  };
  const answered = () => {
    waiting -= 1;
    if (waiting === 0) rest();
  };
  queue.onSubmittedWorkDone = function () {
    const answer = GPUQueue.prototype.onSubmittedWorkDone.call(queue);
    waiting += 1;
    end = performance.now() + MOST;
    timer ??= setInterval(look, PAUSE);
    answer.then(answered, answered);
    return answer;
  };
}
