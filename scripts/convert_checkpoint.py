#!/usr/bin/env python3
"""Turns a checkpoint of PyTorch or of the official MXNet code into safetensors.

    convert_checkpoint.py IN OUT.safetensors [--dialect auto|pytorch|mxnet-symbol|mxnet-gluon] [--eps E]

Needs numpy and safetensors, and torch for PyTorch's files. Writes everything as f32. If a file cannot be converted,
prints one line, "error: ...", exits with 1, and leaves OUT as it was.

PyTorch (.pth, .pt)
    A dictionary of tensors, or one under "state_dict" or "model". Names stay (docs/networks.md says which are read),
    without a leading "module.". Tensors that are not of floating point, such as num_batches_tracked, are left out.
    Files are loaded with weights_only: a file that pickles more than tensors is refused, not run.

MXNet (.params; facebookresearch/OctConv)
    Read without MXNet: dense arrays of format V1, V2 and V3, of f32, f16 or f64. Names become those of
    docs/networks.md, for the ResNet family (ResNet, ResNeXt, SE-ResNet). Any other name is an error.

        Symbol                              Gluon                            here
        conv1_conv_weight                   conv1.0.weight                   conv1.w_hh
        conv1_bn_*                          conv1.1.*                        conv1.norm_h.*
        L2_B01_ (to L5, blocks from 01)     L1_B0. (to L4, blocks from 0)    layer1.0. (to layer4)
          conv{1,2,3}_conv-h2h_weight         conv{1,2,3}.conv_h2h.weight      conv{1,2,3}.w_hh
          conv4_conv-h2h_weight               conv4.conv_h2h.weight            downsample.0.w_hh
          conv{1,2,3}_bn-h_*                  bn{1,2,3}.bn_h.*                 conv{1,2,3}.norm_h.*
          conv4_bn-h_*                        bn4.bn_h.*                       downsample.0.norm_h.*
          se_fc1-h2h, -l2h                    se_block.conv1                   se.squeeze
          se_fc2-h2h, -h2l                    se_block.conv2_h, conv2_l        se.excite_h, excite_l
        classifier_weight, _bias            classifer.weight, .bias          fc.weight, .bias

    h2l, l2h, l2l are w_hl, w_lh, w_ll, and -l is norm_l. A name without a path is h2h, or h: Symbol writes
    "conv1_conv_weight" if there are no octaves. Statistics are gamma, beta, moving_mean or running_mean, moving_var or
    running_var. Two biases into one output are added up.

    This project adds 1e-5 to the variance of every batch norm, and so does Gluon. Symbol adds 1e-4, so this script adds
    9e-5 to its running variances. --eps says what the file's networks add, for any dialect.

What the names leave open, and what this script does:

  - The released Symbol networks and Gluon's ResNetV2 are pre-activation: a batch norm stands before its convolution.
    Its names are those that post-activation networks use for one behind the convolution. A file with a tail norm
    ("tail_bn_gamma", "tail.0.gamma") is taken as pre-activation. Any other is taken as post-activation, and its sizes
    are checked. The built-in networks are all post-activation. A pre-activation file gets names for `norm` nodes of a
    description that you write yourself: layer1.0.norm{1,2,3}, layer1.0.downsample.norm and tail. A note says so.
  - No trained weights were published for either code, so the tables follow the source of the networks, not a file.
  - Squeeze-and-excitation concatenates H before L, in both.
  - Symbol limits the groups of a path to its output channels. This project has one number for all four paths. This
    script does not change shapes, so the library refuses such a file when it loads it.
  - Deep stems, Gluon's "extra_bn" and names with a prefix, as in an export ("R50_L1_B0_conv1-h2h_weight"), are errors.
  - Symbol rounds odd sizes down. If a size is odd, the description needs "rounding": "floor".
  - A checkpoint does not say how pictures are normalised. Symbol's code has (value - (124, 117, 104)) * 0.0167, Gluon's
    the usual means and deviations of ImageNet. Put that into the description's "picture".
"""

