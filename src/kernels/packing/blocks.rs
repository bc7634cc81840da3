//! Blocks: the output channels of one workgroup.

/// The output channels of one output, cut into blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Blocks {
    pub(crate) groups: u32,
    /// Output channels of one group.
    pub(crate) group_channels: u32,
    /// Blocks of one group. The last ones may be padded, or be padding only.
    pub(crate) group_blocks: u32,
    /// Output channels of a block.
    pub(crate) block: u32,
}

impl Blocks {
    /// Blocks of all groups.
    pub(crate) fn count(self) -> u32 {
        self.groups * self.group_blocks
    }

    /// Output channels of all blocks, with their padding.
    pub(super) fn slots(self) -> u64 {
        u64::from(self.count()) * u64::from(self.block)
    }

    /// The channel of each slot of each block, in order; `None` if it is padding.
    pub(super) fn channels(self) -> impl Iterator<Item = Option<u32>> {
        (0..self.count()).flat_map(move |block| {
            let (group, first) = (block / self.group_blocks, block % self.group_blocks * self.block);
            (first..first + self.block)
                .map(move |oc| (oc < self.group_channels).then_some(group * self.group_channels + oc))
        })
    }
}
