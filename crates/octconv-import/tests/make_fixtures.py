#!/usr/bin/env python3
"""Writes the files of tensors that octconv-import's tests read.

    pip install torch numpy safetensors
    python crates/octconv-import/tests/make_fixtures.py

PyTorch and NumPy write their own files. MXNet's are written here, from its format, because MXNet installs on few machines.

`fixtures/KIND/NAME.EXT` has its tensors in float32 beside it, in `NAME.safetensors`, if it can be read. `fixtures/refused`
has files that cannot. `fixtures/networks` has networks as JSON, their tensors under this project's names, and the same
tensors under the names of the official code.
"""

import io
import json
import pathlib
import struct
import zipfile
from collections import OrderedDict

import numpy as np
import torch
from safetensors.numpy import save_file

OUT = pathlib.Path(__file__).resolve().parent / "fixtures"


def path(kind, name):
    folder = OUT / kind
    folder.mkdir(parents=True, exist_ok=True)
    return folder / name


def expect(kind, name, tensors):
    """Writes what a file should give."""
    arrays = {key: np.array(value, dtype=np.float32, order="C") for key, value in tensors.items()}
    save_file(arrays, path(kind, f"{name}.safetensors"))


# --- PyTorch ---


def torch_expect(name, state):
    expect("pytorch", name, {key: value.detach().to_dense().to(torch.float32).numpy() for key, value in state.items()})


def torch_file(name, what, state, kind="pytorch", **options):
    torch.save(what, path(kind, f"{name}.pth"), **options)
    if state is not None:
        torch_expect(name, state)


def rezip(name, change, compression=zipfile.ZIP_STORED):
    """Writes the entries of plain.pth again, each as `change` gives it."""
    with zipfile.ZipFile(path("pytorch", "plain.pth")) as old:
        with zipfile.ZipFile(path("pytorch", f"{name}.pth"), "w", compression) as new:
            for entry in old.namelist():
                new.writestr(entry, change(entry, old.read(entry)))


def views():
    base = torch.arange(24, dtype=torch.float32).reshape(4, 6)
    return OrderedDict(
        whole=base,
        transposed=base.t(),
        slice=base[1:3, 2:5],
        steps=base[::2, ::3],
        row=base[3],
        repeated=torch.tensor([1.5, 2.5]).expand(3, 2),
        scalar=torch.tensor(7.25),
        empty=torch.zeros(0, 3),
        channels_last=torch.arange(12, dtype=torch.float32).reshape(1, 3, 2, 2).contiguous(
            memory_format=torch.channels_last
        ),
    )


def types():
    values = torch.tensor([[-3.0, 0.0], [1.0, 100.0]])
    names = "float64 float32 float16 bfloat16 int64 int32 int16 int8 uint8 bool"
    return {name: (values.abs() if name[0] in "ub" else values).to(getattr(torch, name)) for name in names.split()}


