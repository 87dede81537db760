//! Brings up the loopback interface of a new network namespace: test suites of packages talk to themselves.

use std::io;

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

/// A netlink request (rtnetlink(7)): `RTM_NEWLINK`, acknowledged, for interface 1, which is always `lo`: set
/// `IFF_UP`. All numbers are in the machine's own byte order.
fn request() -> Vec<u8> {
    const RTM_NEWLINK: u16 = 16;
    const NLM_F_REQUEST_AND_ACK: u16 = 1 | 4;
    const IFF_UP: u32 = 1;
    let mut bytes = Vec::new();
    bytes.extend(32_u32.to_ne_bytes());
    bytes.extend(RTM_NEWLINK.to_ne_bytes());
    bytes.extend(NLM_F_REQUEST_AND_ACK.to_ne_bytes());
    bytes.extend(1_u32.to_ne_bytes()); // sequence number
    bytes.extend(0_u32.to_ne_bytes()); // port: the kernel's
    bytes.extend([0; 4]); // family and type: any
    bytes.extend(1_i32.to_ne_bytes());
    bytes.extend(IFF_UP.to_ne_bytes());
    bytes.extend(IFF_UP.to_ne_bytes()); // which flags to change
    bytes
}

/// Brings `lo` up.
pub(super) fn bring_up() -> io::Result<()> {
    let socket = rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        None, // protocol 0: routes and interfaces
    )?;
    rustix::net::send(&socket, &request(), SendFlags::empty())?;
    // The answer: a header of 16 bytes, then the negative error number, 0 for success.
    let mut answer = [0; 256];
    let (length, _) = rustix::net::recv(&socket, &mut answer, RecvFlags::empty())?;
    match answer.get(16..20).filter(|_| length >= 20) {
        Some(&[a, b, c, d]) => match i32::from_ne_bytes([a, b, c, d]) {
            0 => Ok(()),
            error => Err(io::Error::from_raw_os_error(-error)),
        },
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "the kernel's answer is too short")),
    }
}
