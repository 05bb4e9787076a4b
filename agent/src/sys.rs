//! All unsafe code of the agent: the system calls that nix has no wrapper for, each behind a safe function.
//!
//! Decides nothing. Structures are built here from checked values and never leave.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::mem;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use nix::sys::signal::SigSet;

/// One instruction of a classic BPF program, as in `struct sock_filter`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Instruction {
    pub(crate) code: u16,
    pub(crate) jt: u8,
    pub(crate) jf: u8,
    pub(crate) k: u32,
}

/// Linux's `struct rtentry` (route.h), which the libc crate does not have.
#[repr(C)]
struct RouteEntry {
    pad1: libc::c_ulong,
    dst: libc::sockaddr,
    gateway: libc::sockaddr,
    genmask: libc::sockaddr,
    flags: libc::c_ushort,
    pad2: libc::c_short,
    pad3: libc::c_ulong,
    pad4: *mut libc::c_void,
    metric: libc::c_short,
    dev: *mut libc::c_char,
    mtu: libc::c_ulong,
    window: libc::c_ulong,
    irtt: libc::c_ushort,
}

/// A UDP socket of no address, as the interface ioctls want one.
pub(crate) fn control_socket() -> io::Result<OwnedFd> {
    // SAFETY: socket(2) takes plain numbers and no memory.
    let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    owned(fd)
}

/// A socket that asks the kernel about links (rtnetlink(7)).
pub(crate) fn route_socket() -> io::Result<OwnedFd> {
    // SAFETY: socket(2) takes plain numbers and no memory.
    let fd =
        unsafe { libc::socket(libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC, libc::NETLINK_ROUTE) };
    owned(fd)
}

/// Sets an interface administratively up.
pub(crate) fn interface_up(control: &OwnedFd, name: &str) -> io::Result<()> {
    let mut request = interface_request(name)?;
    interface_ioctl(control, libc::SIOCGIFFLAGS, &mut request)?;
    // SAFETY: the union's flags were written by SIOCGIFFLAGS just above, which succeeded.
    let flags = unsafe { request.ifr_ifru.ifru_flags };
    request.ifr_ifru.ifru_flags = flags | libc::IFF_UP as libc::c_short;
    interface_ioctl(control, libc::SIOCSIFFLAGS, &mut request)
}

/// Gives an interface its one address and netmask; what it had before is replaced.
pub(crate) fn set_address(
    control: &OwnedFd,
    name: &str,
    address: Ipv4Addr,
    netmask: Ipv4Addr,
) -> io::Result<()> {
    let mut request = interface_request(name)?;
    request.ifr_ifru.ifru_addr = socket_address(address);
    interface_ioctl(control, libc::SIOCSIFADDR, &mut request)?;
    if address.is_unspecified() {
        return Ok(()); // 0.0.0.0 takes the address away, and a mask without address is EADDRNOTAVAIL
    }
    request.ifr_ifru.ifru_netmask = socket_address(netmask);
    interface_ioctl(control, libc::SIOCSIFNETMASK, &mut request)
}

/// Adds the default route through a router; one that is there already is no error.
pub(crate) fn add_default_route(control: &OwnedFd, name: &str, router: Ipv4Addr) -> io::Result<()> {
    let mut device = interface_name(name)?;
    let mut route = RouteEntry {
        pad1: 0,
        dst: socket_address(Ipv4Addr::UNSPECIFIED),
        gateway: socket_address(router),
        genmask: socket_address(Ipv4Addr::UNSPECIFIED),
        flags: libc::RTF_UP | libc::RTF_GATEWAY,
        pad2: 0,
        pad3: 0,
        pad4: std::ptr::null_mut(),
        metric: 0,
        dev: device.as_mut_ptr(),
        mtu: 0,
        window: 0,
        irtt: 0,
    };
    // SAFETY: SIOCADDRT reads one `struct rtentry`; `route` has that layout, and the NUL-terminated name that it
    // points to lives until the call has returned.
    let result = unsafe { libc::ioctl(control.as_raw_fd(), libc::SIOCADDRT, &raw mut route) };
    match check(result) {
        Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(()),
        other => other,
    }
}

