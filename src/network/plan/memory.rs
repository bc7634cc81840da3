//! Assigns tensors to buffers. Tensors that are never alive at the same time share memory.
//!
//! WebGPU tracks whole buffers: a dispatch cannot read one part of a buffer and write another, unless it binds both as
//! written. So, unless one buffer is asked for, two tensors share a buffer only if no dispatch reads one and writes the
//! other.

/// A tensor of a plan: its size, the steps between which it must keep its contents, and the steps that use it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lifetime {
    pub(crate) bytes: u64,
    pub(crate) first: usize,
    pub(crate) last: usize,
    /// The steps that use it, in order, and whether they write it.
    pub(crate) accesses: Vec<(usize, bool)>,
}

impl Lifetime {
    /// Whether both are alive in a step.
    fn overlaps(&self, other: &Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    /// Whether a step reads one and writes the other.
    fn clashes(&self, other: &Self) -> bool {
        let (mut a, mut b) = (self.accesses.iter().peekable(), other.accesses.iter().peekable());
        while let (Some(&&(i, write)), Some(&&(j, other_write))) = (a.peek(), b.peek()) {
            if i == j && write != other_write {
                return true;
            }
            if i <= j {
                a.next()
            } else {
                b.next()
            };
        }
        false
    }
}

/// Where a tensor lies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Spot {
    pub(crate) buffer: usize,
    pub(crate) offset: u64,
}

/// Where each tensor lies, and the sizes of the buffers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Assignment {
    pub(crate) spots: Vec<Spot>,
    /// Bytes of each buffer.
    pub(crate) bytes: Vec<u64>,
}

/// Bytes of the tensors that are alive in a step, at most over all steps.
pub(crate) fn live_bytes(tensors: &[Lifetime]) -> u64 {
    let alive = |step: usize| tensors.iter().filter(move |t| t.first <= step && step <= t.last).map(|t| t.bytes);
    tensors.iter().map(|t| alive(t.first).fold(0, u64::saturating_add)).max().unwrap_or(0)
}

/// Assigns tensors to buffers greedily, in several orders, and returns the smallest result. Which order is the best
/// depends on where a network has its largest maps. Offsets are multiples of `alignment`. A buffer has at most `most`
/// bytes, unless one tensor alone has more. With `one_buffer` there are as few buffers as `most` allows.
pub(crate) fn assign(tensors: &[Lifetime], alignment: u64, most: u64, one_buffer: bool) -> Assignment {
    let order = |key: &dyn Fn(&Lifetime) -> (u64, u64)| {
        let mut order: Vec<usize> = (0..tensors.len()).collect();
        order.sort_by_key(|&i| (key(&tensors[i]), i));
        order
    };
    let largest_first = |t: &Lifetime| u64::MAX - t.bytes;
    let longest_first = |t: &Lifetime| u64::MAX - t.bytes.saturating_mul((t.last - t.first + 1) as u64);
    let orders = [
        order(&|t| (largest_first(t), t.first as u64)),
        order(&|t| (longest_first(t), t.first as u64)),
        order(&|t| (t.first as u64, largest_first(t))),
        order(&|t| (u64::MAX - t.last as u64, largest_first(t))),
    ];
    let total = |assignment: &Assignment| assignment.bytes.iter().fold(0, |sum: u64, &bytes| sum.saturating_add(bytes));
    let all = orders.iter().map(|order| assign_in(order, tensors, alignment, most, one_buffer));
    all.min_by_key(|assignment| (if one_buffer { assignment.bytes.len() } else { 0 }, total(assignment)))
        .unwrap_or_else(|| Assignment { spots: Vec::new(), bytes: Vec::new() })
}

/// Assigns tensors in this order. Each takes the place for which a buffer has to grow least. If several buffers would
/// grow equally, it takes the smallest of them.
fn assign_in(order: &[usize], tensors: &[Lifetime], alignment: u64, most: u64, one_buffer: bool) -> Assignment {
    let mut spots = vec![Spot::default(); tensors.len()];
    let mut bytes: Vec<u64> = Vec::new();
    let mut residents: Vec<Vec<usize>> = Vec::new();
    for &i in order {
        let tensor = &tensors[i];
        let candidate = |buffer: usize| {
            let here = &residents[buffer];
            if !one_buffer && here.iter().any(|&other| tensor.clashes(&tensors[other])) {
                return None;
            }
            let taken = here.iter().filter(|&&other| tensor.overlaps(&tensors[other]));
            let offset = gap(taken.map(|&other| (spots[other].offset, tensors[other].bytes)), tensor.bytes, alignment);
            let end = offset.saturating_add(tensor.bytes);
            let fits = end <= most || offset == 0;
            fits.then_some((end.saturating_sub(bytes[buffer]), bytes[buffer], Spot { buffer, offset }))
        };
        let best = (0..bytes.len()).filter_map(candidate).min_by_key(|&(growth, size, _)| (growth, size));
        // If a buffer would have to grow by the whole tensor, a new buffer costs the same and restricts later tensors
        // less.
        let spot = match best {
            Some((growth, _, spot)) if one_buffer || growth < tensor.bytes => spot,
            _ => {
                bytes.push(0);
                residents.push(Vec::new());
                Spot { buffer: bytes.len() - 1, offset: 0 }
            }
        };
        residents[spot.buffer].push(i);
        bytes[spot.buffer] = bytes[spot.buffer].max(spot.offset + tensor.bytes);
        spots[i] = spot;
    }
    Assignment { spots, bytes }
}