import argparse
import math
import os
import re
import struct
import sys
import warnings
from pathlib import Path

import numpy as np

OUR_EPS = 1e-5
EPS = {"pytorch": 1e-5, "mxnet-symbol": 1e-4, "mxnet-gluon": 1e-5}
PATHS = {"h2h": "hh", "h2l": "hl", "l2h": "lh", "l2l": "ll"}
STATISTICS = {
    "gamma": "gamma", "beta": "beta",
    "moving_mean": "mean", "running_mean": "mean", "moving_var": "var", "running_var": "var",
}  # fmt: skip


class Bad(Exception):
    """A file that cannot be converted; the text is for the user."""


# --- MXNet's list of arrays ---

LIST_MAGIC = 0x112
V1, V2, V3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA
DTYPES = {0: "<f4", 1: "<f8", 2: "<f2"}
OTHER_DTYPES = {3: "uint8", 4: "int32", 5: "int8", 6: "int64", 7: "bool", 12: "bfloat16"}


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, size, what):
        # Sizes are Python's integers, so a huge one in a broken file is refused here, before it is allocated.
        if size > len(self.data) - self.at:
            raise Bad(f"truncated: {what} at byte {self.at} needs {size} bytes, {len(self.data) - self.at} are left")
        part = self.data[self.at : self.at + size]
        self.at += size
        return part

    def number(self, kind, what):
        return struct.unpack("<" + kind, self.take(struct.calcsize("<" + kind), what))[0]

    def count(self, least, what):
        count = self.number("Q", what)
        if count * least > len(self.data) - self.at:
            raise Bad(f"truncated: {what} is {count}, too many for the {len(self.data) - self.at} bytes that follow")
        return count


def read_array(reader, index):
    what = f"array {index}"
    magic = reader.number("I", what)
    if magic not in (V1, V2, V3):
        raise Bad(f"{what} has unknown magic 0x{magic:08x}")
    if magic != V1:
        storage = reader.number("i", what)
        if storage not in (0, -1):
            raise Bad(f"{what} is sparse, only dense arrays are read")
    dimensions = reader.number("i", what)
    # This means "no array": no dimensions before V3, an unknown number (-1) since V3. Nothing follows it.
    if dimensions < 0 or (dimensions == 0 and magic != V3):
        raise Bad(f"{what} is empty")
    if dimensions > 32:
        raise Bad(f"{what} claims {dimensions} dimensions")
    shape = [reader.number("q", what) for _ in range(dimensions)]
    if any(size < 0 for size in shape):
        raise Bad(f"{what} has a negative size")
    reader.take(8, what)  # the device on which it was
    flag = reader.number("i", what)
    if flag not in DTYPES:
        raise Bad(f"{what} has type {OTHER_DTYPES.get(flag, flag)}, only f32, f16 and f64 are read")
    dtype = np.dtype(DTYPES[flag])
    return np.frombuffer(reader.take(math.prod(shape) * dtype.itemsize, what), dtype).reshape(shape)


def read_mxnet(data):
    """The arrays of a .params file by name, without the prefixes "arg:" and "aux:"."""
    reader = Reader(data)
    if reader.number("Q", "header") != LIST_MAGIC:
        raise Bad("not a list of MXNet arrays")
    reader.number("Q", "header")  # reserved
    arrays = [read_array(reader, index) for index in range(reader.count(8, "the number of arrays"))]
    names = []
    for _ in range(reader.count(8, "the number of names")):
        raw = reader.take(reader.count(1, "the length of a name"), "a name")
        try:
            names.append(raw.decode())
        except UnicodeDecodeError:
            raise Bad("a name is not UTF-8") from None
    if reader.at != len(data):
        raise Bad(f"{len(data) - reader.at} bytes too many")
    if len(names) != len(arrays):
        raise Bad(f"{len(arrays)} arrays, but {len(names)} names")
    tensors = {}
    for name, array in zip(names, arrays):
        name = re.sub("^(arg|aux):", "", name)
        if name in tensors:
            raise Bad(f"{name} is there twice")
        tensors[name] = array
    if not tensors:
        raise Bad("no tensors")
    return tensors