/// An AF_PACKET socket on one interface that sees only what `program` lets through.
///
/// The filter is attached before the socket is bound, so that not one frame gets past it.
pub(crate) fn packet_socket(index: u32, program: &[Instruction]) -> io::Result<OwnedFd> {
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: socket(2) takes plain numbers and no memory. Protocol 0 receives nothing until bind.
    let socket = owned(unsafe { libc::socket(libc::AF_PACKET, kind, 0) })?;
    attach_filter(&socket, program)?;
    // SAFETY: all-zero bytes are a valid `sockaddr_ll`, which has integers and arrays of them only.
    let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
    address.sll_ifindex = i32::try_from(index).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: bind(2) reads `length` bytes, the size of the structure that the pointer names.
    check(unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) })?;
    Ok(socket)
}

fn attach_filter(socket: &OwnedFd, program: &[Instruction]) -> io::Result<()> {
    let mut code: Vec<libc::sock_filter> =
        program.iter().map(|i| libc::sock_filter { code: i.code, jt: i.jt, jf: i.jf, k: i.k }).collect();
    let length = u16::try_from(code.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let program = libc::sock_fprog { len: length, filter: code.as_mut_ptr() };
    let size = size_of::<libc::sock_fprog>() as libc::socklen_t;
    // SAFETY: SO_ATTACH_FILTER reads one `sock_fprog` and the `len` instructions that it points to; the kernel
    // copies both before the call returns, and `code` lives longer.
    check(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const program).cast(),
            size,
        )
    })
}

/// Loads a kernel, an initrd and a command line for the next `reboot(RB_KEXEC)`.
pub(crate) fn kexec_file_load(
    kernel: BorrowedFd<'_>,
    initrd: Option<BorrowedFd<'_>>,
    cmdline: &str,
) -> io::Result<()> {
    const KEXEC_FILE_NO_INITRAMFS: libc::c_ulong = 4;
    let cmdline = CString::new(cmdline).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let length = cmdline.as_bytes_with_nul().len();
    let flags = if initrd.is_none() { KEXEC_FILE_NO_INITRAMFS } else { 0 };
    let initrd = initrd.map_or(-1, |fd| fd.as_raw_fd());
    // SAFETY: the kernel reads `length` bytes of the command line, which ends in NUL as the call demands; the
    // file descriptors are borrowed and so open for the whole call.
    let result = unsafe {
        libc::syscall(libc::SYS_kexec_file_load, kernel.as_raw_fd(), initrd, length, cmdline.as_ptr(), flags)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Lets go of a kernel that was loaded: it holds a copy of its image.
pub(crate) fn kexec_unload() -> io::Result<()> {
    const KEXEC_FILE_UNLOAD: libc::c_ulong = 1;
    let none = std::ptr::null::<libc::c_char>();
    // SAFETY: with KEXEC_FILE_UNLOAD the kernel looks at no descriptor and reads no command line.
    let result = unsafe { libc::syscall(libc::SYS_kexec_file_load, -1, -1, 0usize, none, KEXEC_FILE_UNLOAD) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Sets the calling thread's niceness: on Linux each has its own.
pub(crate) fn set_thread_nice(nice: i32) -> io::Result<()> {
    // SAFETY: setpriority(2) takes plain numbers and no memory; 0 is the calling thread.
    check(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) })
}

/// The number of a loop device that nobody uses now.
pub(crate) fn free_loop(control: &File) -> io::Result<i32> {
    const LOOP_CTL_GET_FREE: libc::c_ulong = 0x4c82;
    // SAFETY: LOOP_CTL_GET_FREE has no argument.
    let number = unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE) };
    check(number).map(|()| number)
}

/// Linux's `struct loop_config` (loop.h), whose `info` is a `struct loop_info64`, which the libc crate does not have.
#[repr(C)]
struct LoopConfig {
    fd: u32,
    block_size: u32,
    /// Device, inode, rdevice, offset and size limit.
    places: [u64; 5],
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    /// Name of the file, of a cipher, and its key.
    names: [u8; 160],
    init: [u64; 2],
    reserved: [u64; 8],
}

