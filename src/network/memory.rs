//! Buffers by lifetime: tensors that are never alive together share one, whole, since WebGPU tracks whole buffers.

/// A tensor of a plan: how large, and from which step to which it must keep its contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lifetime {
    pub(crate) bytes: u64,
    /// The step that first writes it.
    pub(crate) first: usize,
    /// The last step that reads or writes it.
    pub(crate) last: usize,
}

impl Lifetime {
    /// Whether both are alive in some step: one dispatch cannot read and write one buffer.
    fn overlaps(&self, other: &Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

/// Which buffer each tensor gets, and how large the buffers are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Assignment {
    /// The buffer of each tensor.
    pub(crate) buffers: Vec<usize>,
    /// Bytes of each buffer.
    pub(crate) bytes: Vec<u64>,
}

/// The largest tensors choose first, each the smallest buffer that is free all its life: a buffer is as large as the
/// first tensor in it, so nothing grows.
pub(crate) fn assign(tensors: &[Lifetime]) -> Assignment {
    let mut order: Vec<usize> = (0..tensors.len()).collect();
    order.sort_by_key(|&i| (std::cmp::Reverse(tensors[i].bytes), tensors[i].first));
    let mut buffers = vec![0; tensors.len()];
    let mut bytes: Vec<u64> = Vec::new();
    let mut residents: Vec<Vec<usize>> = Vec::new();
    for i in order {
        let free = |buffer: &usize| !residents[*buffer].iter().any(|&other| tensors[i].overlaps(&tensors[other]));
        // Later buffers are smaller, and closer in size to what is still to come.
        let buffer = (0..bytes.len()).rev().find(free).unwrap_or_else(|| {
            bytes.push(tensors[i].bytes);
            residents.push(Vec::new());
            bytes.len() - 1
        });
        residents[buffer].push(i);
        buffers[i] = buffer;
    }
    Assignment { buffers, bytes }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lifetime(bytes: u64, first: usize, last: usize) -> Lifetime {
        Lifetime { bytes, first, last }
    }

    #[test]
    fn a_chain_takes_two_buffers() {
        let chain: Vec<_> = (0..10).map(|i| lifetime(100 - i as u64, i, i + 1)).collect();
        let assignment = assign(&chain);
        assert_eq!(assignment.bytes, [100, 99]);
        for pair in assignment.buffers.windows(2) {
            assert_ne!(pair[0], pair[1]);
        }
    }

    #[test]
    fn what_lives_together_is_apart() {
        let tensors: Vec<_> =
            (0..60).map(|i: usize| lifetime((i * 7919 % 101) as u64 + 1, i, i + i * 31 % 7)).collect();
        let assignment = assign(&tensors);
        for (i, a) in tensors.iter().enumerate() {
            assert!(assignment.bytes[assignment.buffers[i]] >= a.bytes);
            for (j, b) in tensors.iter().enumerate().skip(i + 1) {
                assert!(!a.overlaps(b) || assignment.buffers[i] != assignment.buffers[j], "{a:?} {b:?}");
            }
        }
        // No plan takes less than what is alive at once.
        let alive = |step| tensors.iter().filter(|t| t.first <= step && step <= t.last).map(|t| t.bytes).sum::<u64>();
        let peak = (0..70).map(alive).max().unwrap();
        let total: u64 = assignment.bytes.iter().sum();
        assert!((peak..=peak * 3 / 2).contains(&total), "{total} for a peak of {peak}");
    }
}
