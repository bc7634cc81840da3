#!/usr/bin/env python3
"""Times layers or networks in PyTorch with cuDNN, octave and plain, in f32, tf32 and f16.

The graphs are those of the other peers (forms.py, networks.py). A line of JSON each for form and type, with the
milliseconds of a pass as part of a CUDA graph, which is the best that launches allow, and of one that is called eagerly,
which is what people run. Tensors of f16 are channels-last, as cuDNN likes it. Outputs are compared with float64.
"""

import argparse
import json
import math
import statistics
import sys
import time

import forms
import networks
from forms import InputError
from timing import seconds as seconds_of

try:
    import torch
    import torch.nn.functional as F
except ImportError as error:
    sys.exit(f"torch_peer.py: {error}: install PyTorch")

FORMS = {"octave": forms.octave, "plain": forms.plain}
# The error that is worth a line, as a share of the largest output.
TOLERANCE = {"f32": 1e-4, "tf32": 1e-2, "f16": 2e-2}
BATCHES = (1, 32)


class Device:
    """Where passes run, and how they are timed."""

    def __init__(self, cpu):
        if not cpu and not torch.cuda.is_available():
            raise InputError("PyTorch finds no CUDA device: --cpu runs on the CPU")
        self.cuda = not cpu
        self.device = "cuda" if self.cuda else "cpu"
        self.name = torch.cuda.get_device_name() if self.cuda else "cpu"
        self.types = ("f32", "tf32", "f16") if self.cuda else ("f32", "f16")
        torch.backends.cudnn.benchmark = True

    def use(self, kind):
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = kind == "tf32"

    def times(self, run, repeats, rounds):
        """Milliseconds of a call of `run`: (replayed, eager). On the CPU nothing is replayed."""
        if not self.cuda:
            return None, 1e3 * seconds_of(run)

        def calls():
            for _ in range(repeats):
                run()

        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                run()
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            calls()
        return tuple(self._median(call, rounds) / repeats for call in (graph.replay, calls))

    @staticmethod
    def _median(call, rounds):
        call()
        torch.cuda.synchronize()
        times = []
        for _ in range(rounds):
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            call()
            end.record()
            torch.cuda.synchronize()
            times.append(start.elapsed_time(end))
        return statistics.median(times)


class Bound:
    """A form with its tensors on the device, as a list of calls."""

    def __init__(self, form, device, kind):
        self.form = form
        dtype = torch.float16 if kind == "f16" else torch.float32
        layout = torch.channels_last if kind == "f16" else torch.contiguous_format

        def tensor(array):
            array = torch.from_numpy(array)
            array = array if array.dim() == 4 else array[:, :, None, None]
            return array.to(device, dtype).contiguous(memory_format=layout)

        self.inputs = {name: tensor(array) for name, array in form.inputs.items()}
        self.steps = [(op, None if op.weight is None else tensor(op.weight)) for op in form.ops]
        last = {name: i for i, op in enumerate(form.ops) for name in op.inputs}
        self.unused_after = [
            [name for name in dict.fromkeys(op.inputs) if last[name] == i and name not in form.outputs]
            for i, op in enumerate(form.ops)
        ]

    def run(self):
        values = dict(self.inputs)
        for (op, weight), unused in zip(self.steps, self.unused_after):
            values[op.output] = compute(op, weight, [values[name] for name in op.inputs])
            # What nothing reads any more is freed, as in a usual program.
            for name in unused:
                del values[name]
        return [values[name] for name in self.form.outputs]


