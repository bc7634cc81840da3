//! tmp
use octconv::network::*;
use octconv::{Activation, Context, ContextOptions, InputSize};
use std::time::Instant;
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let context = Context::new(&ContextOptions::default())?;
    let node = |t: &str| -> Node { serde_json::from_str(t).unwrap() };
    let small = r#"{"name":"small","op":"pool","input":"input","kind":"max","kernel":[2,2],"stride":[2,2]}"#;
    let up = |i: &str| format!(r#"{{"name":"up","op":"upsample","input":"{i}","mode":"nearest","factor":[2,2]}}"#);
    let deep = |a: &str| {
        format!(
            r#"{{"name":"deep","op":"conv","input":"small","channels":64,"kernel":[3,3],"padding":"same","norm":true,"activation":"{a}"}}"#
        )
    };
    let one = |i: &str| {
        format!(r#"{{"name":"one","op":"conv","input":"{i}","channels":64,"norm":true,"activation":"relu"}}"#)
    };
    let cases: Vec<(&str, Vec<String>, Vec<&str>)> = vec![
        ("conv3x3, up", vec![small.into(), deep("relu"), up("deep")], vec!["deep"]),
        (
            "conv3x3, up, add",
            vec![
                small.into(),
                deep("none"),
                up("deep"),
                r#"{"name":"sum","op":"add","inputs":["up","input"],"activation":"relu"}"#.into(),
            ],
            vec!["deep", "up"],
        ),
        (
            "conv3x3, up | conv, add",
            vec![
                small.into(),
                deep("none"),
                up("deep"),
                r#"{"name":"sum","op":"add","inputs":["up","input"],"activation":"relu"}"#.into(),
            ],
            vec!["deep"],
        ),
        ("up, conv1x1", vec![small.into(), up("small"), one("up")], vec!["up"]),
        (
            "up, concat, conv1x1",
            vec![
                small.into(),
                up("small"),
                r#"{"name":"both","op":"concat","inputs":["up","input"]}"#.into(),
                one("both"),
            ],
            vec!["up", "both"],
        ),
        (
            "norm, conv1x1",
            vec![
                r#"{"name":"a","op":"activation","input":"input","activation":"relu"}"#.into(),
                r#"{"name":"n","op":"norm","input":"a","affine":false}"#.into(),
                one("n"),
            ],
            vec!["n"],
        ),
        (
            "norm, conv1x1 octave",
            vec![
                r#"{"name":"a","op":"conv","input":"input","channels":64,"alpha":0.5,"activation":"relu"}"#.into(),
                r#"{"name":"n","op":"norm","input":"a","affine":false}"#.into(),
                r#"{"name":"one","op":"conv","input":"n","channels":64,"alpha":0.5,"norm":true,"activation":"relu"}"#
                    .into(),
            ],
            vec!["n"],
        ),
    ];
    println!("{}", context.engine().facts().software);
    for side in [56, 112] {
        for (name, nodes, keep) in &cases {
            let nodes: Vec<Node> = nodes.iter().map(|t| node(t)).collect();
            let output = nodes.last().unwrap().name.clone();
            let text = format!(r#"{{"name":"x","input":{{"channels":64}},"nodes":[],"output":"{output}"}}"#);
            let mut network: Network = serde_json::from_str(&text)?;
            network.nodes = nodes;
            let graph = Graph::new(&network)?;
            let model = Model::new(context.engine(), graph.clone(), Checkpoint::random(&graph, 1))?;
            let size = InputSize::image(1, side, side);
            let make = |keep: &[&str]| {
                let mut o = NetworkOptions::default();
                o.keep = keep.iter().map(|s| s.to_string()).collect();
                model.compile(model.plan(size, &o).unwrap(), |_| {}).unwrap()
            };
            let both = [make(keep), make(&[])];
            let mut ratios = Vec::new();
            let mut times = [Vec::new(), Vec::new()];
            for round in 0..41 {
                let mut t = [0.0; 2];
                for i in if round % 2 == 0 { [0, 1] } else { [1, 0] } {
                    let start = Instant::now();
                    context.run_pass(|pass| {
                        for _ in 0..10 {
                            both[i].record(pass)
                        }
                    })?;
                    t[i] = start.elapsed().as_secs_f64() * 100.0;
                }
                if round > 0 {
                    ratios.push(t[1] / t[0]);
                    times[0].push(t[0]);
                    times[1].push(t[1]);
                }
            }
            ratios.sort_by(f64::total_cmp);
            times.iter_mut().for_each(|t| t.sort_by(f64::total_cmp));
            println!(
                "{side} {name}: together/apart median {:.3} ({:.3} to {:.3}); least {:.3} of {:.3} ms = {:.3}; dispatches {} of {}; {:?}",
                ratios[20],
                ratios[10],
                ratios[30],
                times[1][0],
                times[0][0],
                times[1][0] / times[0][0],
                both[1].plan().dispatches(),
                both[0].plan().dispatches(),
                both[1].plan().trace().last()
            );
        }
    }
    let _ = Activation::None;
    Ok(())
}
