"""Writes networks as ONNX files, with an input and ONNX Runtime's answer: networks/NAME.onnx, networks/NAME.safetensors.

    pip install torch onnx onnxruntime onnxscript numpy safetensors
    python crates/octconv-import/tests/make_networks.py [NAME ...]

The networks are small. Their layers are octave convolutions as the public implementations write them, by code of our
own: see the classes. Each is exported by PyTorch's old and new exporter, with and without constant folding, at even and
odd sizes.
"""

import pathlib
import sys
import warnings

import numpy as np
import onnx
import onnxruntime
import torch
import torch.nn as nn
import torch.nn.functional as F
from safetensors.numpy import save_file

FOLDER = pathlib.Path(__file__).parent / "networks"


def pool(x):
    return F.avg_pool2d(x, 2)


class Octave(nn.Module):
    """What the dialects share: up to four convolutions, of which each may have a bias."""

    # Channels of high and low for the inputs and the outputs of a layer.
    def __init__(self, inputs, outputs, kernel, stride=1, padding=0, bias=False, groups=1):
        super().__init__()
        self.stride = stride
        self.paths = nn.ModuleDict()
        for i, c in zip("hl", inputs):
            for o, n in zip("hl", outputs):
                if c and n:
                    conv = nn.Conv2d(c, n, kernel, padding=padding, bias=bias, groups=groups)
                    self.paths[f"conv_{i}2{o}"] = conv

    def path(self, name, x):
        return self.paths[name](x) if name in self.paths and x is not None else None


def total(a, b):
    """The sum of what is there."""
    return b if a is None else a if b is None else a + b


class Official(Octave):
    """Means of 2x2 with partial windows at odd sizes; stride 2 halves by means first, and low to high is not enlarged."""

    def pool(self, x):
        return F.avg_pool2d(x, 2, ceil_mode=True, count_include_pad=False)

    def up(self, y, to):
        # Cut to the size of the high one.
        return F.interpolate(y, scale_factor=2, mode="nearest")[:, :, : to.shape[2], : to.shape[3]]

    def forward(self, h, l=None):
        if self.stride == 2:
            h = self.pool(h)
        hh = self.path("conv_h2h", h)
        hl = self.path("conv_h2l", self.pool(h)) if "conv_h2l" in self.paths else None
        lh = self.path("conv_l2h", l)
        if lh is not None and self.stride == 1:
            lh = self.up(lh, hh)
        ll = self.path("conv_l2l", l if l is None or self.stride == 1 else self.pool(l))
        return total(lh, hh), total(hl, ll)


class Li14(Official):
    """d-li14: floor means, sums low first. Odd sizes do not fit; the size is even."""

    def pool(self, x):
        return F.avg_pool2d(x, 2)

    def up(self, y, to):
        return F.interpolate(y, scale_factor=2, mode="nearest")


class Lxt(Li14):
    """lxtGH: stride 2 halves both inputs first, and low to high is always enlarged."""

    def forward(self, h, l=None):
        if self.stride == 2:
            h, l = self.pool(h), None if l is None else self.pool(l)
        hl = self.path("conv_h2l", self.pool(h)) if "conv_h2l" in self.paths else None
        hh, lh, ll = self.path("conv_h2h", h), self.path("conv_l2h", l), self.path("conv_l2l", l)
        if lh is not None:
            lh = self.up(lh, hh)
        return total(lh, hh), total(hl, ll)


class LxtSliced(nn.Module):
    """lxtGH with one weight that is cut into four."""

    def __init__(self, inputs, outputs, kernel, stride=1, padding=0, bias=False):
        super().__init__()
        self.inputs, self.outputs, self.stride, self.padding = inputs, outputs, stride, padding
        self.weights = nn.Parameter(torch.randn(sum(outputs), sum(inputs), kernel, kernel) * 0.2)

    def forward(self, h, l=None):
        (ci, _), (co, _), w = self.inputs, self.outputs, self.weights
        conv = lambda x, w: F.conv2d(x, w, None, 1, self.padding)
        if self.stride == 2:
            h, l = pool(h), None if l is None else pool(l)
        hh = conv(h, w[:co, :ci])
        hl = conv(pool(h), w[co:, :ci]) if self.outputs[1] else None
        if l is None:
            return hh, hl
        lh = F.interpolate(conv(l, w[:co, ci:]), scale_factor=2, mode="nearest")
        ll = conv(l, w[co:, ci:]) if self.outputs[1] else None
        return hh + lh, total(ll, hl)


