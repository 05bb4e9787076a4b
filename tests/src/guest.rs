//! The smallest guests, a boot sector each: one says a line on its first serial port and switches itself off or stands
//! still, one paints. Decides nothing about what runs them.

use crate::picture::Colour;

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

/// 16-bit code: mode 13h, eight bars of the first colours one below the other; the first key makes all of it yellow, Escape
/// switches off as above.
const PAINTER: [u8; 62] = [
    0x31, 0xc0, 0x8e, 0xd8, 0xfb, 0xfc, // xor ax, ax; mov ds, ax; sti; cld
    0xb8, 0x13, 0x00, 0xcd, 0x10, // mov ax, 13h; int 10h
    0xb8, 0x00, 0xa0, 0x8e, 0xc0, // mov ax, a000h; mov es, ax
    0x31, 0xff, 0x31, 0xc0, // xor di, di; xor ax, ax
    0xb9, 0x40, 0x1f, 0xf3, 0xaa, // bar: mov cx, 8000 (25 rows); rep stosb
    0xfe, 0xc0, 0x3c, 0x08, 0x75, 0xf5, // inc al; cmp al, 8; jne bar
    0x30, 0xe4, 0xcd, 0x16, // xor ah, ah; int 16h
    0x31, 0xff, 0xb0, 0x0e, 0xb9, 0x00, 0xfa, 0xf3,
    0xaa, // xor di, di; mov al, 14; mov cx, 64000; rep stosb
    0x30, 0xe4, 0xcd, 0x16, 0x3c, 0x1b, 0x75, 0xf8, // key: xor ah, ah; int 16h; cmp al, 1bh; jne key
    0xba, 0x04, 0x06, 0xb8, 0x00, 0x20, 0xef, // mov dx, 604h; mov ax, 2000h; out dx, ax
    0xf4, 0xeb, 0xfd, // hlt; jmp to it
];

/// What the painter's bars are made of, black and grey apart, and what is there after a key.
pub const BARS: [Colour; 6] =
    [[0, 0, 170], [0, 170, 0], [0, 170, 170], [170, 0, 0], [170, 0, 170], [170, 85, 0]];
pub const AFTER_A_KEY: Colour = [255, 255, 85];

/// A floppy disk whose boot sector paints.
#[must_use]
pub fn painter() -> Vec<u8> {
    let mut disk = sector(PAINTER.to_vec());
    disk.resize(FLOPPY, 0);
    disk
}

/// A floppy disk whose boot sector says `line`.
///
/// # Panics
/// When the line does not fit a sector.
#[must_use]
pub fn floppy(line: &str) -> Vec<u8> {
    let mut disk = speaker(&CODE, line);
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
    speaker(&code, line)
}

fn speaker(code: &[u8], line: &str) -> Vec<u8> {
    let mut disk = code.to_vec();
    disk.push(0xfd); // jmp back to hlt
    let text = ORIGIN + u16::try_from(disk.len()).unwrap_or(u16::MAX);
    disk[6..8].copy_from_slice(&text.to_le_bytes());
    disk.extend(line.as_bytes());
    disk.extend(b"\r\n\0");
    assert!(disk.len() <= SECTOR - 2, "{line:?} is too long for a boot sector");
    sector(disk)
}

/// A disk of one sector, with this code.
fn sector(mut disk: Vec<u8>) -> Vec<u8> {
    disk.resize(SECTOR - 2, 0);
    disk.extend([0x55, 0xaa]);
    disk
}
