"""Tests of convert_checkpoint.py: python3 scripts/test_convert_checkpoint.py

The tests write every file themselves. MXNet's have a writer of their own.
"""

import contextlib
import io
import struct
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))
import convert_checkpoint  # noqa: E402

V1, V2, V3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA
FLAGS = {"float32": 0, "float64": 1, "float16": 2, "uint8": 3, "int32": 4}


def mxnet_array(array, magic=V2, storage=0):
    out = struct.pack("<I", magic)
    if magic != V1:
        out += struct.pack("<i", storage)
    out += struct.pack("<I", array.ndim) + struct.pack(f"<{array.ndim}q", *array.shape)
    return out + struct.pack("<iii", 1, 0, FLAGS[array.dtype.name]) + array.tobytes()


def mxnet_file(tensors, magic=V2, **options):
    out = struct.pack("<QQQ", 0x112, 0, len(tensors))
    out += b"".join(mxnet_array(array, magic, **options) for array in tensors.values())
    out += struct.pack("<Q", len(tensors))
    for name in tensors:
        out += struct.pack("<Q", len(name.encode())) + name.encode()
    return out


class Names:
    """A small ResNet of four layers of two blocks, alpha 0.5: each tensor under the name of each dialect."""

    def __init__(self, se=False, preactivation=False):
        self.random = np.random.default_rng(7)
        self.own, self.symbol, self.gluon = {}, {}, {}
        self.preactivation = preactivation
        self.add((4, 3, 7, 7), "conv1.w_hh", "arg:conv1_conv_weight", "conv1.0.weight")
        self.norm(4, "conv1.norm_h", "conv1_bn", "conv1.1")
        before = (4, 0)
        for layer in range(1, 5):
            low = layer < 4
            mid, out = ((2, 2) if low else (4, 0)), ((4, 4) if low else (8, 0))
            for block in range(2):
                own, symbol, gluon = f"layer{layer}.{block}.", f"L{layer + 1}_B{block + 1:02}_", f"L{layer}_B{block}."
                self.conv(own, symbol, gluon, 1, before, mid, 1)
                self.conv(own, symbol, gluon, 2, mid, mid, 3)
                self.conv(own, symbol, gluon, 3, mid, out, 1)
                if block == 0:
                    self.conv(own, symbol, gluon, 4, before, out, 1)
                if se:
                    self.se(own, symbol, gluon, out)
                before = out
        if preactivation:
            self.norm(8, "tail.norm_h", "tail_bn", "tail.0")
        weight = self.values((10, 8))
        self.own["fc.weight"] = self.symbol["arg:classifier_weight"] = weight
        self.gluon["classifer.weight"] = weight.reshape(10, 8, 1, 1)
        self.add((10,), "fc.bias", "arg:classifier_bias", "classifer.bias")

    def values(self, shape):
        return self.random.uniform(0.5, 1.5, shape).astype(np.float32)

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

    def conv(self, own, symbol, gluon, k, before, after, kernel):
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
        for f, n in zip("hl", channels):
            if n:
                self.norm(n, f"{place}.norm_{f}", f"{symbol}conv{k}_bn-{f}", f"{gluon}bn{k}.bn_{f}")

    def se(self, own, symbol, gluon, channels):
        h, l = channels
        weight = self.values((3, h + l))
        self.own[f"{own}se.squeeze.weight"] = weight
        self.gluon[f"{gluon}se_block.conv1.weight"] = weight.reshape(3, h + l, 1, 1)
        self.symbol[f"arg:{symbol}se_fc1-h2h_weight"] = weight[:, :h]
        if l:
            self.symbol[f"arg:{symbol}se_fc1-l2h_weight"] = weight[:, h:]
        self.add((3,), f"{own}se.squeeze.bias", f"arg:{symbol}se_fc1-h2h_bias", f"{gluon}se_block.conv1.bias")
        for f, n in zip("hl", channels):
            if n:
                weight = self.values((n, 3))
                self.own[f"{own}se.excite_{f}.weight"] = self.symbol[f"arg:{symbol}se_fc2-h2{f}_weight"] = weight
                self.gluon[f"{gluon}se_block.conv2_{f}.weight"] = weight.reshape(n, 3, 1, 1)
                in_symbol, in_gluon = f"arg:{symbol}se_fc2-h2{f}_bias", f"{gluon}se_block.conv2_{f}.bias"
                self.add((n,), f"{own}se.excite_{f}.bias", in_symbol, in_gluon)


