//! Host code of `shaders/common/axis.wgsl`: where the elements of an axis lie on one of another size.

use super::uniform::uniform;
use crate::error::Error;

uniform! {
    pub(crate) struct Axis {
        pub(crate) step: u32,
        pub(crate) start: u32,
        pub(crate) back: u32,
        pub(crate) whole: u32,
    }
}

impl Axis {
    /// An axis of `to` elements on one of `from`, adjacent ones `above / below` apart. If `centred`, the middle of element
    /// i, at i + 1/2, has its place in the middle of an element too. `name` is what the elements are, for the error.
    pub(crate) fn new(
        name: &str,
        [from, to]: [u32; 2],
        [above, below]: [u32; 2],
        centred: bool,
    ) -> Result<Self, Error> {
        let (above, below) = (u64::from(above), u64::from(below));
        let numbers = if centred { [2 * above, above, below, 2 * below] } else { [above, 0, 0, below] };
        let divisor = numbers.into_iter().fold(0, gcd).max(1);
        let [step, start, back, whole] = numbers.map(|number| number / divisor);
        let needs = (u64::from(to) * step + start).max(whole);
        if needs > u64::from(u32::MAX) {
            let what = format!("resampling {from} to {to} {name}");
            return Err(Error::Limit {
                what,
                needs,
                limit: "what places are counted with",
                allowed: u64::from(u32::MAX),
            });
        }
        Ok(Self { step: step as u32, start: start as u32, back: back as u32, whole: whole as u32 })
    }
}

/// The greatest common divisor.
fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}
