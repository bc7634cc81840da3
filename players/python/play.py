"""Plays a bundle of `octconv export --to wgsl` with the package wgpu, and compares its example if it has one.

    python play.py FOLDER
"""

import json
import sys
from pathlib import Path

import numpy as np
import wgpu

USAGES = {
    "uniform": wgpu.BufferUsage.UNIFORM,
    "constant": wgpu.BufferUsage.STORAGE,
    "storage": wgpu.BufferUsage.STORAGE,
}
BINDINGS = {"uniform": "uniform", "read": "read-only-storage", "read_write": "storage"}
DTYPES = {"f32": np.float32, "f16": np.float16}


class Bundle:
    """A bundle on a device: buffers, pipelines and bind groups, made once."""

    def __init__(self, folder, device):
        self.folder, self.device = Path(folder), device
        self.manifest = json.loads((self.folder / "manifest.json").read_text())
        if self.manifest["octconv_bundle"] != 1 or self.manifest["language"] != "wgsl":
            raise ValueError("not a bundle of version 1 in WGSL")
        self.buffers = [self._buffer(buffer) for buffer in self.manifest["buffers"]]
        pipelines = [self._pipeline(kernel) for kernel in self.manifest["kernels"]]
        self.steps = []
        for dispatch in self.manifest["dispatches"]:
            pipeline, layout = pipelines[dispatch["kernel"]]
            entries = [
                {
                    "binding": at["binding"],
                    "resource": {"buffer": self.buffers[at["buffer"]], "offset": at["offset"], "size": at["bytes"]},
                }
                for at in dispatch["bindings"]
            ]
            group = device.create_bind_group(layout=layout, entries=entries)
            self.steps.append((pipeline, group, dispatch["workgroups"]))

    def _buffer(self, buffer):
        usage = USAGES[buffer["usage"]] | wgpu.BufferUsage.COPY_DST | wgpu.BufferUsage.COPY_SRC
        made = self.device.create_buffer(size=buffer["bytes"], usage=usage)
        if "file" in buffer:
            self.device.queue.write_buffer(made, 0, (self.folder / buffer["file"]).read_bytes())
        return made

    def _pipeline(self, kernel):
        entries = [
            {
                "binding": binding["binding"],
                "visibility": wgpu.ShaderStage.COMPUTE,
                "buffer": {"type": BINDINGS[binding["access"]]},
            }
            for binding in kernel["bindings"]
        ]
        layout = self.device.create_bind_group_layout(entries=entries)
        module = self.device.create_shader_module(code=(self.folder / kernel["file"]).read_text())
        pipeline = self.device.create_compute_pipeline(
            layout=self.device.create_pipeline_layout(bind_group_layouts=[layout]),
            compute={"module": module, "entry_point": kernel["entry_point"]},
        )
        return pipeline, layout

    def run(self, inputs):
        """Takes the bytes of each input, and returns each output as an array of f32."""
        for tensor, data in zip(self.manifest["inputs"], inputs, strict=True):
            self.device.queue.write_buffer(self.buffers[tensor["buffer"]], tensor["offset"], data)
        encoder = self.device.create_command_encoder()
        compute = encoder.begin_compute_pass()
        for pipeline, group, workgroups in self.steps:
            compute.set_pipeline(pipeline)
            compute.set_bind_group(0, group)
            compute.dispatch_workgroups(*workgroups)
        compute.end()
        self.device.queue.submit([encoder.finish()])
        return [self._read(tensor) for tensor in self.manifest["outputs"]]

    def _read(self, tensor):
        data = self.device.queue.read_buffer(self.buffers[tensor["buffer"]], tensor["offset"], tensor["bytes"])
        count = int(np.prod(tensor["shape"]))
        return np.frombuffer(data, DTYPES[tensor["dtype"]])[:count].astype(np.float32)


def open_device(requires):
    """A device with what a bundle requires."""
    adapter = wgpu.gpu.request_adapter_sync(power_preference="high-performance")
    features = [name.replace("_", "-") for name in requires["features"]]
    missing = [name for name in features if name not in adapter.features]
    limits = {name.replace("_", "-"): value for name, value in requires["limits"].items() if name != "offset_alignment"}
    missing += [name for name, value in limits.items() if value > adapter.limits[name]]
    # All offsets are multiples of it. Those of uniforms are multiples of 256, the default, which every device takes.
    alignment = requires["limits"]["offset_alignment"]
    missing += [ALIGNMENT] if alignment % adapter.limits[ALIGNMENT] else []
    if missing:
        print(f"the device lacks {', '.join(missing)}", file=sys.stderr)
        # Another status, for those who try several devices.
        sys.exit(3)
    # A limit below the default is no request, unless the adapter has less than the default. Nor is an alignment above 256.
    limits = {name: min(max(value, DEFAULTS.get(name, 0)), adapter.limits[name]) for name, value in limits.items()}
    limits[ALIGNMENT] = min(alignment, 256)
    print(f"on {adapter.info['device']} ({adapter.info['backend_type']})")
    return adapter.request_device_sync(required_features=features, required_limits=limits)


ALIGNMENT = "min-storage-buffer-offset-alignment"
DEFAULTS = {
    "max-buffer-size": 256 << 20,
    "max-storage-buffer-binding-size": 128 << 20,
    "max-uniform-buffer-binding-size": 64 << 10,
    "max-storage-buffers-per-shader-stage": 8,
    "max-compute-workgroup-storage-size": 16 << 10,
    "max-compute-invocations-per-workgroup": 256,
    "max-compute-workgroup-size-x": 256,
    "max-compute-workgroups-per-dimension": 65535,
}


def contents(folder, example, dtype):
    data = (Path(folder) / example["file"]).read_bytes()
    return np.frombuffer(data[example["offset"] : example["offset"] + example["bytes"]], dtype)


def main(folder):
    manifest = json.loads((Path(folder) / "manifest.json").read_text())
    bundle = Bundle(folder, open_device(manifest["requires"]))
    example = manifest.get("example")
    if example is None:
        bundle.run([bytes(tensor["bytes"]) for tensor in manifest["inputs"]])
        print(f"{manifest['name']}: it ran, and has no example to compare with")
        return 0
    outputs = bundle.run([contents(folder, given, np.uint8).tobytes() for given in example["inputs"]])
    worst = 0.0
    for found, right in zip(outputs, example["outputs"], strict=True):
        difference = np.abs(found - contents(folder, right, np.float32)).max()
        # It keeps a NaN, which is not below anything.
        worst = np.maximum(worst, difference)
    print(f"{manifest['name']}: differs by {worst:.3g}, and {example['tolerance']:.3g} is allowed")
    if labels := manifest.get("labels"):
        print(f"the answer is {labels[int(outputs[0].argmax())]}")
    return 0 if worst <= example["tolerance"] else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
