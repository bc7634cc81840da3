//! Parses an ONNX file.

use prost::Message;
use prost::encoding::decode_varint;

use super::proto::ModelProto;
use crate::ImportError;

/// The most fields with a length in the graph of a file, and in its nodes, attributes and tensors. A field of two bytes
/// may become a message of some hundred, so they are counted before memory is taken.
const MOST_FIELDS: usize = 1 << 19;

/// Messages that hold many others, by the number of their field in the message around them.
const GRAPH_OF_MODEL: u64 = 7;
const NODE_OF_GRAPH: u64 = 1;
const TENSOR_OF_GRAPH: u64 = 5;
const ATTRIBUTE_OF_NODE: u64 = 5;
const TENSOR_OF_ATTRIBUTE: u64 = 5;

/// The ways from a graph to messages whose fields are counted.
const COUNTED: [&[u64]; 5] = [
    &[],
    &[NODE_OF_GRAPH],
    &[NODE_OF_GRAPH, ATTRIBUTE_OF_NODE],
    &[NODE_OF_GRAPH, ATTRIBUTE_OF_NODE, TENSOR_OF_ATTRIBUTE],
    &[TENSOR_OF_GRAPH],
];

pub(super) fn parse(bytes: &[u8]) -> Result<ModelProto, ImportError> {
    let damaged = |reason: String| ImportError::File { reason };
    let count: usize = COUNTED.iter().map(|way| count(bytes, &[&[GRAPH_OF_MODEL], *way].concat())).sum();
    if count > MOST_FIELDS {
        return Err(damaged(format!("its graph has {count} fields: must have at most {MOST_FIELDS}")));
    }
    let refused = |error| damaged(format!("it is not an ONNX file, or it is cut short: {error}"));
    let model = ModelProto::decode(bytes).map_err(refused)?;
    if model.graph.is_none() {
        return Err(damaged("it is not an ONNX file: it has no graph".into()));
    }
    Ok(model)
}

/// How many fields with a length the messages at the end of a way have.
fn count(message: &[u8], way: &[u64]) -> usize {
    match way {
        [] => fields(message).count(),
        [next, way @ ..] => fields(message).filter(|field| field.0 == *next).map(|(_, inner)| count(inner, way)).sum(),
    }
}

/// The fields of a protocol buffers message that have a length: number and bytes. Ends where the message is damaged,
/// which the parser reports.
fn fields(mut rest: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    std::iter::from_fn(move || if rest.is_empty() { None } else { next(&mut rest) })
        .filter_map(|(number, field)| Some((number, field?)))
}

/// The next field of a message: its number, and its bytes if it has a length. `None` if it is damaged.
fn next<'a>(rest: &mut &'a [u8]) -> Option<(u64, Option<&'a [u8]>)> {
    let tag = decode_varint(rest).ok()?;
    let skip = match tag & 7 {
        0 => {
            decode_varint(rest).ok()?;
            0
        }
        1 => 8,
        5 => 4,
        2 => {
            let length = usize::try_from(decode_varint(rest).ok()?).ok()?;
            let (field, behind) = rest.split_at_checked(length)?;
            *rest = behind;
            return Some((tag >> 3, Some(field)));
        }
        _ => return None,
    };
    *rest = rest.get(skip..)?;
    Some((tag >> 3, None))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(field: u64, inner: &[u8]) -> Vec<u8> {
        let mut bytes = vec![(field << 3 | 2) as u8];
        prost::encoding::encode_varint(inner.len() as u64, &mut bytes);
        bytes.extend(inner);
        bytes
    }

    fn refusal(bytes: &[u8]) -> String {
        parse(bytes).err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn fields_are_counted_before_they_are_read() {
        let empty_nodes = |count| message(GRAPH_OF_MODEL, &message(1, &[]).repeat(count));
        assert_eq!(parse(&empty_nodes(1000)).unwrap().graph.unwrap().node.len(), 1000);
        let file = empty_nodes(MOST_FIELDS + 1);
        assert_eq!(refusal(&file), "its graph has 524289 fields: must have at most 524288");
        // Also in nodes, and in their attributes.
        for inner in [message(1, &[]).repeat(MOST_FIELDS), message(5, &message(8, &[]).repeat(MOST_FIELDS))] {
            assert!(refusal(&message(GRAPH_OF_MODEL, &message(1, &inner))).starts_with("its graph has 5242"));
        }
    }

    #[test]
    fn graphs_in_graphs_are_not_read() {
        let mut graph = Vec::new();
        for _ in 0..2000 {
            graph = message(1, &message(5, &message(6, &graph)));
        }
        let model = parse(&message(GRAPH_OF_MODEL, &graph)).unwrap();
        assert!(model.graph.unwrap().node[0].attribute[0].g.is_some());
    }

    #[test]
    fn other_files_are_refused() {
        // The last two have numbers and a length of more than 64 bits.
        let endless = [0xff; 12];
        let ints = message(GRAPH_OF_MODEL, &message(1, &message(5, &message(8, &endless))));
        let length = [&message(GRAPH_OF_MODEL, &[])[..], &[0x12], &endless].concat();
        for bytes in [&b""[..], b"{\"name\": 1}", b"\x3a\xff\xff\xff\xff\x0f", b"\x08\x07", &ints, &length] {
            assert!(refusal(bytes).starts_with("it is not an ONNX file"), "{bytes:?}: {}", refusal(bytes));
        }
    }
}