/// The lowest aligned offset with room for `bytes` between the taken ranges (offset, length).
fn gap(taken: impl Iterator<Item = (u64, u64)>, bytes: u64, alignment: u64) -> u64 {
    let mut taken: Vec<_> = taken.collect();
    taken.sort_unstable();
    let mut offset = 0u64;
    for (start, length) in taken {
        if offset.saturating_add(bytes) <= start {
            break;
        }
        let end = start.saturating_add(length);
        offset = offset.max(end.checked_next_multiple_of(alignment).unwrap_or(u64::MAX));
    }
    offset
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lifetime(bytes: u64, first: usize, last: usize) -> Lifetime {
        Lifetime { bytes, first, last, accesses: vec![(first, true), (last, false)] }
    }

    fn total(assignment: &Assignment) -> u64 {
        assignment.bytes.iter().sum()
    }

    #[test]
    fn a_chain_takes_two_buffers() {
        let chain: Vec<_> = (0..10).map(|i| lifetime(100 - i as u64, i, i + 1)).collect();
        let assignment = assign(&chain, 1, u64::MAX, false);
        assert_eq!((assignment.bytes.len(), total(&assignment)), (2, 199));
    }

    #[test]
    fn what_is_read_together_shares_a_buffer() {
        // A large tensor, then three small ones in its place. The third is written while the others are read.
        let large = lifetime(1000, 0, 1);
        let small = |first| Lifetime { bytes: 400, first, last: 4, accesses: vec![(first, true), (4, false)] };
        let written = Lifetime { bytes: 400, first: 4, last: 5, accesses: vec![(4, true), (5, false)] };
        let assignment = assign(&[large, small(2), small(3), written], 256, u64::MAX, false);
        assert_eq!(total(&assignment), 1400);
        assert_eq!(assignment.spots[1].buffer, assignment.spots[2].buffer);
        assert_ne!(assignment.spots[3].buffer, assignment.spots[1].buffer);
    }

    #[test]
    fn what_lives_together_is_apart() {
        let tensors: Vec<_> =
            (0..60).map(|i: usize| lifetime((i * 7919 % 101) as u64 + 1, i, i + 1 + i * 31 % 7)).collect();
        for (alignment, most, one_buffer) in
            [(1, u64::MAX, false), (16, 200, false), (1, u64::MAX, true), (16, 200, true)]
        {
            let assignment = assign(&tensors, alignment, most, one_buffer);
            assert!(!one_buffer || most < u64::MAX || assignment.bytes.len() == 1);
            let range = |i: usize| {
                let Spot { offset, .. } = assignment.spots[i];
                offset..offset + tensors[i].bytes
            };
            for (i, a) in tensors.iter().enumerate() {
                assert!(range(i).end <= assignment.bytes[assignment.spots[i].buffer].min(most));
                assert_eq!(range(i).start % alignment, 0);
                for (j, b) in tensors.iter().enumerate().skip(i + 1) {
                    if assignment.spots[i].buffer == assignment.spots[j].buffer {
                        assert!(one_buffer || !a.clashes(b), "{a:?} {b:?}");
                        let apart = range(i).end <= range(j).start || range(j).end <= range(i).start;
                        assert!(!a.overlaps(b) || apart, "{a:?} {b:?}");
                    }
                }
            }
            // No assignment needs less than the bytes that are alive at once.
            let alive =
                |step| tensors.iter().filter(|t| t.first <= step && step <= t.last).map(|t| t.bytes).sum::<u64>();
            let peak = (0..70).map(alive).max().unwrap();
            assert!((peak..=peak * 3 / 2).contains(&total(&assignment)), "{} for {peak}", total(&assignment));
        }
    }
}
