#!/usr/bin/env python3
"""Times the layers of `octconv bench --layers`, or networks, in ONNX Runtime (WebGPU) and ncnn (Vulkan), next to octconv.

Each layer or network runs in two forms: octave (pools, up to four convolutions, upsample, adds, as a graph of the peer's own
operators) and plain (one convolution of all channels). Transfers are not counted. Outputs are compared with a float64
reference. All run in f32, on the only Vulkan device that the loader shows.
"""

import argparse
import importlib
import json
import math
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time

try:
    import numpy as np
except ImportError as error:
    sys.exit(f"peers.py: {error}: install requirements.txt")

import devices
import forms
import networks
from forms import InputError
from timing import PeerError, one_line

# The largest allowed error, as a share of the largest output. f32 errs ten times less, f16 twenty times more.
TOLERANCE = 2e-5
# The same for networks, whose layers add theirs up.
NETWORK_TOLERANCE = 2e-4
FORMS = ("octave", "plain")
PEERS = {
    "onnxruntime": lambda device: importlib.import_module("onnx_peer").OnnxPeer(device),
    "ncnn": lambda device: importlib.import_module("ncnn_peer").NcnnPeer(device, winograd=False),
    "ncnn-winograd": lambda device: importlib.import_module("ncnn_peer").NcnnPeer(device, winograd=True),
}


class Parser(argparse.ArgumentParser):
    def error(self, message):
        self.exit(2, f"{self.prog}: {message}\n")


def arguments():
    parser = Parser(prog="peers.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--layers", metavar="FILE.json", help="as for `octconv bench --layers`")
    what.add_argument("--networks", metavar="NETWORK:ALPHA,...", help="such as resnet50:0.5; needs PyTorch")
    ours = parser.add_mutually_exclusive_group(required=True)
    ours.add_argument(
        "--octconv", metavar="COMMAND", help="the program; it runs each layer right before the peers do"
    )
    ours.add_argument("--rows", metavar="FILE", help="what `octconv bench --layers FILE.json --json FILE` wrote")
    parser.add_argument("--only", default="", metavar="TEXT", help="only layers whose name contains this")
    parser.add_argument("--rounds", type=rounds, default=15, help="timed rounds; in each, peers take turns (15)")
    parser.add_argument("--seconds", type=float, default=math.inf, help="no layer or network begins after this time")
    parser.add_argument(
        "--peers", type=peer_names, default=list(PEERS), metavar="NAMES", help=f"some of {','.join(PEERS)} (all)"
    )
    parser.add_argument("--json", metavar="OUT", help="also write all rows, a line of JSON each")
    parser.add_argument("--table", metavar="OUT", help="also write the tables")
    return parser.parse_args()


def rounds(text):
    if not text.isdecimal() or not 1 <= int(text) <= 10_000:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 1 to 10000")
    return int(text)


def peer_names(text):
    names = text.split(",")
    for name in names:
        if name not in PEERS:
            raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(PEERS)}")
    return [name for name in PEERS if name in names]


def open_peers(names, device):
    """The peers that can run here. Prints a line for each of the others."""
    peers = []
    for name in names:
        try:
            peer = PEERS[name](device)
        except (ImportError, PeerError) as error:
            print(f"{name} cannot run here and is left out: {one_line(error)}", file=sys.stderr)
            continue
        if peer.device != device:
            raise InputError(f"{name} is on {peer.device}, the loader shows {device}: must be the same device")
        peers.append(peer)
    if not peers:
        raise InputError("none of the peers runs here")
    return peers


def parse_rows(text, source, layers, device):
    """octconv's rows, by the name of their layer."""
    rows = {}
    try:
        for line in filter(str.strip, text.splitlines()):
            row = json.loads(line)
            if row["peer"] == "octconv":
                rows[row["layer"]] = row
                if row["device"] != device:
                    raise InputError(f"{source} is of {row['device']}, peers run on {device}: must be the same device")
                if row["dtype"] != "f32":
                    raise InputError(f"{source} is of {row['dtype']}: must be f32")
                for key in ("ms", "plain_ms", "gflops"):
                    if not row[key] > 0:
                        raise InputError(f"{source}: {key} of {row['layer']} is {row[key]}: must be above 0")
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{source} has a line that is no row of `octconv bench --layers`: {error!r}") from None
    for layer in layers:
        if layer.name not in rows:
            raise InputError(f"{source} has no row of layer {layer.name}")
    return rows


