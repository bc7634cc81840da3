// Workgroups of up to four kinds, which differ in what they cost, in turns: a TURNSth of each kind, then the next of each.
//
// A software device gives each of its cores one run of workgroups. If one kind came after the other, one core would get
// all the expensive ones. Within a kind workgroups keep their order.
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

// The turn of a workgroup, which must be less than the sum of `counts`, the workgroups of each kind.
fn turn_of(workgroup: u32, counts: vec4<u32>) -> Turn {
    // Shares are rounded down, each on its own: turns may begin a little earlier than all of them together say.
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