const _: () = assert!(size_of::<LoopConfig>() == 304, "the kernel's own size");

/// Makes a loop device read `backing`, until its last user has closed it.
pub(crate) fn configure_loop(device: &File, backing: &File) -> io::Result<()> {
    const LOOP_CONFIGURE: libc::c_ulong = 0x4c0a;
    const READ_ONLY: u32 = 1;
    const AUTOCLEAR: u32 = 4;
    let config = LoopConfig {
        fd: backing.as_raw_fd() as u32,
        block_size: 0,
        places: [0; 5],
        number: 0,
        encrypt_type: 0,
        encrypt_key_size: 0,
        flags: READ_ONLY | AUTOCLEAR,
        names: [0; 160],
        init: [0; 2],
        reserved: [0; 8],
    };
    // SAFETY: LOOP_CONFIGURE reads one `struct loop_config`; `config` has that layout and lives until the call returns.
    check(unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CONFIGURE, &raw const config) })
}

/// The end of a pseudo-terminal that a program gets.
pub(crate) fn program_end(controller: &File) -> io::Result<OwnedFd> {
    let unlock: libc::c_int = 0;
    // SAFETY: TIOCSPTLCK reads one int, which lives until the call has returned.
    check(unsafe { libc::ioctl(controller.as_raw_fd(), libc::TIOCSPTLCK, &raw const unlock) })?;
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: TIOCGPTPEER takes flags as a plain number and returns a new descriptor.
    owned(unsafe { libc::ioctl(controller.as_raw_fd(), libc::TIOCGPTPEER, flags) })
}

/// Rows and columns of a terminal, if it says so.
pub(crate) fn window(terminal: BorrowedFd<'_>) -> Option<(u16, u16)> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCGWINSZ writes one `winsize`, which lives until the call has returned.
    check(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) }).ok()?;
    Some((size.ws_row, size.ws_col))
}

pub(crate) fn set_window(terminal: BorrowedFd<'_>, (rows, columns): (u16, u16)) -> io::Result<()> {
    let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCSWINSZ reads one `winsize`, which lives until the call has returned.
    check(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) })
}

/// Where a program's process goes between its fork and its start.
pub(crate) struct Entry {
    /// `cgroup.procs`, open for writing.
    pub(crate) group: File,
    pub(crate) root: &'static str,
    /// Below the root.
    pub(crate) workdir: CString,
    pub(crate) nice: i32,
    /// A descriptor of this process, open until the start, which the program keeps under the same number.
    pub(crate) kept: Option<RawFd>,
}

/// Makes the command's process enter before it becomes the program: a session of its own on the terminal that is its
/// standard input, the group, the root. It ends with the thread that has started it.
pub(crate) fn enter_before_exec(command: &mut Command, entry: Entry) -> io::Result<()> {
    let root = CString::new(entry.root).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let Entry { group, workdir, nice, kept, .. } = entry;
    let enter = move || {
        enter_group(&group)?;
        if let Some(kept) = kept {
            keep_over_exec(kept)?;
        }
        set_thread_nice(nice)?;
        // What process 1 and its worker read from descriptors would be asleep in the program for good.
        SigSet::empty().thread_set_mask()?;
        own_session()?;
        change_root(&root, &workdir)
    };
    // SAFETY: `enter` makes system calls only and touches no memory but what it owns and the stack: it allocates nothing
    // and takes no lock that another thread may have held at the fork.
    unsafe { command.pre_exec(enter) };
    Ok(())
}

fn enter_group(group: &File) -> io::Result<()> {
    write_all(group.as_raw_fd(), b"0")?;
    // SAFETY: open(2) reads the path, a literal that ends in NUL.
    let score =
        owned(unsafe { libc::open(c"/proc/self/oom_score_adj".as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC) })?;
    write_all(score.as_raw_fd(), b"0")?;
    // What it finds as the top of the hierarchy is its own group: what it makes there is ended with it.
    // SAFETY: unshare(2) takes a number and no memory.
    check(unsafe { libc::unshare(libc::CLONE_NEWCGROUP) })
}

