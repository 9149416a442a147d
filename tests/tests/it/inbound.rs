//! Rule 7: no inbound connection to a device. What the kernel says of the real agent's sockets, through a whole
//! update: none listens, and none takes what comes from just anybody.

use std::collections::BTreeSet;
use std::net::{TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{fs, thread};

use crate::killed::{approved, confirmed, patiently};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(2);
/// Fewer would have missed most of an update. On a busy machine there are not many more.
const LEAST_LOOKS: usize = 3;

/// A process's network sockets, by `/proc`.
#[derive(Debug, Default)]
struct Sockets {
    /// Connected ones.
    outbound: usize,
    /// Those at which somebody could call who was not called: protocol and local address.
    inbound: BTreeSet<String>,
}

impl Sockets {
    /// None where the process has ended.
    fn of(pid: u32) -> Option<Self> {
        let links = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten();
        let inode = |link: fs::DirEntry| {
            let to = fs::read_link(link.path()).ok()?;
            Some(to.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())
        };
        let own: BTreeSet<String> = links.filter_map(inode).collect();
        let mut sockets = Self::default();
        for protocol in ["tcp", "tcp6", "udp", "udp6", "udplite", "udplite6", "raw", "raw6"] {
            let table = fs::read_to_string(format!("/proc/{pid}/net/{protocol}")).unwrap_or_default();
            for row in table.lines().skip(1) {
                // Kernel, Documentation/networking/proc_net_tcp.rst; the others have the same columns.
                let column: Vec<&str> = row.split_whitespace().collect();
                let (local, remote, state) = (column[1], column[2], column[3]);
                if !own.contains(column[9]) {
                    continue;
                }
                let listens = state == "0A";
                let of_anybody = remote.trim_start_matches(['0', ':']).is_empty();
                if listens || of_anybody && !protocol.starts_with("tcp") {
                    sockets.inbound.insert(format!("{protocol} {local}"));
                } else {
                    sockets.outbound += 1;
                }
            }
        }
        // Whoever has one hears all that comes to the machine.
        let packets = fs::read_to_string(format!("/proc/{pid}/net/packet")).unwrap_or_default();
        let packets = packets.lines().skip(1).filter_map(|row| row.split_whitespace().last());
        sockets.inbound.extend(packets.filter(|inode| own.contains(*inode)).map(|inode| format!("packet {inode}")));
        Some(sockets)
    }
}

#[expect(clippy::disallowed_methods, reason = "it looks again and again, and leaves the machine to others in between")]
fn pause() {
    thread::sleep(LOOK);
}

#[test]
fn the_kernel_tells_who_listens() {
    let own = || Sockets::of(std::process::id()).unwrap();
    // Other tests of this process may have some.
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let named = |sockets: &Sockets, protocol: &str, port: u16| {
        sockets.inbound.contains(&format!("{protocol} 0100007F:{port:04X}"))
    };
    let (tcp_port, udp_port) = (tcp.local_addr().unwrap().port(), udp.local_addr().unwrap().port());
    let sockets = own();
    assert!(named(&sockets, "tcp", tcp_port) && named(&sockets, "udp", udp_port), "{sockets:?}");
    // Once it is connected it hears nobody else.
    udp.connect(("127.0.0.1", tcp_port)).unwrap();
    assert!(!named(&own(), "udp", udp_port));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_agent_listens_at_no_time_of_an_update() {
    let (hospital, rollout) = approved().await;
    let pump = &hospital.pumps[0];
    let mut gate = pump.gated("interlock", "claim");
    let agent = pump.spawn();
    let (pid, over) = (agent.pid(), Arc::new(AtomicBool::new(false)));
    let ended = over.clone();
    let looks = thread::spawn(move || {
        let (mut looks, mut connected, mut inbound) = (0, 0, BTreeSet::new());
        while !ended.load(Ordering::SeqCst) {
            let sockets = Sockets::of(pid).unwrap();
            (looks, connected) = (looks + 1, connected + usize::from(sockets.outbound > 0));
            inbound.extend(sockets.inbound);
            pause();
        }
        (looks, connected, inbound)
    });
    patiently(pump, "the claim", gate.reached()).await;
    assert_eq!(pump.status().state, "claiming");
    gate.open().await;
    confirmed(&hospital, &rollout).await;
    over.store(true, Ordering::SeqCst);
    let (looks, connected, inbound) = looks.join().unwrap();
    drop(agent);
    assert!(looks > LEAST_LOOKS && connected > 0, "{looks} looks, and a connection in {connected} of them");
    assert_eq!(inbound, BTreeSet::new(), "in {looks} looks");
    println!(
        "{looks} looks at the agent's sockets from its start to `confirmed`, a connection in {connected}; none listens"
    );
}
