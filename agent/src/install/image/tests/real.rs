//! The boot loaders themselves in the place of their stand-ins. `tests/boot/run.sh` runs this and prints the table.

use super::*;
use crate::install::image::loader::Order;

/// The counters of both copies of U-Boot's environment, which the checksum does not cover.
const COUNTERS: [usize; 2] = [0x804, 0x2804];

/// A row for each start: what lay there when the power came, what was started, what lay there then, and what the agent makes
/// of it.
struct Table(Device);

impl Table {
    fn new(by: By) -> Self {
        assert!(std::env::var(REAL).is_ok(), "tests/boot/run.sh runs this: it makes the boot loaders ready");
        Self(Device::new(by))
    }

    /// One start, by which `booted` is to run; then the boot loader is to prefer `first`, so many times more.
    fn start(&self, case: &str, booted: Side, first: Side, left: Option<u32>) {
        let before = self.lies();
        self.0.start();
        let (found, order) = (self.0.booted(), self.0.loader().order().unwrap());
        let times = order.left.map_or_else(|| "always".to_owned(), |left| format!("{left} more"));
        let back = self.0.image("/nowhere").has_started().is_err();
        println!(
            "{:<12} | {case:<37} | {before:<36} | {} | {:<36} | {}, {times}{}",
            self.0.by.real().unwrap(),
            found.as_str(),
            self.lies(),
            order.first.as_str(),
            if back { ": gone back" } else { "" },
        );
        assert_eq!((found, order), (booted, Order { first, left }), "{case}");
        assert_eq!(back, booted != first, "{case}");
    }

    /// What the boot loader and the agent tell each other.
    fn lies(&self) -> String {
        match self.0.by {
            By::UBoot | By::Rauc => {
                let [order, a, b] = environment::tests::at(self.0.dir.path())
                    .get(["BOOT_ORDER", "BOOT_A_LEFT", "BOOT_B_LEFT"])
                    .unwrap()
                    .map(Option::unwrap_or_default);
                let counters = COUNTERS.map(|at| fs::read(self.0.path("env.bin")).unwrap()[at]);
                format!("order {order}, A {a}, B {b} {counters:?}")
            }
            By::SystemdBoot => {
                let names = fs::read_dir(self.0.path("entries")).unwrap();
                let mut names: Vec<_> = names.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
                names.sort();
                names.join(" ").replace(".conf", "")
            }
        }
    }

    /// Fetched, written, switched to.
    fn switch(&self, release: u64) -> Digest {
        let new = self.0.bundle(release);
        let digest = Digest::of(&new.bytes);
        self.0.contract().prepare(&new.bytes, &new.payloads, &within()).unwrap();
        self.0.contract().switch(&digest, &within()).unwrap();
        digest
    }
}

/// An update that nobody proves, its end, the same once more with a proof, and the next one.
fn journey(by: By) -> Table {
    use Side::{A, B};
    println!(
        "{:<12} | {:<37} | {:<36} | - | {:<36} | the agent reads",
        "loader", "case", "before: the agent wrote", "after: the loader wrote"
    );
    let table = Table::new(by);
    let it = || table.0.contract();
    table.start("as the factory leaves it", A, A, None);
    let new = table.switch(2);
    for left in [2, 1, 0] {
        table.start("switched to b, unproven", B, B, Some(left));
    }
    for _ in 0..4 {
        table.start("b has no try left", A, B, Some(0));
    }
    assert!(matches!(it().probe(&new, &within()), Err(InstallError::WentBack(_))));
    it().revert(&new, &within()).unwrap();
    table.start("reverted", A, A, None);
    it().switch(&new, &within()).unwrap();
    table.start("switched to b once more", B, B, Some(2));
    it().commit(&new, &within()).unwrap();
    for _ in 0..4 {
        table.start("confirmed", B, B, None);
    }
    let next = table.switch(3);
    table.start("switched to a", A, A, Some(2));
    it().revert(&next, &within()).unwrap();
    table.start("unfit, reverted while it ran", B, B, None);
    it().switch(&next, &within()).unwrap();
    table.start("switched to a once more", A, A, Some(2));
    it().commit(&next, &within()).unwrap();
    table.start("confirmed", A, A, None);
    table
}

