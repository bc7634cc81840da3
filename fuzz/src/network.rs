use octconv::network::{
    Attention, Axes, Conv, Ends, Excite, INPUT, Input, Network, NetworkOptions, Node, Op, Pool, PoolKind, Upsample,
    UpsampleMode, UpsampleTo,
};
use octconv::{Downsample, Options, Rounding, TimeAxis};

use crate::draw::Draw;
use crate::{check, facts};

/// The most nodes.
const MOST: usize = 10;

/// A network of any nodes, with options, on a device.
pub fn network(data: &[u8]) {
    let mut draw = Draw::new(data);
    let facts = draw.choose(&facts::devices());
    let size = draw.size();
    let Options { precision, accuracy, .. } = draw.options();
    let network = described(&mut draw);
    let keep = network.nodes.iter().filter(|_| draw.once_in(4)).map(|node| node.name.clone()).collect();
    match check::network(&network, size, &NetworkOptions { precision, accuracy, keep, ..Default::default() }, &facts) {
        Ok(plan) if draw.once_in(8) => drop(plan.sources()),
        Ok(_) => {}
        Err(error) => check::refused(&error),
    }
}

fn described(draw: &mut Draw) -> Network {
    let rounding = draw.choose(&[Rounding::Ceil, Rounding::Floor]);
    let norm_eps = if draw.once_in(24) { draw.float() } else { 1e-5 };
    let input = Input { channels: draw.number(1..=6) };
    let mut nodes: Vec<Node> = Vec::new();
    while !draw.is_empty() && nodes.len() < MOST {
        let op = op(draw, &nodes);
        // Now and then a name is there twice, or is empty.
        let name = if draw.once_in(48) { name(draw, &nodes) } else { format!("n{}", nodes.len()) };
        nodes.push(Node { name, op });
    }
    let output = match nodes.last() {
        Some(last) if !draw.once_in(6) => last.name.clone(),
        _ => name(draw, &nodes),
    };
    let stages = nodes.iter().filter(|_| draw.once_in(3)).map(|node| node.name.clone()).collect();
    Network { name: "drawn".into(), input, rounding, norm_eps, nodes, output, stages, picture: None }
}

/// The name of a value, more often a late one.
fn name(draw: &mut Draw, nodes: &[Node]) -> String {
    let recent = nodes.last().map(|node| node.name.clone());
    match (draw.within(0..=31), recent) {
        (31, _) => draw.choose(&["", "nothing", "N0"]).into(),
        (0..=19, Some(recent)) => recent,
        _ => match draw.within(0..=nodes.len() as u32) {
            0 => INPUT.into(),
            i => nodes[i as usize - 1].name.clone(),
        },
    }
}

fn op(draw: &mut Draw, nodes: &[Node]) -> Op {
    let input = name(draw, nodes);
    match draw.within(0..=17) {
        0..=4 => Op::Conv(conv(draw, nodes, input)),
        5 | 6 => Op::Pool(pool(draw, input)),
        7 => Op::Norm { input, affine: draw.flag(), activation: draw.activation() },
        8 => {
            let more = draw.within(0..=3);
            Op::Concat { inputs: (0..more).map(|_| name(draw, nodes)).chain([input]).collect() }
        }
        9 => {
            let residual = draw.flag().then(|| name(draw, nodes));
            Op::Excite(Excite { input, reduced: draw.number(1..=4), residual, activation: draw.activation() })
        }
        10 => Op::GlobalPool { input },
        11 if draw.flag() => Op::Softmax { input },
        12 => Op::Upsample(upsample(draw, nodes, input)),
        13 => {
            let more = draw.within(0..=2);
            let inputs = (0..more).map(|_| name(draw, nodes)).chain([input]).collect();
            Op::Add { inputs, activation: draw.activation() }
        }
        14 => Op::Activation { input, activation: draw.activation() },
        15 => {
            let [keys, values] = [0, 1].map(|_| if draw.once_in(3) { name(draw, nodes) } else { input.clone() });
            let scale = draw.flag().then(|| draw.float());
            Op::Attention(Attention { queries: input, keys, values, scale })
        }
        16 => Op::Gate { input, by: name(draw, nodes) },
        _ => Op::Linear { input, outputs: draw.number(1..=5), bias: draw.flag(), activation: draw.activation() },
    }
}

fn upsample(draw: &mut Draw, nodes: &[Node], input: String) -> Upsample {
    let to = match draw.within(0..=3) {
        0 => UpsampleTo::Like(name(draw, nodes)),
        1 => UpsampleTo::Size(Axes::Image(draw.numbers(0..=40))),
        2 => UpsampleTo::Factor(Axes::Image([f64::from(draw.number(1..=4)); 2])),
        _ => UpsampleTo::Factor(Axes::Image([f64::from(draw.float()), f64::from(draw.number(1..=9)) / 4.0])),
    };
    let mode = draw.choose(&[UpsampleMode::Nearest, UpsampleMode::Bilinear]);
    Upsample { input, mode, align_corners: draw.once_in(3), to }
}

fn conv(draw: &mut Draw, nodes: &[Node], input: String) -> Conv {
    let most = draw.choose(&[6, 6, 40]);
    let channels = draw.number(1..=most);
    let side = draw.choose(&[1, 3, 3, 5]);
    let kernel = if draw.once_in(6) { draw.numbers(1..=4) } else { [side; 2] };
    let padding = if draw.once_in(6) { draw.numbers(0..=3) } else { kernel.map(|side| side.saturating_sub(1) / 2) };
    let exact = draw.once_in(8).then(|| {
        let high = draw.number(0..=6);
        [high, channels.saturating_sub(high)]
    });
    let time = draw.once_in(8).then(|| {
        let [kernel, stride, dilation] = draw.numbers(1..=3);
        TimeAxis { kernel, stride, padding: draw.number(0..=2), dilation }
    });
    Conv {
        alpha: if exact.is_some() { 0.0 } else { draw.share() },
        split: exact,
        kernel,
        stride: draw.number(1..=2),
        padding,
        dilation: if draw.once_in(8) { draw.numbers(1..=3) } else { [1, 1] },
        time,
        groups: if draw.once_in(8) { draw.number(1..=3) } else { 1 },
        depthwise: draw.once_in(8),
        bias: draw.flag(),
        norm: draw.flag(),
        activation: draw.activation(),
        residual: draw.once_in(3).then(|| name(draw, nodes)),
        downsample: if draw.once_in(8) { Downsample::StridedConv } else { Downsample::AveragePool },
        high_to_low: !draw.once_in(12),
        low_to_high: !draw.once_in(12),
        ..Conv::new(input, channels)
    }
}

fn pool(draw: &mut Draw, input: String) -> Pool {
    let kind = draw.choose(&[PoolKind::Max, PoolKind::Average]);
    let kernel = if draw.once_in(6) { Axes::Video(draw.numbers(1..=3)) } else { Axes::Image(draw.numbers(1..=3)) };
    let stride = if draw.once_in(6) { Axes::Video(draw.numbers(1..=3)) } else { Axes::Image(draw.numbers(1..=3)) };
    let mut end = || Ends { before: draw.number(0..=1), behind: draw.number(0..=2) };
    let padding = Axes::Image([end(), end()]);
    let (ceil_mode, count_include_pad) = (draw.once_in(3), draw.once_in(4) && kind == PoolKind::Average);
    Pool { padding, ceil_mode, count_include_pad, ..Pool::new(input, kind, kernel, stride) }
}
