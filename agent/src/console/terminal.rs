//! One terminal device: how it is set up, and bytes to it.
//!
//! Decides how long a message may wait. Never waits for a frame, and for nobody twice: a serial line that nobody
//! drains loses text, not the boot.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::termios::{
    self, ControlFlags, InputFlags, LocalFlags, OutputFlags, SetArg, SpecialCharacterIndices,
};

use crate::sys;

/// How long a message waits for room on a console: 240 bytes at 9600 bit/s, three lines.
pub(super) const STALL_MS: u16 = 250;

pub(super) struct Terminal {
    file: File,
    /// How to open it again: name, screen, fallback. A session that ends hangs its terminal up for everybody.
    origin: Option<(String, bool, bool)>,
    reopened: bool,
    /// The rest of a frame: it goes before anything else, or the terminal would see half a sequence.
    pending: Vec<u8>,
    stalled: bool,
    /// Bytes were dropped: what the terminal shows is not what we think.
    torn: bool,
    gone: bool,
}

impl Terminal {
    /// Without a word, and as it is set: somebody else has it just now.
    pub(super) fn attach(name: &str, screen: bool, fallback: bool) -> io::Result<Self> {
        Ok(Self { origin: Some((name.to_owned(), screen, fallback)), ..Self::new(device(name)?) })
    }

    pub(super) fn open(name: &str, screen: bool, fallback: bool) -> io::Result<Self> {
        let file = device(name)?;
        // A serial port without a chip behind it fails here, and so is no console.
        let mut settings = termios::tcgetattr(&file)?;
        settings.local_flags &= !(LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG);
        settings.input_flags |= InputFlags::ICRNL;
        // One stray Ctrl-S, from noise on a serial line too, would silence the console for good.
        settings.input_flags &= !(InputFlags::IXON | InputFlags::IXOFF);
        // Nothing typed is EAGAIN and not the end of the file.
        settings.control_chars[SpecialCharacterIndices::VMIN as usize] = 1;
        settings.control_chars[SpecialCharacterIndices::VTIME as usize] = 0;
        settings.output_flags |= OutputFlags::OPOST | OutputFlags::ONLCR;
        if fallback && !screen {
            // The kernel set no speed where it has no console; this is what serial consoles of our time have.
            // In the flags by hand: cfsetspeed(3) is a versioned symbol that a static glibc does not have.
            settings.control_flags.remove(ControlFlags::CBAUD);
            settings.control_flags |= ControlFlags::from_bits_retain(libc::B115200);
        }
        termios::tcsetattr(&file, SetArg::TCSANOW, &settings)?;
        // Whoever had it before may have died in graphics: a program, with its worker.
        if screen {
            sys::text_mode(file.as_fd());
        }
        Ok(Self { origin: Some((name.to_owned(), screen, fallback)), ..Self::new(file) })
    }

    /// On anything that can be read and written without waiting.
    pub(super) fn new(file: File) -> Self {
        Self {
            file,
            origin: None,
            reopened: false,
            pending: Vec::new(),
            stalled: false,
            torn: false,
            gone: false,
        }
    }

    /// As it was before a program had it.
    pub(super) fn restore(&mut self) {
        self.reopen();
        self.torn = true;
    }

    fn reopen(&mut self) -> bool {
        let Some((name, screen, fallback)) = &self.origin else { return false };
        let Ok(fresh) = Self::open(name, *screen, *fallback) else { return false };
        self.file = fresh.file;
        true
    }

    /// Columns and rows, where the terminal's driver knows them.
    pub(super) fn size(&self) -> Option<(u16, u16)> {
        sys::terminal_size(self.file.as_fd())
    }

    /// The number of the screen that is shown, on whichever of them this is.
    pub(super) fn shown(&self) -> Option<u16> {
        sys::shown_terminal(self.file.as_fd())
    }

    /// Shows screen `own` instead of `other`, which somebody may have left in graphics.
    pub(super) fn show(&self, own: u16, other: u16) {
        if let Ok(other) = device(&format!("tty{other}")) {
            sys::text_mode(other.as_fd());
        }
        sys::show_terminal(self.file.as_fd(), own);
    }

    pub(super) fn is_gone(&self) -> bool {
        self.gone
    }

    /// Whether bytes were lost since the last call.
    pub(super) fn take_torn(&mut self) -> bool {
        std::mem::take(&mut self.torn)
    }

    /// Nearly everything is out, so that another frame will not make a message or a key's answer wait behind it.
    pub(super) fn is_drained(&mut self) -> bool {
        self.flush(false);
        self.pending.is_empty() && self.has_room(PollTimeout::ZERO)
    }

    /// A message; it waits a moment for room, and what has none after that is lost.
    pub(super) fn write(&mut self, text: &str) {
        self.pending.extend_from_slice(text.as_bytes());
        self.flush(true);
    }

    /// A frame: what has no room now goes later.
    pub(super) fn offer(&mut self, text: &str) {
        self.pending.extend_from_slice(text.as_bytes());
        self.flush(false);
    }

    fn flush(&mut self, patient: bool) {
        let mut rest = std::mem::take(&mut self.pending);
        let mut sent = 0;
        while let Some(bytes) = rest.get(sent..).filter(|bytes| !bytes.is_empty()) {
            match (&self.file).write(bytes) {
                Ok(0) => break,
                Ok(written) => {
                    sent += written;
                    self.stalled = false;
                    self.reopened = false;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if !patient {
                        break;
                    }
                    if self.stalled || !self.has_room(PollTimeout::from(STALL_MS)) {
                        self.stalled = true;
                        self.torn = true;
                        sent = rest.len();
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Hung up by a shell or a program that has ended: the device is there, this opening of it is not.
                Err(_) if !std::mem::replace(&mut self.reopened, true) && self.reopen() => {}
                Err(_) => {
                    self.gone = true;
                    sent = rest.len();
                }
            }
        }
        rest.drain(..sent.min(rest.len()));
        self.pending = rest;
    }

    fn has_room(&self, patience: PollTimeout) -> bool {
        let mut fd = [PollFd::new(self.file.as_fd(), PollFlags::POLLOUT)];
        poll(&mut fd, patience).is_ok_and(|ready| ready > 0)
    }

    /// What was typed. `UnexpectedEof`: the terminal hung up.
    pub(super) fn read(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = [0; 64];
        match self.file.read(&mut bytes) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(length) => Ok(bytes.get(..length).unwrap_or_default().to_vec()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    pub(super) fn share(&self) -> Option<OwnedFd> {
        let fd: BorrowedFd<'_> = self.file.as_fd();
        fd.try_clone_to_owned().ok()
    }
}

/// Opens a terminal without waiting for a serial line's carrier, which may never come.
pub(crate) fn device(name: &str) -> io::Result<File> {
    let flags = (nix::fcntl::OFlag::O_NOCTTY | nix::fcntl::OFlag::O_NONBLOCK).bits();
    let path = format!("/dev/{name}");
    // A node would be created by opening for writing if /dev were not devtmpfs: look first.
    fs::metadata(&path)?;
    OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)
}
