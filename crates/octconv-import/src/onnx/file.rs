//! Parses an ONNX file.

use prost::Message;
use prost::encoding::decode_varint;

use super::proto::ModelProto;
use crate::ImportError;

/// The most fields with a length in a file, and in the messages in it that are read. A field of two bytes may become a
/// message of some hundred, so they are counted before memory is taken.
const MOST_FIELDS: usize = 1 << 19;

/// A message whose fields are counted: the number of its field in the message around it, and such messages in it.
struct Counted(u64, &'static [Counted]);

/// Those of a model: its graph, with nodes, tensors, inputs and outputs.
const MODEL: &[Counted] = &[Counted(7, &[NODE, Counted(5, &[]), Counted(11, VALUE), Counted(12, VALUE)])];

/// A node with attributes, and tensors in them.
const NODE: Counted = Counted(1, &[Counted(5, &[Counted(5, &[])])]);

/// The way from an input to its sizes.
const VALUE: &[Counted] = &[Counted(2, &[Counted(1, &[Counted(2, &[Counted(1, &[])])])])];

pub(super) fn parse(bytes: &[u8]) -> Result<ModelProto, ImportError> {
    let damaged = |reason: String| ImportError::File { reason };
    // What cannot be counted is not parsed.
    let count = count(bytes, MODEL).ok_or_else(|| damaged("it is not an ONNX file, or it is cut short".into()))?;
    if count > MOST_FIELDS {
        return Err(damaged(format!("it has {count} fields: must have at most {MOST_FIELDS}")));
    }
    let refused = |error| damaged(format!("it is not an ONNX file, or it is cut short: {error}"));
    let model = ModelProto::decode(bytes).map_err(refused)?;
    if model.graph.is_none() {
        return Err(damaged("it is not an ONNX file: it has no graph".into()));
    }
    Ok(model)
}

/// How many fields with a length a message has, and the messages in it. `None` if it is damaged.
fn count(mut message: &[u8], inside: &[Counted]) -> Option<usize> {
    let mut all = 0;
    while !message.is_empty() {
        let (number, Some(field)) = next(&mut message)? else { continue };
        all += 1;
        for Counted(_, inside) in inside.iter().filter(|Counted(of, _)| *of == number) {
            all += count(field, inside)?;
        }
    }
    Some(all)
}

/// The next field of a message: its number, and its bytes if it has a length. `None` if it is damaged, or a group, which
/// no ONNX file has.
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

    const GRAPH: u64 = 7;

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
        let empty_nodes = |count| message(GRAPH, &message(1, &[]).repeat(count));
        assert_eq!(parse(&empty_nodes(1000)).unwrap().graph.unwrap().node.len(), 1000);
        let file = empty_nodes(MOST_FIELDS + 1);
        assert_eq!(refusal(&file), "it has 524290 fields: must have at most 524288");
        // Also in nodes, and in their attributes.
        for inner in [message(1, &[]).repeat(MOST_FIELDS), message(5, &message(8, &[]).repeat(MOST_FIELDS))] {
            assert!(refusal(&message(GRAPH, &message(1, &inner))).starts_with("it has 5242"));
        }
        // And in the model, and among the sizes of inputs and outputs.
        assert!(refusal(&message(8, &[]).repeat(MOST_FIELDS + 1)).starts_with("it has 5242"));
        for end in [11, 12] {
            let sizes = [2, 1, 2].into_iter().rev().fold(message(1, &[]).repeat(MOST_FIELDS), |m, f| message(f, &m));
            assert!(refusal(&message(GRAPH, &message(end, &sizes))).starts_with("it has 5242"));
        }
    }

    #[test]
    fn what_cannot_be_counted_is_not_parsed() {
        let tensors = message(GRAPH, &message(5, &[]).repeat(MOST_FIELDS + 1));
        // A group, its end alone, and types of fields that there are not.
        for head in [&[0xa3, 0x06, 0xa4, 0x06][..], &[0x0c], &[0x0e], &[0x0f]] {
            assert_eq!(refusal(&[head, &tensors].concat()), "it is not an ONNX file, or it is cut short");
        }
    }

    #[test]
    fn graphs_in_graphs_are_not_read() {
        let mut graph = Vec::new();
        for _ in 0..2000 {
            graph = message(1, &message(5, &message(6, &graph)));
        }
        let model = parse(&message(GRAPH, &graph)).unwrap();
        assert!(model.graph.unwrap().node[0].attribute[0].g.is_some());
    }

    #[test]
    fn other_files_are_refused() {
        // The last two have numbers and a length of more than 64 bits.
        let endless = [0xff; 12];
        let ints = message(GRAPH, &message(1, &message(5, &message(8, &endless))));
        let length = [&message(GRAPH, &[])[..], &[0x12], &endless].concat();
        for bytes in [&b""[..], b"{\"name\": 1}", b"\x3a\xff\xff\xff\xff\x0f", b"\x08\x07", &ints, &length] {
            assert!(refusal(bytes).starts_with("it is not an ONNX file"), "{bytes:?}: {}", refusal(bytes));
        }
    }
}
