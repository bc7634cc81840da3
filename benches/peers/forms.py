"""A layer of a layers file as a small graph of pools, convolutions, upsamples and adds, and its right outputs.

Arrays are [n, c, h, w]. Every peer translates the same graph.
"""

from dataclasses import dataclass, field
import json

import numpy as np


class InputError(Exception):
    """What is wrong with the arguments or the files, in one line."""


@dataclass(frozen=True)
class Layer:
    name: str
    n: int
    h: int
    w: int
    cin: tuple  # channels of the input, (high, low)
    cout: tuple  # channels of the output, (high, low)
    k: int
    stride: int
    groups: int
    depthwise: bool
    activation: str
    entry: dict  # the layer as its file has it

    def splits(self):
        """((high, low) channels of the input, the same of the output)."""
        return self.cin, self.cout


def whole(fields, name, default=None):
    """A field that is a whole number, at least 1."""
    if name not in fields and default is None:
        raise InputError(f"{name} is missing")
    value = fields.get(name, default)
    if type(value) is not int or value < 1:
        raise InputError(f"{name} is {value!r}: must be a whole number, at least 1")
    return value


def read_split(fields):
    """(high, low) channels of a map."""
    channels = whole(fields, "channels")
    if "split" in fields:
        high, low = fields["split"]
        return high, low
    alpha = fields.get("alpha", 0)
    if type(alpha) not in (int, float) or not 0 <= alpha <= 1:
        raise InputError(f"alpha is {alpha!r}: must be a number from 0 to 1")
    return channels - int(alpha * channels), int(alpha * channels)


