//! Types for TypeScript that have no class here.

use wasm_bindgen::prelude::wasm_bindgen;

#[wasm_bindgen(typescript_custom_section)]
const TYPES: &str = r#"
/** How an engine is opened. */
export interface EngineOptions {
  /** Take the CPU reference, also if there is WebGPU. */
  cpu?: boolean;
}

/** The size of an input at full resolution. */
export interface Size {
  h: number;
  w: number;
  /** Pictures or clips that run together (1). */
  n?: number;
  /** Frames (1). */
  t?: number;
}

/** A layer: the fields that `octconv apply --help` lists, as an object or its JSON. */
export type LayerDescription = string | {
  input: { channels: number; alpha?: number; split?: [number, number] };
  channels: number;
  alpha?: number;
  split?: [number, number];
  kernel?: number[];
  padding?: number[] | "same";
  dilation?: number[];
  stride?: number | number[];
  groups?: number;
  depthwise?: boolean;
  bias?: boolean;
  norm?: boolean;
  residual?: boolean;
  activation?: string | Record<string, unknown>;
  [field: string]: unknown;
};

/** A network, as docs/networks.md describes it: an object, or its JSON. */
export type NetworkDescription = string | { name: string; nodes: unknown[]; [field: string]: unknown };

/** What can be chosen for a built-in network. */
export interface ZooSettings {
  /** Share of low-frequency channels; 0 is the plain network (0.5). */
  alpha?: number;
  /** Width multiplier of a MobileNet (1). */
  width?: number;
  /** Elements of the answer. */
  classes?: number;
  /** Channels of the input (3). */
  channels?: number;
  /** How a ResNet begins. */
  stem?: string;
}

/** How a network is made. */
export interface NetworkOptions {
  /** The size of its input; else that of its pictures, or 224x224. */
  size?: Size;
  /** Nodes whose maps can be read after a run. */
  keep?: string[];
  /** Whether Winograd kernels may be chosen, which are a little less exact (false). */
  fast?: boolean;
  /** Of random weights, if none are given (0). */
  seed?: number;
}

/** One part of a map: `values` has channels, rows and columns. */
export interface FeatureMap {
  channels: number;
  height: number;
  width: number;
  values: Float32Array;
}

/** How much is compared with the reference: ten seconds, if nothing is said. */
export interface VerifyOptions {
  cases?: number;
  seconds?: number;
  seed?: number;
}

/** What was compared with the reference so far. */
export interface Verified {
  /** Cases that ran. */
  cases: number;
  /** Those that disagree. */
  wrong: number;
  /** Those that the device has no room or no features for. */
  refused: number;
  /** The largest error over its bound, of cases that agree: at most 1. */
  worst: number;
  /** Different kernels that ran. */
  kernels: number;
  seconds: number;
  /** The first cases that disagree. */
  examples: string[];
  /** Cases that could not run, because the browser or the device failed at something. */
  failed: number;
  /** The first different failures, with the browser's messages. */
  failures: string[];
}

/** What is timed: Oct-ResNet-50 at 224x224, if nothing is said. */
export interface BenchOptions {
  network?: string;
  alpha?: number;
  /** Rows and columns of the input. */
  side?: number;
  rounds?: number;
  /** Whether Winograd kernels may be chosen (true). */
  fast?: boolean;
}

/** What was timed so far. */
export interface Benched {
  doing: string;
  round: number;
  rounds: number;
  /** Whether the GPU's own clock measured. */
  device: boolean;
  /** Stages in order; the last is the whole network. */
  parts: {
    name: string;
    /** Multiply-adds with octaves over those without. */
    macsRatio: number;
    /** Milliseconds, round by round. */
    octaveMs: number[];
    plainMs: number[];
  }[];
}
"#;
