#!/usr/bin/env python3
"""What the built-in networks compute, by PyTorch in float64: an implementation of its own of docs/networks.md.

    python3 -m venv /tmp/venv && /tmp/venv/bin/pip install torch numpy
    /tmp/venv/bin/python tests/networks/make_fixtures.py --check-macs  # the cost of every network, against the tables
    /tmp/venv/bin/python tests/networks/make_fixtures.py               # writes tests/networks/<case>.json for all cases
    /tmp/venv/bin/python tests/networks/make_fixtures.py resnet50      # only the cases whose name begins so
    /tmp/venv/bin/python tests/networks/make_fixtures.py --f32         # writes nothing: how far float32 is from float64

Nothing here was taken from the Rust code: topologies, names and random weights are those of docs/networks.md.

A case is {network, alpha, width, stem, input: [n, c, t, h, w], seed, logits: n * outputs numbers, stages: [{node, h, l}]},
and h and l are null or {shape: [n, c, t, h, w], mean_abs, samples}: sample k is element floor(k * elements / 16), in
memory order. Logits are the output of `fc`, before the softmax. A stage is the last node of a block.
"""

import json
import math
import os
import sys
from dataclasses import dataclass
from typing import Optional

import numpy as np
import torch
import torch.nn.functional as F

MASK = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15
SAMPLES = 16


# ---- Random tensors, by name ----


def fnv1a64(text):
    value = 0xCBF29CE484222325
    for byte in text.encode():
        value = ((value ^ byte) * 0x100000001B3) & MASK
    return value


def uniform(name, count, seed):
    """`count` numbers in [-1, 1), each exact in f32, as float64."""
    start = fnv1a64(name) ^ ((seed * GOLDEN) & MASK)
    z = np.uint64(start) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(GOLDEN)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(40)).astype(np.float64) / 2.0**23 - 1.0


def random_tensor(name, shape, kind, seed, fan_in=None):
    """The tensor `name`: computed in float64, rounded to f32, and given back as the float64 of that f32."""
    v = uniform(name, math.prod(shape), seed)
    if kind == "weight":
        v = v * math.sqrt(6.0 / fan_in)
    elif kind == "residual weight":
        v = 0.25 * v * math.sqrt(6.0 / fan_in)
    elif kind in ("bias", "beta", "mean"):
        v = v / 8.0
    elif kind == "gamma":
        v = 1.0 + v / 8.0
    elif kind == "residual gamma":
        v = 0.25 * (1.0 + v / 8.0)
    elif kind == "var":
        v = 1.0 + v / 2.0
    elif kind != "input":
        raise ValueError(kind)
    return torch.from_numpy(v.astype(np.float32).astype(np.float64).reshape(shape))


# ---- Maps ----


@dataclass
class Map:
    """A value of two frequencies, each [n, c, h, w] or [n, c, t, h, w]."""

    h: Optional[torch.Tensor]
    l: Optional[torch.Tensor]
    size: tuple  # height and width of H, known even where H has no channels

    def channels(self):
        return tuple(0 if x is None else x.shape[1] for x in (self.h, self.l))

    def parts(self, function):
        """`function` of each frequency that exists, with the frequency's letter."""
        return [None if x is None else function(x, f) for x, f in ((self.h, "h"), (self.l, "l"))]


def add(a, b):
    return b if a is None else a if b is None else a + b


def spatial(x, height_and_width, time):
    """A kernel or stride for x: with a first entry for time where x is a clip."""
    return (time, *height_and_width) if x.dim() == 5 else tuple(height_and_width)


def double(x, size):
    """Nearest 2x2 (time is kept), cropped to `size`."""
    x = F.interpolate(x, scale_factor=tuple(float(s) for s in spatial(x, (2, 2), 1)), mode="nearest")
    return x[..., : size[0], : size[1]]


def activate(x, activation):
    if x is None or activation is None:
        return x
    return {"relu": F.relu, "relu6": F.relu6}[activation](x)


# ---- Nodes ----


