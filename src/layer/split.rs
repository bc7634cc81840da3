//! The two frequencies of a map, and the four paths between them.

use crate::error::Error;

/// How many channels of a map are of high and of low frequency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Split {
    /// Channels at full resolution.
    pub high: u32,
    /// Channels at half resolution.
    pub low: u32,
}

impl Split {
    /// The split of the official code: low = int(alpha * channels), high = channels - low.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] for an `alpha` that is not in [0, 1].
    pub fn from_alpha(channels: u32, alpha: f64) -> Result<Self, Error> {
        Self::from_named_alpha("alpha", channels, alpha)
    }

    pub(super) fn from_named_alpha(name: &'static str, channels: u32, alpha: f64) -> Result<Self, Error> {
        if !(0.0..=1.0).contains(&alpha) {
            return Err(Error::argument(name, alpha, "must be in [0, 1]"));
        }
        let low = (alpha * f64::from(channels)) as u32;
        Ok(Self { high: channels - low, low })
    }

    /// All channels of the map, high and low together, or `u32::MAX` if they are more.
    pub fn channels(self) -> u32 {
        self.high.saturating_add(self.low)
    }

    /// The channels of one frequency.
    pub fn of(self, frequency: Frequency) -> u32 {
        match frequency {
            Frequency::High => self.high,
            Frequency::Low => self.low,
        }
    }
}

/// One of the two frequencies of a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Frequency {
    /// Full resolution.
    High,
    /// Half resolution.
    Low,
}

/// One of the four convolutions of an octave convolution, named by input and output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Path {
    /// High to high.
    HH,
    /// High to low: a convolution of the pooled high-frequency map.
    HL,
    /// Low to high: a convolution at low resolution, then replicated 2x2. At stride 2 it is not replicated.
    LH,
    /// Low to low.
    LL,
}

impl Path {
    /// All four paths, in the order in which weights are packed.
    pub const ALL: [Self; 4] = [Self::HH, Self::HL, Self::LH, Self::LL];

    /// The frequency it reads.
    pub fn input(self) -> Frequency {
        match self {
            Self::HH | Self::HL => Frequency::High,
            Self::LH | Self::LL => Frequency::Low,
        }
    }

    /// The frequency it adds to.
    pub fn output(self) -> Frequency {
        match self {
            Self::HH | Self::LH => Frequency::High,
            Self::HL | Self::LL => Frequency::Low,
        }
    }

    /// Its name in messages, such as `H->L`.
    pub fn arrow(self) -> &'static str {
        match self {
            Self::HH => "H->H",
            Self::HL => "H->L",
            Self::LH => "L->H",
            Self::LL => "L->L",
        }
    }

    /// The name of its kernel tensor: `w_hh`, `w_hl`, `w_lh`, `w_ll`.
    pub fn weight_name(self) -> &'static str {
        match self {
            Self::HH => "w_hh",
            Self::HL => "w_hl",
            Self::LH => "w_lh",
            Self::LL => "w_ll",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Split;

    #[test]
    fn too_many_channels_are_the_most() {
        assert_eq!(Split { high: u32::MAX, low: 1 }.channels(), u32::MAX);
    }
}