class Brain(Official):
    """braincreators: enlarged to the size of the high one; sums high first."""

    def pool(self, x):
        return F.avg_pool2d(x, 2)

    def up(self, y, to):
        return F.interpolate(y, size=to.shape[-2:])

    def forward(self, h, l=None):
        if self.stride == 2:
            h = self.pool(h)
        hh = self.path("conv_h2h", h)
        hl = self.path("conv_h2l", self.pool(h)) if "conv_h2l" in self.paths else None
        lh = self.path("conv_l2h", l)
        if lh is not None and self.stride == 1:
            lh = self.up(lh, hh)
        ll = self.path("conv_l2l", l if l is None or self.stride == 1 else self.pool(l))
        return total(hh, lh), total(ll, hl)


class Block(nn.Module):
    """A layer, batch norms and an activation."""

    def __init__(self, layer, inputs, outputs, kernel, act=nn.ReLU, **arguments):
        super().__init__()
        self.conv = layer(inputs, outputs, kernel, **arguments)
        self.bn_h = nn.BatchNorm2d(outputs[0])
        self.bn_l = nn.BatchNorm2d(outputs[1]) if outputs[1] else None
        self.act = act() if act else nn.Identity()

    def forward(self, h, l=None):
        h, l = self.conv(h, l)
        return self.act(self.bn_h(h)), None if l is None else self.act(self.bn_l(l))


class Bottleneck(nn.Module):
    def __init__(self, layer, inputs, inner, outputs, stride=1, excite=False, **arguments):
        super().__init__()
        first = (inner[0] + inner[1], 0) if not outputs[1] else inner
        self.conv1 = Block(layer, inputs, first, 1, **arguments)
        self.conv2 = Block(layer, first, first, 3, stride=stride, padding=1, **arguments)
        self.conv3 = Block(layer, first, outputs, 1, act=None, **arguments)
        self.downsample = None
        if stride == 2 or inputs != outputs:
            self.downsample = Block(layer, inputs, outputs, 1, act=None, stride=stride, **arguments)
        self.se = Excite(outputs) if excite else None

    def forward(self, h, l=None):
        a, b = self.conv3(*self.conv2(*self.conv1(h, l)))
        if self.se:
            a, b = self.se(a, b)
        if self.downsample:
            h, l = self.downsample(h, l)
        return F.relu(a + h), None if b is None else F.relu(b + l)


class Excite(nn.Module):
    def __init__(self, split, reduced=4):
        super().__init__()
        self.squeeze = nn.Conv2d(sum(split), reduced, 1)
        self.excite_h = nn.Conv2d(reduced, split[0], 1)
        self.excite_l = nn.Conv2d(reduced, split[1], 1) if split[1] else None

    def forward(self, h, l=None):
        means = [F.adaptive_avg_pool2d(x, 1) for x in (h, l) if x is not None]
        r = F.relu(self.squeeze(torch.cat(means, 1) if l is not None else means[0]))
        return h * torch.sigmoid(self.excite_h(r)), None if l is None else l * torch.sigmoid(self.excite_l(r))


class ResNet(nn.Module):
    """A stem, three residual blocks (0 to alpha, stride 2, alpha to 0), and a classifier."""

    def __init__(self, layer, excite=False, **arguments):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.maxpool = nn.MaxPool2d(3, stride=1, padding=1)
        split = (8, 4)
        self.layer1 = Bottleneck(layer, (8, 0), (4, 2), split, excite=excite, **arguments)
        self.layer2 = Bottleneck(layer, split, (4, 2), split, stride=2, excite=excite, **arguments)
        self.layer3 = Bottleneck(layer, split, (4, 2), split, excite=excite, **arguments)
        self.layer4 = Bottleneck(layer, split, (4, 2), (12, 0), **arguments)
        self.fc = nn.Linear(12, 5)

    def forward(self, x):
        x = self.maxpool(F.relu(self.bn1(self.conv1(x))))
        h, l = self.layer4(*self.layer3(*self.layer2(*self.layer1(x))))
        return F.softmax(self.fc(torch.flatten(F.adaptive_avg_pool2d(h, 1), 1)), 1)


class MobileNet(nn.Module):
    """Depthwise layers without an exchange, ReLU6 and hard swish, two frequencies to the end."""

    def __init__(self):
        super().__init__()
        split = (6, 6)
        self.stem = Block(Li14, (3, 0), split, 3, padding=1, act=nn.ReLU6)
        self.depthwise = Block(Depthwise, split, split, 3, act=nn.Hardswish)
        self.pointwise = Block(Li14, split, split, 1, act=nn.SiLU)
        self.fc = nn.Linear(12, 5)

    def forward(self, x):
        h, l = self.pointwise(*self.depthwise(*self.stem(x)))
        means = [x.mean((2, 3)) for x in (F.max_pool2d(h, 2), F.max_pool2d(l, 2))]
        return self.fc(torch.cat(means, 1))


