"""The octave convolution of the networks that are trained here, for their scripts.

It is written out from docs/networks.md, with nothing but conv2d, avg_pool2d and interpolate, so that it checks the
library rather than repeats it. Parameters have the names of the checkpoint.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

EPS = 1e-5


def split(channels, alpha):
    low = int(alpha * channels)
    return channels - low, low


def pool(x):
    # Ceil mode with the padding not counted: odd sizes round up, as the description's default says.
    return F.avg_pool2d(x, 2, 2, ceil_mode=True, count_include_pad=False)


class Norm(nn.Module):
    """Batch norm under this project's tensor names."""

    def __init__(self, channels):
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(channels))
        self.beta = nn.Parameter(torch.zeros(channels))
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("var", torch.ones(channels))

    def forward(self, x):
        return F.batch_norm(x, self.mean, self.var, self.gamma, self.beta, self.training, 0.1, EPS)


class OctConv(nn.Module):
    """An octave convolution with batch norm; then the residual, then ReLU. A map is a pair (high, low or None)."""

    def __init__(self, c_in, c_out, kernel, stride, alpha_in, alpha_out, relu=True):
        super().__init__()
        self.stride, self.padding, self.relu = stride, kernel // 2, relu
        (h_in, l_in), (h_out, l_out) = split(c_in, alpha_in), split(c_out, alpha_out)

        def weight(o, i):
            # Both paths into an output count as its inputs, so that their sum has variance 1.
            if o == 0 or i == 0:
                return None
            return nn.Parameter(torch.randn(o, i, kernel, kernel) * math.sqrt(2 / (c_in * kernel * kernel)))

        self.w_hh, self.w_hl = weight(h_out, h_in), weight(l_out, h_in)
        self.w_lh, self.w_ll = weight(h_out, l_in), weight(l_out, l_in)
        self.norm_h = Norm(h_out)
        self.norm_l = Norm(l_out) if l_out else None

    def forward(self, x, residual=(None, None)):
        high, low = x
        conv = lambda x, w: F.conv2d(x, w, padding=self.padding)
        if self.stride == 2:
            high = pool(high)
        y_h, y_l = conv(high, self.w_hh), None
        if self.w_lh is not None:
            # At stride 2 the low map has the size of the output already.
            y = conv(low, self.w_lh)
            if self.stride == 1:
                y = F.interpolate(y, scale_factor=2, mode="nearest")[:, :, : y_h.shape[2], : y_h.shape[3]]
            y_h = y_h + y
        if self.w_hl is not None:
            y_l = conv(pool(high), self.w_hl)
        if self.w_ll is not None:
            y_l = y_l + conv(pool(low) if self.stride == 2 else low, self.w_ll)

        def finish(y, norm, r):
            if y is None:
                return None
            y = norm(y)
            y = y if r is None else y + r
            return F.relu(y) if self.relu else y

        return finish(y_h, self.norm_h, residual[0]), finish(y_l, self.norm_l, residual[1])
