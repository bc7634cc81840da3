//! Parses an ONNX file.

use rten_onnx::onnx::ModelProto;

use crate::ImportError;

/// How deep graphs may lie in attributes of other graphs. Networks have none; the parser calls itself for each.
const MOST_DEPTH: usize = 8;

/// The messages that may hold themselves, by the number of the field in the message before: model, graph, node,
/// attribute, graph, node, ...
const GRAPH_OF_MODEL: u64 = 7;
const NODE_OF_GRAPH: u64 = 1;
const ATTRIBUTE_OF_NODE: u64 = 5;
const GRAPH_OF_ATTRIBUTE: u64 = 6;

pub(super) fn parse(bytes: &[u8]) -> Result<ModelProto, ImportError> {
    let damaged = |reason: String| ImportError::File { reason };
    if !is_whole(bytes) {
        return Err(damaged("it is not an ONNX file, or it is cut short".into()));
    }
    check_depth(bytes).map_err(|reason| damaged(reason.into()))?;
    let model = ModelProto::parse_buf(bytes).map_err(|error| damaged(format!("it is not an ONNX file: {error}")))?;
    if model.graph.is_none() {
        return Err(damaged("it is not an ONNX file: it has no graph".into()));
    }
    Ok(model)
}

/// Refuses graphs in graphs in graphs, before the parser meets them.
fn check_depth(bytes: &[u8]) -> Result<(), &'static str> {
    let mut inside: Vec<(&[u8], usize)> = fields(bytes).filter(|f| f.0 == GRAPH_OF_MODEL).map(|f| (f.1, 1)).collect();
    while let Some((graph, depth)) = inside.pop() {
        if depth > MOST_DEPTH {
            return Err("it is not a usable ONNX file: graphs lie in graphs more than 8 times");
        }
        for (_, node) in fields(graph).filter(|f| f.0 == NODE_OF_GRAPH) {
            for (_, attribute) in fields(node).filter(|f| f.0 == ATTRIBUTE_OF_NODE) {
                inside.extend(fields(attribute).filter(|f| f.0 == GRAPH_OF_ATTRIBUTE).map(|f| (f.1, depth + 1)));
            }
        }
    }
    Ok(())
}

/// Whether the fields of the model fill the file. The parser does without what is cut off.
fn is_whole(mut rest: &[u8]) -> bool {
    while !rest.is_empty() {
        if next(&mut rest).is_none() {
            return false;
        }
    }
    true
}

/// The fields of a protocol buffers message that have a length: number and bytes. Ends where the message is damaged,
/// which the parser reports.
fn fields(mut rest: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    std::iter::from_fn(move || if rest.is_empty() { None } else { next(&mut rest) })
        .filter_map(|(number, field)| Some((number, field?)))
}

/// The next field of a message: its number, and its bytes if it has a length. `None` if it is damaged.
fn next<'a>(rest: &mut &'a [u8]) -> Option<(u64, Option<&'a [u8]>)> {
    let tag = varint(rest)?;
    let skip = match tag & 7 {
        0 => {
            varint(rest)?;
            0
        }
        1 => 8,
        5 => 4,
        2 => {
            let length = usize::try_from(varint(rest)?).ok()?;
            let (field, behind) = rest.split_at_checked(length)?;
            *rest = behind;
            return Some((tag >> 3, Some(field)));
        }
        _ => return None,
    };
    *rest = rest.get(skip..)?;
    Some((tag >> 3, None))
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, behind) = rest.split_first()?;
        *rest = behind;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(field: u64, inner: &[u8]) -> Vec<u8> {
        let mut bytes = vec![(field << 3 | 2) as u8];
        let mut length = inner.len();
        while length >= 0x80 {
            bytes.push(length as u8 | 0x80);
            length >>= 7;
        }
        bytes.push(length as u8);
        bytes.extend(inner);
        bytes
    }

    fn nested(depth: usize) -> Vec<u8> {
        let mut graph = Vec::new();
        for _ in 1..depth {
            let attribute = message(ATTRIBUTE_OF_NODE, &message(GRAPH_OF_ATTRIBUTE, &graph));
            graph = message(NODE_OF_GRAPH, &attribute);
        }
        message(GRAPH_OF_MODEL, &graph)
    }

    #[test]
    fn graphs_in_graphs_have_a_limit() {
        assert!(parse(&nested(MOST_DEPTH)).is_ok());
        for depth in [MOST_DEPTH + 1, 2_000] {
            assert!(parse(&nested(depth)).err().unwrap().to_string().contains("graphs lie in graphs"));
        }
    }

    #[test]
    fn other_files_are_refused() {
        for bytes in [&b""[..], b"{\"name\": 1}", b"\x3a\xff\xff\xff\xff\x0f", b"\x08\x07"] {
            let refusal = parse(bytes).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(refusal.starts_with("it is not an ONNX file"), "{bytes:?}: {refusal}");
        }
    }
}