def octconv_bench(command, arguments):
    """What `octconv bench` prints as JSON."""
    full = [*shlex.split(command), "bench", *arguments, "--json", "-"]
    try:
        done = subprocess.run(full, capture_output=True, text=True, check=False)
    except OSError as error:
        raise InputError(f"running {command}: {error}") from None
    if done.returncode:
        raise InputError(f"{command} ends with {done.returncode}: {one_line(done.stderr)}")
    return done.stdout


def run_octconv(command, layer, count, device):
    """Runs octconv on one layer or network and returns its row."""
    if isinstance(layer, networks.Named):
        text = octconv_bench(command, [layer.network, "--alpha", str(layer.alpha), "--rounds", str(count)])
        # The row of the whole network is the last one.
        return json.loads(text.splitlines()[-1]) | {"layer": layer.name}
    with tempfile.TemporaryDirectory(prefix="octconv-peers-") as folder:
        path = os.path.join(folder, "layer.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump([layer.entry], file)
        text = octconv_bench(command, ["--layers", path, "--rounds", str(count)])
    return parse_rows(text, command, [layer], device)[layer.name]


def check(bound, expected, layer):
    """The largest error as a share of the largest output. An error if it is more than is allowed."""
    worst = 0.0
    most = NETWORK_TOLERANCE if isinstance(layer, networks.Named) else TOLERANCE
    for i, (got, wanted) in enumerate(zip(bound.outputs(), expected, strict=True)):
        if got.shape != wanted.shape:
            raise PeerError(f"output {i} has shape {got.shape}: must be {wanted.shape}")
        error = np.abs(got - wanted).max() / np.abs(wanted).max()
        if not error <= most:
            raise PeerError(f"output {i} is off by {error:.2g} of its largest value: must be within {most:g}")
        worst = max(worst, float(error))
    return worst


def check_same(ours, rows):
    """Refuses rows of another layer with the same name, by its multiply-adds."""
    counted = ours["gflops"] * ours["ms"] * 0.5e6
    for row in rows:
        if row["form"] == "octave" and not math.isclose(row["macs"], counted, rel_tol=1e-6):
            raise InputError(f"layer {ours['layer']}: octconv's row has {counted:.0f} multiply-adds, not {row['macs']}")


def build(layer, name):
    """A form of a layer or network."""
    if isinstance(layer, networks.Named):
        return networks.build(layer.network, layer.alpha if name == "octave" else 0)
    return forms.octave(layer) if name == "octave" else forms.plain(layer)


def time_layer(layer, peers, count):
    """The rows of the peers for both forms of a layer or network."""
    entries = []
    for name in FORMS:
        form = build(layer, name)
        expected = forms.reference(form)
        for peer in peers:
            if peer.same_as(form) in {other.name for other in peers}:
                continue
            try:
                bound = peer.prepare(form)
                entries.append((peer, name, form, bound, check(bound, expected, layer), []))
            except PeerError as error:
                print(f"{layer.name}, {name} form, {peer.name} left out: {error}", file=sys.stderr)
    for _ in range(count):
        for peer, name, _, bound, _, samples in entries:
            try:
                samples.append(bound.sample())
            except PeerError as error:
                raise InputError(f"{layer.name}, {name} form, {peer.name}: {error}") from None
    return [row(layer, *entry) for entry in entries]


def row(layer, peer, name, form, _, error, samples):
    seconds = statistics.median(samples)
    if seconds <= 0:
        raise InputError(f"{layer.name}, {name} form, {peer.name}: too small to time here; more rounds may help")
    return {
        "peer": peer.name,
        "version": peer.version,
        "device": peer.device,
        "dtype": "f32",
        "layer": layer.name,
        "form": name,
        "ms": seconds * 1e3,
        "min_ms": min(samples) * 1e3,
        "macs": form.macs(),
        "gflops": 2e-9 * form.macs() / seconds,
        "error": error,
    }


def tables(layers, peers, octconv, rows, count):
    """Two Markdown tables, one per form, with geometric means.

    "-": the peer does not run the form, or runs the same kernels as another peer.
    """
    times = {(row["layer"], row["form"], row["peer"]): row for row in rows}
    versions = ", ".join(dict.fromkeys(f"{peer.label.split(',')[0]} {peer.version}" for peer in peers))
    lines = [f"{peers[0].device}; {versions}; f32, medians of {count} rounds. Cells: ms (GFLOP/s)."]

    def of_peers(layer, form):
        return {peer: times[layer.name, form, peer.name] for peer in peers if (layer.name, form, peer.name) in times}

    def fastest(layer, form):
        return min((row["ms"] for row in of_peers(layer, form).values()), default=math.nan)

    def mean(ratios):
        known = [ratio for ratio in ratios if not math.isnan(ratio)]
        return math.exp(sum(map(math.log, known)) / len(known)) if known else math.nan

    ratio = lambda value: "-" if math.isnan(value) else f"{value:.2f}"
    for form in FORMS:
        heads = ["layer", "octconv", *(peer.label for peer in peers), "octconv over the fastest peer"]
        key = "ms" if form == "octave" else "plain_ms"
        against = [form] if form == "plain" else ["octave", "plain"]
        if form == "octave":
            heads.append("over the fastest plain peer")
        body, ratios = [], []
        for layer in layers:
            ours, found = octconv[layer.name][key], of_peers(layer, form)
            speed = "".join(f" ({2e-6 * row['macs'] / ours:.1f})" for row in list(found.values())[:1])
            cells = [f"{row['ms']:.2f} ({row['gflops']:.1f})" if (row := found.get(peer)) else "-" for peer in peers]
            ratios.append([fastest(layer, other) / ours for other in against])
            body.append([layer.name, f"{ours:.2f}{speed}", *cells, *map(ratio, ratios[-1])])
        means = [mean(column) for column in zip(*ratios)]
        body.append(["geometric mean", *[""] * (len(peers) + 1), *map(ratio, means)])
        lines += ["", f"{form.capitalize()} form:", "", *markdown(heads, body)]
    return "\n".join(lines) + "\n"


def markdown(heads, body):
    widths = [max(map(len, column)) for column in zip(heads, *body)]
    line = lambda cells: "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths)) + " |"
    return [line(heads), "|" + "|".join("-" * (width + 2) for width in widths) + "|", *map(line, body)]


def check_target(path):
    folder = os.path.dirname(path) or "."
    if os.path.isdir(path):
        raise InputError(f"writing {path}: it is a folder")
    if not os.path.isdir(folder):
        raise InputError(f"writing {path}: there is no folder {folder}")


def write_whole(path, text):
    """Writes a temporary file and then moves it to `path`, so that nobody reads half a file."""
    beside = f"{path}.{os.getpid()}.part"
    try:
        with open(beside, "x", encoding="utf-8") as file:
            file.write(text)
        os.replace(beside, path)
    except OSError as error:
        if os.path.exists(beside):
            os.remove(beside)
        raise InputError(f"writing {path}: {error.strerror}") from None


def run(args):
    end = time.monotonic() + args.seconds
    if args.networks and args.rows:
        raise InputError("--rows is for layers: with --networks, --octconv runs the networks")
    layers = networks.read_list(args.networks) if args.networks else forms.read_layers(args.layers, args.only)
    for path in filter(None, (args.json, args.table)):
        check_target(path)
    device = devices.the_device()
    octconv = {}
    if args.rows:
        try:
            with open(args.rows, encoding="utf-8") as file:
                octconv = parse_rows(file.read(), args.rows, layers, device)
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"reading {args.rows}: {error}") from None
    peers = open_peers(args.peers, device)
    for peer in peers:
        print(f"{peer.label} {peer.version}: {peer.device}", file=sys.stderr)
    rows, done = [], []
    for i, layer in enumerate(layers):
        if time.monotonic() > end:
            print(f"{len(layers) - i} of {len(layers)} are left out: no time", file=sys.stderr)
            break
        print(f"{i + 1}/{len(layers)} {layer.name}", file=sys.stderr)
        if args.octconv:
            octconv[layer.name] = run_octconv(args.octconv, layer, args.rounds, device)
        of_layer = time_layer(layer, peers, args.rounds)
        check_same(octconv[layer.name], of_layer)
        rows += of_layer
        done.append(layer)
        # After each one, for a run that is ended early.
        text = tables(done, peers, octconv, rows, args.rounds)
        if args.json:
            all_rows = [octconv[layer.name] for layer in done] + rows
            write_whole(args.json, "".join(json.dumps(row) + "\n" for row in all_rows))
        if args.table:
            write_whole(args.table, text)
    if done:
        print(text, end="", flush=True)


def main():
    try:
        run(arguments())
    except InputError as error:
        sys.exit(f"peers.py: {error}")
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
