//! The numbers of random tensors. They depend on name and seed alone, and are the same on every machine and in any
//! language that follows the contract in `docs/networks.md`.

const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// The endless sequence of numbers of one name and seed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Noise(u64);

impl Noise {
    pub(crate) fn new(name: &str, seed: u64) -> Self {
        let fnv1a = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3);
        Self(name.bytes().fold(0xCBF2_9CE4_8422_2325, fnv1a) ^ seed.wrapping_mul(GOLDEN))
    }

    /// Number `i`: a multiple of 2^-23 in [-1, 1).
    pub(crate) fn number(self, i: u64) -> f64 {
        let z = self.0.wrapping_add((i + 1).wrapping_mul(GOLDEN));
        let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let z = z ^ (z >> 31);
        (z >> 40) as f64 / f64::from(1 << 23) - 1.0
    }

    /// The first `count` numbers, times `scale`.
    #[cfg(any(feature = "verify", all(test, feature = "context")))]
    pub(crate) fn values(self, count: u64, scale: f32) -> Vec<f32> {
        (0..count).map(|i| scale * self.number(i) as f32).collect()
    }
}
