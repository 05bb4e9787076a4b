//! A screen as QEMU dumps it (PPM), and how much of it has which colour.
//! Decides nothing about what should be there.

use std::fmt;

/// Red, green, blue.
pub type Colour = [u8; 3];

/// A colour on its way through a palette of 6 bits and a renderer may change by so much a channel.
const TOLERANCE: u8 = 8;

pub struct Picture {
    pub width: usize,
    pub height: usize,
    pixels: Vec<Colour>,
}

impl Picture {
    /// A binary PPM of 8 bits a channel.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        let mut words = Vec::new();
        while words.len() < 4 {
            let end = rest.iter().position(u8::is_ascii_whitespace)?;
            let (word, after) = rest.split_at(end);
            words.push(std::str::from_utf8(word).ok()?);
            rest = after.get(1..)?;
        }
        let [kind, width, height, most] = words.try_into().ok()?;
        let (width, height) = (width.parse().ok()?, height.parse().ok()?);
        let (pixels, _) = rest.as_chunks::<3>();
        let is_whole = kind == "P6" && most == "255" && pixels.len() == usize::checked_mul(width, height)?;
        is_whole.then(|| Self { width, height, pixels: pixels.to_vec() })
    }

    /// Which part of the screen has a colour, in percent.
    #[must_use]
    pub fn share(&self, colour: Colour) -> usize {
        let is_it = |pixel: &&Colour| pixel.iter().zip(colour).all(|(a, b)| a.abs_diff(b) <= TOLERANCE);
        self.pixels.iter().filter(is_it).count() * 100 / self.pixels.len().max(1)
    }
}

impl fmt::Debug for Picture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} by {}, {} % of it black", self.width, self.height, self.share([0; 3]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_a_colour_and_refuses_what_is_cut() {
        let mut bytes = b"P6\n2 2\n255\n".to_vec();
        bytes.extend([0, 0, 168, 0, 0, 170, 0, 0, 0, 255, 255, 0]);
        let picture = Picture::parse(&bytes).unwrap();
        assert_eq!((picture.width, picture.height), (2, 2));
        assert_eq!((picture.share([0, 0, 170]), picture.share([0; 3]), picture.share([9; 3])), (50, 25, 0));
        for cut in 0..bytes.len() {
            assert!(Picture::parse(&bytes[..cut]).is_none(), "cut to {cut}");
        }
    }
}
