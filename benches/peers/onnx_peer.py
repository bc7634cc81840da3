"""ONNX Runtime's WebGPU execution provider.

Inputs and outputs are tensors on the device, bound once. They are [n, h, w, c], because the provider's convolutions
work in that layout, and the transposes to and from ONNX's own layout then cancel. A sample is the time of R + 1 runs
minus that of one run, divided by R. Both times include one wait for the device, so that the wait cancels.
"""

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from timing import PeerError, one_line, repeats, seconds

PROVIDER = "WebGpuExecutionProvider"
TO_NHWC, TO_NCHW = (0, 2, 3, 1), (0, 3, 1, 2)
# Operations that are one operator without weights.
PLAIN = {"add": "Add", "relu": "Relu", "mean": "GlobalAveragePool", "concat": "Concat"}


class OnnxPeer:
    name = "onnxruntime"
    label = "ONNX Runtime"
    version = onnxruntime.__version__

    def __init__(self, device):
        if PROVIDER not in onnxruntime.get_available_providers():
            raise PeerError(f"this build of ONNX Runtime has no {PROVIDER}")
        onnxruntime.set_default_logger_severity(3)
        self.device = device
        try:
            self.marker = _session(_marker())
        except Exception as error:  # its errors have no common class of their own
            raise PeerError(one_line(error)) from None

    def same_as(self, form):
        return None

    def prepare(self, form):
        return _Bound(form, self)

    def wait(self):
        """Returns when the device has finished everything that was submitted before."""
        self.marker.run(None, {"x": np.ones(1, np.float32)})


class _Bound:
    def __init__(self, form, peer):
        self.peer = peer
        self.form = form
        try:
            self.session = _session(_model(form))
            self.binding = self.session.io_binding()
            for name, array in form.inputs.items():
                # Copies the data to the device. Later runs do not.
                self.binding.bind_cpu_input(name, np.ascontiguousarray(array.transpose(TO_NHWC)))
            names = [f"out{i}" for i in range(len(form.outputs))]
            for name in names:
                self.binding.bind_output(name, "webgpu")
            self._runs(1)
            # Binds the tensors that the first run has made, so that every later run writes to them.
            for name, value in zip(names, self.binding.get_outputs()):
                self.binding.bind_ortvalue_output(name, value)
            self._runs(2)
        except Exception as error:
            raise PeerError(one_line(error)) from None
        self.runs = max(2, repeats(seconds(lambda: self._runs(1))))

    def outputs(self):
        self._runs(1)
        return [array.transpose(TO_NCHW) for array in self.binding.copy_outputs_to_cpu()]

    def sample(self):
        one = seconds(lambda: self._runs(1))
        return (seconds(lambda: self._runs(self.runs + 1)) - one) / self.runs

    def _runs(self, count):
        try:
            for _ in range(count):
                self.session.run_with_iobinding(self.binding)
            self.peer.wait()
        except Exception as error:
            raise PeerError(one_line(error)) from None


def _session(model):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    # An operator that the provider lacks must be an error, and not run on the CPU.
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=[PROVIDER])


def _build(nodes, inputs, outputs, constants=()):
    value = lambda pair: helper.make_tensor_value_info(pair[0], TensorProto.FLOAT, pair[1])
    graph = helper.make_graph(nodes, "form", list(map(value, inputs)), list(map(value, outputs)), list(constants))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def _marker():
    return _build([helper.make_node("Relu", ["x"], ["y"])], [("x", [1])], [("y", [1])])


def _nhwc(shape):
    return [shape[axis] for axis in TO_NHWC]


def _model(form):
    nodes, constants, names = [], [], {}
    for name in form.inputs:
        names[name] = f"{name}_nchw"
        nodes.append(helper.make_node("Transpose", [name], [names[name]], perm=TO_NCHW))
    for op in form.ops:
        names[op.output] = op.output
        nodes += _nodes(form, op, [names[name] for name in op.inputs], constants)
    outputs = []
    for i, name in enumerate(form.outputs):
        nodes.append(helper.make_node("Transpose", [names[name]], [f"out{i}"], perm=TO_NHWC))
        outputs.append((f"out{i}", _nhwc(form.shape(name))))
    inputs = [(name, _nhwc(array.shape)) for name, array in form.inputs.items()]
    model = _build(nodes, inputs, outputs, constants)
    onnx.checker.check_model(model)
    return model


def _nodes(form, op, inputs, constants):
    if op.kind == "conv":
        constants.append(numpy_helper.from_array(op.weight, f"{op.output}_weight"))
        k = op.weight.shape[2]
        attributes = {"pads": [k // 2] * 4, "strides": [op.stride] * 2, "group": op.groups, "kernel_shape": [k, k]}
        return [helper.make_node("Conv", [*inputs, f"{op.output}_weight"], [op.output], **attributes)]
    if op.kind == "pool":
        odd = any(length % 2 for length in form.shape(op.inputs[0])[2:])
        attributes = {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": int(odd)}
        return [helper.make_node("AveragePool", inputs, [op.output], **attributes)]
    if op.kind == "linear":
        constants.append(numpy_helper.from_array(op.weight[:, :, None, None], f"{op.output}_weight"))
        return [helper.make_node("Conv", [*inputs, f"{op.output}_weight"], [op.output], kernel_shape=[1, 1])]
    if op.kind == "up":
        return _upsample(op, inputs, constants)
    if op.kind == "relu6":
        ends = [f"{op.output}_{end}" for end in ("least", "most")]
        constants += [numpy_helper.from_array(np.float32(value), end) for value, end in zip((0, 6), ends)]
        return [helper.make_node("Clip", [*inputs, *ends], [op.output])]
    if op.kind == "max":
        k = op.window
        attributes = {"kernel_shape": [k, k], "strides": [op.stride] * 2, "pads": [k // 2] * 4}
        return [helper.make_node("MaxPool", inputs, [op.output], **attributes)]
    attributes = {"axis": 1} if op.kind == "concat" else {}
    return [helper.make_node(PLAIN[op.kind], inputs, [op.output], **attributes)]


def _upsample(op, inputs, constants):
    """In the layout of the convolutions, to save transposes. For even sizes by Expand, which is faster than Resize."""
    n, c, h, w = op.shape
    name = lambda part: f"{op.output}_{part}"

    def constant(part, values):
        constants.append(numpy_helper.from_array(np.array(values, np.int64), name(part)))
        return name(part)

    nodes = [helper.make_node("Transpose", inputs, [name("nhwc")], perm=TO_NHWC)]
    if h % 2 == 0 and w % 2 == 0:
        pairs = constant("pairs", [n * h // 2, 1, w // 2, 1, c])
        doubled = constant("doubled", [n * h // 2, 2, w // 2, 2, c])
        nodes += [
            helper.make_node("Reshape", [name("nhwc"), pairs], [name("apart")]),
            helper.make_node("Expand", [name("apart"), doubled], [name("repeated")]),
            helper.make_node("Reshape", [name("repeated"), constant("sizes", [n, h, w, c])], [name("large")]),
        ]
    else:
        sizes = ["", "", constant("sizes", [n, h, w, c])]
        rule = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        nodes.append(helper.make_node("Resize", [name("nhwc"), *sizes], [name("large")], **rule))
    return [*nodes, helper.make_node("Transpose", [name("large")], [op.output], perm=TO_NCHW)]
