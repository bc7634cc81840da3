"""ncnn's Vulkan backend in f32, with or without Winograd.

ncnn's binding uploads inputs and downloads outputs with each extraction. So the timed net has K independent copies of
the form, and gives their outputs and a single number to a Noop, which costs nothing. Only the number is downloaded. A
sample is the time of that net minus that of a net with the same inputs and no copy, divided by K, so that transfers,
submission and waiting cancel. What remains is the work on the device, and the recording of its commands, which ncnn
repeats each time.
"""

import os
import struct
import tempfile

import ncnn
import numpy as np

from timing import PeerError, one_line, repeats, seconds


# Types and parameters of layers without sizes.
PLAIN = {
    "add": ("BinaryOp", ["0=0"]),
    "relu": ("ReLU", []),
    "relu6": ("Clip", ["0=0", "1=6"]),
    "mean": ("Pooling", ["0=1", "4=1"]),
    "concat": ("Concat", ["0=0"]),
}


class NcnnPeer:
    version = ncnn.__version__

    def __init__(self, device, winograd):
        self.winograd = winograd
        self.name = "ncnn-winograd" if winograd else "ncnn"
        self.label = "ncnn, Winograd" if winograd else "ncnn"
        if not ncnn.get_gpu_count():
            raise PeerError("ncnn finds no Vulkan device")
        self.device = " ".join(ncnn.get_gpu_info(0).device_name().split())

    def same_as(self, form):
        """The peer that runs the same kernels, if any: without a 3x3 of stride 1, ncnn does not use Winograd."""
        eligible = lambda op: op.kind == "conv" and op.weight.shape[2] == 3 and op.stride == 1 and op.groups == 1
        return "ncnn" if self.winograd and not any(map(eligible, form.ops)) else None

    def prepare(self, form):
        if any(array.shape[0] != 1 for array in form.inputs.values()):
            raise PeerError("ncnn has no batches: n must be 1")
        return _Bound(form, self.winograd)


class _Bound:
    def __init__(self, form, winograd):
        self.form = form
        self.inputs = [(name, ncnn.Mat(array[0]).clone()) for name, array in form.inputs.items()]
        self.inputs.append(("one", ncnn.Mat(np.ones(1, np.float32)).clone()))
        empty = _net(form, 0, winograd)
        single = _net(form, 1, winograd)
        for net in (empty, single):
            self._run(net)
        self.copies = repeats(seconds(lambda: self._run(single)) - seconds(lambda: self._run(empty)))
        self.empty = empty
        self.full = single if self.copies == 1 else _net(form, self.copies, winograd)
        self._run(self.full)

    def outputs(self):
        """The outputs of the last copy in the timed net."""
        extractor = self._extractor(self.full)
        last = self.copies - 1
        outputs = [(name, self._extract(extractor, f"c{last}_{name}_out")[None]) for name in self.form.outputs]
        # A vector has no positions.
        return [array if array.ndim == 4 else array.reshape(self.form.shape(name)) for name, array in outputs]

    def sample(self):
        empty = seconds(lambda: self._run(self.empty))
        return (seconds(lambda: self._run(self.full)) - empty) / self.copies

    def _run(self, net):
        self._extract(self._extractor(net), "one_out")

    def _extractor(self, net):
        extractor = net.create_extractor()
        for name, mat in self.inputs:
            extractor.input(name, mat)
        return extractor

    def _extract(self, extractor, name):
        failed, mat = extractor.extract(name)
        if failed:
            raise PeerError(f"ncnn gives {failed}: out of memory, most likely")
        return np.array(mat)


def _net(form, copies, winograd):
    net = ncnn.Net()
    options = net.opt
    options.use_vulkan_compute = True
    options.use_winograd_convolution = winograd
    for name in dir(options):
        # All arithmetic and storage in f32.
        if name.startswith(("use_fp16_", "use_bf16_", "use_int8_")):
            setattr(options, name, False)
    options.num_threads = 1
    lines, weights = _param(form, copies)
    with tempfile.TemporaryDirectory(prefix="octconv-peers-") as folder:
        files = [os.path.join(folder, name) for name in ("form.param", "form.bin")]
        with open(files[0], "w", encoding="ascii") as file:
            file.write("\n".join(lines) + "\n")
        with open(files[1], "wb") as file:
            file.writelines(weights)
        if net.load_param(files[0]) or net.load_model(files[1]):
            raise PeerError("ncnn does not load the form")
    for layer in net.layers():
        if not layer.support_vulkan and layer.type != "Input":
            raise PeerError(f"ncnn has no Vulkan kernel for {one_line(layer.type)}")
    return net


def _param(form, copies):
    """The text of the net, and the parts of its weight file."""
    layers, weights, blobs = [], [], set()

    def add(kind, name, inputs, outputs, *parameters):
        blobs.update(outputs)
        layers.append(" ".join([kind, name, str(len(inputs)), str(len(outputs)), *inputs, *outputs, *parameters]))

    def used(name):
        """How often a copy reads a value."""
        return sum(op.inputs.count(name) for op in form.ops)

    def spread(name, blob, count):
        """The blobs to read, one per reader, instead of a blob that is read `count` times."""
        if count <= 1:
            return iter([blob])
        parts = [f"{blob}_{i}" for i in range(count)]
        add("Split", f"{blob}_split", [blob], parts)
        return iter(parts)

    for name, array in form.inputs.items():
        _, c, h, w = array.shape
        add("Input", name, [], [name], f"0={w}", f"1={h}", f"2={c}")
    add("Input", "one", [], ["one"], "0=1")
    shared = {name: spread(name, name, copies * used(name)) for name in form.inputs}
    ends = [] if copies else list(form.inputs)
    for copy in range(copies):
        readable = dict(shared)
        for op in form.ops:
            blob = f"c{copy}_{op.output}"
            kind, parameters = _layer(op)
            add(kind, blob, [next(readable[name]) for name in op.inputs], [blob], *parameters)
            if op.weight is not None:
                # A tag that says f32, then the weights.
                weights += [struct.pack("<I", 0), op.weight.astype("<f4").tobytes()]
            readable[op.output] = spread(op.output, blob, used(op.output))
        ends += [f"c{copy}_{name}" for name in form.outputs]
    ends.append("one")
    add("Noop", "end", ends, [f"{name}_out" for name in ends])
    return ["7767517", f"{len(layers)} {len(blobs)}", *layers], weights


def _layer(op):
    """ncnn's layer type and parameters."""
    if op.kind == "conv":
        cout, _, k, _ = op.weight.shape
        parameters = [f"0={cout}", f"1={k}", f"3={op.stride}", f"4={k // 2}", f"6={op.weight.size}"]
        if op.groups == 1:
            return "Convolution", parameters
        return "ConvolutionDepthWise", [*parameters, f"7={op.groups}"]
    if op.kind == "pool":
        return "Pooling", ["0=1", "1=2", "2=2"]
    if op.kind == "linear":
        return "InnerProduct", [f"0={op.weight.shape[0]}", f"2={op.weight.size}"]
    if op.kind == "up":
        return "Interp", ["0=1", f"3={op.shape[2]}", f"4={op.shape[3]}"]
    if op.kind == "max":
        # The last parameter rounds sizes down.
        return "Pooling", ["0=0", f"1={op.window}", f"2={op.stride}", f"3={op.window // 2}", "5=1"]
    return PLAIN[op.kind]