# --- MXNet's names ---
#
# A name becomes a tuple, the same for both dialects:
#   ("conv", block, k, path, "weight" or "bias")     block is (layer, index), or None for the stem, whose k is 1
#   ("norm", block, k, "h" or "l", statistic)        k is 0 and block is None for the tail
#   ("se", block, "squeeze", path, "weight" or "bias"), ("se", block, "excite", "h" or "l", ...)
#   ("fc", "weight" or "bias")

STATISTIC = "(?P<stat>" + "|".join(STATISTICS) + ")"
PATH = "(?P<path>h2h|h2l|l2h|l2l)"
KIND = "(?P<kind>weight|bias)"

SYMBOL = [
    re.compile(pattern)
    for pattern in (
        rf"(L(?P<layer>[2-5])_B(?P<index>\d+)_)?conv(?P<k>[1-4])_conv(-{PATH})?_{KIND}",
        rf"(L(?P<layer>[2-5])_B(?P<index>\d+)_)?conv(?P<k>[1-4])_bn(-(?P<freq>[hl]))?_{STATISTIC}",
        rf"(?P<tail>tail)_bn(-h)?_{STATISTIC}",
        rf"L(?P<layer>[2-5])_B(?P<index>\d+)_se_fc(?P<fc>[12])(-{PATH})?_{KIND}",
        rf"(?P<classifier>classifier)_{KIND}",
    )
]
GLUON = [
    re.compile(pattern)
    for pattern in (
        rf"L(?P<layer>[1-4])_B(?P<index>\d+)\.conv(?P<k>[1-4])\.conv_{PATH}\.{KIND}",
        rf"L(?P<layer>[1-4])_B(?P<index>\d+)\.bn(?P<k>[1-4])\.bn_(?P<freq>[hl])\.{STATISTIC}",
        rf"(?P<stem>conv1)\.0\.{KIND}",
        rf"(?P<stem>conv1)\.1\.{STATISTIC}",
        rf"(?P<tail>tail)\.0\.{STATISTIC}",
        rf"L(?P<layer>[1-4])_B(?P<index>\d+)\.se_block\.conv(?P<fc>[12])(_(?P<freq>[hl]))?\.{KIND}",
        # Gluon's code spells it "classifer".
        rf"(?P<classifier>classifi?er)\.{KIND}",
    )
]


def parse(name, dialect):
    patterns = SYMBOL if dialect == "mxnet-symbol" else GLUON
    match = next(filter(None, (pattern.fullmatch(name) for pattern in patterns)), None)
    if match is None:
        return None
    found = {key: value for key, value in match.groupdict().items() if value is not None}
    kind, stat = found.get("kind"), STATISTICS.get(found.get("stat"))
    if "classifier" in found:
        return ("fc", kind)
    if "tail" in found:
        return ("norm", None, 0, "h", stat)
    block, k = None, int(found.get("k", 1))
    if "layer" in found:
        first = 1 if dialect == "mxnet-symbol" else 0
        block = (int(found["layer"]) - first, int(found["index"]) - first)
        if block[1] < 0:
            return None
    elif k != 1:
        return None
    if "fc" in found:
        path = found.get("path")
        if found["fc"] == "1":
            # Both frequencies go into one squeezed vector, so its paths lead into H.
            return ("se", block, "squeeze", path or "h2h", kind) if path in (None, "h2h", "l2h") else None
        if path in ("l2h", "l2l"):
            return None
        return ("se", block, "excite", found.get("freq") or ("l" if path == "h2l" else "h"), kind)
    if stat is not None:
        return ("norm", block, k, found.get("freq", "h"), stat)
    return ("conv", block, k, found.get("path", "h2h"), kind)


def conv_node(block, k):
    if block is None:
        return "conv1"
    return f"layer{block[0]}.{block[1]}." + ("downsample.0" if k == 4 else f"conv{k}")


