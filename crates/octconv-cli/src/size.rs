//! Sizes of pictures on the command line.

use std::str::FromStr;

/// Height and width in pixels, written HxW, or one number for both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    pub h: u32,
    pub w: u32,
}

impl FromStr for Size {
    type Err = &'static str;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        if let Ok(side) = s.parse() {
            return Ok(Self { h: side, w: side });
        }
        let size = s.split_once('x').and_then(|(h, w)| Some(Self { h: h.parse().ok()?, w: w.parse().ok()? }));
        size.ok_or("must be HEIGHTxWIDTH, such as 56x56, or one number for both")
    }
}

#[cfg(test)]
mod tests {
    use super::Size;

    #[test]
    fn height_stands_first() {
        assert_eq!("7x12".parse(), Ok(Size { h: 7, w: 12 }));
        assert_eq!("7".parse(), Ok(Size { h: 7, w: 7 }));
        for text in ["", "-7", "x", "7x", "7x12x3", "-7x12", "7 x 12"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }
}