class Run:
    """One run of a network: the values of its stages, and the cost counted on the way.

    With seed None nothing is computed: tensors have shapes only (torch's "meta" device), which is all that costs need.
    `stem` is that of a ResNet, or None for its own. `symbol` is for networks of the official Symbol code, which round
    odd sizes down and add another number to variances.
    """

    def __init__(self, seed, dtype=torch.float64, stem=None, symbol=False):
        self.seed, self.dtype = seed, dtype
        self.stem = stem
        self.ceil, self.eps = (False, 1e-4) if symbol else (True, 1e-5)
        self.macs = 0
        self.products = 0  # multiply-adds of attention, which are not among those
        self.params = 0
        self.stages = []

    def tensor(self, name, shape, kind, fan_in=None):
        if kind not in ("mean", "var", "input"):
            self.params += math.prod(shape)
        if self.seed is None:
            return torch.empty(shape, device="meta")
        return random_tensor(name, shape, kind, self.seed, fan_in).to(self.dtype)

    def stage(self, node, value):
        """Notes that `node` ends a stage."""
        self.stages.append((node, value))
        return value

    def halve(self, x):
        """Mean of 2x2 (time is kept). The last row or column of an odd size is the mean of what there is, or left out."""
        if x is None:
            return None
        for axis in (-2, -1):
            if self.ceil and x.shape[axis] == 1:
                # PyTorch pools nothing that is smaller than the window. The mean of one is that of it twice.
                x = torch.cat((x, x), axis)
        pool = F.avg_pool3d if x.dim() == 5 else F.avg_pool2d
        window = spatial(x, (2, 2), 1)
        return pool(x, window, window, ceil_mode=self.ceil, count_include_pad=False)

    def batch_norm(self, node, frequency, x, gamma="gamma", affine=True):
        kinds = {"gamma": gamma, "beta": "beta"} if affine else {}
        kinds |= {"mean": "mean", "var": "var"}
        t = {k: self.tensor(f"{node}.norm_{frequency}.{k}", (x.shape[1],), kinds[k]) for k in kinds}
        return F.batch_norm(x, t["mean"], t["var"], t.get("gamma"), t.get("beta"), training=False, eps=self.eps)

    def path(self, name, x, outputs, kernel, time, stride, groups, fan_in, kind):
        """One convolution of the four, of padding "same". `time` is the kernel's extent in time, None without one."""
        shape = (outputs, x.shape[1] // groups, *([] if time is None else [time]), kernel, kernel)
        w = self.tensor(name, shape, kind, fan_in)
        half = kernel // 2
        if x.dim() == 5:
            w = w if time is not None else w.unsqueeze(2)
            y = F.conv3d(x, w, None, (1, stride, stride), ((time or 1) // 2, half, half), 1, groups)
        else:
            y = F.conv2d(x, w, None, stride, half, 1, groups)
        self.macs += y.numel() * w[0].numel()
        return y

    def conv(self, node, x, channels, alpha, kernel=1, stride=1, groups=1, depthwise=False, activation="relu",
             norm=True, residual=None, strided=False, time=None, summed=False, bias=False):
        """The octave convolution, then bias, batch norm, residual and activation. `strided` is for stems, which have no L,
        and `summed` says that an excitation adds a residual to the output."""
        summed = summed or residual is not None
        low = int(alpha * channels)
        high = channels - low
        in_high, in_low = x.channels()
        if depthwise:
            assert (high, low) == (in_high, in_low), node
        else:
            assert all(c % groups == 0 for c in (high, low, in_high, in_low)), f"{node}: {groups} groups"
        taps = kernel * kernel * (time or 1)
        fan_in = taps * (1 if depthwise else (in_high + in_low) // groups)

        def path(name, source, outputs, step=stride if strided else 1):
            if source is None or outputs == 0:
                return None
            g = outputs if depthwise else groups
            # A sum that no batch norm scales.
            kind = "residual weight" if summed and not norm else "weight"
            return self.path(f"{node}.{name}", source, outputs, kernel, time, step, g, fan_in, kind)

        assert stride in (1, 2) and not (strided and x.l is not None), node
        pooled = stride == 2 and not strided
        x_h, x_l = (self.halve(x.h), self.halve(x.l)) if pooled else (x.h, x.l)
        up = stride - 1 if self.ceil or strided else 0
        size = tuple((s + up) // stride for s in x.size)
        y_h, y_l = path("w_hh", x_h, high), path("w_ll", x_l, low)
        if not depthwise:
            # A strided H->L does not pool either: it strides by twice as much.
            to_low = path("w_hl", x_h, low, 2 * stride) if strided else path("w_hl", self.halve(x_h) if low else None, low)
            y_l = add(y_l, to_low)
            up = path("w_lh", x.l, high)
            # At stride 2 the unpooled X_L has the size of Y_H already.
            y_h = add(y_h, up if up is None or pooled else double(up, size))

        gamma = "residual gamma" if summed else "gamma"
        y = Map(y_h, y_l, size)
        if bias:
            def with_bias(v, f):
                return v + self.tensor(f"{node}.bias_{f}", (v.shape[1],), "bias").reshape(-1, *[1] * (v.dim() - 2))

            y.h, y.l = y.parts(with_bias)
        if norm:
            y.h, y.l = y.parts(lambda v, f: self.batch_norm(node, f, v, gamma))
        if residual is not None:
            y.h, y.l = add(y.h, residual.h), add(y.l, residual.l)
        y.h, y.l = y.parts(lambda v, _: activate(v, activation))
        assert y.h is None or y.h.shape[-2:] == size, node
        assert y.channels() == (high, low), node
        return y

    def pool(self, x, kind, kernel, stride, padding=(0, 0, 0), size_of_high=False):
        """Windows [t, h, w] over each frequency; sizes floor. With `size_of_high` L has half of the size of H even if its
        last windows are then not whole."""
        def windows(v, _):
            k, s, p = (a if v.dim() == 5 else a[1:] for a in (kernel, stride, padding))
            if kind == "max":
                return (F.max_pool3d if v.dim() == 5 else F.max_pool2d)(v, k, s, p)
            return (F.avg_pool3d if v.dim() == 5 else F.avg_pool2d)(v, k, s, p, count_include_pad=False)

        size = tuple((n + 2 * p - k) // s + 1 for n, k, s, p in zip(x.size, kernel[1:], stride[1:], padding[1:]))
        h, l = x.parts(windows)
        if size_of_high and l is not None:
            half = tuple((n + 1) // 2 for n in size)
            # What a window does not have counts as -infinity.
            more = [k + (n - 1) * s - have for k, s, n, have in zip(kernel[1:], stride[1:], half, x.l.shape[-2:])]
            l = windows(F.pad(x.l, (0, max(more[1], 0), 0, max(more[0], 0)), value=-math.inf), "l")
            l = l[..., : half[0], : half[1]]
        return Map(h, l, size)

    def norm(self, node, x, activation="relu", affine=True):
        return Map(*x.parts(lambda v, f: activate(self.batch_norm(node, f, v, affine=affine), activation)), x.size)

    def concat(self, a, b):
        def both(p, q):
            return q if p is None else p if q is None else torch.cat((p, q), 1)

        return Map(both(a.h, b.h), both(a.l, b.l), a.size)

    def linear(self, weight, bias, x, outputs):
        w = self.tensor(weight, (outputs, x.shape[1]), "weight", x.shape[1])
        self.macs += x.shape[0] * w.numel()
        return F.linear(x, w, self.tensor(bias, (outputs,), "bias"))

    def global_pool(self, x):
        return torch.cat([v.flatten(2).mean(2) for v in (x.h, x.l) if v is not None], 1)

    def excite(self, node, x, reduced, residual, activation="relu"):
        """Squeeze-and-excitation over both frequencies, then residual and activation."""
        s = F.relu(self.linear(f"{node}.squeeze.weight", f"{node}.squeeze.bias", self.global_pool(x), reduced))

        def excited(v, f):
            scale = self.linear(f"{node}.excite_{f}.weight", f"{node}.excite_{f}.bias", s, v.shape[1])
            return v * torch.sigmoid(scale).reshape(*scale.shape, *[1] * (v.dim() - 2))

        y = x.parts(excited)
        return Map(*(activate(add(v, r), activation) for v, r in zip(y, (residual.h, residual.l))), x.size)

    def non_local(self, name, x, alpha):
        """A non-local block (Wang et al., 2018) of the embedded Gaussian, for each frequency by itself but for the
        convolutions, which are octave convolutions."""
        channels = sum(x.channels())
        bare = {"norm": False, "activation": None, "bias": True}
        theta = self.conv(f"{name}.theta", x, channels // 2, alpha, **bare)
        smaller = self.pool(x, "max", (1, 2, 2), (1, 2, 2), size_of_high=True)
        phi = self.conv(f"{name}.phi", smaller, channels // 2, alpha, **bare)
        g = self.conv(f"{name}.g", smaller, channels // 2, alpha, **bare)

        def attended(q, k, v):
            if q is None:
                return None
            # [n, positions, channels], which is what attention takes in PyTorch. It divides by the root of the channels.
            y = F.scaled_dot_product_attention(*(m.flatten(2).transpose(1, 2) for m in (q, k, v)))
            self.products += (q.shape[1] + v.shape[1]) * y.numel() // v.shape[1] * math.prod(k.shape[2:])
            return y.transpose(1, 2).reshape(q.shape)

        y = Map(*(attended(*part) for part in ((theta.h, phi.h, g.h), (theta.l, phi.l, g.l))), x.size)
        return self.conv(f"{name}.out", y, channels, alpha, activation=None, residual=x)

    def head(self, x, outputs):
        return self.linear("fc.weight", "fc.bias", self.global_pool(x), outputs)


# ---- Networks: functions of a run, the input, alpha and the width multiplier, giving logits ----


# The video networks' first max pool has no padding. The paper's 19.3 and 28.1 G need none, and the network that C2D and
# I3D come from has none (facebookresearch/video-nonlocal-net, lib/models/resnet_video.py); padding 1 is 1.0, 1.1% over.


def stem(run, x, channels=64, alpha=0, own="max-pool", clip=None):
    choice = run.stem or own
    if choice == "small":
        return run.stage("conv1", run.conv("conv1", x, channels, alpha, 3))
    time = 5 if clip == "i3d" else None
    x = run.stage("conv1", run.conv("conv1", x, channels, alpha, 7, 2, strided=True, time=time))
    if choice == "conv":
        return run.stage("stem.pool", run.conv("stem.pool", x, channels, 0, 3, 2, strided=True))
    if choice.startswith("bottleneck"):
        return pooling_block(run, x, channels, 3 if choice == "bottleneck-3x3" else 1)
    return max_pool(run, x, 0 if clip else 1)


def max_pool(run, x, padding=1):
    return run.stage("maxpool", run.pool(x, "max", (1, 3, 3), (1, 2, 2), (0, padding, padding)))


def pooling_block(run, x, channels, kernel):
    """A residual block of stride 2 in place of the max pool."""
    residual = run.conv("stem.pool.downsample.0", x, channels, 0, 1, 2, strided=True, activation=None)
    y = run.conv("stem.pool.conv1", x, channels // 2, 0, kernel)
    y = run.conv("stem.pool.conv2", y, channels // 2, 0, 3, 2, strided=True)
    return run.stage("stem.pool.conv3", run.conv("stem.pool.conv3", y, channels, 0, residual=residual))


def deep_stem(run, x, variant):
    first, strides = (32, (2, 1, 1)) if variant == "e" else (8, (1, 2, 1))
    for i, (channels, stride) in enumerate(zip((first, 32, 64), strides)):
        x = run.conv(f"stem.{i}", x, channels, 0, 3, stride, strided=stride == 2)
    x = run.stage("stem.2", x)
    return max_pool(run, x) if variant == "e" else pooling_block(run, x, 64, 1)


def bottleneck(run, name, x, width, inner, alpha, stride, shortcut, groups, se, time, variant):
    """1x1, 3x3, 1x1 and the residual; `time` is the extent of the first in time."""

    def entry(part):
        return run.norm(f"{name}.{part}", x, None, affine=False) if variant == "e" else x

    out = 4 * width
    residual = x
    if shortcut:
        residual = run.conv(f"{name}.downsample.0", entry("downsample.norm0"), out, alpha, 1, stride, activation=None)
    second, third = (stride, 1) if variant == "b" else (1, stride)
    y = run.conv(f"{name}.conv1", entry("norm0"), inner, alpha, time=time)
    y = run.conv(f"{name}.conv2", y, inner, alpha, 3, second, groups)
    if not se:
        return run.stage(f"{name}.conv3", run.conv(f"{name}.conv3", y, out, alpha, 1, third, residual=residual))
    y = run.conv(f"{name}.conv3", y, out, alpha, 1, third, activation=None, summed=True)
    return run.stage(f"{name}.se", run.excite(f"{name}.se", y, out // 16, residual))


def resnet(blocks, groups=1, inner=1, se=False, clip=None, variant="b", own="max-pool", classes=1000, non_local=False):
    """Bottleneck ResNets. `inner` widens the 3x3; `clip` is None, "c2d" or "i3d"; `variant` is b, e or f; `non_local` adds
    blocks behind every second residual block of layer2 and layer3."""

    def inflated(layer, i):
        return clip == "i3d" and (layer == 1 or i % 2 == (1 if layer == 4 else 0))

    def network(run, x, alpha, _width):
        x = stem(run, x, own=own, clip=clip) if variant == "b" else deep_stem(run, x, variant)
        for layer, count in enumerate(blocks, 1):
            width = 64 << (layer - 1)
            a = 0 if layer == 4 else alpha
            for i in range(count):
                stride = 2 if i == 0 and layer > 1 else 1
                time = 3 if inflated(layer, i) else None
                x = bottleneck(run, f"layer{layer}.{i}", x, width, width * inner, a, stride, i == 0, groups, se, time,
                               variant)
                if non_local and layer in (2, 3) and i % 2 == 1:
                    x = run.stage(f"layer{layer}.{i}.nl.out", run.non_local(f"layer{layer}.{i}.nl", x, a))
            if clip and layer == 1:
                x = run.stage("pool2", run.pool(x, "max", (2, 1, 1), (2, 1, 1)))
        return run.head(x, 400 if clip else classes)

    return network


def preact(blocks, groups=1, inner=1, se=False):
    """Pre-activation networks. The norm of a convolution has the name of the convolution before it, if there is one."""

    def network(run, x, alpha, _width):
        bare = {"norm": False, "activation": None}
        x = stem(run, x)
        for layer, count in enumerate(blocks, 1):
            width = 64 << (layer - 1)
            a = 0 if layer == 4 else alpha
            for i in range(count):
                name = f"block{layer}.{i}"
                stride = 2 if i == 0 and layer > 1 else 1
                residual = x
                if i == 0:
                    y = run.norm(f"{name}.downsample.norm", x)
                    residual = run.conv(f"{name}.downsample.0", y, 4 * width, a, 1, stride, **bare)
                y = run.conv(f"{name}.conv1", run.norm(f"{name}.norm", x), width * inner, a)
                y = run.conv(f"{name}.conv2", y, width * inner, a, 3, stride, groups)
                if se:
                    y = run.conv(f"{name}.conv3", y, 4 * width, a, summed=True, **bare)
                    x = run.stage(f"{name}.se", run.excite(f"{name}.se", y, 4 * width // 16, residual, None))
                else:
                    x = run.stage(f"{name}.conv3", run.conv(f"{name}.conv3", y, 4 * width, a, residual=residual, **bare))
        return run.head(run.stage("tail", run.norm("tail", x)), 1000)

    return network


def basic_resnet(counts, first, own, classes):
    def network(run, x, alpha, _width):
        x = stem(run, x, first, alpha, own)
        for layer, count in enumerate(counts, 1):
            channels = first << (layer - 1)
            a = 0 if layer == len(counts) else alpha
            for i in range(count):
                name = f"layer{layer}.{i}"
                stride = 2 if i == 0 and layer > 1 else 1
                residual = x
                if stride == 2:
                    residual = run.conv(f"{name}.downsample.0", x, channels, a, 1, stride, activation=None)
                y = run.conv(f"{name}.conv1", x, channels, a, 3, stride)
                x = run.stage(f"{name}.conv2", run.conv(f"{name}.conv2", y, channels, a, 3, residual=residual))
        return run.head(x, classes)

    return network


def cifar_resnet(count):
    return basic_resnet([count] * 3, 16, "small", 10)


def densenet121(run, x, alpha, _width):
    bare = {"norm": False, "activation": None}
    x = stem(run, x)
    for block, layers in enumerate((6, 12, 24, 16), 1):
        a = 0 if block == 4 else alpha
        for i in range(layers):
            name = f"denseblock{block}.{i}"
            y = run.norm(f"{name}.norm", x)
            y = run.conv(f"{name}.conv1", y, 128, a)
            x = run.concat(x, run.conv(f"{name}.conv2", y, 32, a, 3, **bare))
        run.stage(f"{name}.concat", x)
        if block < 4:
            name = f"transition{block}"
            y = run.norm(f"{name}.norm", x)
            y = run.conv(f"{name}.conv", y, sum(x.channels()) // 2, 0 if block == 3 else alpha, **bare)
            x = run.stage(f"{name}.pool", run.pool(y, "average", (1, 2, 2), (1, 2, 2)))
    x = run.stage("norm5", run.norm("norm5", x))
    return run.head(x, 1000)


def mobilenet_v1(run, x, alpha, width):
    strides = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)
    outputs = (64, 128, 128, 256, 256) + (512,) * 6 + (1024,) * 2
    x = run.stage("features.0", run.conv("features.0", x, int(32 * width), 0, 3, 2, strided=True))
    for i, (stride, channels) in enumerate(zip(strides, outputs), 1):
        before = alpha if 2 <= i <= 11 else 0
        after = alpha if i <= 10 else 0
        y = run.conv(f"features.{i}.0", x, sum(x.channels()), before, 3, stride, depthwise=True)
        x = run.stage(f"features.{i}.1", run.conv(f"features.{i}.1", y, int(channels * width), after))
    return run.head(x, 1000)


def divisible(channels):
    """To a multiple of 8, as MobileNet's authors do: nearest, but never below nine tenths."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


def mobilenet_v2(run, x, alpha, width, whole=int):
    groups = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
    blocks = [(t, c, s if i == 0 else 1) for t, c, n, s in groups for i in range(n)]
    relu6 = {"activation": "relu6"}
    x = run.stage("features.0", run.conv("features.0", x, whole(32 * width), 0, 3, 2, strided=True, **relu6))
    for i, (t, c, stride) in enumerate(blocks, 1):
        a = alpha if i <= 13 else 0
        inputs, channels = sum(x.channels()), whole(c * width)
        y = run.conv(f"features.{i}.0", x, inputs * t, a, **relu6)
        y = run.conv(f"features.{i}.1", y, inputs * t, a, 3, stride, depthwise=True, **relu6)
        residual = x if stride == 1 and inputs == channels else None
        y = run.conv(f"features.{i}.2", y, channels, 0, activation=None, residual=residual)
        x = run.stage(f"features.{i}.2", y)
    x = run.stage("features.18", run.conv("features.18", x, whole(1280 * max(1.0, width)), 0, **relu6))
    return run.head(x, 1000)


def mobilenet_v2_by8(run, x, alpha, width):
    return mobilenet_v2(run, x, alpha, width, divisible)


NETWORKS = {
    "resnet18": basic_resnet((2, 2, 2, 2), 64, "max-pool", 1000),
    "resnet34": basic_resnet((3, 4, 6, 3), 64, "max-pool", 1000),
    "resnet26": resnet((2, 2, 2, 2)),
    "resnet50": resnet((3, 4, 6, 3)),
    "resnet101": resnet((3, 4, 23, 3)),
    "resnet152": resnet((3, 8, 36, 3)),
    "resnet200": resnet((3, 24, 36, 3)),
    "resnet152-v1f": resnet((3, 8, 36, 3), variant="f"),
    "se-resnet152-v1e": resnet((3, 8, 36, 3), se=True, variant="e"),
    "resnext50": resnet((3, 4, 6, 3), groups=32, inner=2),
    "resnext101": resnet((3, 4, 23, 3), groups=32, inner=2),
    "se-resnet50": resnet((3, 4, 6, 3), se=True),
    "cifar-resnet18": basic_resnet((2, 2, 2, 2), 64, "small", 10),
    "cifar-resnet34": basic_resnet((3, 4, 6, 3), 64, "small", 10),
    "cifar-resnet50": resnet((3, 4, 6, 3), own="small", classes=10),
    "cifar-resnet101": resnet((3, 4, 23, 3), own="small", classes=10),
    "cifar-resnet152": resnet((3, 8, 36, 3), own="small", classes=10),
    "cifar-resnet20": cifar_resnet(3),
    "cifar-resnet44": cifar_resnet(7),
    "cifar-resnet56": cifar_resnet(9),
    "densenet121": densenet121,
    "mobilenet-v1": mobilenet_v1,
    "mobilenet-v2": mobilenet_v2,
    "mobilenet-v2-by8": mobilenet_v2_by8,
    "symbol-resnet26": preact((2, 2, 2, 2)),
    "symbol-resnet50": preact((3, 4, 6, 3)),
    "symbol-resnet101": preact((3, 4, 23, 3)),
    "symbol-resnet200": preact((3, 24, 36, 3)),
    "symbol-resnext50": preact((3, 4, 6, 3), groups=32, inner=2),
    "symbol-resnext101": preact((3, 4, 23, 3), groups=32, inner=2),
    "symbol-se-resnet50": preact((3, 4, 6, 3), se=True),
    "symbol-densenet121": densenet121,
    "c2d-resnet50": resnet((3, 4, 6, 3), clip="c2d"),
    "i3d-resnet50": resnet((3, 4, 6, 3), clip="i3d"),
    "i3d-resnet50-nl": resnet((3, 4, 6, 3), clip="i3d", non_local=True),
}


def evaluate(network, alpha, width, shape, seed, dtype=torch.float64, stem=None):
    """Runs a network over an input of [n, c, t, h, w]; gives the run and the logits."""
    run = Run(seed, dtype, stem, network.startswith("symbol-"))
    x = run.tensor("input", shape, "input")
    x = x if network.startswith(("c2d", "i3d")) else x.squeeze(2)
    with torch.no_grad():
        return run, NETWORKS[network](run, Map(x, None, tuple(shape[3:])), alpha, width)


# ---- Costs ----

# Multiply-adds at 224x224 for each alpha, and millions of parameters as the table has them.
COSTS = [
    ("resnet26", 1, "15.99",
     {0: 2342256640, 0.125: 2086961152, 0.25: 1858158592, 0.5: 1480032256, 0.75: 1207877632}),
    ("resnet50", 1, "25.6",
     {0: 4089184256, 0.125: 3565196288, 0.25: 3103526912, 0.5: 2367143936, 0.75: 1880035328}),
    ("resnet101", 1, "44.55",
     {0: 7801405440, 0.125: 6624878592, 0.25: 5597675520, 0.5: 3991240704, 0.75: 2982100992}),
    ("resnet152", 1, "60.2", {0: 11513626624, 0.5: 5615337472}),
    ("resnet200", 1, "64.7", {0: 15007481856, 0.125: 12564261888, 0.25: 10439258112, 0.5: 7143899136}),
    ("resnet152-v1f", 1, "60.222", {0.125: 10819341312}),
    ("se-resnet152-v1e", 1, "66.841", {}),
    ("resnext50", 1, "25.03", {0: 4230479872, 0.25: 3170988544, 0.5: 2386511872, 0.75: 1877049856}),
    ("se-resnet50", 1, "28.08",
     {0: 4091699200, 0.125: 3567711232, 0.25: 3106041856, 0.5: 2369658880, 0.75: 1882550272}),
    ("densenet121", 1, "7.98", {0: 2834161664, 0.125: 2398420736, 0.25: 2017246208}),
    ("mobilenet-v1", 1, "4.2", {0: 568740352, 0.5: 318167680}),
    ("mobilenet-v1", 0.75, "2.6", {0: 325400448, 0.375: 211379016}),
    ("mobilenet-v2", 1, "3.5", {0: 313619328, 0.375: 254031408}),
    ("mobilenet-v2", 1.125, "4.2", {0: 392307120, 0.5: 292764600}),
    ("mobilenet-v2-by8", 1.125, "4.357", {0.5: 338765800}),
    ("symbol-resnet26", 1, "15.991", {0.25: 1858158592}),
    ("symbol-resnet50", 1, "25.553", {0.125: 3565196288}),
    ("symbol-resnet101", 1, "44.545", {0.125: 6624878592}),
    ("symbol-resnet200", 1, "64.670", {0.125: 12564261888}),
    ("symbol-resnext50", 1, "25.025", {0.25: 3170988544}),
    ("symbol-resnext101", 1, "44.174", {0.25: 5683476480}),
    ("symbol-se-resnet50", 1, "28.084", {0.125: 3567711232}),
    ("symbol-densenet121", 1, "7.979", {0.125: 2398420736}),
    ("resnet18", 1, "11.69", {0: 1814073344}),
    ("resnet34", 1, "21.80", {0: 3663761408}),
]
# The paper's figures, to be met within 1%. They do not count the products of attention.
VIDEO_COSTS = [("c2d-resnet50", 19.3e9), ("i3d-resnet50", 28.1e9), ("i3d-resnet50-nl", 33.3e9)]


def check_macs():
    """Prints every cost beside the table's; gives the number of those that differ."""
    wrong = 0

    def report(right, text):
        nonlocal wrong
        wrong += not right
        print("ok   " if right else "WRONG", text)

    for network, width, params, table in COSTS:
        for alpha, expected in table.items():
            run, _ = evaluate(network, alpha, width, (1, 3, 1, 224, 224), None)
            # The table rounds some of its millions and cuts others off.
            close = abs(run.params / 1e6 - float(params)) < 10.0 ** -len(params.split(".")[1])
            report(run.macs == expected and close,
                   f"{network} x{width} alpha {alpha}: {run.macs:,} MACs (table {expected:,}), "
                   f"{run.params:,} parameters (table {params} M)")
    for network, expected in VIDEO_COSTS:
        run, _ = evaluate(network, 0, 1, (1, 3, 8, 224, 224), None)
        off = run.macs / expected - 1
        report(abs(off) <= 0.01,
               f"{network} alpha 0: {run.macs:,} MACs (paper {expected / 1e9} G: {100 * off:+.2f}%), "
               f"{run.params:,} parameters, {run.products:,} MACs of attention")
    return wrong


# ---- Cases ----

IMAGE, CIFAR, CLIP = (1, 3, 1, 64, 64), (1, 3, 1, 32, 32), (1, 3, 8, 48, 48)
SMALL = (1, 3, 1, 16, 16)  # for networks that keep the size at first
CASES = [  # network, alpha, width, input, and the stem if it is not the network's own
    ("resnet18", 0.25, 1, IMAGE),
    ("resnet18", 0.5, 1, CIFAR, "small"),
    ("resnet34", 0.5, 1, IMAGE),
    ("resnet26", 0.5, 1, IMAGE),
    ("resnet50", 0, 1, IMAGE),
    ("resnet50", 0.25, 1, IMAGE),
    ("resnet50", 0.5, 1, IMAGE),
    ("resnet50", 0.75, 1, IMAGE),
    ("resnet50", 0.5, 1, (2, 3, 1, 75, 61)),
    ("resnet50", 0.5, 1, IMAGE, "bottleneck"),
    ("resnet101", 0.5, 1, IMAGE),
    ("resnet152", 0.5, 1, IMAGE),
    ("resnet200", 0.5, 1, IMAGE),
    ("resnet152-v1f", 0.125, 1, IMAGE),
    ("se-resnet152-v1e", 0.125, 1, IMAGE),
    ("resnext50", 0.5, 1, IMAGE),
    ("resnext50", 0.5, 1, IMAGE, "bottleneck-3x3"),
    ("resnext101", 0.5, 1, IMAGE),
    ("resnext101", 0.5, 1, IMAGE, "conv"),
    ("se-resnet50", 0.5, 1, IMAGE),
    ("densenet121", 0, 1, IMAGE),
    ("densenet121", 0.25, 1, IMAGE),
    ("densenet121", 0.75, 1, IMAGE),
    ("mobilenet-v1", 0, 1, IMAGE),
    ("mobilenet-v1", 0.25, 1, IMAGE),
    ("mobilenet-v1", 0.5, 1, IMAGE),
    ("mobilenet-v1", 0.75, 1, IMAGE),
    ("mobilenet-v1", 0.375, 0.75, IMAGE),
    ("mobilenet-v2", 0.375, 1, IMAGE),
    ("mobilenet-v2", 0.5, 1.125, IMAGE),
    ("mobilenet-v2-by8", 0.5, 1.125, IMAGE),
    ("cifar-resnet18", 0.5, 1, CIFAR),
    ("cifar-resnet34", 0.125, 1, SMALL),
    ("cifar-resnet50", 0.25, 1, SMALL),
    ("cifar-resnet101", 0.125, 1, SMALL),
    ("cifar-resnet152", 0.5, 1, SMALL),
    ("cifar-resnet20", 0, 1, CIFAR),
    ("cifar-resnet20", 0.25, 1, CIFAR),
    ("cifar-resnet20", 0.75, 1, CIFAR),
    ("cifar-resnet20", 1, 1, CIFAR),
    ("cifar-resnet44", 0.25, 1, CIFAR),
    ("cifar-resnet56", 0.25, 1, CIFAR),
    ("symbol-resnet26", 0.25, 1, IMAGE),
    ("symbol-resnet50", 0.125, 1, IMAGE),
    ("symbol-resnet101", 0.5, 1, IMAGE),
    ("symbol-resnet200", 0.125, 1, IMAGE),
    ("symbol-resnext50", 0.25, 1, IMAGE),
    ("symbol-resnext101", 0.5, 1, IMAGE),
    ("symbol-se-resnet50", 0.125, 1, IMAGE),
    ("symbol-densenet121", 0.125, 1, IMAGE),
    ("c2d-resnet50", 0.5, 1, CLIP),
    ("i3d-resnet50", 0.5, 1, CLIP),
    ("i3d-resnet50-nl", 0.5, 1, CLIP),
    ("i3d-resnet50-nl", 0.1, 1, (2, 3, 4, 75, 61)),
]
SEED = 1


def case_name(network, alpha, width, shape, stem):
    n, _, t, h, w = shape
    wide = "" if width == 1 else f"-w{width}"
    batch = "" if n == 1 else f"{n}x"
    time = "" if t == 1 else f"{t}x"
    begin = "" if stem is None else f"-{stem}"
    return f"{network}{begin}{wide}-a{alpha}-{batch}{time}{h}x{w}"


def numbers(x):
    return [float(f"{v:.9g}") for v in x.double().flatten().tolist()]


def summary(x):
    if x is None:
        return None
    shape = list(x.shape) if x.dim() == 5 else [*x.shape[:2], 1, *x.shape[2:]]
    positions = [k * x.numel() // SAMPLES for k in range(SAMPLES)]
    return {"shape": shape, "mean_abs": numbers(x.abs().mean())[0], "samples": numbers(x.flatten()[positions])}


def write(path, case):
    """As JSON, with a line to each stage."""
    parts = [f"{json.dumps(k)}: {json.dumps(v)}" for k, v in case.items() if k != "stages"]
    stages = ",\n".join("  " + json.dumps(s) for s in case["stages"])
    with open(path, "w", encoding="utf-8") as file:
        file.write("{" + ",\n".join(parts) + ',\n"stages": [\n' + stages + "\n]}\n")


def chosen(prefixes):
    for network, alpha, width, shape, *stem in CASES:
        stem = stem[0] if stem else None
        name = case_name(network, alpha, width, shape, stem)
        if not prefixes or name.startswith(tuple(prefixes)):
            yield name, network, alpha, width, shape, stem


def make(prefixes):
    folder = os.path.dirname(os.path.abspath(__file__))
    total = 0
    for name, network, alpha, width, shape, stem in chosen(prefixes):
        run, logits = evaluate(network, alpha, width, shape, SEED, stem=stem)
        stages = [{"node": node, "h": summary(v.h), "l": summary(v.l)} for node, v in run.stages]
        path = os.path.join(folder, name + ".json")
        choice = {} if stem is None else {"stem": stem}
        write(path, {"network": network, "alpha": alpha, "width": width, **choice, "input": list(shape), "seed": SEED,
                     "logits": numbers(logits), "stages": stages})
        total += os.path.getsize(path)
        print(f"{name}: {len(stages)} stages, {os.path.getsize(path)} bytes, "
              f"logits of deviation {logits.std().item():.3g}", flush=True)
    print(f"{total} bytes in all")


def compare_f32(prefixes):
    """What a float32 implementation can be held to: its greatest distance from float64, over the mean |value|."""
    for name, network, alpha, width, shape, stem in chosen(prefixes):
        (exact, logits), (rough, logits32) = (evaluate(network, alpha, width, shape, SEED, d, stem)
                                              for d in (torch.float64, torch.float32))
        worst = 0.0
        for (_, a), (_, b) in zip(exact.stages, rough.stages):
            for x, y in ((a.h, b.h), (a.l, b.l)):
                if x is not None:
                    worst = max(worst, ((x - y).abs().max() / x.abs().mean()).item())
        last = ((logits - logits32).abs().max() / logits.abs().mean()).item()
        print(f"{name}: stages {worst:.2e}, logits {last:.2e}", flush=True)


def main():
    torch.set_num_threads(1)
    flags = [a for a in sys.argv[1:] if a.startswith("-")]
    prefixes = [a for a in sys.argv[1:] if not a.startswith("-")]
    if flags == ["--check-macs"]:
        sys.exit(1 if check_macs() else 0)
    elif flags == ["--f32"]:
        compare_f32(prefixes)
    elif not flags:
        make(prefixes)
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
