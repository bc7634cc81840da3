"""Writes small ONNX files of single operators, with an input and ONNX Runtime's answer: operators/NAME.onnx,
operators/NAME.safetensors. And files that ask for much memory or time, for the fuzz target: fuzz/corpus/onnx/hostile_NAME.

    pip install onnx onnxruntime numpy safetensors
    python crates/octconv-import/tests/make_operators.py [NAME ...]
"""

import pathlib
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file

FOLDER = pathlib.Path(__file__).parent / "operators"
CORPUS = pathlib.Path(__file__).parents[3] / "fuzz/corpus/onnx"


class File:
    """A graph in the making. Each method adds a node and gives the name of what it makes."""

    def __init__(self, shape=(1, 4, 8, 8), opset=17):
        self.shape, self.opset, self.nodes, self.constants = shape, opset, [], []
        self.random = np.random.default_rng(7)

    def constant(self, values, dtype=np.float32):
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    def numbers(self, *values):
        return self.constant(values, np.int64)

    def draw(self, *shape):
        return self.constant(self.random.uniform(-1, 1, shape))

    def __call__(self, operator, *inputs, outputs=1, **attributes):
        made = [f"v{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(operator, inputs, made, **attributes))
        return made[0] if outputs == 1 else made

    def filled(self, count, value=0):
        """A list of one number, of which the file has only how often it is there."""
        tensor = helper.make_tensor("value", TensorProto.INT64, [1], [value])
        return self("ConstantOfShape", self.numbers(count), value=tensor)

    def conv(self, x, c, n, kernel):
        return self("Conv", x, self.draw(n, c, *kernel), self.draw(n))

    def gemm(self, x, c, n):
        return self("Gemm", x, self.draw(n, c), self.draw(n), transB=1)

    def means(self, x):
        return self("Flatten", self("GlobalAveragePool", x))

    def model(self, output):
        value = lambda name, shape: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        graph = helper.make_graph(self.nodes, "g", [value("x", self.shape)], [value(output, None)], self.constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8)


def clip(f):
    limits = [(-1e30, 1e30), (-1e20, 0.5), (-0.25, 3e38), (-1e30, None), (None, 1e30), (0, 1e30), (-1e30, 0), (0, 1e-7)]
    limits += [(-0.3, 0.9), (0, 1.5), (-1.5, 0), (0.5, 0.75), (None, -0.5), (0, None), (None, 0), (0, 6), (-1, 1)]
    given = lambda limit: "" if limit is None else f.constant(np.float32(limit))
    return f("Concat", *[f("Clip", "x", given(a), given(b)) for a, b in limits], axis=1)


def clip_attributes(f):
    f.opset = 6
    return f("Clip", "x", min=-1e30, max=0.5)


def hard_sigmoid(f):
    """Keras' slope, as a gate; of a map, and of a vector in front of a matrix and behind one."""
    inner = f("Relu", f.conv(f("GlobalAveragePool", "x"), 4, 2, (1, 1)))
    x = f("Mul", "x", f("HardSigmoid", f.conv(inner, 2, 4, (1, 1)), alpha=0.2, beta=0.5))
    x = f.means(f("HardSigmoid", x, alpha=0.7, beta=0.1))
    x = f("HardSigmoid", f.gemm(f("HardSigmoid", x, alpha=0.2, beta=0.5), 4, 3))
    return f("HardSigmoid", f.gemm(x, 3, 3), alpha=0.4, beta=0.6)


def vectors(f):
    """What needs scales, shifts and sums, on vectors that are between two matrices."""
    x = f("Clip", f.means("x"), f.constant(-0.02), f.constant(0.05))
    x = f("PRelu", f.gemm(x, 4, 6), f.constant([0.1, -0.2, 0.3, 0.25, 0.5, 1.5]))
    x = f("Clip", f.gemm(x, 6, 5), f.constant(np.float32(-0.4)), f.constant(np.float32(0.3)))
    norm = [f.draw(5), f.draw(5), f.draw(5), f.constant(f.random.uniform(0.5, 1.5, 5))]
    x = f("BatchNormalization", f("Relu", f.gemm(x, 5, 5)), *norm)
    other = f.gemm(f.means(f("Relu", "x")), 4, 5)
    x = f.gemm(f("Sub", f("Add", x, other), f("Mul", other, f.constant(np.float32(0.5)))), 5, 3)
    return f("Clip", x, f.constant(np.float32(-0.2)), f.constant(np.float32(0.2)))


def vector_slopes(f):
    return f("PRelu", f.means("x"), f.constant([0.2, -0.2, 0.3, 0.25]))


def vector_slope(f):
    return f("PRelu", f.gemm(f.means("x"), 4, 3), f.constant([0.2]))


def vector_scale(f):
    """Nothing in front takes the scale, and nothing behind."""
    x = f("Relu", f("Mul", f("Tanh", f.means("x")), f.constant([0.5, -2, 3, 0.1])))
    return f("Softmax", f("Add", x, f.constant([0.5, -2, 3, 0.1])), axis=1)


def gates(f):
    """One number for all channels, and maps of one position: as a gate, with a gate, and beside a vector."""
    one = f("Sigmoid", f.conv(f("GlobalAveragePool", "x"), 4, 1, (1, 1)))
    x = f("Mul", one, "x")
    single = f.conv(x, 4, 4, (8, 8))
    x = f("Mul", x, f("Sigmoid", single))
    gated = f("Mul", f("Sigmoid", f("GlobalAveragePool", single)), single)
    means = f("GlobalAveragePool", x)
    parts = [f("Add", means, gated), f("Sub", gated, means), f("Concat", means, single, axis=1)]
    return f.gemm(f("Flatten", f("Concat", *parts, axis=1)), 16, 3)


def single(f):
    """Maps of one position that are so at this size alone: added to means, and as a vector."""
    whole = f("MaxPool", "x", kernel_shape=[8, 8])
    both = f("Add", whole, f("GlobalAveragePool", "x"))
    other = f("Flatten", f("MaxPool", "x", kernel_shape=[8, 8]))
    return f("Concat", f("Flatten", both), other, axis=1)


def average_padded(f):
    """One window that reaches beyond the map, and does not cover it."""
    pool = lambda counts: f(
        "AveragePool", "x", kernel_shape=[8, 8], strides=[16, 16], pads=[4] * 4, count_include_pad=counts)
    return f("Concat", pool(0), pool(1), axis=1)


def average_of_a_frame(f):
    f.shape = (1, 2, 3, 4, 4)
    return f("AveragePool", "x", kernel_shape=[1, 4, 4], strides=[3, 4, 4])


def average_of_all(f):
    f.shape = (1, 2, 3, 4, 4)
    return f("Flatten", f("AveragePool", "x", kernel_shape=[3, 4, 4]))


def flatten_negative(f):
    return f.gemm(f("Flatten", f.gemm(f("Flatten", "x", axis=-3), 256, 4), axis=-1), 4, 3)


def expanded(f):
    """A gate that is enlarged to the size of the map, as much code for squeeze-and-excitation has it."""
    gate = f("Sigmoid", f.conv(f("GlobalAveragePool", "x"), 4, 4, (1, 1)))
    return f("Mul", "x", f("Expand", gate, f("Shape", "x")))


def standardised(f):
    """Weights that are standardised, a learned scale, and weights of a fusion: all of it constant."""
    w = f.draw(5, 4, 3, 3)
    centred = f("Sub", w, f("ReduceMean", w, axes=[1, 2, 3]))
    deviation = f("Sqrt", f("ReduceMean", f("Mul", centred, centred), axes=[-1, -2, -3]))
    x = f("Conv", "x", f("Div", centred, deviation))
    shares = f("Relu", f.constant([0.3, -0.2, 0.9]))
    shares = f("Div", shares, f("ReduceSum", shares, f.numbers(0), keepdims=0))
    a, b = [f("Mul", x, f("Gather", shares, f.constant(i, np.int64))) for i in (0, 2)]
    scale = f("ReduceMax", f("Abs", f("Tanh", f.draw(2, 5))), axes=[0], keepdims=0)
    scale = f("Mul", f("Reshape", scale, f.numbers(5, 1, 1)), f("Log", f("Sigmoid", f.constant([0.5]))))
    total = f("ReduceProd", f("ReduceMin", f.constant([[3, 5], [7, 4]], np.int64), axes=[1], keepdims=0))
    return f("Mul", f("Add", f("Mul", a, scale), b), f("Cast", total, to=TensorProto.FLOAT))


def maxima(f):
    return f.gemm(f("Flatten", f("GlobalMaxPool", "x")), 4, 3)


def uneven_padding(f):
    """More padding at one end than at the other, with dilations: a number that they divide, and others."""
    f.shape = (1, 4, 9, 9)
    answer = lambda x, size: f.gemm(f("Flatten", x), 3 * size * size, 3)
    conv = lambda x, **attributes: f("Conv", x, f.draw(3, 4, 3, 3), f.draw(3), **attributes)
    parts = [
        answer(conv("x", dilations=[2, 2], strides=[2, 2], pads=[0, 0, 1, 1]), 3),
        answer(conv("x", dilations=[2, 2], pads=[0, 0, 2, 2]), 7),
        answer(conv(f("Pad", "x", f.numbers(0, 0, 4, 4, 0, 0, 0, 0)), dilations=[2, 2]), 9),
        answer(conv("x", dilations=[3, 3], pads=[1, 4, 3, 0]), 7),
        answer(f("ConvTranspose", "x", f.draw(4, 3, 3, 3), dilations=[2, 2], pads=[1, 0, 0, 1]), 12),
    ]
    return f("Concat", *parts, axis=1)


def zeros_left_out(f):
    """Numbers of attributes that are 0: writers of proto3 leave them out, so that a name and a type are all there is."""
    f.opset = 10
    x = f("BatchNormalization", "x", *[f.draw(4) for _ in range(3)], f.constant(np.full(4, 1e-4)), epsilon=0.0)
    x = f("HardSigmoid", f("LeakyRelu", f("Clip", x, min=0.0, max=30.0), alpha=0.0), alpha=0.02, beta=0.0)
    x = f("Sub", f("LeakyRelu", f("Sub", x, f.constant([0.3])), alpha=0.0), f.constant([0.1]))
    x = f("ReduceMean", f("Clip", x, min=0.0), axes=[2, 3], keepdims=0)
    x = f("Gemm", x, f.draw(4, 3), f.draw(3), beta=0.0)
    for node in f.nodes:
        for attribute in node.attribute:
            for field, value in attribute.ListFields():
                if field.name in "fi" and value == 0:
                    attribute.ClearField(field.name)
    return x


def folded(f):
    """What constants make: of one and of three, remainders of both signs, and numbers cut to the bits of a type."""
    numbers = lambda *values: f.constant(values, np.int32)
    real = lambda x: f("Cast", x, to=TensorProto.FLOAT)
    to = lambda kind, *values: real(f("Cast", numbers(*values), to=kind))
    sevens = numbers(7, -7, 7, -7), numbers(3, 3, -3, -3)
    halves = f.constant([7.5, -7.5, 7.5, -7.5]), f.constant([3, 3, -3, -3])
    parts = [
        f("Max", *[f.constant(v) for v in ([1, 5, 2, 0], [3, 1, 0, 2], [2, 2, 9, 1])]),
        f("Min", *[f.constant(v) for v in ([1, 5, 2, 0], [3, 1, 0, 2], [2, 2, -9, -1])]),
        f("Max", f.constant([0.5, 1, 2, 3])),
        f("Sum", *[f.constant(v) for v in ([1, 5, 2, 0], [3, 1, 0, 2], [2, 2, 9, 1])]),
        real(f("Mod", *sevens)),
        real(f("Mod", *sevens, fmod=1)),
        f("Mod", *halves, fmod=1),
        to(TensorProto.UINT8, 300, -1, 255, 256),
        to(TensorProto.INT8, 300, -129, 127, 128),
        to(TensorProto.INT16, 70000, -40000, 32767, 32768),
        to(TensorProto.UINT16, 70000, -1, 65535, 65536),
    ]
    shift = lambda x, part: f("Add", x, f("Reshape", part, f.numbers(1, 4, 1, 1)))
    return f("Concat", *[shift("x", part) for part in parts], axis=1)


def repeated(f):
    """A convolution that is repeated 2x2 times and activated, as in decoders."""
    up = lambda: f("Resize", f.conv("x", 4, 3, (1, 1)), "", f.constant([1, 1, 2, 2]), mode="nearest",
                   coordinate_transformation_mode="asymmetric", nearest_mode="floor")
    gated = up()
    parts = [
        f("Relu", up()), f("Sigmoid", up()), f("LeakyRelu", up(), alpha=0.2), f("HardSwish", up()), up(),
        f("Mul", gated, f("Sigmoid", gated)), f("Relu", f("Relu", up())), f("Add", f("Relu", up()), up()),
    ]
    return f("Concat", *parts, axis=1)


def resized_by_sizes(f):
    """Sizes whose quotient is rounded; and antialias where the map grows, which changes nothing."""
    f.shape, f.opset = (1, 2, 7, 7), 18
    to = lambda h, w, **attributes: f(
        "Resize", "x", "", "", f.numbers(1, 2, h, w), mode="linear", **attributes)
    x = f("Add", to(29, 29), to(29, 29, antialias=1))
    return f("Concat", f("Add", x, to(29, 29, coordinate_transformation_mode="pytorch_half_pixel")), x, axis=1)


def averages_of_whole_maps(f):
    """Means of all positions that are read as maps: by convolutions with larger kernels, in groups, and by pools."""
    pool = lambda x, n: f("AveragePool", x, kernel_shape=[n, n], strides=[n, n])
    conv = lambda x, **attributes: f("Conv", x, f.draw(4, 4 // attributes.get("group", 1), 3, 3), f.draw(4),
                                     pads=[1] * 4, **attributes)
    halves = pool(pool(pool("x", 2), 2), 2)
    whole = pool("x", 8)
    parts = [conv(halves), conv(whole), conv(pool(pool("x", 2), 4)), conv(whole, group=2)]
    parts += [conv(f("Relu", f.conv(whole, 4, 4, (1, 1))))]
    parts += [f("MaxPool", f("GlobalAveragePool", "x"), kernel_shape=[3, 3], pads=[1] * 4)]
    parts += [f("Pad", whole, f.numbers(*[0] * 8)), f.conv(halves, 4, 4, (1, 1))]
    return f.gemm(f("Flatten", f("Concat", *parts, axis=1)), 32, 5)


def means_as_vectors(f):
    """Means of all positions of 4x4 and of 2x2, where a vector is wanted: as excitations, in front of matrices and of
    softmax, squeezed, and beside a vector."""
    f.shape = (1, 4, 4, 4)
    pool = lambda x, n: f("AveragePool", x, kernel_shape=[n, n], strides=[n, n])
    parts = []
    for x, n in ((f("Relu", "x"), 4), (pool("x", 2), 2)):
        whole = pool(x, n)
        gated = f.conv(whole, 4, 2, (1, 1))
        for inner in (f("Relu", gated), f("Mul", gated, f("Sigmoid", gated))):
            parts.append(f.means(f("Mul", x, f("Sigmoid", f.conv(inner, 2, 4, (1, 1))))))
        norm = [f.draw(4), f.draw(4), f.draw(4), f.constant(f.random.uniform(0.5, 1.5, 4))]
        parts.append(f.gemm(f("Flatten", f("BatchNormalization", whole, *norm)), 4, 3))
        parts.append(f.gemm(f("Reshape", f("Sigmoid", whole), f.numbers(1, -1)), 4, 3))
        parts.append(f("Flatten", f.conv(whole, 4, 3, (1, 1))))
        parts.append(f("Flatten", f("Softmax", f.conv(whole, 4, 3, (1, 1)), axis=1)))
        parts.append(f("Squeeze", f("Squeeze", whole, f.numbers(3)), f.numbers(2)))
        parts.append(f("Flatten", f("Reshape", f("Tanh", whole), f.numbers(1, 4, 1))))
        both = f("Add", f("Slice", whole, f.numbers(1), f.numbers(3), f.numbers(1)), f.conv(whole, 4, 2, (1, 1)))
        parts.append(f.gemm(f("Flatten", f("Concat", both, whole, f("GlobalAveragePool", x), axis=1)), 10, 3))
    return f.gemm(f("Concat", *parts, axis=1), 62, 5)


def octave_of_two(f):
    """Octave layers of 2x2 positions, whose low maps have one."""
    f.shape = (1, 4, 2, 2)
    conv = lambda x, c, n: f("Conv", x, f.draw(n, c, 3, 3), f.draw(n), pads=[1] * 4)
    up = lambda x: f("Resize", x, "", f.constant([1, 1, 2, 2]), mode="nearest",
                     coordinate_transformation_mode="asymmetric", nearest_mode="floor")
    half = lambda x: f("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2])
    high, low = f("Relu", conv("x", 4, 3)), f("Relu", conv(half("x"), 4, 2))
    both = [f("Add", conv(high, 3, 3), up(conv(low, 2, 3))), f("Add", conv(half(high), 3, 2), conv(low, 2, 2))]
    high, low = [f("Relu", x) for x in both]
    x = f("Relu", f("Add", conv(high, 3, 4), up(conv(low, 2, 4))))
    return f.gemm(f.means(x), 4, 3)


def scaled_activations(f):
    """Activations in several operators, of a value that was scaled or shifted by one number."""
    number = lambda v: f.constant(np.float32(v))
    scaled, shifted = f("Mul", "x", number(0.7)), f("Add", "x", number(0.4))
    parts = []
    for x in (scaled, shifted):
        parts.append(f("Mul", x, f("Sigmoid", x)))
        parts.append(f("Mul", x, f("Div", f("Clip", f("Add", x, number(3)), number(0), number(6)), number(6))))
        erf = f("Add", f("Erf", f("Div", x, number(np.sqrt(2)))), number(1))
        parts.append(f("Mul", f("Mul", x, erf), number(0.5)))
        parts.append(f("Mul", f("Mul", x, number(0.5)), erf))
    return f("Concat", *parts, axis=1)


def slices_of_all_axes(f):
    """Channels of a map and of means, by cuts that name all axes."""
    end = (1 << 63) - 1
    cut = lambda x, first, last, *behind: f(
        "Slice", x, f.numbers(0, first, 0, 0), f.numbers(end, last, *behind), f.numbers(0, 1, 2, 3))
    gate = cut(f("GlobalAveragePool", "x"), 1, 3, 1, end)
    return f("Mul", cut("x", 0, 2, 8, end), f("Sigmoid", cut(gate, 0, 2, 1, 1)))


def sums_of_several(f):
    """Values and constants in one sum."""
    x, y = f("Relu", "x"), f("Sigmoid", "x")
    x = f("Sum", x, f.constant(np.float32(0.5)), y, f.draw(4, 1, 1))
    means = f("Sum", f.means(x), f.draw(4), f.draw(1, 4))
    return f.gemm(f("Sum", means), 4, 3)


CASES = [
    clip, clip_attributes, hard_sigmoid, vectors, vector_slopes, vector_slope, vector_scale, gates, single, average_padded,
    average_of_a_frame, average_of_all, flatten_negative, expanded,
    standardised, maxima, uneven_padding, zeros_left_out, folded, repeated, resized_by_sizes, averages_of_whole_maps,
    means_as_vectors, octave_of_two, scaled_activations, slices_of_all_axes, sums_of_several,
]


def doubled(f, times):
    """A map of 4 * 2^times channels."""
    x = "x"
    for _ in range(times):
        x = f("Concat", x, x, axis=1)
    return x


def pad_edge(f):
    return f("Pad", "x", f.numbers(0, 0, 0, 0, 0, 0, 1 << 40, 0), mode="edge")


def pad_lowest(f):
    return f("Pad", "x", f.numbers(0, 0, -(1 << 63), 0, 0, 0, 0, (1 << 63) - 1))


def pad_often(f):
    x = "x"
    for _ in range(64):
        x = f("Pad", x, f.numbers(0, 0, 0, 1 << 20, 0, 0, 0, 1 << 20))
    return f("Pad", x, f.numbers(0, 0, 0, 1, 0, 0, 0, 1), mode="edge")


def slice_often(f):
    count = 1 << 18
    return f("Slice", "x", f.filled(count), f.filled(count, 8), f.filled(count, 2))


def slice_nothing(f):
    empty = f("ConstantOfShape", f.numbers(0, 1 << 36))
    cut = f("Slice", empty, f.numbers(0), f.numbers(1 << 36), f.numbers(1))
    return f("Reshape", "x", f("Shape", cut))


def select_products(f):
    x = f("Gather", doubled(f, 18), f.numbers(5), axis=1)
    return f("Gather", x, f.filled(1 << 20), axis=1)


def split_wide(f):
    return f("Split", doubled(f, 29), outputs=2, axis=1)[1]


def slice_wide(f):
    return f("Slice", doubled(f, 29), f.numbers(1), f.numbers((1 << 63) - 1), f.numbers(1))


def unsqueeze_often(f):
    return f("Add", "x", f("Unsqueeze", f.constant(1.0), f.filled(1 << 18)))


def concat_wide(f):
    return f("Gather", doubled(f, 61), f.numbers(-(1 << 63)), axis=1)


def fill_nothing(f):
    return f("Add", "x", f("ConstantOfShape", f.numbers(0, 1 << 62, 1 << 62)))


def gather_nothing(f):
    empty = f("ConstantOfShape", f.numbers(0, 1 << 26, 1))
    return f("Add", "x", f("Gather", empty, f.numbers(*[0] * 8), axis=2))


def reduce_nothing(f):
    empty = f("ConstantOfShape", f.numbers(0, 1 << 26))
    return f("Add", "x", f("ReduceMax", empty, axes=[1]))


def reshape_long(f):
    return f("Reshape", "x", f.filled(1 << 18, -(1 << 63)))


def perm_long(f):
    return f("Transpose", "x", perm=[-(1 << 63)] * 1000)


def max_often(f):
    few = f.constant(0.5)
    ends = [f.constant(np.ones(shape)) for shape in ((1 << 13, 1), (1, 1 << 13))]
    return f("Add", "x", f("ReduceMax", f("Max", *ends, *[few] * 30), keepdims=0))


HOSTILE = [
    pad_edge, pad_lowest, pad_often, slice_often, slice_nothing, select_products, split_wide, slice_wide,
    unsqueeze_often, concat_wide, fill_nothing, gather_nothing, reduce_nothing, reshape_long, perm_long, max_often,
]

# In front of a file of the corpus: no options (fuzz/src/onnx.rs).
DEFAULTS = bytes(6)


def main(chosen):
    FOLDER.mkdir(exist_ok=True)
    is_chosen = lambda case: not chosen or case.__name__ in chosen
    for case in filter(is_chosen, CASES):
        f = File()
        model = f.model(case(f))
        model.graph.input[0].CopyFrom(helper.make_tensor_value_info("x", TensorProto.FLOAT, f.shape))
        path = FOLDER / f"{case.__name__}.onnx"
        onnx.save(model, path)
        x = np.random.default_rng(3).standard_normal(f.shape).astype(np.float32)
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = onnxruntime.InferenceSession(model.SerializeToString(), options)
        (answer,) = session.run(None, {"x": x})
        save_file({"input": x, "answer": answer}, path.with_suffix(".safetensors"))
        print(f"{case.__name__}: {path.stat().st_size} bytes, {answer.shape}")
    for case in filter(is_chosen, HOSTILE):
        f = File()
        path = CORPUS / f"hostile_{case.__name__}"
        path.write_bytes(DEFAULTS + f.model(case(f)).SerializeToString())
        print(f"{path.name}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main(sys.argv[1:])