def norm_place(block, k, preactivation):
    if k == 0:
        return "tail"
    if block is None or not preactivation:
        return conv_node(block, k)
    return f"layer{block[0]}.{block[1]}." + ("downsample.norm" if k == 4 else f"norm{k}")


def from_mxnet(tensors, dialect):
    """The tensors under this project's names, and whether the network is pre-activation."""
    parsed = {}
    for name, array in tensors.items():
        key = parse(name, dialect)
        if key is None:
            raise Bad(f"unknown name: {name} is no tensor of a ResNet in {dialect}")
        if key in parsed:
            raise Bad(f"{name} is there twice under different names")
        if array.ndim == 0 or array.size == 0:
            raise Bad(f"{name} is empty")
        parsed[key] = array.astype(np.float64)
    preactivation = any(key[:3] == ("norm", None, 0) for key in parsed)

    out = {}
    for key, array in parsed.items():
        if key[0] == "fc":
            # Gluon's classifier is a 1x1 convolution.
            out[f"fc.{key[1]}"] = array.reshape(array.shape[0], -1) if key[1] == "weight" and array.ndim == 4 else array
        elif key[0] == "norm":
            _, block, k, frequency, statistic = key
            out[f"{norm_place(block, k, preactivation)}.norm_{frequency}.{statistic}"] = array
        elif key[0] == "conv":
            _, block, k, path, kind = key
            if kind == "weight":
                out[f"{conv_node(block, k)}.w_{PATHS[path]}"] = array
            else:
                name = f"{conv_node(block, k)}.bias_{path[-1]}"
                if name in out and out[name].shape != array.shape:
                    raise Bad(f"two biases of different size for {name}")
                out[name] = out[name] + array if name in out else array
        elif key[2] == "excite":
            _, block, _, frequency, kind = key
            name = f"layer{block[0]}.{block[1]}.se.excite_{frequency}.{kind}"
            out[name] = array.reshape(array.shape[0], -1) if kind == "weight" else array
        else:
            _, block, _, path, kind = key
            name = f"layer{block[0]}.{block[1]}.se.squeeze.{kind}"
            if kind == "bias":
                if path != "h2h":
                    raise Bad(f"two biases for {name}")
                out[name] = array
                continue
            # Columns of H, then of L.
            parts = [parsed.get(("se", block, "squeeze", p, "weight")) for p in ("h2h", "l2h")]
            parts = [p.reshape(p.shape[0], -1) for p in parts if p is not None]
            if any(len(p) != len(parts[0]) for p in parts):
                raise Bad(f"the parts of {name} for H and L have different numbers of rows")
            out[name] = np.concatenate(parts, 1)
    check(out, preactivation)
    return out, preactivation


def check(out, preactivation):
    norms = {name.rsplit(".", 1)[0] for name in out if ".norm_" in name}
    for norm in sorted(norms):
        shapes = set()
        for statistic in ("gamma", "beta", "mean", "var"):
            if f"{norm}.{statistic}" not in out:
                raise Bad(f"{norm} has no {statistic}")
            shapes.add(out[f"{norm}.{statistic}"].shape)
        if len(shapes) != 1 or len(next(iter(shapes))) != 1:
            raise Bad(f"the parts of {norm} differ in size")
        node, frequency = norm[: -len(".norm_h")], norm[-1]
        if preactivation and node != "conv1":
            continue
        weights = [out[w] for w in (f"{node}.w_h{frequency}", f"{node}.w_l{frequency}") if w in out]
        if not weights:
            raise Bad(f"{norm} has no convolution before it")
        if (weights[0].shape[0],) not in shapes:
            raise Bad(f"{norm} has {next(iter(shapes))[0]} channels, its convolution {weights[0].shape[0]} outputs")


# --- PyTorch ---


