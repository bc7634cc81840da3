"""Whole networks as graphs of the operations that the peers know (forms.py).

The networks are those of tests/networks/make_fixtures.py, which knows nothing of the library. It imports PyTorch, so this
needs it too. Batch norm and biases count as folded into the weights, and are left out.
"""

from dataclasses import dataclass
import importlib.util
from pathlib import Path
import sys

import numpy as np

from forms import Data, Form, InputError

SOURCE = Path(__file__).parents[2] / "tests/networks/make_fixtures.py"


@dataclass(frozen=True)
class Named:
    """A network with a share of low-frequency channels."""

    network: str
    alpha: float

    @property
    def name(self):
        return f"{self.network} alpha {self.alpha}"


def read_list(text, option="--networks"):
    """What "resnet50:0.5,mobilenet-v1:0.5" names."""
    networks = []
    for entry in text.split(","):
        name, _, alpha = entry.partition(":")
        try:
            networks.append(Named(name, float(alpha)))
        except ValueError:
            raise InputError(f"{option} has {entry!r}: must be NETWORK:ALPHA") from None
    return networks


def _load():
    """The module of the fixtures, with functions on values instead of tensors."""
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise InputError(f"{error}: networks need PyTorch, which describes them") from None
    spec = importlib.util.spec_from_file_location("octconv_networks", SOURCE)
    made = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = made
    spec.loader.exec_module(made)
    made.add = lambda a, b: b if a is None else a if b is None else a.then("add", [b], a.shape)
    made.double = lambda x, size: x.then("up", [], (*x.shape[:2], *size))
    made.activate = lambda x, name: x if x is None or name is None else x.then(name, [], x.shape)
    return made


@dataclass(frozen=True)
class Value:
    """A value of a form, in place of a tensor."""

    form: Form
    name: str

    @property
    def shape(self):
        return self.form.shape(self.name)

    def then(self, kind, others, shape, **more):
        return Value(self.form, self.form.op(kind, [self.name, *(x.name for x in others)], shape, **more))


def build(network, alpha, batch=1):
    """The form of a network at the size of ImageNet."""
    made = _load()
    if network not in made.NETWORKS:
        raise InputError(f"{network} is no network of {SOURCE.name}")

    class Traced(made.Run):
        """Writes operations into a form, in place of computing them."""

        def __init__(self):
            super().__init__(None)
            self.data, self.form, self.residual = Data(), Form(), False

        def conv(self, node, x, *arguments, residual=None, **options):
            self.residual = residual is not None
            return super().conv(node, x, *arguments, residual=residual, **options)

        def weight(self, outputs, inputs, *kernel, fan_in):
            # The sums of residual blocks must not grow beyond f16.
            scale = (6 / fan_in) ** 0.5 * (0.25 if self.residual else 1)
            return self.data.tensor(outputs, inputs, *kernel) * np.float32(scale)

        def halve(self, x):
            return None if x is None else Value(self.form, self.form.pool(x.name))

        def path(self, name, x, outputs, kernel, time, stride, groups, fan_in, kind):
            weight = self.weight(outputs, x.shape[1] // groups, kernel, kernel, fan_in=fan_in)
            return Value(self.form, self.form.conv(x.name, weight, groups, stride))

        def batch_norm(self, node, frequency, x, gamma="gamma", affine=True):
            return x

        def pool(self, x, kind, kernel, stride, padding=(0, 0, 0), size_of_high=False):
            (_, k, _), (_, s, _), (_, p, _) = kernel, stride, padding
            if kind == "average":
                assert (k, s, p) == (2, 2, 0) and all(n % 2 == 0 for n in x.size)
                parts = x.parts(lambda v, _: self.halve(v))
            else:
                assert p == k // 2
                side = lambda n: (n + 2 * p - k) // s + 1
                parts = x.parts(lambda v, _: v.then("max", [], (*v.shape[:2], *map(side, v.shape[2:])), window=k, stride=s))
            return made.Map(*parts, tuple((n + 2 * p - k) // s + 1 for n in x.size))

        def concat(self, a, b):
            return made.Map(self.joined([a.h, b.h]), self.joined([a.l, b.l]), a.size)

        def joined(self, values):
            first, *rest = [v for v in values if v is not None] or [None]
            if not rest:
                return first
            return first.then("concat", rest, (first.shape[0], sum(v.shape[1] for v in (first, *rest)), *first.shape[2:]))

        def global_pool(self, x):
            return self.joined([None if v is None else v.then("mean", [], (*v.shape[:2], 1, 1)) for v in (x.h, x.l)])

        def linear(self, weight, bias, x, outputs):
            self.residual = False
            n, c, _, _ = x.shape
            return x.then("linear", [], (n, outputs, 1, 1), weight=self.weight(outputs, c, fan_in=c))

        def excite(self, *_):
            raise InputError(f"{network} has operations that the peers do not know")

        non_local = excite

    run = Traced()
    run.form.inputs["x"] = run.data.tensor(batch, 3, 224, 224)
    x = made.Map(Value(run.form, "x"), None, (224, 224))
    run.form.outputs = [made.NETWORKS[network](run, x, alpha, 1).name]
    return run.form