def read_layer(entry):
    """A layer of the kind that the peers are compared on: square kernels that keep the size, no time axis."""
    known = {"name", "size", "input", "channels", "alpha", "split", "kernel", "padding", "stride", "groups", "depthwise",
             "activation"}
    if more := sorted(entry.keys() - known):
        raise InputError(f"{more[0]} is no field that the peers know")
    size, source = entry.get("size"), entry.get("input")
    if not isinstance(size, dict) or not isinstance(source, dict):
        raise InputError("size and input must be objects")
    if size.get("t", 1) != 1:
        raise InputError(f"t is {size['t']!r}: must be 1")
    kernel = entry.get("kernel", [1, 1])
    if kernel not in ([k, k] for k in range(1, 64, 2)):
        raise InputError(f"kernel is {kernel!r}: must be [k, k] with an odd k")
    k = kernel[0]
    if entry.get("padding", [0, 0]) not in ("same", [k // 2] * 2):
        raise InputError(f"padding is {entry.get('padding')!r}: must be \"same\"")
    stride = entry.get("stride", 1)
    if type(stride) is not int or stride not in (1, 2):
        raise InputError(f"stride is {stride!r}: must be 1 or 2")
    cin, cout, depthwise = read_split(source), read_split(entry), entry.get("depthwise", False)
    groups = sum(cin) if depthwise else whole(entry, "groups", 1)
    if depthwise and cin != cout:
        raise InputError("a depthwise layer must have the same channels in its input and output")
    if not depthwise and any(channels % groups for channels in cin + cout):
        raise InputError(f"groups is {groups}: must divide the channels of each high and low part")
    if (activation := entry.get("activation", "none")) not in ("none", "relu", "relu6"):
        raise InputError(f"activation is {activation!r}: must be \"none\", \"relu\" or \"relu6\"")
    n, h, w = whole(size, "n", 1), whole(size, "h"), whole(size, "w")
    return Layer(entry.get("name"), n, h, w, cin, cout, k, stride, groups, depthwise, activation, entry)


def read_layers(path, only="", left_out=None):
    """The layers of a file whose names contain `only`. One of another kind is an error, or goes to `left_out`."""
    try:
        with open(path, encoding="utf-8") as file:
            entries = json.load(file)
    except (OSError, ValueError) as error:
        raise InputError(f"reading {path}: {error}") from None
    if not isinstance(entries, list):
        raise InputError(f"reading {path}: must be a list of layers")
    layers = []
    for i, entry in enumerate(entries):
        where = f"{path}, layer {entry.get('name', i) if isinstance(entry, dict) else i}"
        if not isinstance(entry, dict):
            raise InputError(f"{where}: must be an object")
        try:
            layer = read_layer(entry)
        except (InputError, TypeError, ValueError) as error:
            if left_out is not None:
                left_out(f"{where}: {error}")
                continue
            raise InputError(f"{where}: {error}") from None
        if not isinstance(layer.name, str):
            raise InputError(f"{where}: name must be a text")
        if any(layer.name == other.name for other in layers):
            raise InputError(f"{where}: a second layer of this name")
        layers.append(layer)
    layers = [layer for layer in layers if only in layer.name]
    if not layers:
        raise InputError(f"{path} has no layer to time")
    return layers


@dataclass(frozen=True)
class Op:
    """`kind` is pool (2x2 average, the last row or column alone where the size is odd), conv, up (nearest), add or relu.

    Networks have more: relu6, max (the greatest of windows, without what is outside), mean (of all positions), concat (of
    channels) and linear, whose input and output have one position.
    """

    kind: str
    inputs: tuple
    output: str
    shape: tuple
    weight: np.ndarray | None = None
    groups: int = 1
    stride: int = 1
    window: int = 0  # of max; half of it, rounded down, lies outside at the edges


@dataclass
class Form:
    """The octave or the plain form of a layer, with its data."""

    inputs: dict = field(default_factory=dict)
    ops: list = field(default_factory=list)
    outputs: list = field(default_factory=list)

    def shape(self, name):
        if name in self.inputs:
            return self.inputs[name].shape
        return next(op.shape for op in self.ops if op.output == name)

    def macs(self):
        """Multiply-adds of direct convolutions, even if a peer uses another algorithm."""
        return sum(int(np.prod(op.shape)) * int(np.prod(op.weight.shape[1:])) for op in self.ops if op.weight is not None)

    def op(self, kind, inputs, shape, **more):
        op = Op(kind, tuple(inputs), f"t{len(self.ops)}", tuple(shape), **more)
        self.ops.append(op)
        return op.output

    def pool(self, name):
        n, c, h, w = self.shape(name)
        return self.op("pool", [name], (n, c, -(-h // 2), -(-w // 2)))

    def conv(self, name, weight, groups, stride=1):
        n, _, h, w = self.shape(name)
        size = lambda length: (length - 1) // stride + 1
        shape = (n, weight.shape[0], size(h), size(w))
        return self.op("conv", [name], shape, weight=weight, groups=groups, stride=stride)

    def sum(self, parts):
        return parts[0] if len(parts) == 1 else self.op("add", parts, self.shape(parts[0]))

    def activated(self, name, activation):
        return name if activation == "none" else self.op(activation, [name], self.shape(name))


class Data:
    """Uniform random data. Weights are scaled so that outputs are about as large as inputs."""

    def __init__(self):
        self.rng = np.random.default_rng(1)

    def tensor(self, *shape):
        return self.rng.uniform(-1, 1, shape).astype(np.float32)

    def weight(self, cout, cin, groups, k):
        return self.tensor(cout, cin // groups, k, k) * np.float32((cin // groups * k * k) ** -0.5)


def plain(layer):
    """One convolution of all channels. At stride 2 it is strided, as in networks without octaves."""
    data, form = Data(), Form()
    form.inputs["x"] = data.tensor(layer.n, sum(layer.cin), layer.h, layer.w)
    weight = data.weight(sum(layer.cout), sum(layer.cin), layer.groups, layer.k)
    form.outputs.append(form.activated(form.conv("x", weight, layer.groups, layer.stride), layer.activation))
    return form


def octave(layer):
    """Up to four convolutions, with the pools, the upsample and the adds between them."""
    data, form = Data(), Form()
    (high_in, low_in), (high_out, low_out) = layer.splits()
    half = lambda length: -(-length // 2)
    high = low = None
    if high_in:
        high = "xh"
        form.inputs[high] = data.tensor(layer.n, high_in, layer.h, layer.w)
    if low_in:
        low = "xl"
        form.inputs[low] = data.tensor(layer.n, low_in, half(layer.h), half(layer.w))

    def conv(source, cin, cout):
        groups = cin if layer.depthwise else layer.groups
        return form.conv(source, data.weight(cout, cin, groups, layer.k), groups)

    across = not layer.depthwise
    # At stride 2, H->H and L->L pool once and H->L twice. L->H does not pool, because the low input already has the
    # size of the high output.
    strided = layer.stride == 2
    own_high = form.pool(high) if high and (high_out or low_out) and strided else high
    to_high, to_low = [], []
    if high and high_out:
        to_high.append(conv(own_high, high_in, high_out))
    if low and high_out and across:
        part = conv(low, low_in, high_out)
        if not strided:
            part = form.op("up", [part], (layer.n, high_out, layer.h, layer.w))
        to_high.append(part)
    if low and low_out:
        to_low.append(conv(form.pool(low) if strided else low, low_in, low_out))
    if high and low_out and across:
        to_low.append(conv(form.pool(own_high), high_in, low_out))
    form.outputs = [form.activated(form.sum(parts), layer.activation) for parts in (to_high, to_low) if parts]
    return form


def reference(form):
    """The outputs in float64."""
    values = {name: array.astype(np.float64) for name, array in form.inputs.items()}
    for op in form.ops:
        values[op.output] = _compute(op, [values[name] for name in op.inputs])
    return [values[name] for name in form.outputs]


def _compute(op, inputs):
    a, *rest = inputs
    match op.kind:
        case "conv":
            return _conv(a, op)
        case "pool":
            return _pool(a)
        case "up":
            return a.repeat(2, axis=2).repeat(2, axis=3)[:, :, : op.shape[2], : op.shape[3]]
        case "add":
            return a + rest[0]
        case "relu":
            return a.clip(0)
        case "relu6":
            return a.clip(0, 6)
        case "max":
            return _max(a, op)
        case "mean":
            return a.mean((2, 3), keepdims=True)
        case "concat":
            return np.concatenate(inputs, 1)
        case "linear":
            return (a[:, :, 0, 0] @ op.weight.astype(np.float64).T)[:, :, None, None]
    raise ValueError(op.kind)


def _max(x, op):
    k, s = op.window, op.stride
    padded = np.pad(x, ((0, 0), (0, 0), (k // 2, k // 2), (k // 2, k // 2)), constant_values=-np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (k, k), (2, 3))[:, :, ::s, ::s]
    return windows.max((4, 5))


def _pool(x):
    n, c, h, w = x.shape
    total = np.zeros((n, c, -(-h // 2), -(-w // 2)))
    count = np.zeros(total.shape[2:])
    for i in range(2):
        for j in range(2):
            part = x[:, :, i::2, j::2]
            total[:, :, : part.shape[2], : part.shape[3]] += part
            count[: part.shape[2], : part.shape[3]] += 1
    return total / count


def _conv(x, op):
    n, cin, _, _ = x.shape
    _, cout, h, w = op.shape
    k, s, g = op.weight.shape[2], op.stride, op.groups
    weight = op.weight.astype(np.float64).reshape(g, cout // g, cin // g, k, k)
    padded = np.pad(x, ((0, 0), (0, 0), (k // 2, k // 2), (k // 2, k // 2)))
    out = np.zeros((n, g, cout // g, h * w))
    for i in range(k):
        for j in range(k):
            tap = padded[:, :, i : i + s * (h - 1) + 1 : s, j : j + s * (w - 1) + 1 : s]
            out += weight[:, :, :, i, j] @ tap.reshape(n, g, cin // g, h * w)
    return out.reshape(op.shape)