def pytorch():
    plain = {"fc.weight": torch.tensor([[1.0, 2.0], [3.0, 4.0]]), "fc.bias": torch.tensor([0.5, -0.5])}
    torch_file("plain", plain, plain)
    torch_file("views", views(), views())
    torch_file("types", types(), types())
    # A type that no old storage has.
    unsigned = {"a": torch.tensor([1, 60000], dtype=torch.uint16)}
    torch_file("unsigned", unsigned, unsigned)
    for name, state in (("legacy_views", views()), ("legacy_types", types())):
        torch_file(name, state, state, _use_new_zipfile_serialization=False)
    for protocol in (3, 4, 5):
        torch_file(f"protocol{protocol}", plain, plain, pickle_protocol=protocol)
    parameter = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
    torch_file("parameter", {"p": parameter}, {"p": parameter})
    module = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 1, bias=False), torch.nn.BatchNorm2d(3))
    torch.nn.init.constant_(module[0].weight, 0.25)
    torch_file("module_state", module.state_dict(), module.state_dict())
    rezip("deflated", lambda _, data: data, zipfile.ZIP_DEFLATED)

    def swapped(entry, data):
        if entry.endswith("byteorder"):
            return b"big"
        return np.frombuffer(data, "<f4").byteswap().tobytes() if "/data/" in entry else data

    rezip("big_endian", swapped)
    torch_expect("deflated", plain)
    torch_expect("big_endian", plain)

    # As programs keep them.
    optimizer = torch.optim.Adam(module.parameters())
    module(torch.ones(2, 2, 1, 1)).sum().backward()
    optimizer.step()
    other = {"w": torch.zeros(1)}
    for name, what in (
        ("in_state_dict", {"epoch": 3, "arch": "x", "state_dict": plain, "optimizer": optimizer.state_dict()}),
        ("in_model_state_dict", {"epoch": 3, "model_state_dict": plain, "loss": 0.4}),
        ("in_model_state", {"epoch": 3, "model_state": plain, "cfg": "a: b"}),
        ("in_model", {"model": plain, "args": None}),
        ("in_net", {"net": plain, "acc": 93.5, "epoch": 3}),
        ("in_ema_alone", {"state_dict_ema": plain, "epoch": 3}),
        ("in_state_dict_before_ema", {"state_dict_ema": other, "state_dict": plain}),
        ("in_model_in_state_dict", {"model": {"state_dict": plain}}),
        ("beside_numbers", {**plain, "epoch": 3, "best": torch.nn.Identity}),
    ):
        torch_file(name, what, plain)

    colours = {"_orig_mod.module.fc.weight": torch.eye(3)}
    torch_file("colours", {"epoch": 5, "model_state_dict": colours, "optimizer_state_dict": {}}, colours)

    # What is refused.
    torch_file("module", torch.nn.Linear(2, 2), None, "refused")
    torch_file("module_legacy", torch.nn.Linear(2, 2), None, "refused", _use_new_zipfile_serialization=False)
    torch_file("module_in_model", {"model": torch.nn.Linear(2, 2), "epoch": 3}, None, "refused")
    torch_file("sparse", {"a": torch.eye(3).to_sparse()}, None, "refused")
    quantised = torch.quantize_per_tensor(torch.tensor([1.0, 2.0]), 0.5, 0, torch.qint8)
    torch_file("quantised", {"a": quantised}, None, "refused")
    torch_file("complex", {"a": torch.tensor([1j])}, None, "refused")
    torch_file("number", {"epoch": 3, "model_stat": {"a": torch.ones(1)}, "lr": [0.1]}, None, "refused")
    torch_file("list", [torch.ones(1)], None, "refused")
    torch_file("tensor", torch.ones(1), None, "refused")
    torch_file("empty", {}, None, "refused")
    torch.jit.save(torch.jit.script(torch.nn.Identity()), str(path("refused", "script.pth")))


# --- NumPy ---


def numpy():
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    np.save(path("numpy", "plain.npy"), array)
    expect("numpy", "plain", {"array": array})
    np.save(path("numpy", "fortran.npy"), np.asfortranarray(array))
    expect("numpy", "fortran", {"array": array})
    arrays = {name: np.array([0, 1, 100]).astype(name) for name in "f8 f4 f2 i8 i4 i2 i1 u8 u4 u2 u1 ?".split()}
    arrays |= {name: np.array([0, 1, 100]).astype(name) for name in (">f8", ">f4", ">f2", ">i4")}
    np.savez(path("numpy", "types.npz"), **arrays)
    expect("numpy", "types", arrays)
    arrays = {
        "conv1/conv/conv_h2h/W": array.reshape(2, 3, 1, 1),
        "conv1/bn_h/N": np.array(12),
        "updater/model:main/x": np.float32(2.5),
    }
    np.savez_compressed(path("numpy", "chainer.npz"), **arrays, none=np.asarray(None))
    expect("numpy", "chainer", arrays)
    np.savez(path("refused", "objects.npz"), a=np.array([{}, None], dtype=object))
    np.savez(path("refused", "records.npz"), a=np.zeros(2, dtype=[("x", "f4"), ("y", "i4")]))
    with zipfile.ZipFile(path("refused", "zip.zip"), "w") as archive:
        archive.writestr("readme.txt", "no tensors")


# --- MXNet ---

V1, V2, V3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA
FLAGS = {"float32": 0, "float64": 1, "float16": 2, "uint8": 3, "int32": 4, "int8": 5, "int64": 6, "bool": 7}