def compute(op, weight, inputs):
    x = inputs[0]
    match op.kind:
        case "conv":
            return F.conv2d(x, weight, None, op.stride, weight.shape[2] // 2, 1, op.groups)
        case "linear":
            return F.conv2d(x, weight)
        case "pool":
            return F.avg_pool2d(x, 2, 2, ceil_mode=True, count_include_pad=False)
        case "up":
            x = F.interpolate(x, scale_factor=2, mode="nearest")
            return x[..., : op.shape[2], : op.shape[3]]
        case "add":
            return x + inputs[1]
        case "relu":
            return F.relu(x)
        case "relu6":
            return F.relu6(x)
        case "max":
            return F.max_pool2d(x, op.window, op.stride, op.window // 2)
        case "mean":
            return x.mean((2, 3), keepdim=True)
        case "concat":
            return torch.cat(inputs, 1)
    raise ValueError(op.kind)


def largest_error(got, expected):
    """As a share of the largest output; not a number if there is none."""
    shares = []
    for a, b in zip(got, expected, strict=True):
        difference = (a.double().cpu() - torch.from_numpy(b)).abs().max().item()
        shares.append(difference / abs(b).max())
    return max(shares, key=lambda share: (math.isnan(share), share))


def time_form(device, name, form_name, form, expected, batch, repeats, rounds):
    """Rows of a form, one for each type."""
    for kind in device.types:
        device.use(kind)
        try:
            bound = Bound(form, device.device, kind)
            error = None if expected is None else largest_error(bound.run(), expected)
            graph, eager = device.times(bound.run, repeats, rounds)
        # Most likely there is too little memory.
        except RuntimeError as problem:
            print(f"{name}, {form_name}, {kind} left out: {' '.join(str(problem).split())[:200]}", file=sys.stderr)
            continue
        if error is not None and not error <= TOLERANCE[kind]:
            print(f"{name}, {form_name}, {kind}: off by {error:.2g} of its largest value", file=sys.stderr)
        yield {
            "peer": "torch", "version": torch.__version__, "device": device.name, "dtype": kind, "layer": name,
            "form": form_name, "batch": batch, "macs": form.macs(), "graph_ms": graph, "eager_ms": eager, "error": error,
        }  # fmt: skip


def jobs(args, device):
    """The forms to time: (name, form's name, how to build it, batch, whether it is compared, repetitions, rounds)."""
    if args.layers:
        warn = lambda text: print(f"left out: {text}", file=sys.stderr)
        for layer in forms.read_layers(args.layers, args.only, warn):
            for name, build in FORMS.items():
                yield layer.name, name, lambda build=build, layer=layer: build(layer), layer.n, True, 20, 15
        return
    for batch in BATCHES if device.cuda else BATCHES[:1]:
        for network in networks.read_list(args.networks):
            for name, alpha in (("octave", network.alpha), ("plain", 0)):
                build = lambda network=network, alpha=alpha, batch=batch: networks.build(network.network, alpha, batch)
                yield network.name, name, build, batch, batch == 1, 2, 7


def summary(rows):
    """A line per type: how much faster octave is than plain, in the geometric mean."""
    by = {(row["layer"], row["batch"], row["dtype"], row["form"]): row for row in rows}
    for kind in dict.fromkeys(row["dtype"] for row in rows):
        for key in ("graph_ms", "eager_ms"):
            pairs = [(by.get((*at, kind, "plain")), by.get((*at, kind, "octave")))
                     for at in dict.fromkeys((row["layer"], row["batch"]) for row in rows)]  # fmt: skip
            ratios = [plain[key] / octave[key] for plain, octave in pairs if plain and octave and plain[key]]
            if ratios:
                mean = math.exp(statistics.fmean(map(math.log, ratios)))
                yield f"PyTorch {torch.__version__}, {kind}, {key[:-3]}: octave is {mean:.2f} times as fast as plain, in {len(ratios)}"


def run(args):
    device = Device(args.cpu)
    end = time.monotonic() + args.seconds
    rows, left = [], 0
    try:
        out = open(args.json, "w", encoding="utf-8")
    except OSError as error:
        raise InputError(f"writing {args.json}: {error.strerror}") from None
    with out, torch.inference_mode():
        for name, form_name, build, batch, compared, repeats, rounds in jobs(args, device):
            if time.monotonic() > end:
                left += 1
                continue
            form = build()
            expected = forms.reference(form) if compared else None
            for row in time_form(device, name, form_name, form, expected, batch, repeats, rounds):
                rows.append(row)
                out.write(json.dumps(row) + "\n")
                out.flush()
    if left:
        print(f"{left} forms were left out: no time")
    for line in summary(rows):
        print(line)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--layers", metavar="FILE.json", help="as for `octconv bench --layers`")
    what.add_argument("--networks", metavar="NETWORK:ALPHA,...", help="such as resnet50:0.5")
    parser.add_argument("--only", default="", metavar="TEXT", help="only layers whose name contains this")
    parser.add_argument("--json", required=True, metavar="OUT", help="where rows go, a line each")
    parser.add_argument("--seconds", type=float, default=math.inf, help="nothing begins after this time")
    parser.add_argument("--cpu", action="store_true", help="run once on the CPU, to try the script")
    try:
        run(parser.parse_args())
    except InputError as error:
        sys.exit(f"torch_peer.py: {error}")


if __name__ == "__main__":
    main()
