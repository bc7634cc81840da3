//! `Resize` and `Upsample`: which element of its input each element of the output is.

use super::constant::Constant;
use super::node::FileNode;
use super::read::MOST_SIZE;
use crate::plain::Upsample;

/// Reads the operator, for an input of these sizes. `None`: it changes nothing.
pub(super) fn read(
    node: &FileNode,
    constants: &[Option<&Constant>],
    raw: &[usize],
    opset: i64,
) -> Result<(Option<Upsample>, Vec<usize>), String> {
    let given = |i: usize| constants.get(i).copied().flatten().filter(|c| !c.shape().contains(&0));
    let (scales, sizes) = match (node.operator.as_str(), opset) {
        ("Upsample", _) => (node.floats("scales").map(<[f32]>::to_vec).or(given(1).map(Constant::floats)), None),
        (_, ..=10) => (given(1).map(Constant::floats), None),
        _ => (given(2).map(Constant::floats), given(3).and_then(Constant::ints)),
    };
    if node.ints("axes").is_some() {
        return Err("it has axes: must give all sizes or scales".into());
    }
    if node.text("keep_aspect_ratio_policy").is_some_and(|policy| policy != "stretch") {
        return Err("its keep_aspect_ratio_policy must be stretch".into());
    }
    let variable = "its sizes or scales depend on what runs through the network: give the size of the input";
    let by_sizes = sizes.is_some();
    let (to, scales) = match (scales, sizes) {
        (_, Some(sizes)) if sizes.len() == raw.len() => {
            let to: Vec<usize> = sizes.iter().map(|&d| usize::try_from(d).unwrap_or(0)).collect();
            let scales = to.iter().zip(raw).map(|(&to, &from)| to as f64 / from as f64).collect();
            (to, scales)
        }
        (Some(scales), None) if scales.len() == raw.len() => {
            let scales: Vec<f64> = scales.iter().map(|&s| s.into()).collect();
            let to = raw.iter().zip(&scales).map(|(&from, scale)| (from as f64 * scale).floor() as usize).collect();
            (to, scales)
        }
        (None, None) => return Err(variable.into()),
        _ => return Err(format!("it has another number of sizes or scales than its input, {raw:?}")),
    };
    if to.iter().any(|&d| d == 0 || d > MOST_SIZE) {
        return Err(format!("it makes {to:?}"));
    }
    if to == raw && scales.iter().all(|&s| s == 1.0) {
        return Ok((None, to));
    }
    let space = raw.len() - 2;
    if to[..space] != raw[..space] {
        return Err(format!("it makes {to:?} of {raw:?}: only rows and columns can change"));
    }
    let coordinates = match (node.operator.as_str(), opset) {
        ("Upsample", _) | (_, ..=10) => "asymmetric",
        _ => node.text("coordinate_transformation_mode").unwrap_or("half_pixel"),
    };
    let axes = [space, space + 1];
    let upsample = match node.text("mode").unwrap_or("nearest") {
        "nearest" => {
            let rounding = match opset {
                ..=10 => "floor",
                _ => node.text("nearest_mode").unwrap_or("round_prefer_floor"),
            };
            let indices = axes.map(|axis| nearest(raw[axis], to[axis], scales[axis], coordinates, rounding));
            let [rows, columns] = indices;
            Upsample::Nearest { rows: rows?, columns: columns? }
        }
        "linear" | "bilinear" => {
            // Nothing is averaged where an axis grows.
            if node.int("antialias").unwrap_or(0) != 0 && axes.iter().any(|&axis| scales[axis] < 1.0) {
                return Err("its antialias is 1, and it makes the map smaller: must be 0 then".into());
            }
            let align_corners = match coordinates {
                "align_corners" => true,
                "pytorch_half_pixel" if axes.iter().any(|&axis| to[axis] == 1 && raw[axis] > 1) => {
                    let other = "its coordinate_transformation_mode is pytorch_half_pixel, which takes the first of several rows \
                                 or columns for a single one: must be half_pixel";
                    return Err(other.into());
                }
                "half_pixel" | "pytorch_half_pixel" => false,
                // The same wherever the size stays.
                other => return Err(format!("its coordinate_transformation_mode is {other}, with mode linear")),
            };
            // A scale that is made of sizes may be rounded.
            let exact = by_sizes || axes.iter().all(|&axis| to[axis] as f64 == raw[axis] as f64 * scales[axis]);
            if !exact && !align_corners {
                return Err("its scales do not give a whole number of rows and columns".into());
            }
            Upsample::Bilinear { align_corners, size: axes.map(|axis| to[axis]) }
        }
        other => return Err(format!("its mode is {other}: must be nearest or linear")),
    };
    Ok((Some(upsample), to))
}

/// For each position of the output, the position of the input that it copies.
fn nearest(from: usize, to: usize, scale: f64, coordinates: &str, rounding: &str) -> Result<Vec<usize>, String> {
    let place = |x: f64| match coordinates {
        "asymmetric" => Some(x / scale),
        "half_pixel" => Some((x + 0.5) / scale - 0.5),
        "pytorch_half_pixel" if to > 1 => Some((x + 0.5) / scale - 0.5),
        "pytorch_half_pixel" => Some(0.0),
        "align_corners" if to > 1 => Some(x * (from as f64 - 1.0) / (to as f64 - 1.0)),
        "align_corners" => Some(0.0),
        _ => None,
    };
    let round = |x: f64| match rounding {
        "floor" => Some(x.floor()),
        "ceil" => Some(x.ceil()),
        "round_prefer_floor" => Some((x - 0.5).ceil()),
        "round_prefer_ceil" => Some((x + 0.5).floor()),
        _ => None,
    };
    let index = |i: usize| Some(round(place(i as f64)?)?.clamp(0.0, from as f64 - 1.0) as usize);
    let indices: Option<Vec<usize>> = (0..to).map(index).collect();
    indices
        .ok_or_else(|| format!("its coordinate_transformation_mode is {coordinates} and its nearest_mode {rounding}"))
}
