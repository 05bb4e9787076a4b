//! The smallest guest: a boot sector that says one line on its first serial port, and switches itself off or stands still.
//! Decides nothing about what runs it.

/// Bytes of a sector.
const SECTOR: usize = 512;
/// Bytes of a 1.44 MB floppy disk, which a BIOS boots without a partition table.
const FLOPPY: usize = 1_474_560;
/// Where a BIOS puts a boot sector, and where it enters it.
const ORIGIN: u16 = 0x7c00;

/// 16-bit code: the text behind it to COM1, byte by byte, then the power-off of QEMU's `pc` machine (PIIX4, SLP_EN).
const CODE: [u8; 40] = [
    0xfa, 0x31, 0xc0, 0x8e, 0xd8, // cli; xor ax, ax; mov ds, ax
    0xbe, 0, 0, // mov si, text: filled in
    0xac, 0x84, 0xc0, 0x74, 0x12, // next: lodsb; test al, al; jz end
    0x88, 0xc4, 0xba, 0xfd, 0x03, // mov ah, al; mov dx, 3fdh
    0xec, 0xa8, 0x20, 0x74, 0xfb, // wait: in al, dx; test al, 20h; jz wait
    0x88, 0xe0, 0xba, 0xf8, 0x03, 0xee, 0xeb, 0xe9, // mov al, ah; mov dx, 3f8h; out dx, al; jmp next
    0xba, 0x04, 0x06, 0xb8, 0x00, 0x20, 0xef, // end: mov dx, 604h; mov ax, 2000h; out dx, ax
    0xf4, 0xeb, // hlt; jmp (to itself, filled in below)
];

/// Where it says so to the chipset.
const POWER_OFF: std::ops::Range<usize> = 31..38;
const NOP: u8 = 0x90;

/// A floppy disk whose boot sector says `line`.
///
/// # Panics
/// When the line does not fit a sector.
#[must_use]
pub fn floppy(line: &str) -> Vec<u8> {
    let mut disk = boot_sector(&CODE, line);
    disk.resize(FLOPPY, 0);
    disk
}

/// A hard disk's boot sector that says `line` and stands still.
///
/// # Panics
/// As `floppy`.
#[must_use]
pub fn disk(line: &str) -> Vec<u8> {
    let mut code = CODE;
    code[POWER_OFF].fill(NOP);
    boot_sector(&code, line)
}

fn boot_sector(code: &[u8], line: &str) -> Vec<u8> {
    let mut disk = code.to_vec();
    disk.push(0xfd); // jmp back to hlt
    let text = ORIGIN + u16::try_from(disk.len()).unwrap_or(u16::MAX);
    disk[6..8].copy_from_slice(&text.to_le_bytes());
    disk.extend(line.as_bytes());
    disk.extend(b"\r\n\0");
    assert!(disk.len() <= SECTOR - 2, "{line:?} is too long for a boot sector");
    disk.resize(SECTOR - 2, 0);
    disk.extend([0x55, 0xaa]);
    disk
}