def mxnet_array(array, magic, storage=0):
    if magic is None:  # Before V1: the number of dimensions, and sizes of 32 bits.
        out = struct.pack(f"<I{array.ndim}I", array.ndim, *array.shape)
    else:
        out = struct.pack("<I", magic)
        if magic != V1:
            out += struct.pack("<i", storage)
        out += struct.pack(f"<i{array.ndim}q", array.ndim, *array.shape)
    return out + struct.pack("<iii", 1, 0, FLAGS[array.dtype.name]) + array.tobytes()


def mxnet_bytes(tensors, magic=V2, **options):
    out = struct.pack("<QQQ", 0x112, 0, len(tensors))
    out += b"".join(mxnet_array(array, magic, **options) for array in tensors.values())
    out += struct.pack("<Q", len(tensors))
    for name in tensors:
        out += struct.pack("<Q", len(name.encode())) + name.encode()
    return out


def mxnet_file(kind, name, tensors, magic=V2, **options):
    path(kind, f"{name}.params").write_bytes(mxnet_bytes(tensors, magic, **options))


def mxnet():
    tensors = {"arg:a_weight": np.arange(6, dtype=np.float32).reshape(2, 3), "aux:b": np.array([2.5], np.float32)}
    for name, magic in (("legacy", None), ("v1", V1), ("v2", V2), ("v3", V3)):
        mxnet_file("mxnet", name, tensors, magic)
        expect("mxnet", name, {key[4:]: array for key, array in tensors.items()})
    arrays = {name: np.array([0, 1, 100]).astype(name) for name in FLAGS}
    mxnet_file("mxnet", "types", arrays)
    expect("mxnet", "types", arrays)
    mxnet_file("mxnet", "scalar", {"s": np.array(3.5, np.float32)}, V3)
    expect("mxnet", "scalar", {"s": np.float32(3.5)})
    mxnet_file("refused", "sparse", tensors, storage=1)
    mxnet_file("refused", "none", {"a": np.array(1.0, np.float32)}, V2)
    mxnet_file("refused", "nothing", {})
    mxnet_file("refused", "twice", {"arg:a": tensors["aux:b"], "aux:a": tensors["aux:b"]})


# --- networks under the names of the official code ---


