//! The kernel image: which version it is, by its own setup header.
//!
//! Reads the boot protocol's header (Documentation/arch/x86/boot.rst) and nothing behind it.

/// The version of a bzImage, as `uname -r` on a machine that runs it prints it.
pub(crate) fn version(image: &[u8]) -> Result<String, &'static str> {
    if image.get(0x202..0x206) != Some(b"HdrS".as_slice()) {
        return Err("no setup header");
    }
    let field = |at: usize| -> Option<u16> { image.get(at..at + 2)?.try_into().ok().map(u16::from_le_bytes) };
    // Boot protocol 2.06 brought the long command line; everything since 2007 has it.
    if field(0x206).is_none_or(|protocol| protocol < 0x0206) {
        return Err("its boot protocol is older than 2.06");
    }
    // The field counts from the end of the boot sector.
    let start = match field(0x20e) {
        Some(0) | None => return Err("it does not tell its version"),
        Some(offset) => usize::from(offset) + 0x200,
    };
    let text = image.get(start..).unwrap_or_default();
    let word = text.split(|&b| b == b' ' || b == 0).next().unwrap_or_default();
    match str::from_utf8(word) {
        Ok(version)
            if !version.is_empty() && version.len() < 65 && version.bytes().all(|b| b.is_ascii_graphic()) =>
        {
            Ok(version.to_owned())
        }
        _ => Err("it does not tell its version"),
    }
}

#[cfg(test)]
pub(crate) mod craft {
    /// The beginning of a bzImage of this version.
    pub(crate) fn image(version: &str) -> Vec<u8> {
        let mut image = vec![0; 0x400];
        image[0x202..0x206].copy_from_slice(b"HdrS");
        image[0x206..0x208].copy_from_slice(&0x020fu16.to_le_bytes());
        image[0x20e..0x210].copy_from_slice(&0x0200u16.to_le_bytes());
        image.extend(format!("{version} (builder@host) #1 SMP\0").as_bytes());
        image
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_version() {
        assert_eq!(version(&craft::image("6.1.0-56-amd64")).unwrap(), "6.1.0-56-amd64");
    }

    #[test]
    fn refuses_what_is_none() {
        assert_eq!(version(b""), Err("no setup header"));
        assert_eq!(version(&[0; 4096]), Err("no setup header"));
        let mut old = craft::image("2.6.0");
        old[0x206] = 0x05;
        old[0x207] = 0x02;
        assert!(version(&old).is_err());
        let image = craft::image("6.1.0");
        assert!(version(&image[..0x300]).is_err());
        assert!(version(&image[..0x208]).is_err());
        assert!(version(&craft::image("")).is_err());
        assert!(version(&craft::image("6\n1")).is_err());
    }
}
