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

/** The channels of a map: all high, unless `alpha` or `split` says otherwise. */
export interface MapChannels {
  /** High and low together. */
  channels: number;
  /** Share of low-frequency channels, from 0 to 1 (0): there are int(alpha * channels) of them. */
  alpha?: number;
  /** Exact channels, [high, low], instead of alpha. */
  split?: [number, number];
}

/** [h, w], or [t, h, w] with a time axis. */
export type PerAxis = [number, number] | [number, number, number];

export type Activation = "none" | "relu" | "relu6" | "silu" | "hard_swish" | { leaky_relu: { slope: number } } | "sigmoid" |
  "tanh" | "gelu" | "gelu_tanh" | "hard_sigmoid";

/** A layer, as an object or its JSON. Defaults stand in parentheses. */
export type LayerDescription = string | (MapChannels & {
  input: MapChannels;
  /** ([1, 1]) */
  kernel?: PerAxis;
  /** Zeros at each end ([0, 0]); "same" is dilation * (kernel - 1) / 2. */
  padding?: PerAxis | "same";
  dilation?: PerAxis;
  /** 1 or 2 (1); with a time axis also [t, h, w], with h = w. */
  stride?: number | [number, number, number];
  /** The time axis, instead of three numbers elsewhere. */
  time?: { kernel: number; stride: number; padding: number; dilation: number };
  /** Groups on each path (1). */
  groups?: number;
  /** One filter per channel, on the paths high to high and low to low only (false). */
  depthwise?: boolean;
  /** Whether each output has a bias (false). */
  bias?: boolean;
  /** Whether each output has a batch norm (false). */
  norm?: boolean;
  /** Added to the variance of the batch norm (0.00001). */
  norm_eps?: number;
  /** Whether a residual is added to each output before the activation (false). */
  residual?: boolean;
  /** ("none") */
  activation?: Activation;
  /** How half of an odd size is rounded ("ceil"). */
  rounding?: "ceil" | "floor";
  /** Pool and convolve, or convolve with a stride ("average"). */
  downsample?: "average" | "strided";
  /** Whether the layer has these paths (true). */
  high_to_low?: boolean;
  low_to_high?: boolean;
});

/** Kernels are [c_out, c_in / groups, h, w], or [c_out, c_in / groups, t, h, w]; all others have an element per output channel. */
export interface LayerWeights {
  /** From the high input to the high output; `w_hl`: from high to low, and so on. Those of paths that the layer has. */
  w_hh?: Float32Array;
  w_hl?: Float32Array;
  w_lh?: Float32Array;
  w_ll?: Float32Array;
  /** For each output that there is, or for none. */
  bias_h?: Float32Array;
  bias_l?: Float32Array;
  /** Batch norm: all four for each output that there is, or none. */
  gamma_h?: Float32Array;
  beta_h?: Float32Array;
  mean_h?: Float32Array;
  var_h?: Float32Array;
  gamma_l?: Float32Array;
  beta_l?: Float32Array;
  mean_l?: Float32Array;
  var_l?: Float32Array;
}

/** Exactly those that the layer reads, with the shapes that `Layer.shapes` says. */
export interface LayerInputs {
  /** The high frequency. */
  x_h?: Float32Array;
  /** The low frequency, with half of the rows and columns. */
  x_l?: Float32Array;
  residual_h?: Float32Array;
  residual_l?: Float32Array;
}

/** Those that the layer has. */
export interface LayerOutputs {
  y_h?: Float32Array;
  y_l?: Float32Array;
}

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
  /** Whether maps and weights are stored in f16, in half of the memory (false): for GPUs that have it (`engine.hasF16`). */
  f16?: boolean;
  /** Of random weights, if none are given (0). */
  seed?: number;
}

/** One part of a map: `values` has the shape [batch, channels, frames, height, width]. */
export interface FeatureMap {
  batch: number;
  channels: number;
  frames: number;
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
