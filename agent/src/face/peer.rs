//! Who is at the other end of a connection, as the kernel says it, and what they may.

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::net::sockopt::socket_peercred;
use suture_core::limits::MAX_ACCOUNTS_BYTES;

/// Somebody on the device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Who {
    /// The account.
    pub uid: u32,
    /// The account's group, as the process has it.
    pub gid: u32,
    /// The account's name, where `/etc/passwd` has one.
    pub account: Option<String>,
    /// The name that they give themselves.
    pub said: Option<String>,
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { uid, account, said, .. } = self;
        if let Some(said) = said {
            write!(f, "{said}, by ")?;
        }
        match account {
            Some(account) => write!(f, "account {account} (uid {uid})"),
            None => write!(f, "uid {uid}"),
        }
    }
}

impl Who {
    /// The other end of a socket.
    ///
    /// # Errors
    ///
    /// The kernel does not say it.
    pub fn at(socket: impl AsFd) -> rustix::io::Result<Self> {
        let peer = socket_peercred(socket)?;
        Ok(Self::of(peer.uid.as_raw(), peer.gid.as_raw()))
    }

    /// This process.
    pub fn here() -> Self {
        Self::of(rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw())
    }

    fn of(uid: u32, gid: u32) -> Self {
        let account = accounts(Path::new("/etc/passwd")).and_then(|text| account(&text, uid));
        Self { uid, gid, account, said: None }
    }

    /// The same with the name that they give themselves.
    #[must_use]
    pub fn saying(self, said: Option<String>) -> Self {
        Self { said, ..self }
    }

    /// Whether they may change something: root, and whoever is in the group, where one is named.
    pub fn may_change(&self, control_group: Option<&str>) -> bool {
        self.uid == 0 || control_group.is_some_and(|group| self.is_in(group))
    }

    /// Whether they may read: everybody, or where a group is named, whoever is in it; and whoever may change.
    pub fn may_read(&self, read_group: Option<&str>, control_group: Option<&str>) -> bool {
        read_group.is_none_or(|group| self.is_in(group)) || self.may_change(control_group)
    }

    fn is_in(&self, group: &str) -> bool {
        accounts(Path::new("/etc/group")).is_some_and(|text| is_in(&text, group, self))
    }
}

/// One of the two files, each of a line for an entry; none where it is not there, or longer than a device's is.
fn accounts(path: &Path) -> Option<String> {
    let mut text = String::new();
    File::open(path).ok()?.take(MAX_ACCOUNTS_BYTES.saturating_add(1)).read_to_string(&mut text).ok()?;
    (text.len() as u64 <= MAX_ACCOUNTS_BYTES).then_some(text)
}

/// `name:password:uid:..`
fn account(passwd: &str, uid: u32) -> Option<String> {
    let mut lines = passwd.lines().map(|line| line.split(':'));
    lines.find_map(|mut fields| {
        let (name, number) = (fields.next()?, fields.nth(1)?);
        (number.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

/// `name:password:gid:member,member`
fn is_in(groups: &str, group: &str, who: &Who) -> bool {
    groups.lines().any(|line| {
        let fields: Vec<_> = line.split(':').collect();
        let [name, _, gid, members] = fields[..] else { return false };
        let listed = who.account.as_ref().is_some_and(|account| members.split(',').any(|member| member == account));
        name == group && (gid.parse() == Ok(who.gid) || listed)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str =
        "root:x:0:0:root:/root:/bin/sh\nnurse:x:1000:1000::/home/nurse:/bin/sh\npump:x:980:970::/:/bin/false\n";
    const GROUP: &str = "root:x:0:\nnurse:x:1000:\npump:x:970:\ntechnicians:x:500:nurse,other\nodd\nempty:x:501:\n";

    fn who(uid: u32, gid: u32) -> Who {
        Who { uid, gid, account: account(PASSWD, uid), said: None }
    }

    #[test]
    fn a_group_is_an_accounts_own_or_names_it() {
        assert_eq!(who(980, 970).account.as_deref(), Some("pump"));
        assert_eq!(who(4_711, 1).account, None);
        for (uid, gid, group, expected) in [
            (1_000, 1_000, "technicians", true),
            (1_000, 500, "technicians", true),
            (4_711, 500, "technicians", true),
            (980, 970, "technicians", false),
            (980, 970, "pump", true),
            (4_711, 1, "empty", false),
            (4_711, 1, "", false),
            (1_000, 1_000, "nosuch", false),
            (1_000, 1_000, "odd", false),
        ] {
            assert_eq!(is_in(GROUP, group, &who(uid, gid)), expected, "{uid} {gid} {group}");
        }
        assert!(who(0, 0).may_change(None) && !who(1_000, 1_000).may_change(None));
        assert!(who(1_000, 1_000).may_read(None, None) && who(0, 0).may_read(Some("nosuch"), None));
    }

    #[test]
    fn a_person_is_named_as_they_and_as_the_kernel_name_them() {
        assert_eq!(who(1_000, 1_000).to_string(), "account nurse (uid 1000)");
        assert_eq!(who(980, 970).saying(Some("Kim".into())).to_string(), "Kim, by account pump (uid 980)");
        assert_eq!(who(4_711, 1).to_string(), "uid 4711");
        let here = Who::here();
        let (one, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        assert_eq!(Who::at(&one).unwrap(), here);
    }
}
