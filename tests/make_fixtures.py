#!/usr/bin/env python3
"""Writes the fixtures that `tests/host/reference.rs` holds the CPU reference against.

    pip install torch safetensors numpy
    python tests/make_fixtures.py

Octave convolution, put together from PyTorch's own operators (`conv2d`, `conv3d`, `avg_pool2d`, `avg_pool3d`,
`interpolate`, `batch_norm`, the activations), in float64, from the paper's definition:

    Y_H = conv(X_H, W_HH) + upsample(conv(X_L, W_LH))
    Y_L = conv(X_L, W_LL) + conv(pool(X_H), W_HL)

It shares no code with the crate and does not fold or fuse anything.

Each case becomes one file, `tests/fixtures/reference/NAME.safetensors`: inputs `x_h`, `x_l`, kernels `w_hh`, `w_hl`,
`w_lh`, `w_ll`, `bias_*`, batch norm's `gamma_*`, `beta_*`, `mean_*`, `var_*`, `residual_*`, and the expected `y_h`,
`y_l` and `y_p` = pool(y_h), all float32 (the expected ones rounded once, from float64), NCHW for images and NCTHW for
clips. A tensor that the layer does not have is not in the file. The metadata's `spec` is the layer as JSON.

Every case is seeded by its name, so adding or removing one leaves the others' bytes alone.
"""

import json
import math
import pathlib
import zlib

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.numpy import save_file

OUT = pathlib.Path(__file__).resolve().parent / "fixtures" / "reference"

# A case must produce values below and above these before its activation, so that every branch is exercised.
BRANCHES = {
    "relu": (-0.1, 0.1),
    "relu6": (-0.1, 6.1),
    "silu": (-3.0, 3.0),
    "hard_swish": (-3.1, 3.1),
    "leaky_relu": (-0.1, 0.1),
    "sigmoid": (-3.0, 3.0),
    "tanh": (-2.0, 2.0),
    "gelu": (-2.0, 2.0),
    "gelu_tanh": (-2.0, 2.0),
    "hard_sigmoid": (-3.1, 3.1),
}


def f32(value):
    """A Python float that float32 represents exactly."""
    return float(np.float32(value))