fn keep_over_exec(fd: RawFd) -> io::Result<()> {
    // SAFETY: fcntl(2) with F_SETFD takes plain numbers; a descriptor that is not open is EBADF.
    check(unsafe { libc::fcntl(fd, libc::F_SETFD, 0) })
}

fn write_all(fd: libc::c_int, bytes: &[u8]) -> io::Result<()> {
    // SAFETY: write(2) reads at most `bytes.len()` bytes from where the slice begins.
    let written = unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) };
    // Files of the kernel take a short word whole or not at all.
    if written < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn own_session() -> io::Result<()> {
    // SAFETY: prctl(2) takes plain numbers for PR_SET_PDEATHSIG.
    check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) })?;
    // SAFETY: setsid(2) takes nothing.
    check(unsafe { libc::setsid() })?;
    // SAFETY: TIOCSCTTY takes a plain number; standard input is the terminal by now.
    check(unsafe { libc::ioctl(libc::STDIN_FILENO, libc::TIOCSCTTY, 0) })
}

fn change_root(root: &CStr, workdir: &CStr) -> io::Result<()> {
    // SAFETY: chroot(2) reads the path, which ends in NUL.
    check(unsafe { libc::chroot(root.as_ptr()) })?;
    // SAFETY: chdir(2) reads the path, which ends in NUL.
    check(unsafe { libc::chdir(workdir.as_ptr()) })
}

/// Bytes from the kernel's random generator; zeros where it is not ready yet and would make the boot wait.
pub(crate) fn random_seed() -> u64 {
    let mut seed = [0u8; 8];
    // SAFETY: getrandom(2) writes at most the given number of bytes into the array of that size.
    unsafe { libc::getrandom(seed.as_mut_ptr().cast(), seed.len(), libc::GRND_NONBLOCK) };
    u64::from_ne_bytes(seed)
}

/// Columns and rows of a terminal, where its driver knows them.
pub(crate) fn terminal_size(terminal: BorrowedFd<'_>) -> Option<(u16, u16)> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCGWINSZ writes one `struct winsize`, which is what the pointer names.
    check(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) }).ok()?;
    (size.ws_col > 0 && size.ws_row > 0).then_some((size.ws_col, size.ws_row))
}

const KDSKBMODE: libc::c_ulong = 0x4b45;

/// Linux's `struct vt_mode` (vt.h), which the libc crate does not have.
#[repr(C)]
struct SwitchMode {
    mode: libc::c_char,
    waitv: libc::c_char,
    signals: [libc::c_short; 3],
}

/// Linux's `struct vt_stat` (vt.h).
#[repr(C)]
struct Screens {
    active: libc::c_ushort,
    signal: libc::c_ushort,
    state: libc::c_ushort,
}

/// Makes a virtual terminal show text, send characters and let itself be switched away from again, whatever a program
/// did to it.
pub(crate) fn text_mode(terminal: BorrowedFd<'_>) {
    const KDSETMODE: libc::c_ulong = 0x4b3a;
    const VT_SETMODE: libc::c_ulong = 0x5602;
    const KD_TEXT: libc::c_long = 0;
    const K_UNICODE: libc::c_long = 3;
    const VT_AUTO: libc::c_char = 0;
    let by_itself = SwitchMode { mode: VT_AUTO, waitv: 0, signals: [0; 3] };
    // SAFETY: VT_SETMODE reads one `struct vt_mode`; `by_itself` has that layout and lives until the call has returned.
    unsafe { libc::ioctl(terminal.as_raw_fd(), VT_SETMODE, &raw const by_itself) };
    // SAFETY: KDSETMODE takes a number and no memory. On anything but a virtual terminal it fails, and nothing is lost.
    unsafe { libc::ioctl(terminal.as_raw_fd(), KDSETMODE, KD_TEXT) };
    // SAFETY: KDSKBMODE takes a number and no memory either.
    unsafe { libc::ioctl(terminal.as_raw_fd(), KDSKBMODE, K_UNICODE) };
}

