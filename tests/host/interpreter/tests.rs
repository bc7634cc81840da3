//! Each check finds what is wrong, and nothing in what is right.

use super::{Bound, Buffer, Machine, Order, Subgroups, compile};

/// Threads of a workgroup, and workgroups.
const SIZES: [u32; 2] = [8, 2];

/// What is wrong with a kernel with this body. It reads `x`, of 16 numbers, and writes `y` of 16 and `h` of 32 halves.
fn faults(declarations: &str, body: &str) -> Vec<String> {
    let [threads, workgroups] = SIZES;
    let source = format!(
        "enable f16;
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<storage, read_write> h: array<f16>;
{declarations}
@compute @workgroup_size({threads})
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) local: u32) {{
    let thread = id.x * {threads}u + local;
    {body}
}}
"
    );
    let subgroups = Subgroups { size: threads, interleaved: false };
    let program = compile(&source, subgroups.size);
    let numbers = (0..16).flat_map(|i| (i as f32 - 4.0).to_le_bytes()).collect();
    let memory = vec![Buffer::set(numbers), Buffer::unset(vec![0xff; 64]), Buffer::unset(vec![0xff; 64])];
    let bound = [0, 1, 2].map(|i| Bound { number: i as u32, buffer: i, offset: 0, bytes: 64 });
    let run = |order| {
        let mut memory = memory.clone();
        let found = Machine::new(&program, subgroups, &mut memory, &bound).dispatch([workgroups, 1, 1], order);
        (found, memory)
    };
    let [(faults, memory), (backward, again)] = [Order::Forward, Order::Backward].map(run);
    assert_eq!(faults.is_empty(), backward.is_empty(), "{faults:?} {backward:?}");
    let same = memory.iter().zip(&again).all(|(one, other)| one.bytes == other.bytes);
    assert!(same || !faults.is_empty(), "{source}");
    faults
}

/// Asserts that a fault is of this kind, or that there is none.
fn check(kind: Option<&str>, declarations: &str, body: &str) {
    let faults = faults(declarations, body);
    match kind {
        None => assert!(faults.is_empty(), "{faults:#?} of {body}"),
        Some(kind) => {
            let is = |fault: &String| fault.starts_with(&format!("{kind}: "));
            assert!(faults.iter().any(is), "{faults:#?} of {body}, not {kind}");
        }
    }
}

const HELD: &str = "var<workgroup> held: array<f32, 8>;";

#[test]
fn races_in_workgroup_memory() {
    let reads = "y[thread] = held[(local + 1u) % 8u];";
    let writes = "held[local] = x[thread];";
    check(None, HELD, &format!("{writes} workgroupBarrier(); {reads}"));
    check(None, HELD, &format!("{writes} y[thread] = held[local];"));
    check(Some("race"), HELD, &format!("{writes} {reads} workgroupBarrier();"));
    // A barrier for storage does not order it.
    check(Some("race"), HELD, &format!("{writes} storageBarrier(); {reads}"));
    // The write comes after the read.
    check(Some("race"), HELD, &format!("{writes} workgroupBarrier(); {reads} {writes}"));
    check(None, HELD, &format!("{writes} workgroupBarrier(); {reads} workgroupBarrier(); {writes}"));
    // The same value.
    check(Some("race"), HELD, "held[0] = 1.0; workgroupBarrier(); y[thread] = held[0];");
    check(None, HELD, "if local == 3u { held[0] = 1.0; } workgroupBarrier(); y[thread] = held[0];");
    // Other components of a vector, or members of a structure, are other places.
    let vectors = "var<workgroup> held: array<vec4<f32>, 2>;";
    check(None, vectors, "held[local / 4u][local % 4u] = 1.0;");
    check(Some("race"), vectors, "held[local / 4u] = vec4(1.0);");
    // In a loop, what one iteration reads and the next writes.
    let rounds =
        |last: &str| format!("for (var i = 0u; i < 3u; i++) {{ {writes} workgroupBarrier(); {reads} {last} }}");
    check(Some("race"), HELD, &rounds(""));
    check(None, HELD, &rounds("workgroupBarrier();"));
}