class Names:
    """A small ResNet of two layers of two blocks, alpha 0.5: each tensor under the names here, of Symbol and of Gluon."""

    def __init__(self, se=False, preactivation=False):
        self.random = np.random.default_rng(7)
        self.own, self.symbol, self.gluon, self.nodes = {}, {}, {}, []
        self.preactivation = preactivation
        node = dict(name="conv1", op="conv", input="input", channels=4, kernel=[3, 3], padding=[1, 1], norm=True)
        self.nodes.append({**node, "activation": "relu"})
        self.add((4, 3, 3, 3), "conv1.w_hh", "arg:conv1_conv_weight", "conv1.0.weight")
        self.norm(4, "conv1.norm_h", "conv1_bn", "conv1.1")
        before, value = (4, 0), "conv1"
        for layer in (1, 2):
            low = layer == 1
            mid, out = ((2, 2) if low else (4, 0)), ((4, 4) if low else (8, 0))
            for block in range(2):
                own, symbol, gluon = f"layer{layer}.{block}.", f"L{layer + 1}_B{block + 1:02}_", f"L{layer}_B{block}."
                shortcut = value
                first = self.conv(own, symbol, gluon, 1, before, mid, 1, value)
                second = self.conv(own, symbol, gluon, 2, mid, mid, 3, first)
                if block == 0:
                    shortcut = self.conv(own, symbol, gluon, 4, before, out, 1, value)
                value = self.conv(own, symbol, gluon, 3, mid, out, 1, second, residual=None if se else shortcut)
                if se:
                    value = self.se(own, symbol, gluon, out, value, shortcut)
                before = out
        if preactivation:
            self.norm(8, "tail.norm_h", "tail_bn", "tail.0")
            self.nodes.append(dict(name="tail", op="norm", input=value, activation="relu"))
            value = "tail"
        self.nodes.append(dict(name="avgpool", op="global_pool", input=value))
        self.nodes.append(dict(name="fc", op="linear", input="avgpool", outputs=10))
        weight = self.values((10, 8))
        self.own["fc.weight"] = self.symbol["arg:classifier_weight"] = weight
        self.gluon["classifer.weight"] = weight.reshape(10, 8, 1, 1)
        self.add((10,), "fc.bias", "arg:classifier_bias", "classifer.bias")

    def network(self):
        return {"name": "small", "input": {"channels": 3}, "nodes": self.nodes, "output": "fc"}

    def values(self, shape):
        # Few digits, so that the files are small when they are packed.
        return (self.random.integers(2, 7, shape) / 4).astype(np.float32)

    def add(self, shape, own, symbol, gluon):
        self.own[own] = self.symbol[symbol] = self.gluon[gluon] = self.values(shape)

    def norm(self, channels, own, symbol, gluon):
        for a, b, c in (
            ("gamma", "arg:{}_gamma", "gamma"),
            ("beta", "arg:{}_beta", "beta"),
            ("mean", "aux:{}_moving_mean", "running_mean"),
            ("var", "aux:{}_moving_var", "running_var"),
        ):
            self.add((channels,), f"{own}.{a}", b.format(symbol), f"{gluon}.{c}")

    def conv(self, own, symbol, gluon, k, before, after, kernel, value, residual=None):
        node = own + ("downsample.0" if k == 4 else f"conv{k}")
        for i, f in enumerate("hl"):
            for o, t in enumerate("hl"):
                if before[i] and after[o]:
                    shape, path = (after[o], before[i], kernel, kernel), f"{f}2{t}"
                    in_symbol = f"arg:{symbol}conv{k}_conv-{path}_weight"
                    in_gluon = f"{gluon}conv{k}.conv_{path}.weight"
                    self.add(shape, f"{node}.w_{f}{t}", in_symbol, in_gluon)
        place, channels = node, after
        if self.preactivation:
            place, channels = own + ("downsample.norm" if k == 4 else f"norm{k}"), before
            self.nodes.append(dict(name=place, op="norm", input=value, activation="relu"))
            value = place
        for f, n in zip("hl", channels):
            if n:
                self.norm(n, f"{place}.norm_{f}", f"{symbol}conv{k}_bn-{f}", f"{gluon}bn{k}.bn_{f}")
        description = dict(name=node, op="conv", input=value, channels=sum(after), split=list(after))
        description.update(kernel=[kernel] * 2, padding=[kernel // 2] * 2, norm=not self.preactivation)
        if residual:
            description["residual"] = residual
        self.nodes.append(description)
        return node

    def se(self, own, symbol, gluon, channels, value, shortcut):
        h, l = channels
        weight = self.values((3, h + l))
        self.own[f"{own}se.squeeze.weight"] = weight
        self.gluon[f"{gluon}se_block.conv1.weight"] = weight.reshape(3, h + l, 1, 1)
        self.symbol[f"arg:{symbol}se_fc1-h2h_weight"] = np.ascontiguousarray(weight[:, :h])
        if l:
            self.symbol[f"arg:{symbol}se_fc1-l2h_weight"] = np.ascontiguousarray(weight[:, h:])
        self.add((3,), f"{own}se.squeeze.bias", f"arg:{symbol}se_fc1-h2h_bias", f"{gluon}se_block.conv1.bias")
        for f, n in zip("hl", channels):
            if n:
                weight = self.values((n, 3))
                self.own[f"{own}se.excite_{f}.weight"] = self.symbol[f"arg:{symbol}se_fc2-h2{f}_weight"] = weight
                self.gluon[f"{gluon}se_block.conv2_{f}.weight"] = weight.reshape(n, 3, 1, 1)
                in_symbol, in_gluon = f"arg:{symbol}se_fc2-h2{f}_bias", f"{gluon}se_block.conv2_{f}.bias"
                self.add((n,), f"{own}se.excite_{f}.bias", in_symbol, in_gluon)
        self.nodes.append(dict(name=f"{own}se", op="excite", input=value, reduced=3, residual=shortcut))
        return f"{own}se"


def networks():
    for name, options in (("plain", {}), ("se", {"se": True}), ("preactivation", {"preactivation": True})):
        names = Names(**options)
        path("networks", f"{name}.json").write_text(json.dumps(names.network(), indent=1) + "\n")
        expect("networks", name, names.own)
        mxnet_file("networks", f"{name}.symbol", names.symbol)
        mxnet_file("networks", f"{name}.gluon", names.gluon)


if __name__ == "__main__":
    torch.manual_seed(0)
    pytorch()
    numpy()
    mxnet()
    networks()
