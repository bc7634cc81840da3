//! Operations of networks on the CPU reference against PyTorch: what `tests/operations/make_fixtures.py` and
//! `tests/pools/make_fixtures.py` write. And how files describe them.

use octconv::InputSize;
use octconv::network::{Graph, Network, Op, ValueShape};
use octconv::reference::network::{Value, run};

use crate::operation_fixture::{operations, pools};

#[test]
fn agree_with_pytorch() {
    for case in pools().into_iter().chain(operations()) {
        match run(&case.graph(), &case.checkpoint(), case.size(), &case.input(), &mut |_, _| {}) {
            Ok(Value::Map { high: Some(high), low: Some(low) }) => {
                for (part, found) in [(&case.high, high), (&case.low, low)] {
                    case.check(part.as_ref(), found.dims, &found.data, 1e-12);
                }
            }
            Ok(Value::Vector { data, .. }) => case.check_vector(&data, 1e-12),
            other => panic!("{}: {other:?}", case.name),
        }
    }
}

fn network(pool: &str) -> Result<Network, serde_json::Error> {
    with_node(&format!(r#""op": "pool", "input": "input", "kind": "average", {pool}"#))
}

/// A network of one node, with these members and a name.
fn with_node(members: &str) -> Result<Network, serde_json::Error> {
    let node = format!(r#"{{"name": "p", {members}}}"#);
    serde_json::from_str(&format!(r#"{{"name": "n", "input": {{"channels": 3}}, "nodes": [{node}], "output": "p"}}"#))
}

#[test]
fn files_say_the_sides_of_pools() {
    let image = r#""kernel": [3, 3], "stride": [2, 2]"#;
    let clip = r#""kernel": [2, 3, 3], "stride": [1, 2, 2]"#;
    for (pool, size) in [
        (image.into(), [4, 5, 6]),
        (format!(r#"{image}, "ceil_mode": true"#), [4, 6, 6]),
        (format!(r#"{image}, "padding": [1, 1]"#), [4, 6, 7]),
        (format!(r#"{image}, "padding": [[0, 1], [0, 1]]"#), [4, 6, 6]),
        (format!(r#"{image}, "padding": [0, [2, 1]], "count_include_pad": true"#), [4, 5, 7]),
        (format!(r#"{clip}, "padding": [[1, 0], 0, [0, 3]]"#), [4, 5, 7]),
    ] {
        let read = network(&pool).unwrap();
        let shapes = Graph::new(&read).unwrap().shapes(InputSize::video(1, 4, 12, 13)).unwrap();
        assert!(matches!(shapes[1], ValueShape::Map { high: Some(y), .. } if [y.t, y.h, y.w] == size), "{pool}");
        let text = serde_json::to_string(&read).unwrap();
        assert_eq!(serde_json::from_str::<Network>(&text).unwrap(), read, "{text}");
        let Op::Pool(pool) = &read.nodes[0].op else { panic!("{text}") };
        assert!(!pool.ceil_mode || text.contains(r#""ceil_mode":true"#), "{text}");
    }
    for (pool, wanted) in [
        (r#""kernel": 3, "stride": [2, 2]"#.into(), "kernel is 3: must be [h, w] or [t, h, w]"),
        (r#""kernel": [3, 3]"#.into(), "node p: stride is missing"),
        (
            format!(r#"{image}, "padding": 1"#),
            "padding is 1: must be [h, w] or [t, h, w], each a number or [before, behind]",
        ),
        (format!(r#"{image}, "padding": [1, [1, 2, 3]]"#), "padding is [1,[1,2,3]]: must be"),
        (format!(r#"{image}, "padding": [-1, 0]"#), "padding is [-1,0]: must be"),
        (format!(r#"{image}, "ceil_mode": 1"#), "ceil_mode is 1: must be true or false"),
        (format!(r#"{image}, "cover_all": true"#), "unknown field `cover_all`"),
    ] {
        let refusal = network(&pool).unwrap_err().to_string();
        assert!(refusal.contains(wanted), "{pool}\n  gives  {refusal}\n  wanted {wanted}");
    }
}

#[test]
fn files_say_the_size_of_upsampling() {
    let node = |members: &str| with_node(&format!(r#""op": "upsample", "input": "input", {members}"#));
    for (members, size) in [
        (r#""mode": "nearest", "factor": [2, 2]"#, [4, 24, 26]),
        (r#""mode": "bilinear", "factor": [1.5, 0.5]"#, [4, 18, 6]),
        (r#""mode": "bilinear", "factor": [0.5, 1, 1], "align_corners": true"#, [2, 12, 13]),
        (r#""mode": "nearest", "size": [5, 1]"#, [4, 5, 1]),
        (r#""mode": "nearest", "size": [7, 5, 1], "align_corners": false"#, [7, 5, 1]),
        (r#""mode": "nearest", "like": "input""#, [4, 12, 13]),
    ] {
        let read = node(members).unwrap();
        let shapes = Graph::new(&read).unwrap().shapes(InputSize::video(1, 4, 12, 13)).unwrap();
        assert!(matches!(shapes[1], ValueShape::Map { high: Some(y), .. } if [y.t, y.h, y.w] == size), "{members}");
        let text = serde_json::to_string(&read).unwrap();
        assert_eq!(serde_json::from_str::<Network>(&text).unwrap(), read, "{text}");
    }
    let one = "node p: must have one of factor, size and like";
    for (members, wanted) in [
        (r#""factor": [2, 2]"#, "node p: mode is missing"),
        (r#""mode": "cubic", "factor": [2, 2]"#, r#"mode is "cubic": must be one of "nearest", "bilinear""#),
        (r#""mode": "nearest""#, one),
        (r#""mode": "nearest", "factor": [2, 2], "size": [4, 4]"#, one),
        (r#""mode": "nearest", "size": [4, 4], "like": "input""#, one),
        (r#""mode": "nearest", "factor": 2"#, "node p: factor is 2: must be [h, w] or [t, h, w], each a number"),
        (r#""mode": "nearest", "size": [4.5, 4]"#, "size is [4.5,4]: must be [h, w] or [t, h, w]"),
        (r#""mode": "nearest", "like": 3"#, "like is 3: must be a text"),
        (r#""mode": "nearest", "like": "input", "corners": true"#, "unknown field `corners`"),
    ] {
        let refusal = node(members).unwrap_err().to_string();
        assert!(refusal.contains(wanted), "{members}\n  gives  {refusal}\n  wanted {wanted}");
    }
    for (members, wanted) in [
        (
            r#""mode": "nearest", "factor": [2, 0]"#,
            "node p: factor is 0: must be a fraction of whole numbers from 1 to 1024",
        ),
        (r#""mode": "nearest", "factor": [2, 3.14159]"#, "node p: factor is 3.14159: must be a fraction"),
        (r#""mode": "nearest", "size": [0, 4]"#, "node p: size is 0: must be 1 to 1048576"),
        (
            r#""mode": "nearest", "size": [4, 4], "align_corners": true"#,
            "node p: align_corners is true: must be left out unless mode is bilinear",
        ),
        (r#""mode": "nearest", "like": "q""#, "node p: it reads q, which no node in front of it makes"),
    ] {
        let refusal = Graph::new(&node(members).unwrap()).unwrap_err().to_string();
        assert!(refusal.starts_with(wanted), "{members}\n  gives  {refusal}\n  wanted {wanted}");
    }
    let graph = Graph::new(&node(r#""mode": "nearest", "factor": [0.5, 1024]"#).unwrap()).unwrap();
    for (h, w, wanted) in [
        (1, 8, "node p: the input is too small: nothing is left of its map"),
        (4, 1025, "node p: factor is 1024: must make at most 1048576 of the 1025 columns"),
    ] {
        assert_eq!(graph.shapes(InputSize::image(1, h, w)).unwrap_err().to_string(), wanted);
    }
}

#[test]
fn files_say_what_attends_to_what() {
    let whole = r#""op": "attention", "queries": "input", "keys": "input", "values": "input""#;
    for (members, scale) in [(whole.into(), None), (format!(r#"{whole}, "scale": -0.5"#), Some(-0.5))] {
        let read = with_node(&members).unwrap();
        Graph::new(&read).unwrap();
        let Op::Attention(attention) = &read.nodes[0].op else { panic!("{members}") };
        assert_eq!(attention.scale, scale);
        let text = serde_json::to_string(&read).unwrap();
        assert_eq!(serde_json::from_str::<Network>(&text).unwrap(), read, "{text}");
    }
    for (members, wanted) in [
        (r#""op": "attention", "queries": "input", "keys": "input""#.into(), "missing field `values`"),
        (format!(r#"{whole}, "heads": 8"#), "unknown field `heads`"),
        (format!(r#"{whole}, "scale": "auto""#), "invalid type: string"),
    ] {
        let refusal = with_node(&members).unwrap_err().to_string();
        assert!(refusal.starts_with("node p: ") && refusal.contains(wanted), "{members}: {refusal}");
    }
    let refusal = Graph::new(&with_node(&format!(r#"{whole}, "scale": 1e300"#)).unwrap()).unwrap_err().to_string();
    assert_eq!(refusal, "node p: scale is inf: must be a number that f32 can hold");
}

/// Of maps with 6 high and 2 low channels, 6 high ones alone, and a quarter of the positions.
#[test]
fn attention_refuses_maps_that_do_not_fit() {
    let with = |queries: &str, keys: &str, values: &str| {
        let json = format!(
            r#"{{"name": "n", "input": {{"channels": 3}}, "output": "p", "nodes": [
                {{"name": "both", "op": "conv", "input": "input", "channels": 8, "alpha": 0.25}},
                {{"name": "high", "op": "conv", "input": "input", "channels": 6}},
                {{"name": "small", "op": "pool", "input": "both", "kind": "max", "kernel": [2, 2], "stride": [2, 2]}},
                {{"name": "wide", "op": "conv", "input": "small", "channels": 20, "alpha": 0.5}},
                {{"name": "means", "op": "global_pool", "input": "both"}},
                {{"name": "p", "op": "attention", "queries": "{queries}", "keys": "{keys}", "values": "{values}"}}]}}"#
        );
        let graph = Graph::new(&serde_json::from_str(&json).unwrap())?;
        Ok::<_, octconv::Error>((
            graph.shapes(InputSize::video(2, 3, 8, 6))?,
            graph.macs(InputSize::video(2, 3, 8, 6))?,
        ))
    };
    let (shapes, macs) = with("both", "small", "wide").unwrap();
    let Some(ValueShape::Map { high: Some(high), low: Some(low), .. }) = shapes.last() else { panic!("{shapes:?}") };
    let of = |dims: &octconv::Dims| [dims.n, dims.c, dims.t, dims.h, dims.w];
    assert_eq!([of(high), of(low)], [[2, 10, 3, 8, 6], [2, 10, 3, 4, 3]]);
    // Queries times keys, times the channels of both products: of 4 x 3 and 2 x 2 positions a frame.
    assert_eq!(macs.last(), Some(&(2 * (144 * 36 * (6 + 10) + 36 * 12 * (2 + 10)))));
    for (maps, wanted) in [
        (["both", "high", "both"], "its keys high have 6 high and 0 low channels: must have 6 and 2, as both has"),
        (
            ["both", "both", "high"],
            "its values high have 6 high and 0 low channels: must have some where both has some",
        ),
        (["both", "both", "wide"], "its keys both and values wide differ in size"),
        (["means", "both", "both"], "it reads means, which is a vector: must be a map"),
        (["both", "both", "later"], "it reads later, which no node in front of it makes"),
    ] {
        let refusal = with(maps[0], maps[1], maps[2]).unwrap_err().to_string();
        assert_eq!(refusal, format!("node p: {wanted}"));
    }
}

#[test]
fn files_say_what_is_added_and_activated() {
    for members in [
        r#""op": "add", "inputs": ["input", "input"]"#,
        r#""op": "add", "inputs": ["input", "input", "input"], "activation": "relu""#,
        r#""op": "activation", "input": "input", "activation": {"leaky_relu": {"slope": 0.5}}"#,
    ] {
        let read = with_node(members).unwrap();
        Graph::new(&read).unwrap();
        let text = serde_json::to_string(&read).unwrap();
        assert_eq!(serde_json::from_str::<Network>(&text).unwrap(), read, "{text}");
    }
    for (members, wanted) in [
        (r#""op": "add", "input": "input""#, "unknown field `input`"),
        (r#""op": "add", "activation": "relu""#, "missing field `inputs`"),
        (r#""op": "activation", "input": "input""#, "missing field `activation`"),
        (r#""op": "activation", "input": "input", "activation": "swish""#, "unknown variant `swish`"),
    ] {
        let refusal = with_node(members).unwrap_err().to_string();
        assert!(refusal.starts_with("node p: ") && refusal.contains(wanted), "{members}: {refusal}");
    }
    for (members, wanted) in [
        (r#""op": "add", "inputs": ["input"]"#, "node p: inputs has 1 names: must name at least two maps"),
        (r#""op": "concat", "inputs": []"#, "node p: inputs is empty: must name at least one map or vector"),
    ] {
        assert_eq!(Graph::new(&with_node(members).unwrap()).unwrap_err().to_string(), wanted);
    }
}