class Layer:
    """One case: its specification, its random tensors, and the octave convolution of them."""

    def __init__(
        self,
        name,
        x,  # Input channels, (high, low).
        y,  # Output channels, (high, low).
        size=(1, 6, 8),  # (n, h, w), or (n, t, h, w) for a clip, at full resolution.
        kernel=(3, 3),
        stride=1,
        padding=None,  # None: "same" for odd kernels.
        dilation=(1, 1),
        time=None,  # (kernel, stride, padding, dilation) of a clip.
        groups=1,  # Or "depthwise".
        high_to_low=True,
        low_to_high=True,
        downsample="average_pool",  # Or "strided_conv".
        rounding="ceil",  # Or "floor".
        bias=False,
        norm=None,  # The eps of batch norm in both outputs, or {"h": eps}, {"l": eps}.
        activation="none",
        slope=None,
        residual="",  # Any of "h", "l", "hl".
        gain=1.0,  # Scales the kernels.
    ):
        if padding is None:
            padding = tuple(d * (k - 1) // 2 for k, d in zip(kernel, dilation))
        self.name, self.kernel, self.stride = name, kernel, stride
        self.x, self.y = dict(zip("hl", x)), dict(zip("hl", y))
        self.padding, self.dilation, self.time, self.groups = padding, dilation, time, groups
        self.high_to_low, self.low_to_high = high_to_low, low_to_high
        self.downsample, self.rounding = downsample, rounding
        self.bias, self.activation, self.slope = bias, activation, None if slope is None else f32(slope)
        norm = {} if norm is None else norm if isinstance(norm, dict) else {"h": norm, "l": norm}
        self.norm = {band: f32(eps) for band, eps in norm.items() if self.y[band]}
        self.residual, self.gain = residual, gain
        # Dimensions after the channels: (h, w), or (t, h, w).
        self.n, self.space = size[0], tuple(size[1:])
        assert len(self.space) == (3 if time else 2)
        self.macs = 0
        self.rng = np.random.default_rng(zlib.crc32(name.encode()))

    # What PyTorch is asked for.

    def conv(self, x, weight, stride, groups):
        """One of the four convolutions. Padding and dilation are the same at both resolutions."""
        if self.time:
            _, stride_t, padding_t, dilation_t = self.time
            out = F.conv3d(
                x,
                weight,
                stride=(stride_t, stride, stride),
                padding=(padding_t, *self.padding),
                dilation=(dilation_t, *self.dilation),
                groups=groups,
            )
        else:
            out = F.conv2d(x, weight, stride=stride, padding=self.padding, dilation=self.dilation, groups=groups)
        # Every output element sums over one filter.
        self.macs += out.numel() * weight[0].numel()
        return out

    def pool(self, x):
        """Halves height and width; time is kept. None where nothing would be left."""
        ceil = self.rounding == "ceil"
        if not ceil and min(x.shape[-2:]) < 2:
            return None
        if self.time:
            return F.avg_pool3d(x, (1, 2, 2), ceil_mode=ceil, count_include_pad=False)
        return F.avg_pool2d(x, 2, ceil_mode=ceil, count_include_pad=False)

    def upsample(self, x, like):
        """Doubles height and width, then fits them to those of the map `like`.

        With ceil, a row or column too many is cropped. With floor, one may be missing: the edge is repeated, so that it
        takes the value of the nearest low-resolution row or column.
        """
        x = F.interpolate(x, scale_factor=(1, 2, 2) if self.time else 2, mode="nearest")
        h, w = like.shape[-2:]
        missing = [max(0, want - have) for want, have in zip((h, w), x.shape[-2:])]
        assert max(missing) <= (1 if self.rounding == "floor" else 0)
        x = F.pad(x, (0, missing[1], 0, missing[0]) + ((0, 0) if self.time else ()), mode="replicate")
        return x[..., :h, :w]

    def halve_and_conv(self, x, halvings, weight, groups):
        """The way into a convolution: average pools, or, in the paper's ablation, a stride instead of them."""
        if self.downsample == "strided_conv":
            return self.conv(x, weight, 2**halvings, groups)
        for _ in range(halvings):
            x = self.pool(x)
        return self.conv(x, weight, 1, groups)

    def activate(self, x):
        return {
            "none": lambda: x,
            "relu": lambda: F.relu(x),
            "relu6": lambda: F.relu6(x),
            "silu": lambda: F.silu(x),
            "hard_swish": lambda: F.hardswish(x),
            "leaky_relu": lambda: F.leaky_relu(x, self.slope),
            "sigmoid": lambda: F.sigmoid(x),
            "tanh": lambda: F.tanh(x),
            "gelu": lambda: F.gelu(x),
            "gelu_tanh": lambda: F.gelu(x, approximate="tanh"),
            "hard_sigmoid": lambda: F.hardsigmoid(x),
        }[self.activation]()

    # The layer.

    def paths(self):
        """The paths that exist, each as "<from><to>"."""
        enabled = {"hh": True, "ll": True, "hl": self.high_to_low, "lh": self.low_to_high}
        if self.groups == "depthwise":
            enabled["hl"] = enabled["lh"] = False
        return [p for p in ("hh", "hl", "lh", "ll") if enabled[p] and self.x[p[0]] and self.y[p[1]]]

    def path_groups(self, path):
        return self.x[path[0]] if self.groups == "depthwise" else self.groups

    def random(self, *shape):
        return torch.from_numpy(self.rng.standard_normal(shape).astype(np.float32)).double()

    def make_tensors(self):
        t = {}
        if self.x["h"]:
            t["x_h"] = self.random(self.n, self.x["h"], *self.space)
        if self.x["l"]:
            # Low resolution is what a pooled map of full resolution has.
            low = self.pool(torch.zeros(1, 1, *self.space)).shape[2:]
            t["x_l"] = self.random(self.n, self.x["l"], *low)
        for path in self.paths():
            per_group = self.x[path[0]] // self.path_groups(path)
            taps = ([self.time[0]] if self.time else []) + list(self.kernel)
            fan_in = per_group * math.prod(taps)
            w = self.random(self.y[path[1]], per_group, *taps) * self.gain / math.sqrt(fan_in)
            t[f"w_{path}"] = w.float().double()
        for band in "hl":
            if not self.y[band]:
                continue
            if self.bias:
                t[f"bias_{band}"] = self.random(self.y[band])
            if band in self.norm:
                t[f"gamma_{band}"] = self.random(self.y[band])
                t[f"beta_{band}"] = self.random(self.y[band])
                t[f"mean_{band}"] = self.random(self.y[band])
                # The first channel's variance is as small as eps, so that leaving eps out shows.
                var = self.random(self.y[band]).abs() + 0.1
                var[0] = 1e-4
                t[f"var_{band}"] = var.float().double()
        return t

    def run(self):
        """All tensors of the file, inputs and outputs, in float64."""
        t = self.make_tensors()
        s = self.stride
        # Halvings on the way: stride 2 pools X_H once for H->H and again for H->L, and X_L for L->L. L->H starts where
        # it is: at stride 2 the un-pooled X_L already has the size of Y_H.
        terms = {"h": [], "l": []}
        for path in self.paths():
            source, weight, groups = t[f"x_{path[0]}"], t[f"w_{path}"], self.path_groups(path)
            if path == "hh" or path == "ll":
                term = self.halve_and_conv(source, 0 if s == 1 else 1, weight, groups)
            elif path == "hl":
                term = self.halve_and_conv(source, 1 if s == 1 else 2, weight, groups)
            else:
                term = self.conv(source, weight, 1, groups)
                if s == 1:
                    term = self.upsample(term, self.full_resolution())
            terms[path[1]].append(term)

        for band in "hl":
            assert bool(terms[band]) == bool(self.y[band]), "a path must lead into every output"
            if not terms[band]:
                continue
            total = terms[band][0]
            for term in terms[band][1:]:
                assert term.shape == total.shape
                total = total + term
            each_channel = (1, -1) + (1,) * len(self.space)
            if self.bias:
                total = total + t[f"bias_{band}"].view(each_channel)
            if band in self.norm:
                mean, var, gamma, beta = (t[f"{key}_{band}"] for key in ("mean", "var", "gamma", "beta"))
                total = F.batch_norm(total, mean, var, gamma, beta, training=False, eps=self.norm[band])
            if band in self.residual:
                t[f"residual_{band}"] = self.random(*total.shape)
                total = total + t[f"residual_{band}"]
            if self.activation != "none":
                below, above = BRANCHES[self.activation]
                assert total.min() < below and total.max() > above, (self.name, total.aminmax())
            t[f"y_{band}"] = self.activate(total)
        pooled = self.pool(t["y_h"]) if "y_h" in t else None
        if pooled is not None:
            t["y_p"] = pooled
        return t

    def full_resolution(self):
        """A map of the size that a convolution at full resolution gives, for layers that have none (alpha_in = 1)."""
        macs = self.macs
        taps = ([self.time[0]] if self.time else []) + list(self.kernel)
        out = self.conv(torch.zeros(1, 1, *self.space), torch.zeros(1, 1, *taps), 1, 1)
        self.macs = macs
        return out

    def spec(self, tensors):
        t, h, w = self.space if self.time else (1, *self.space)
        spec = {
            "in_high": self.x["h"],
            "in_low": self.x["l"],
            "out_high": self.y["h"],
            "out_low": self.y["l"],
            "kernel": self.kernel,
            "stride": self.stride,
            "padding": self.padding,
            "dilation": self.dilation,
            "groups": self.groups,
            "time": dict(zip(("kernel", "stride", "padding", "dilation"), self.time or (1, 1, 0, 1))),
            "high_to_low": self.high_to_low,
            "low_to_high": self.low_to_high,
            "downsample": self.downsample,
            "rounding": self.rounding,
            "bias": self.bias,
            "activation": self.activation,
            "residual_h": "h" in self.residual,
            "residual_l": "l" in self.residual,
            "size": {"n": self.n, "t": t, "h": h, "w": w},
            # Of the convolutions as they ran here.
            "macs": self.macs,
            "params": sum(v.numel() for k, v in tensors.items() if k.startswith(("w_", "bias_"))),
        }
        if self.slope is not None:
            spec["slope"] = self.slope
        for band, eps in self.norm.items():
            spec[f"eps_{band}"] = eps
        return spec


def cases():
    # Kernels, and shares of low frequency.
    yield Layer("k1_alpha50", (4, 4), (4, 4), kernel=(1, 1))
    yield Layer("k3_alpha50", (4, 4), (4, 4))
    yield Layer("k3_alpha25", (6, 2), (6, 2))
    yield Layer("k3_alpha75", (2, 6), (2, 6))
    yield Layer("k3_alpha25_to_75", (6, 2), (3, 9))
    yield Layer("k1_alpha75_to_25_stride2", (2, 6), (9, 3), size=(1, 8, 12), kernel=(1, 1), stride=2)
    yield Layer("k1x3", (3, 3), (3, 3), kernel=(1, 3))
    yield Layer("k5x1", (3, 3), (3, 3), kernel=(5, 1))
    yield Layer("k7x7", (2, 2), (2, 2), kernel=(7, 7))
    yield Layer("batch3", (3, 2), (2, 3), size=(3, 4, 6), bias=True)

    # Every mix of alpha 0, one half and 1 on the two sides, with both strides.
    ends_in, ends_out = {0: (5, 0), 50: (3, 2), 100: (0, 5)}, {0: (4, 0), 50: (2, 3), 100: (0, 4)}
    for a, b in [(0, 0), (100, 100), (0, 50), (50, 0), (50, 50), (50, 100), (100, 50), (0, 100), (100, 0)]:
        for stride, size in [(1, (1, 4, 6)), (2, (1, 8, 12))]:
            yield Layer(f"ends_{a}_to_{b}_stride{stride}", ends_in[a], ends_out[b], size=size, stride=stride, bias=True)

    # Odd sizes.
    for h, w in [(5, 7), (1, 1), (1, 9), (3, 3)]:
        yield Layer(f"ceil_{h}x{w}", (3, 3), (3, 3), size=(1, h, w))
    for h, w in [(7, 9), (5, 5), (3, 3), (6, 10)]:
        yield Layer(f"ceil_{h}x{w}_stride2", (3, 3), (3, 3), size=(1, h, w), stride=2)
    yield Layer("ceil_5x7_100_to_0", (0, 3), (3, 0), size=(1, 5, 7))
    yield Layer("floor_5x7", (3, 3), (3, 3), size=(1, 5, 7), rounding="floor")
    yield Layer("floor_5x8_k1", (3, 3), (3, 3), size=(1, 5, 8), kernel=(1, 1), rounding="floor")
    yield Layer("floor_5x7_100_to_0", (0, 3), (3, 0), size=(1, 5, 7), rounding="floor")
    yield Layer("floor_7x9_stride2", (3, 3), (3, 3), size=(1, 7, 9), stride=2, rounding="floor")
    yield Layer("floor_3x3_stride2_no_y_p", (3, 0), (3, 0), size=(1, 3, 3), stride=2, rounding="floor")
    # Not "same", but with an even kernel over an odd size the two resolutions agree all the same.
    yield Layer("ceil_7x9_k2_valid", (3, 3), (3, 3), size=(1, 7, 9), kernel=(2, 2), padding=(0, 0))

    # Groups.
    yield Layer("groups2", (4, 2), (6, 4), groups=2, bias=True)
    yield Layer("groups4_one_channel_each", (4, 4), (4, 4), groups=4)
    yield Layer("groups4_stride2", (8, 4), (4, 8), size=(1, 8, 12), groups=4, stride=2)
    yield Layer("depthwise", (4, 3), (4, 3), groups="depthwise", bias=True)
    yield Layer("depthwise_stride2", (3, 4), (3, 4), size=(2, 7, 9), groups="depthwise", stride=2)
    yield Layer("depthwise_times2", (3, 2), (6, 4), groups="depthwise")
    yield Layer("depthwise_all_low", (0, 3), (0, 3), groups="depthwise")

    # Dilation, and padding that is not "same", in layers of one resolution.
    yield Layer("dilation2", (3, 3), (3, 3), size=(1, 8, 10), dilation=(2, 2))
    yield Layer("dilation_3x2", (3, 3), (3, 3), size=(1, 10, 8), dilation=(3, 2))
    yield Layer("dilation2_stride2", (3, 3), (3, 3), size=(1, 12, 8), dilation=(2, 2), stride=2)
    yield Layer("plain_k2x4", (3, 0), (4, 0), kernel=(2, 4), padding=(0, 1))
    yield Layer("plain_k4x2_stride2", (3, 0), (4, 0), size=(1, 11, 8), kernel=(4, 2), padding=(3, 2), stride=2)
    yield Layer("low_only_k3_valid", (0, 3), (0, 4), size=(1, 9, 12), padding=(0, 0))

    # What comes after the sum.
    yield Layer("bias", (3, 3), (3, 3), bias=True)
    yield Layer("norm", (3, 3), (3, 3), norm=1e-5)
    yield Layer("norm_bias_stride2", (3, 3), (3, 3), size=(1, 8, 12), stride=2, bias=True, norm={"h": 1e-3, "l": 1e-4})
    yield Layer("norm_depthwise_times2", (2, 2), (4, 4), groups="depthwise", bias=True, norm={"l": 1e-3})
    yield Layer("residual_h", (3, 3), (3, 3), residual="h", activation="relu")
    yield Layer("residual_l", (3, 3), (3, 3), residual="l", activation="relu")
    yield Layer(
        "residual_norm_relu", (3, 3), (3, 3),
        size=(2, 5, 7), bias=True, norm=1e-4, residual="hl", activation="relu",
    )
    yield Layer("relu", (3, 3), (3, 3), activation="relu")
    yield Layer("relu6", (3, 3), (3, 3), bias=True, activation="relu6", gain=5)
    yield Layer("silu", (3, 3), (3, 3), bias=True, activation="silu", gain=5)
    yield Layer("hard_swish", (3, 3), (3, 3), norm=1e-5, activation="hard_swish", gain=5)
    yield Layer("leaky_relu", (3, 3), (3, 3), residual="h", activation="leaky_relu", slope=0.2)
    for activation in ("sigmoid", "tanh", "gelu", "gelu_tanh", "hard_sigmoid"):
        yield Layer(activation, (3, 3), (3, 3), bias=True, activation=activation, gain=5)

    # The paper's ablations.
    yield Layer("no_high_to_low", (3, 3), (3, 3), high_to_low=False)
    yield Layer("no_low_to_high", (3, 3), (3, 3), low_to_high=False, size=(1, 8, 12), stride=2)
    yield Layer("no_exchange", (3, 3), (3, 3), high_to_low=False, low_to_high=False)
    yield Layer("no_high_to_low_50_to_100", (3, 3), (0, 3), high_to_low=False)
    yield Layer("no_low_to_high_50_to_0", (3, 3), (3, 0), low_to_high=False)
    yield Layer("strided_6x8", (3, 3), (3, 3), downsample="strided_conv")
    yield Layer("strided_5x7", (3, 3), (3, 3), size=(1, 5, 7), downsample="strided_conv")
    yield Layer("strided_8x12_stride2", (3, 3), (3, 3), size=(1, 8, 12), stride=2, downsample="strided_conv")
    yield Layer("strided_7x9_stride2", (3, 3), (3, 3), size=(1, 7, 9), stride=2, downsample="strided_conv")
    yield Layer(
        "strided_8x8_k1_stride2", (3, 3), (3, 3),
        size=(1, 8, 8), kernel=(1, 1), stride=2, downsample="strided_conv",
    )
    yield Layer(
        "strided_stem_k7", (3, 0), (4, 0),
        size=(1, 13, 16), kernel=(7, 7), stride=2, downsample="strided_conv", bias=True,
    )
    yield Layer("strided_first_stride2", (3, 0), (2, 2), size=(1, 9, 12), stride=2, downsample="strided_conv")

    # Clips. Time is (kernel, stride, padding, dilation).
    yield Layer("clip_kt3_stride_t2", (3, 2), (2, 3), size=(1, 5, 4, 6), time=(3, 2, 1, 1), bias=True)
    yield Layer("clip_kt3_dilation_t2", (2, 2), (2, 2), size=(1, 7, 4, 4), kernel=(1, 1), time=(3, 1, 2, 2))
    yield Layer(
        "clip_stride2", (2, 2), (2, 2),
        size=(2, 3, 7, 6), stride=2, time=(3, 1, 1, 1), norm=1e-5, activation="relu",
    )
    yield Layer(
        "clip_valid_time", (2, 2), (2, 2),
        size=(1, 4, 5, 4), time=(2, 2, 0, 1), residual="hl", rounding="floor",
    )
    yield Layer("clip_depthwise", (3, 2), (3, 2), size=(1, 3, 4, 6), time=(3, 1, 1, 1), groups="depthwise")
    yield Layer(
        "clip_strided", (2, 2), (2, 2),
        size=(1, 3, 8, 8), stride=2, time=(3, 1, 1, 1), downsample="strided_conv",
    )


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    for old in OUT.glob("*.safetensors"):
        old.unlink()
    layers = list(cases())
    assert len({layer.name for layer in layers}) == len(layers)
    total = 0
    for layer in layers:
        tensors = layer.run()
        arrays = {name: np.ascontiguousarray(t.numpy().astype(np.float32)) for name, t in tensors.items()}
        path = OUT / f"{layer.name}.safetensors"
        save_file(arrays, path, metadata={"spec": json.dumps(layer.spec(tensors))})
        total += path.stat().st_size
    print(f"{len(layers)} cases, {total} bytes in {OUT}")


if __name__ == "__main__":
    main()