#[test]
fn races_in_storage() {
    check(None, "", "y[thread] = 1.0;");
    check(Some("race"), "", "y[thread / 2u] = 1.0;");
    check(Some("race"), "", "y[local] = 1.0;");
    // Only within a workgroup does a barrier help.
    check(None, "", "y[thread] = 1.0; storageBarrier(); y[thread ^ 1u] = 2.0;");
    check(Some("race"), "", "y[thread] = 1.0; workgroupBarrier(); y[thread ^ 1u] = 2.0;");
    check(Some("race"), "", "y[thread] = 1.0; storageBarrier(); y[15u - thread] = 2.0;");
    check(Some("race"), "", "y[thread] = 1.0; storageBarrier(); if y[15u - thread] > 2.0 { h[thread] = 1.0h; }");
    check(None, "", "y[thread] = 1.0; storageBarrier(); if y[thread ^ 1u] > 2.0 { h[thread] = 1.0h; }");
    // Halves of a word are places of their own.
    check(None, "", "h[thread] = 1.0h;");
    check(Some("race"), "", "h[thread / 2u] = 1.0h;");
    // Two workgroups read what a third one writes later.
    check(Some("race"), "", "if id.x == 0u { y[local] = 1.0; } else { y[0] = y[0]; }");
}

#[test]
fn indices_outside() {
    check(Some("bounds"), "", "y[thread + 1u] = 1.0;");
    check(Some("bounds"), "", "y[thread] = x[thread * 2u];");
    check(None, "", "if thread < 15u { y[thread + 1u] = x[thread]; }");
    let local = |index: &str| format!("var own = array(1.0, 2.0, 3.0); own[{index}] = 4.0; y[thread] = own[{index}];");
    check(None, "", &local("thread % 3u"));
    check(Some("bounds"), "", &local("thread % 4u"));
    let vector = |index: &str| format!("let own = vec3(1.0, 2.0, 3.0); y[thread] = own[{index}];");
    check(None, "", &vector("thread % 3u"));
    check(Some("bounds"), "", &vector("thread % 4u"));
    check(Some("bounds"), HELD, "held[thread] = 1.0;");
    let by_pointer = "fn put(to: ptr<function, array<f32, 4>>, i: u32) { (*to)[i] = 1.0; }";
    let put = |index: &str| format!("var own: array<f32, 4>; put(&own, {index}); y[thread] = own[1];");
    check(None, by_pointer, &put("thread % 4u"));
    check(Some("bounds"), by_pointer, &put("thread % 5u"));
    // Nothing is taken for an index that a condition guards.
    check(None, "", "if thread + 1u < arrayLength(&x) { y[thread] = x[thread + 1u]; }");
}

#[test]
fn barriers_that_not_all_meet() {
    for (kind, body) in [
        (Some("barrier"), "if local < 4u { workgroupBarrier(); }"),
        (Some("barrier"), "if local < 4u { workgroupBarrier(); } else { workgroupBarrier(); }"),
        (Some("barrier"), "for (var i = 0u; i < local; i++) { workgroupBarrier(); }"),
        (Some("barrier"), "if local == 7u { return; } workgroupBarrier();"),
        (Some("barrier"), "if local < 4u { meet(); } else { meet(); }"),
        (None, "if id.x == 1u { return; } workgroupBarrier();"),
        (None, "for (var i = 0u; i <= id.x; i++) { meet(); }"),
        (None, "switch id.x { case 0u: { meet(); } default: { storageBarrier(); } }"),
        (Some("barrier"), "switch local { case 0u: { meet(); } default: { storageBarrier(); } }"),
    ] {
        check(kind, "fn meet() { workgroupBarrier(); }", body);
    }
}

#[test]
fn reads_of_what_nobody_has_written() {
    check(Some("unset"), HELD, "y[thread] = held[local];");
    check(Some("unset"), HELD, "if local < 7u { held[local] = 1.0; } workgroupBarrier(); y[thread] = held[local];");
    // What the workgroup before has left there does not count.
    check(Some("unset"), HELD, "if id.x == 0u { held[local] = 1.0; } y[thread] = held[local];");
    check(Some("unset"), "", "y[thread] = f32(h[thread]);");
    check(None, "", "h[thread] = 1.0h; y[thread] = f32(h[thread]);");
}