class Depthwise(nn.Module):
    def __init__(self, inputs, outputs, kernel):
        super().__init__()
        self.h = nn.Conv2d(inputs[0], outputs[0], kernel, padding=1, groups=inputs[0], bias=False)
        self.l = nn.Conv2d(inputs[1], outputs[1], kernel, padding=1, groups=inputs[1], bias=False)

    def forward(self, h, l):
        return self.h(h), self.l(l)


class DenseNet(nn.Module):
    """Concatenations of each frequency, of which the first has no low one; batch norm in front of the convolution."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, padding=1, bias=False)
        self.layers = nn.ModuleList([DenseLayer((6 + 4 * i, 4 * i), (4, 4)) for i in range(2)])
        self.last = DenseLayer((14, 8), (6, 0))
        self.fc = nn.Linear(6, 5)

    def forward(self, x):
        h, l = self.conv(x), None
        for layer in self.layers:
            a, b = layer(h, l)
            h, l = torch.cat([h, a], 1), b if l is None else torch.cat([l, b], 1)
        h, _ = self.last(h, l)
        return self.fc(h.mean((2, 3)))


class DenseLayer(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.bn_h = nn.BatchNorm2d(inputs[0])
        self.bn_l = nn.BatchNorm2d(inputs[1]) if inputs[1] else None
        self.conv = Li14(inputs, outputs, 3, padding=1)

    def forward(self, h, l):
        return self.conv(F.relu(self.bn_h(h)), None if l is None else F.relu(self.bn_l(l)))


class PlainResNet(nn.Module):
    """ResNet-18 as torchvision has it, with fewer channels."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.layers = nn.Sequential(Basic(8, 8, 1), Basic(8, 12, 2), Basic(12, 12, 1))
        self.fc = nn.Linear(12, 5)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        return self.fc(torch.flatten(F.adaptive_avg_pool2d(self.layers(x), 1), 1))


