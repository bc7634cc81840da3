// Runs workgroups of up to four kinds in turns, because kinds differ in cost. A turn has 1 / TURNS of the workgroups of
// each kind, one kind after the other.
//
// A software device gives each of its cores a run of consecutive workgroups. If all of one kind came first, one core
// would get all of the expensive kind. Within a kind, workgroups keep their order.
//
// The host guarantees: fewer than 2^28 workgroups, and at least one.

const TURNS: u32 = 16u;

// The kind of a workgroup, and its number among those of its kind.
struct Turn {
    kind: u32,
    index: u32,
}

fn sum_of(v: vec4<u32>) -> u32 {
    return v.x + v.y + v.z + v.w;
}

// The kind and number of a workgroup. `counts` has the workgroups of each kind; `workgroup` is less than their sum.
fn turn_of(workgroup: u32, counts: vec4<u32>) -> Turn {
    // Each kind's share is rounded down on its own, so a turn may begin a little earlier than this first guess says.
    var number = workgroup * TURNS / sum_of(counts);
    while sum_of((number + 1u) * counts / TURNS) <= workgroup {
        number++;
    }
    let before = number * counts / TURNS;
    let share = (number + 1u) * counts / TURNS - before;
    let at = workgroup - sum_of(before);
    if at < share.x {
        return Turn(0u, before.x + at);
    }
    if at < share.x + share.y {
        return Turn(1u, before.y + at - share.x);
    }
    if at < share.x + share.y + share.z {
        return Turn(2u, before.z + at - share.x - share.y);
    }
    return Turn(3u, before.w + at - share.x - share.y - share.z);
}