def read_pytorch(path):
    try:
        import torch
    except ImportError:
        raise Bad("reading PyTorch's files needs the package torch") from None
    try:
        with warnings.catch_warnings():
            # What it warns of is refused below, or does not matter to the user.
            warnings.simplefilter("ignore")
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:
        # Unpickling a broken file may raise anything. The first line is enough.
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise Bad(f"PyTorch cannot load it as weights only: {reason}") from None
    for key in ("state_dict", "model"):
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
            break
    if not isinstance(loaded, dict) or not all(isinstance(key, str) for key in loaded):
        raise Bad("not a dictionary of tensors")
    tensors = {}
    for name, tensor in loaded.items():
        if not isinstance(tensor, torch.Tensor):
            raise Bad(f"{name} is {type(tensor).__name__}, not a tensor")
        if tensor.layout != torch.strided or tensor.is_quantized:
            raise Bad(f"{name} is not a dense tensor")
        if not tensor.is_floating_point():
            continue
        name = name.removeprefix("module.")
        if name in tensors:
            raise Bad(f"{name} is there twice, with and without module.")
        tensors[name] = tensor.detach().to(torch.float64).numpy()
    if not tensors:
        raise Bad("no tensors")
    return tensors


# --- the command ---


def convert(path, dialect, eps):
    """The tensors of the file in f32, and lines to tell the user."""
    with open(path, "rb") as file:
        start = file.read(8)
    mxnet = start == struct.pack("<Q", LIST_MAGIC)
    read = lambda: read_mxnet(Path(path).read_bytes())
    notes = []
    if dialect == "auto":
        if mxnet:
            # Only Gluon has a dot behind the block.
            gluon = any(re.match(r"L\d+_B\d+\.", name) for name in read())
            dialect = "mxnet-gluon" if gluon else "mxnet-symbol"
        elif start[:2] == b"PK" or start[:1] == b"\x80":
            dialect = "pytorch"
        else:
            raise Bad("neither a file of PyTorch nor a list of MXNet arrays")
    if dialect == "pytorch":
        if mxnet:
            raise Bad("a list of MXNet arrays, not a file of PyTorch")
        tensors = read_pytorch(path)
    else:
        tensors, preactivation = from_mxnet(read(), dialect)
        if preactivation:
            notes.append("note: a pre-activation network: no built-in network is one, so write a description for it")
    shift = (EPS[dialect] if eps is None else eps) - OUR_EPS
    for name in tensors:
        if name.endswith((".var", ".running_var")):
            tensors[name] = tensors[name] + shift
    with np.errstate(over="ignore"):
        out = {name: np.ascontiguousarray(array, dtype=np.float32) for name, array in tensors.items()}
    for name, array in out.items():
        if not np.isfinite(array).all():
            raise Bad(f"{name} has values that are not finite in f32")
    values = sum(array.size for array in out.values())
    notes.append(f"{dialect}: {len(out)} tensors, {values} values, {shift:+.2g} on variances")
    return out, notes


def write(tensors, path):
    from safetensors.numpy import save

    # In the target's folder, so that renaming stays within one file system, and the file is whole or not there.
    temporary = f"{path}.{os.getpid()}.tmp"
    try:
        with open(temporary, "wb") as file:
            file.write(save(tensors))
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        if os.path.exists(temporary):
            os.remove(temporary)
        raise


def epsilon(text):
    value = float(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError("must lie in [0, 1)")
    return value


def main(arguments=None):
    parser = argparse.ArgumentParser(description="Turns a checkpoint of PyTorch or MXNet into safetensors.")
    parser.add_argument("input", metavar="IN")
    parser.add_argument("output", metavar="OUT.safetensors")
    parser.add_argument("--dialect", choices=["auto", *EPS], default="auto", help="whose names the file has")
    eps = "added to the variance of its batch norms (1e-4 for mxnet-symbol, 1e-5 for the others)"
    parser.add_argument("--eps", type=epsilon, help=eps)
    options = parser.parse_args(arguments)
    try:
        tensors, notes = convert(options.input, options.dialect, options.eps)
        write(tensors, options.output)
    except Bad as error:
        print(f"error: {options.input}: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"error: {error.filename or options.input}: {error.strerror or error}", file=sys.stderr)
        return 1
    except ImportError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for note in notes:
        print(note, file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