class Basic(nn.Module):
    def __init__(self, c, n, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(c, n, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(n)
        self.conv2 = nn.Conv2d(n, n, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(n)
        self.downsample = None
        if c != n:
            self.downsample = nn.Sequential(nn.Conv2d(c, n, 1, stride=stride, bias=False), nn.BatchNorm2d(n))

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class PlainMobileNet(nn.Module):
    """MobileNet v2 as torchvision has it, with fewer channels; a classifier on a whole map."""

    def __init__(self):
        super().__init__()
        cbr = lambda c, n, k, s=1, g=1: [nn.Conv2d(c, n, k, s, k // 2, groups=g, bias=False), nn.BatchNorm2d(n), nn.ReLU6()]
        self.features = nn.Sequential(*cbr(3, 8, 3, 2))
        self.inner = nn.Sequential(*cbr(8, 16, 1), *cbr(16, 16, 3, 1, 16), nn.Conv2d(16, 8, 1, bias=False), nn.BatchNorm2d(8))
        self.last = nn.Sequential(*cbr(8, 10, 3, 2), nn.Dropout(0.2))
        self.fc = nn.Linear(10 * 4 * 4, 5)

    def forward(self, x):
        x = self.features(x)
        return F.softmax(self.fc(torch.flatten(self.last(x + self.inner(x)), 1)), 1)


class ScaledGroups(nn.Module):
    """d-li14's grouped layers: the groups of high to high and of low to low are scaled by alpha."""

    def __init__(self):
        super().__init__()
        self.first = Block(Li14, (3, 0), (8, 8), 1)
        self.bn_h, self.bn_l = nn.BatchNorm2d(16), nn.BatchNorm2d(8)
        conv = lambda n, groups: nn.Conv2d(8, n, 3, padding=1, groups=groups)
        self.h2h, self.l2h, self.h2l, self.l2l = conv(16, 2), conv(16, 4), conv(8, 4), conv(8, 2)
        self.last = Block(Li14, (16, 8), (6, 0), 1)
        self.fc = nn.Linear(6, 5)

    def forward(self, x):
        h, l = self.first(x)
        a = F.interpolate(self.l2h(l), scale_factor=2, mode="nearest") + self.h2h(h)
        b = self.h2l(pool(h)) + self.l2l(l)
        h, _ = self.last(F.relu(self.bn_h(a)), F.relu(self.bn_l(b)))
        return self.fc(h.mean((2, 3)))


class UNet(nn.Module):
    """Down and up: a plain stem, octave layers in the middle, enlarged maps of other sizes, vectors side by side."""

    def __init__(self):
        super().__init__()
        self.down = nn.Conv2d(3, 6, 3, stride=2, padding=1)
        self.first = Block(Li14, (6, 0), (4, 4), 3, padding=1)
        self.last = Block(Li14, (4, 4), (6, 0), 3, padding=1, act=nn.GELU)
        self.skip = nn.Conv2d(3, 4, 1)
        self.head = nn.Conv2d(10, 3, (2, 3), padding=(0, 1))
        self.fc = nn.Linear(13, 5)

    def forward(self, x):
        middle, _ = self.last(*self.first(F.leaky_relu(self.down(x), 0.1)))
        up = F.interpolate(middle, size=x.shape[2:], mode="bilinear", align_corners=False)
        both = torch.cat([self.skip(x), up], 1)
        small = F.interpolate(both, scale_factor=0.5, mode="nearest") + 1.0
        y = torch.sigmoid(self.head(F.pad(small, (0, 0, 1, 0)))) * 2.0 - 0.5
        means = [y.mean((2, 3)), torch.tanh(both.mean((2, 3)))]
        return F.relu(self.fc(torch.cat(means, 1)))


class Gated(nn.Module):
    """Gates of other kinds than squeeze-and-excitation: MobileNet v3's, EfficientNet's, that of LR-ASPP, and one for two
    frequencies. And limits that are not those of ReLU6."""

    def __init__(self):
        super().__init__()
        cbr = lambda c, n, k, s=1: nn.Sequential(nn.Conv2d(c, n, k, s, k // 2, bias=False), nn.BatchNorm2d(n), nn.Hardswish())
        self.stem, self.scale, self.branch = cbr(3, 8, 3, 2), nn.Conv2d(8, 6, 1, bias=False), cbr(8, 6, 1)
        self.hard = nn.ModuleList([nn.Conv2d(8, 4, 1), nn.Conv2d(4, 8, 1)])
        self.silu = nn.ModuleList([nn.Conv2d(8, 2, 1), nn.Conv2d(2, 8, 1)])
        self.first, self.last = Block(Li14, (6, 0), (4, 4), 3, padding=1), Block(Li14, (4, 4), (6, 0), 1)
        self.squeeze, self.excite_h, self.excite_l = nn.Conv2d(8, 3, 1), nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1)
        self.prelu, self.fc = nn.PReLU(6), nn.Linear(6, 5)
        self.prelu.weight.data = torch.tensor([0.1, -0.2, 0.3, 0.25, 0.5, 1.5])

    def forward(self, x):
        x = self.stem(x)
        mean = lambda x: F.adaptive_avg_pool2d(x, 1)
        x = x * F.hardsigmoid(self.hard[1](F.relu(self.hard[0](mean(x)))))
        x = x * torch.sigmoid(self.silu[1](F.silu(self.silu[0](mean(x)))))
        x = self.branch(x) * torch.sigmoid(self.scale(mean(x)))
        h, l = self.first(torch.clamp(x, -0.3, 0.9))
        r = F.relu(self.squeeze(torch.cat([mean(h), mean(l)], 1)))
        y, _ = self.last(h * F.hardsigmoid(self.excite_h(r)), l * F.hardsigmoid(self.excite_l(r)))
        y = torch.clamp(self.prelu(y), max=0.5) - torch.clamp(y, min=-0.25)
        return self.fc(F.adaptive_max_pool2d(-y, 1).flatten(1))


class Shuffled(nn.Module):
    """ShuffleNet v2's units; strides that no layer has; a transposed convolution that is one; chosen channels."""

    def __init__(self):
        super().__init__()
        cbr = lambda c, n, k=1, s=1, g=1: nn.Sequential(
            nn.Conv2d(c, n, k, s, k // 2, groups=g, bias=False), nn.BatchNorm2d(n), nn.ReLU())
        self.patches = nn.Conv2d(3, 8, 5, stride=4, padding=2)
        self.uneven = nn.Conv2d(3, 8, 3, stride=(4, 2), padding=1)
        self.sparse = nn.Conv2d(3, 8, 1, stride=3)
        self.turned = nn.ConvTranspose2d(8, 8, 3, padding=1, groups=2)
        self.units = nn.ModuleList([nn.Sequential(cbr(4, 4), cbr(4, 4, 3, g=4)[:2], cbr(4, 4)) for _ in range(2)])
        self.level, self.join = nn.Sequential(nn.AdaptiveAvgPool2d(1), cbr(8, 4)), cbr(12, 8)
        self.fc = nn.Linear(9, 5)

    def shuffle(self, x):
        n, c, h, w = x.shape
        return x.view(n, 2, c // 2, h, w).transpose(1, 2).contiguous().view(n, c, h, w)

    def forward(self, x):
        # The order of colours, as networks have it that were trained elsewhere.
        x = torch.cat([torch.unsqueeze(x[:, c], 1) * s + 0.1 for c, s in ((2, 0.5), (1, 0.4), (0, 0.6))], 1)
        y = self.turned(self.patches(x))
        for unit in self.units:
            a, b = y.chunk(2, 1)
            y = self.shuffle(torch.cat([a, unit(b)], 1))
        # DeepLab's means of the whole picture, enlarged again.
        level = F.interpolate(self.level(y), size=y.shape[2:], mode="bilinear", align_corners=False)
        y = self.join(torch.cat([y, level], 1))
        small = F.interpolate(self.uneven(x)[:, 2:5], scale_factor=0.5, mode="nearest")
        means = torch.cat([y.mean((2, 3)), small.mean((2, 3)), self.sparse(x).mean((2, 3))], 1)
        return self.fc(means[:, 3:12])


def networks():
    torch.manual_seed(1)
    every = {
        "official": (lambda: ResNet(Official), 32),
        "official_odd": (lambda: ResNet(Official), 37),
        "li14": (lambda: ResNet(Li14), 32),
        "li14_bias": (lambda: ResNet(Li14, bias=True), 32),
        "li14_excite": (lambda: ResNet(Li14, excite=True), 32),
        "lxt": (lambda: ResNet(Lxt), 32),
        "lxt_sliced": (lambda: ResNet(LxtSliced), 32),
        "brain": (lambda: ResNet(Brain), 32),
        "brain_odd": (lambda: ResNet(Brain), 37),
        "mobilenet": (MobileNet, 16),
        "densenet": (DenseNet, 16),
        "scaled_groups": (ScaledGroups, 16),
        "unet": (UNet, 16),
        "gated": (Gated, 32),
        "shuffled": (Shuffled, 32),
        "plain_resnet": (PlainResNet, 33),
        "plain_mobilenet": (PlainMobileNet, 16),
    }
    exporters = {
        "old": dict(dynamo=False, do_constant_folding=True, opset_version=13),
        "old_unfolded": dict(dynamo=False, do_constant_folding=False, opset_version=11, training=torch.onnx.TrainingMode.PRESERVE),
        "new": dict(dynamo=True, opset_version=18),
    }
    for name, (make, size) in every.items():
        for exporter, arguments in exporters.items():
            yield f"{name}_{exporter}", make, size, arguments


def randomised(network, seed):
    """Batch norms that do something."""
    generator = torch.Generator().manual_seed(seed)
    draw = lambda like, low, high: torch.rand(like.shape, generator=generator) * (high - low) + low
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data = draw(module.weight, 0.5, 1.5)
            module.bias.data = draw(module.bias, -0.5, 0.5)
            module.running_mean = draw(module.running_mean, -0.5, 0.5)
            module.running_var = draw(module.running_var, 0.5, 1.5)
    return network.eval()


def strip(path):
    """Leaves out stack traces and other notes of the exporter, which no reader needs."""
    model = onnx.load(path)
    del model.metadata_props[:]
    for message in [model.graph, *model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output]:
        message.doc_string = ""
        if hasattr(message, "metadata_props"):
            del message.metadata_props[:]
    del model.graph.value_info[:]
    onnx.save(model, path)


def main(chosen):
    FOLDER.mkdir(exist_ok=True)
    warnings.simplefilter("ignore")
    for name, make, size, arguments in networks():
        if chosen and not any(part in name for part in chosen):
            continue
        torch.manual_seed(len(name))
        network = randomised(make(), 7)
        x = torch.randn(1, 3, size, size)
        path = FOLDER / f"{name}.onnx"
        torch.onnx.export(network, (x,), str(path), external_data=False, **arguments)
        strip(path)
        session = onnxruntime.InferenceSession(path)
        (answer,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
        with torch.no_grad():
            assert np.abs(answer - network(x).numpy()).max() < 1e-5, name
        save_file({"input": x.numpy(), "answer": answer}, path.with_suffix(".safetensors"))
        operators = sorted({node.op_type for node in onnx.load(path).graph.node})
        print(f"{name}: {path.stat().st_size} bytes, {' '.join(operators)}")


if __name__ == "__main__":
    main(sys.argv[1:])
