//! Pools of both frequencies on the CPU reference against PyTorch: what `tests/pools/make_fixtures.py` writes. And how
//! files describe them.

use octconv::InputSize;
use octconv::network::{Graph, Network, Op, ValueShape};
use octconv::reference::network::{Value, run};

use crate::pool_fixture;

#[test]
fn agree_with_pytorch() {
    for case in pool_fixture::all() {
        let value = run(&case.graph(), &case.checkpoint(), case.size(), &case.input(), &mut |_, _| {});
        let Ok(Value::Map { high: Some(high), low: Some(low) }) = value else { panic!("{}: {value:?}", case.name) };
        for (part, found) in [(&case.high, high), (&case.low, low)] {
            case.check(part, found.dims, &found.data, 1e-12);
        }
    }
}

fn network(pool: &str) -> Result<Network, serde_json::Error> {
    let node = format!(r#"{{"name": "p", "op": "pool", "input": "input", "kind": "average", {pool}}}"#);
    serde_json::from_str(&format!(r#"{{"name": "n", "input": {{"channels": 3}}, "nodes": [{node}], "output": "p"}}"#))
}

#[test]
fn files_say_the_sides() {
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