#[test]
#[ignore = "it needs the boot loaders that tests/boot/run.sh makes ready"]
fn systemd_boot_does_what_the_agent_assumes() {
    use Side::{A, B};
    let table = journey(By::SystemdBoot);
    // What a file system without a journal makes of a file that was written last.
    fs::write(table.0.path("entries/pump-b+3.conf"), "").unwrap();
    table.start("an entry that has lost its bytes", A, A, None);
    let new = table.switch(4);
    table.start("written anew", B, B, Some(2));
    // Sorted before ours, both.
    let foreign = fs::read_to_string(table.0.path("entry-a")).unwrap().replace("suture.slot=a", "foreign");
    fs::write(table.0.path("entries/other.conf"), format!("sort-key aaa\nversion 99\n{foreign}")).unwrap();
    table.start("another's entry, default pump-*", B, B, Some(1));
    fs::remove_file(table.0.path("entries/other.conf")).unwrap();
    fs::write(table.0.path("loader.conf"), "timeout 0\n").unwrap();
    table.start("no default", B, B, Some(0));
    table.start("no default, no try left", A, B, Some(0));
    table.0.contract().revert(&new, &within()).unwrap();
    table.start("no default, reverted", A, A, None);
    // systemd's own service, where nobody has masked it: the way back is the agent's alone then.
    table.0.contract().switch(&new, &within()).unwrap();
    table.start("switched to b", B, B, Some(2));
    fs::rename(table.0.path("entries/pump-b+2-1.conf"), table.0.path("entries/pump-b.conf")).unwrap();
    table.start("systemd-bless-boot has marked it", B, B, None);
    table.0.contract().revert(&new, &within()).unwrap();
    table.start("reverted all the same", A, A, None);
}

#[test]
#[ignore = "it needs the boot loaders that tests/boot/run.sh makes ready"]
fn u_boot_does_what_the_agent_assumes() {
    use Side::{A, B};
    let table = journey(By::UBoot);
    let path = table.0.path("env.bin");
    let alter = |change: &dyn Fn(&mut Vec<u8>, usize)| {
        let mut bytes = fs::read(&path).unwrap();
        // The one in force.
        let ahead = bytes[COUNTERS[1]].wrapping_sub(bytes[COUNTERS[0]]).cast_signed();
        let newest = usize::from(ahead > 0);
        change(&mut bytes, newest);
        fs::write(&path, bytes).unwrap();
    };
    let new = table.switch(4);
    // Cut while it was written, by the agent: what was before counts.
    alter(&|bytes, newest| bytes[COUNTERS[newest] + 0x100] ^= 1);
    table.start("the agent's write was torn", A, A, None);
    table.0.contract().switch(&new, &within()).unwrap();
    table.start("written anew", B, B, Some(2));
    // By the boot loader: it has the try once more.
    alter(&|bytes, newest| bytes[COUNTERS[newest] + 0x100] ^= 1);
    table.start("the loader's write was torn", B, B, Some(2));
    alter(&|bytes, newest| bytes[COUNTERS[1 - newest] + 0x100] ^= 1);
    table.start("the older copy is torn", B, B, Some(1));
    table.0.contract().revert(&new, &within()).unwrap();
    for highest in [253, 254, 255] {
        alter(&|bytes, newest| {
            bytes[COUNTERS[newest]] = highest;
            bytes[COUNTERS[1 - newest]] = highest - 1;
        });
        table.0.contract().switch(&new, &within()).unwrap();
        table.start("the counter begins again", B, B, Some(2));
        table.0.contract().revert(&new, &within()).unwrap();
        table.start("reverted", A, A, None);
    }
    // Of a factory that knows nothing of it.
    environment::tests::make(table.0.dir.path(), &UBOOT_COMMANDS);
    assert!(table.0.loader().order().is_err());
    table.start("nothing is set", A, A, Some(2));
    table.0.contract().settle(&within()).unwrap();
    table.start("settled", A, A, None);
}