#[test]
fn arithmetic_without_a_value() {
    // The index is right only because WGSL keeps 32 bits.
    check(Some("wrapped index"), "", "y[thread] = x[4294967295u * (16u - thread) - 4294967280u];");
    // A sum that wraps and comes back is right.
    check(None, "", "y[thread] = x[thread - 20u + 20u];");
    check(
        None,
        "",
        "let before = thread - 3u; y[thread] = select(0.0, x[select(0u, before, before < 16u)], before < 16u);",
    );
    check(Some("bounds"), "", "y[thread] = x[thread - 3u];");
    check(Some("arithmetic"), "", "y[thread] = f32(1u << (thread * 4u));");
    check(None, "", "y[thread] = f32(1u << thread);");
    check(Some("arithmetic"), "", "y[thread] = f32(8u / thread);");
    check(Some("arithmetic"), "", "y[thread] = f32(8u % thread);");
    check(Some("arithmetic"), "", "y[thread] = f32(u32(x[thread]));");
    check(None, "", "y[thread] = f32(i32(x[thread]));");
}

/// What a subgroup does with matrices.
fn matrices(size: u32, interleaved: bool, body: &str) -> Vec<String> {
    let source = format!(
        "enable f16;
enable wgpu_cooperative_matrix;
alias Left = coop_mat8x8<f16, A>;
alias Right = coop_mat8x8<f16, B>;
alias Sum = coop_mat8x8<f32, C>;
var<workgroup> factors: array<f16, 72>;
var<workgroup> sums: array<f32, 128>;
@group(0) @binding(0) var<storage, read_write> y: array<f32>;
@compute @workgroup_size(16)
fn main(@builtin(local_invocation_index) local: u32, @builtin(subgroup_id) subgroup: u32) {{
    for (var i = local; i < 72u; i += 16u) {{
        factors[i] = f16(i);
    }}
    workgroupBarrier();
    {body}
}}
"
    );
    let subgroups = Subgroups { size, interleaved };
    let program = compile(&source, size);
    let mut memory = [Buffer::unset(vec![0xff; 512])];
    let bound = [Bound { number: 0, buffer: 0, offset: 0, bytes: 512 }];
    let faults = Machine::new(&program, subgroups, &mut memory, &bound).dispatch([1, 1, 1], Order::Forward);
    if faults.is_empty() {
        for (i, bytes) in memory[0].bytes.as_chunks().0.iter().enumerate().take(64) {
            // Element (r, c) of a product of a matrix and itself.
            let (row, col) = (i / 8, i % 8);
            let wanted: usize = (0..8).map(|k| (8 * row + k) * (8 * k + col)).sum();
            assert_eq!(f32::from_le_bytes(*bytes), wanted as f32, "element {i}, subgroups of {size}");
        }
    }
    faults
}

#[test]
fn matrices_of_subgroups() {
    let product = "let left = coopLoadT<Left>(&factors[0], 8u);
        let right = coopLoadT<Right>(&factors[0], 8u);
        var sum: Sum;
        sum = coopMultiplyAdd(left, right, sum);";
    let right = format!("{product} coopStoreT(sum, &y[64u * subgroup], 8u);");
    for (size, interleaved) in [(8, false), (8, true), (16, false)] {
        assert_eq!(matrices(size, interleaved, &right), [""; 0]);
    }
    let by_columns = right.replace("coopLoadT<Left>", "coopLoad<Right>").replace("coopLoadT<Right>", "coopLoad<Left>");
    let by_columns = by_columns.replace("Add(left, right", "Add(right, left").replace("coopStoreT", "coopStore");
    assert_eq!(matrices(8, false, &by_columns), [""; 0]);
    let through = |between: &str| {
        format!(
            "{product} coopStoreT(sum, &sums[64u * subgroup], 8u); {between}
             let again = coopLoadT<Sum>(&sums[64u * subgroup], 8u); coopStoreT(again, &y[64u * subgroup], 8u);"
        )
    };
    assert_eq!(matrices(8, false, &through("workgroupBarrier();")), [""; 0]);
    for (kind, body) in [
        ("race", through("")),
        ("race", right.replace("64u * subgroup", "0u")),
        ("bounds", right.replace("64u * subgroup", "64u * subgroup + 4u")),
        ("bounds", right.replace("&factors[0]", "&factors[16]")),
        ("alignment", right.replace("&factors[0]", "&factors[4]")),
        ("subgroup", format!("{product} if local != 3u {{ coopStoreT(sum, &y[64u * subgroup], 8u); }}")),
        ("subgroup", right.replace("&factors[0]", "&factors[8u * (local % 2u)]")),
    ] {
        let faults = matrices(8, false, &body);
        assert!(
            faults.iter().any(|fault| fault.starts_with(&format!("{kind}: "))),
            "{faults:#?} of {body}, not {kind}"
        );
    }
}