class Case(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.input, self.output = self.folder / "in", self.folder / "out.safetensors"

    def run_on(self, data=None, *options):
        if data is not None:
            self.input.write_bytes(data)
        said = io.StringIO()
        with contextlib.redirect_stderr(said):
            status = convert_checkpoint.main([str(self.input), str(self.output), *options])
        return status, said.getvalue()

    def converted(self, data=None, *options):
        status, said = self.run_on(data, *options)
        self.assertEqual(status, 0, said)
        return load_file(self.output)

    def refused(self, data, why, *options):
        status, said = self.run_on(data, *options)
        self.assertEqual(status, 1, said)
        self.assertRegex(said, rf"\Aerror: .*{why}.*\n\Z")
        self.assertEqual(said.count("\n"), 1)
        self.assertEqual([path for path in self.folder.iterdir() if path != self.input], [])

    def same(self, got, want, shift=0.0):
        self.assertEqual(sorted(got), sorted(want))
        for name, array in want.items():
            self.assertEqual(got[name].dtype, np.float32)
            if name.endswith((".var", ".running_var")):
                array = (array.astype(np.float64) + shift).astype(np.float32)
            np.testing.assert_array_equal(got[name], array.astype(np.float32), err_msg=name)


class MXNet(Case):
    def test_symbol(self):
        for se in (False, True):
            names = Names(se=se)
            self.same(self.converted(mxnet_file(names.symbol)), names.own, 1e-4 - 1e-5)

    def test_gluon(self):
        for se in (False, True):
            names = Names(se=se)
            self.same(self.converted(mxnet_file(names.gluon)), names.own)

    def test_preactivation(self):
        names = Names(preactivation=True)
        for tensors, shift in ((names.symbol, 1e-4 - 1e-5), (names.gluon, 0.0)):
            status, said = self.run_on(mxnet_file(tensors))
            self.assertEqual(status, 0, said)
            self.assertIn("note: a pre-activation network", said)
            self.same(load_file(self.output), names.own, shift)

    def test_without_octaves(self):
        # Symbol leaves the paths out of its names if alpha is 0.
        names = Names()
        plain = {n: a for n, a in names.own.items() if n[:6] in ("conv1.", "layer4") and not n.endswith(("w_lh"))}
        symbol = {}
        for name, array in names.symbol.items():
            if name[4:].startswith(("conv1", "L5")) and "l2h" not in name:
                symbol[name.replace("-h2h", "").replace("-h_", "_")] = array
        self.same(self.converted(mxnet_file(symbol)), plain, 1e-4 - 1e-5)

    def test_formats_and_types(self):
        names = Names()
        for magic in (V1, V2, V3):
            for dtype in ("float16", "float32", "float64"):
                tensors = {name: array.astype(dtype) for name, array in names.gluon.items()}
                own = {name: array.astype(dtype) for name, array in names.own.items()}
                self.same(self.converted(mxnet_file(tensors, magic)), own)

    def test_eps(self):
        names = Names()
        self.same(self.converted(mxnet_file(names.symbol), "--eps", "1e-5"), names.own)
        self.same(self.converted(mxnet_file(names.gluon), "--eps", "1e-3"), names.own, 1e-3 - 1e-5)

    def test_folding_is_the_same(self):
        # The variance is used as gamma / sqrt(var + eps): with the file's eps, and with ours.
        names = Names()
        got = self.converted(mxnet_file(names.symbol))["layer2.0.conv2.norm_l.var"].astype(np.float64)
        want = names.own["layer2.0.conv2.norm_l.var"].astype(np.float64)
        np.testing.assert_allclose(1 / np.sqrt(got + 1e-5), 1 / np.sqrt(want + 1e-4), rtol=1e-7)

    def test_biases_of_an_output_are_added(self):
        names = Names()
        a, b = np.float32([1, 2, 3, 4]), np.float32([10, 20, 30, 40])
        names.gluon["L2_B0.conv4.conv_h2h.bias"], names.gluon["L2_B0.conv4.conv_l2h.bias"] = a, b
        names.own["layer2.0.downsample.0.bias_h"] = a + b
        self.same(self.converted(mxnet_file(names.gluon)), names.own)

    def test_truncated(self):
        names = Names()
        data = mxnet_file(dict(list(names.gluon.items())[:12]))
        # Cut at every length of the head and of the tail, where the counts and names are, and at some lengths between.
        cuts = {*range(8, 120), *range(120, len(data), 97), *range(len(data) - 400, len(data))}
        for cut in sorted(cuts):
            self.refused(data[:cut], "truncated", "--dialect", "mxnet-gluon")
        for cut in range(8):
            self.refused(data[:cut], "", "--dialect", "mxnet-gluon")
            self.refused(data[:cut], "neither")
        self.refused(data[:200], "truncated")

    def test_broken(self):
        names = Names()
        whole = mxnet_file(names.gluon)
        self.refused(whole + b"\0", "1 bytes too many")
        self.refused(b"hello, world", "neither")
        self.refused(b"hello, world", "not a list of MXNet arrays", "--dialect", "mxnet-symbol")
        self.refused(struct.pack("<QQQ", 0x112, 0, 1 << 60), "truncated")
        self.refused(struct.pack("<QQQIIi", 0x112, 0, 1, V2, 0, 1 << 30) + bytes(64), "dimensions")
        huge = struct.pack("<QQQIIi", 0x112, 0, 1, V2, 0, 2) + struct.pack("<qqiii", 1 << 62, 1 << 62, 1, 0, 0)
        self.refused(huge, "truncated")
        self.refused(struct.pack("<QQQIIi", 0x112, 0, 1, V2, 0, 0) + bytes(64), "empty")
        self.refused(struct.pack("<QQQQ", 0x112, 0, 0, 0), "no tensors")
        self.refused(mxnet_file(names.gluon, 0xF993FACB), "unknown magic 0xf993facb")
        self.refused(mxnet_file(names.gluon, storage=1), "sparse")
        self.refused(mxnet_file({**names.gluon, "x": np.zeros(3, np.int32)}), "int32")
        self.refused(whole.replace(b"L1_B0.conv1", b"L1_B\xff.conv1"), "UTF-8")

    def test_names_without_a_place(self):
        names = Names()
        one = np.ones(4, np.float32)
        for name in (
            "conv1.3.weight", "L1_B0.bn1a.bn_h.running_mean", "L5_B0.conv1.conv_h2h.weight", "features.0.weight",
        ):  # fmt: skip
            self.refused(mxnet_file({**names.gluon, name: one}), f"unknown name: {name}")
        for name in ("arg:L2_B00_conv1_conv-h2h_weight", "arg:conv2_conv_weight", "arg:R50_L1_B0_conv1-h2h_weight"):
            self.refused(mxnet_file({**names.symbol, name: one}), f"unknown name: {name[4:]}")
        self.refused(mxnet_file({**names.symbol, "aux:conv1_conv_weight": one}), "twice")
        self.refused(mxnet_file({**names.symbol, "arg:conv1_conv-h2h_weight": one}), "twice")

    def test_sizes(self):
        names = Names()
        changed = dict(names.gluon)
        del changed["L1_B0.bn2.bn_h.beta"]
        self.refused(mxnet_file(changed), "layer1.0.conv2.norm_h has no beta")
        changed = {**names.gluon, "L1_B0.bn2.bn_h.beta": np.ones(5, np.float32)}
        self.refused(mxnet_file(changed), "differ in size")
        # A pre-activation network without its tail is not taken as post-activation.
        names = Names(preactivation=True)
        changed = {name: array for name, array in names.gluon.items() if not name.startswith("tail")}
        self.refused(mxnet_file(changed), "channels")
        changed = {**Names().gluon, "classifer.bias": np.float32([np.nan] * 10)}
        self.refused(mxnet_file(changed), "not finite")


class PyTorch(Case):
    def setUp(self):
        super().setUp()
        random = torch.Generator().manual_seed(3)
        self.state = {
            "layer1.0.conv1.conv.conv_h2h.weight": torch.rand(4, 3, 1, 1, generator=random),
            "layer1.0.conv1.bn_h.running_var": torch.rand(4, generator=random),
            "layer1.0.conv1.bn_h.num_batches_tracked": torch.tensor(5),
            "fc.weight": torch.rand(2, 4, generator=random).t(),
        }
        self.want = {name: t.numpy() for name, t in self.state.items() if t.is_floating_point()}

    def save(self, what, **options):
        torch.save(what, self.input, **options)

    def test_wrappings(self):
        module = {f"module.{name}": tensor for name, tensor in self.state.items()}
        for what in (self.state, module, {"state_dict": module, "epoch": 3}, {"model": self.state}):
            self.save(what)
            self.same(self.converted(), self.want)
        self.save(self.state, _use_new_zipfile_serialization=False)
        self.same(self.converted(), self.want)

    def test_types_and_eps(self):
        for dtype in (torch.float16, torch.bfloat16, torch.float64):
            state = {name: t.to(dtype) if t.is_floating_point() else t for name, t in self.state.items()}
            self.save(state)
            self.same(self.converted(), {name: state[name].to(torch.float32).numpy() for name in self.want})
        self.save(self.state)
        self.same(self.converted(None, "--eps", "1e-3"), self.want, 1e-3 - 1e-5)

    def test_refused(self):
        self.save(self.state)
        whole = self.input.read_bytes()
        for cut in (4, 100, len(whole) // 2, len(whole) - 1):
            self.refused(whole[:cut], "PyTorch cannot load it")
        self.refused(whole, "not a list of MXNet arrays", "--dialect", "mxnet-gluon")
        self.refused(mxnet_file({"a": np.ones(1, np.float32)}), "not a file of PyTorch", "--dialect", "pytorch")
        for what, why in (
            ({"epoch": 3}, "epoch is int"),
            ([1, 2], "not a dictionary"),
            ({}, "no tensors"),
            ({"module.a": torch.ones(1), "a": torch.ones(1)}, "twice"),
            ({"a": torch.ones(3).to_sparse()}, "dense"),
            (torch.nn.Linear(2, 2), "PyTorch cannot load it as weights only"),
        ):
            self.save(what)
            self.refused(None, why)


class Command(Case):
    def test_command(self):
        script = str(Path(convert_checkpoint.__file__))
        run = lambda: subprocess.run(
            [sys.executable, script, str(self.input), str(self.output)], capture_output=True, text=True
        )
        done = run()
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertRegex(done.stderr, r"\Aerror: .*No such file or directory\n\Z")
        names = Names()
        self.input.write_bytes(mxnet_file(names.gluon))
        done = run()
        self.assertEqual(done.returncode, 0, done.stderr)
        first = self.output.read_bytes()
        # A failure leaves the file that was there.
        self.input.write_bytes(mxnet_file(names.gluon)[:-1])
        self.assertEqual(run().returncode, 1)
        self.assertEqual(self.output.read_bytes(), first)
        self.assertEqual(sorted(path.name for path in self.folder.iterdir()), ["in", "out.safetensors"])

    def test_output_that_cannot_be_written(self):
        self.input.write_bytes(mxnet_file(Names().gluon))
        self.output = self.folder / "nowhere" / "out.safetensors"
        status, said = self.run_on()
        self.assertEqual(status, 1)
        self.assertRegex(said, r"\Aerror: .*No such file or directory\n\Z")


if __name__ == "__main__":
    unittest.main()