/// Makes a virtual terminal deaf to the keyboard, its special keys included, until `text_mode`.
pub(crate) fn mute_keyboard(terminal: BorrowedFd<'_>) {
    const K_OFF: libc::c_long = 4;
    // SAFETY: KDSKBMODE takes a number and no memory. On anything but a virtual terminal it fails, and nothing is lost.
    unsafe { libc::ioctl(terminal.as_raw_fd(), KDSKBMODE, K_OFF) };
}

/// The number of the virtual terminal that is shown; `terminal` is any of them.
pub(crate) fn shown_terminal(terminal: BorrowedFd<'_>) -> Option<u16> {
    const VT_GETSTATE: libc::c_ulong = 0x5603;
    let mut screens = Screens { active: 0, signal: 0, state: 0 };
    // SAFETY: VT_GETSTATE writes one `struct vt_stat`; `screens` has that layout and lives until the call has returned.
    check(unsafe { libc::ioctl(terminal.as_raw_fd(), VT_GETSTATE, &raw mut screens) }).ok()?;
    Some(screens.active)
}

/// Has a virtual terminal shown; it takes effect in a moment.
pub(crate) fn show_terminal(terminal: BorrowedFd<'_>, number: u16) {
    const VT_ACTIVATE: libc::c_ulong = 0x5606;
    // SAFETY: VT_ACTIVATE takes a number and no memory. What cannot be shown leaves things as they are.
    unsafe { libc::ioctl(terminal.as_raw_fd(), VT_ACTIVATE, libc::c_long::from(number)) };
}

/// Makes the command's process lead a session of its own on the terminal that is its standard input, taken from whoever
/// has it, with no signal masked.
pub(crate) fn lead_before_exec(command: &mut Command) {
    let lead = || {
        // What we read from descriptors would be asleep in a shell for good.
        SigSet::empty().thread_set_mask()?;
        // SAFETY: setsid(2) takes nothing.
        check(unsafe { libc::setsid() })?;
        // SAFETY: TIOCSCTTY takes a plain number, 1 for a terminal that another session has; standard input is it by now.
        check(unsafe { libc::ioctl(libc::STDIN_FILENO, libc::TIOCSCTTY, 1) })
    };
    // SAFETY: `lead` makes system calls only and touches no memory but the stack: it allocates nothing and takes no lock.
    unsafe { command.pre_exec(lead) };
}

fn interface_request(name: &str) -> io::Result<libc::ifreq> {
    // SAFETY: all-zero bytes are a valid `ifreq`: integers, arrays and a union of those with null pointers.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    request.ifr_name = interface_name(name)?;
    Ok(request)
}

fn interface_name(name: &str) -> io::Result<[libc::c_char; libc::IFNAMSIZ]> {
    let mut field = [0; libc::IFNAMSIZ];
    if name.is_empty() || name.len() >= libc::IFNAMSIZ {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    for (to, from) in field.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    Ok(field)
}

fn interface_ioctl(control: &OwnedFd, code: libc::c_ulong, request: &mut libc::ifreq) -> io::Result<()> {
    // SAFETY: every caller passes a SIOC[GS]IF* code, and those read and write one `ifreq`.
    check(unsafe { libc::ioctl(control.as_raw_fd(), code, request) })
}

fn socket_address(address: Ipv4Addr) -> libc::sockaddr {
    let mut data = [0; 14];
    for (to, from) in data.iter_mut().skip(2).zip(address.octets()) {
        *to = from as libc::c_char; // sockaddr_in: two bytes of port, then the address in network order
    }
    libc::sockaddr { sa_family: libc::AF_INET as libc::sa_family_t, sa_data: data }
}

fn owned(fd: libc::c_int) -> io::Result<OwnedFd> {
    check(fd.min(0))?;
    // SAFETY: the descriptor is non-negative, was made by the call just before, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
