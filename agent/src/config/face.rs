//! Where people at the device, and its own software, ask the agent; and who may.

use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use super::faults::Faults;
use super::written;

/// Where, unless the configuration says otherwise.
const SOCKET: &str = "/run/suture-agent/agent.sock";
/// What the kernel takes for the name of a Unix socket, less the byte that ends it.
const MAX_SOCKET_BYTES: usize = 107;

/// Where people at the device ask, and who may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Face {
    /// The socket.
    pub socket: PathBuf,
    /// Who may read besides root and those who may change; without it everybody on the device.
    pub read_group: Option<String>,
    /// Who may change something besides root.
    pub control_group: Option<String>,
}

impl Default for Face {
    fn default() -> Self {
        Self { socket: SOCKET.into(), read_group: None, control_group: None }
    }
}

pub(super) fn face(faults: &mut Faults, f: written::Face) -> Face {
    let socket = f.socket.and_then(|path| faults.absolute("face.socket", path)).unwrap_or_else(|| SOCKET.into());
    if socket.as_os_str().as_bytes().len() > MAX_SOCKET_BYTES {
        faults.add(format!("face.socket is longer than {MAX_SOCKET_BYTES} bytes, which no Unix socket's name may be"));
    }
    let mut group = |name: &str, group: Option<String>| {
        let plain = |g: &String| !g.is_empty() && g.len() <= 32 && !g.contains(|c: char| c.is_whitespace() || c == ':');
        if group.as_ref().is_some_and(|g| !plain(g)) {
            faults.add(format!("face.{name} is no group's name as in /etc/group"));
        }
        group
    };
    let read_group = group("read_group", f.read_group);
    Face { socket, read_group, control_group: group("control_group", f.control_group) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_place_or_group_is_a_fault() {
        let of = |socket: &str, read: Option<&str>, control: Option<&str>| {
            let mut faults = Faults::default();
            let read_group = read.map(ToOwned::to_owned);
            let written = written::Face {
                socket: Some(socket.into()),
                read_group,
                control_group: control.map(ToOwned::to_owned),
            };
            let face = face(&mut faults, written);
            (faults.0.len(), face)
        };
        let (faults, good) = of("/run/pump/agent.sock", Some("staff"), None);
        assert_eq!((faults, good.read_group.as_deref()), (0, Some("staff")));
        assert_eq!(of("agent.sock", None, None).0, 1);
        assert_eq!(of(&format!("/{}", "x".repeat(MAX_SOCKET_BYTES)), Some(""), Some("a:b")).0, 3);
        assert_eq!(face(&mut Faults::default(), written::Face::default()), Face::default());
    }
}
