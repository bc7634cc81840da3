// Uses the package as TypeScript programs do. `tsc` checks it; nothing runs it.
import init, { Engine, Layer, Network, describe, type Benched, type FeatureMap, type LayerOutputs, type Verified } from "octconv";

export async function use(weights: Uint8Array): Promise<number> {
  await init();
  const engine = await Engine.open();
  const kind: "webgpu" | "cpu" = engine.kind;
  const map = { channels: 16, alpha: 0.5 };
  const layer: Layer = await engine.layer({ input: map, ...map, padding: "same" }, { h: 8, w: 8 }, { w_hh: new Float32Array(64) });
  const outputs: LayerOutputs = await layer.run({ x_h: new Float32Array(512) });
  const description = describe("resnet18");
  description.picture = { channels: 3, height: 224, width: 224 };
  const nodes: number = description.nodes.length;
  const network: Network = await engine.network(description, weights, { keep: ["layer1"] });
  const answer: Float32Array = await network.run(network.randomInput(1));
  const pixels: Float32Array = network.picture(new Uint8ClampedArray(4), 1, 1);
  const { high, low }: { high?: FeatureMap; low?: FeatureMap } = await network.maps("layer1");
  const verified: Verified = await engine.verify({ seconds: 1 }, ({ cases }) => cases < 10);
  const benched: Benched = await engine.bench();
  if (!engine.measured) await engine.measure(() => true);
  // @ts-expect-error: no field of a layer
  void engine.layer({ input: map, ...map, paddings: "same" }, { h: 8, w: 8 }, {});
  // @ts-expect-error: no weights of a layer
  void engine.layer({ input: map, ...map }, { h: 8, w: 8 }, { weight: new Float32Array(1) });
  // @ts-expect-error: a network needs a description
  void engine.network();
  return nodes + pixels.length + answer.length + (high?.channels ?? 0) + (low?.values.length ?? 0) + verified.cases + benched.parts.length +
    kind.length + Object.keys(outputs).length;
}
