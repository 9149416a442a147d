//! A device with the real RAUC: two slots in files, a boot loader in a script that counts its tries as U-Boot does, a D-Bus of
//! its own, and RAUC's own service, which is started anew with the device.
//!
//! The installer's own tests and the journeys in `tests/` share it, so it needs neither.
//!
//! Bundles are of RAUC's format `plain`, which it mounts by a loop device. `verity` needs the device mapper, which machines
//! that build software seldom have.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A slot has room for more than an image.
const SLOT_BYTES: u64 = 2 << 20;
const IMAGE_BYTES: usize = 1 << 20;

/// RAUC's custom boot loader backend: `order` is what it tries in turn, `X.left` how often it tries X yet.
const BACKEND: &str = r#"#!/bin/sh
cd "$(dirname "$0")" || exit 2
case $1 in
get-primary)
    for slot in $(cat order); do
        if [ "$(cat $slot.left)" -gt 0 ]; then echo $slot; exit; fi
    done
    exit 1 ;;
set-primary)
    echo "$2 $(sed "s/$2//" order)" > order.new && mv order.new order
    echo 3 > $2.left ;;
get-state) if [ "$(cat $2.left)" -gt 0 ]; then echo good; else echo bad; fi ;;
set-state) if [ "$3" = good ]; then echo 3 > $2.left; else echo 0 > $2.left; fi ;;
esac
"#;

/// The device goes down and comes up: the boot loader tries slot after slot, an image that begins with PANIC takes the device
/// down again, and with what comes up RAUC's service does.
const POWER: &str = r#"#!/bin/sh
cd "$(dirname "$0")" || exit 2
if [ -e pid ]; then kill "$(cat pid)"; while kill -0 "$(cat pid)" 2>/dev/null; do sleep 0.02; done; rm pid; fi
booted=
while [ -z "$booted" ]; do
    slot=
    for s in $(cat order); do
        if [ "$(cat $s.left)" -gt 0 ]; then slot=$s; break; fi
    done
    if [ -z "$slot" ]; then echo "no slot is left" >> boots; exit 1; fi
    echo $(($(cat $slot.left) - 1)) > $slot.left
    echo "$slot $(head -n 1 $slot.img)" >> boots
    if ! head -n 1 $slot.img | grep -q PANIC; then booted=$slot; fi
done
echo $booted > booted
cat /proc/sys/kernel/random/uuid > boot_id
setsid rauc --conf system.conf --override-boot-slot=$booted service >> rauc.log 2>&1 &
echo $! > pid
tries=0
until rauc status > /dev/null 2>&1; do
    tries=$((tries + 1)); [ $tries -lt 500 ] || exit 1
    sleep 0.02
done
"#;

/// Healthy is what does not say FAULT.
const HEALTH: &str = r#"#!/bin/sh
cd "$(dirname "$0")" || exit 2
! head -n 1 "$(cat booted).img" | grep -q FAULT
"#;

/// What RAUC runs before it writes: as long as the gate is shut, it stands there.
const GATE: &str = r#"#!/bin/sh
cd "$(dirname "$0")" || exit 2
if [ -e shut ]; then touch reached; while [ -e shut ]; do sleep 0.02; done; fi
"#;

/// What comes up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Image {
    /// Well.
    Good,
    /// It comes up, and is not well.
    Fault,
    /// It takes the device down as it comes up.
    Panic,
}

/// RAUC on a device.
pub(super) struct Stage {
    pub(super) dir: PathBuf,
    bus: Child,
}

impl Stage {
    /// RAUC in `dir`, made from nothing. The device runs its first slot with this image.
    pub(super) fn new(dir: PathBuf, first: &[u8]) -> Self {
        fs::create_dir_all(&dir).unwrap();
        for (name, script) in [("backend.sh", BACKEND), ("power.sh", POWER), ("health.sh", HEALTH), ("gate.sh", GATE)] {
            fs::write(dir.join(name), script).unwrap();
            fs::set_permissions(dir.join(name), fs::Permissions::from_mode(0o755)).unwrap();
        }
        fs::create_dir(dir.join("mnt")).unwrap();
        for (slot, image) in [("A", first), ("B", &[])] {
            fs::write(dir.join(format!("{slot}.img")), image).unwrap();
            fs::File::options().write(true).open(dir.join(format!("{slot}.img"))).unwrap().set_len(SLOT_BYTES).unwrap();
            fs::write(dir.join(format!("{slot}.left")), "3\n").unwrap();
        }
        fs::write(dir.join("order"), "A B\n").unwrap();
        key(&dir, "maker");
        let at = dir.display();
        let conf = format!(
            "[system]\ncompatible=pump\nbootloader=custom\nmountprefix={at}/mnt\nstatusfile={at}/status.raucs\n\
             bundle-formats=plain\nactivate-installed=false\n[handlers]\nbootloader-custom-backend={at}/backend.sh\n\
             pre-install={at}/gate.sh\n\
             [keyring]\npath={at}/maker.cert.pem\n[slot.rootfs.0]\ndevice={at}/A.img\ntype=raw\nbootname=A\n\
             [slot.rootfs.1]\ndevice={at}/B.img\ntype=raw\nbootname=B\n"
        );
        fs::write(dir.join("system.conf"), conf).unwrap();
        let bus = format!(
            "<!DOCTYPE busconfig PUBLIC \"-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN\" \
             \"http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd\">\n<busconfig><type>custom</type>\
             <listen>unix:path={at}/bus</listen><auth>EXTERNAL</auth><policy context=\"default\"><allow user=\"*\"/>\
             <allow own=\"*\"/><allow send_destination=\"*\"/><allow receive_sender=\"*\"/></policy></busconfig>\n"
        );
        fs::write(dir.join("bus.conf"), bus).unwrap();
        let mut command = Command::new("dbus-daemon");
        command.args(["--nofork", "--print-address"]).arg(format!("--config-file={at}/bus.conf"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut bus = command.spawn().unwrap_or_else(|e| panic!("dbus-daemon is in Debian's package dbus-daemon: {e}"));
        // Which it prints once it listens.
        let mut address = String::new();
        BufReader::new(bus.stdout.take().unwrap()).read_line(&mut address).unwrap();
        assert!(address.starts_with("unix:path="), "{address}");
        let stage = Self { dir, bus };
        assert!(stage.power(), "RAUC's service did not come up: {}", stage.log());
        stage
    }

    fn address(&self) -> String {
        format!("unix:path={}/bus", self.dir.display())
    }

    /// A program with what leads it to this device's bus.
    fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command.env("DBUS_SYSTEM_BUS_ADDRESS", self.address()).stdin(Stdio::null());
        command
    }

    /// Starts the device anew.
    pub(super) fn power(&self) -> bool {
        self.command(self.dir.join("power.sh")).status().unwrap().success()
    }

    /// Ends RAUC's service where it stands, as a power cut does; nothing comes up again.
    pub(super) fn cut(&self) {
        let script = "cd \"$0\" && kill -KILL \"$(cat pid)\" && \
                      while kill -0 \"$(cat pid)\" 2>/dev/null; do sleep 0.02; done; rm -f pid shut; \
                      ! mountpoint -q mnt/bundle || umount mnt/bundle";
        assert!(Command::new("sh").args(["-c", script]).arg(&self.dir).status().unwrap().success());
    }

    /// Shuts the gate: the next install stands at it.
    pub(super) fn shut(&self) {
        fs::write(self.dir.join("shut"), "").unwrap();
    }

    /// Waits until an install stands at the gate.
    pub(super) fn reached(&self) {
        let script = "until [ -e \"$0/reached\" ]; do sleep 0.02; done";
        let waited = Command::new("timeout").args(["60", "sh", "-c", script]).arg(&self.dir).status();
        assert!(waited.unwrap().success(), "{}", self.log());
    }

    /// How the agent calls RAUC, and how the device is started anew by it.
    pub(super) fn argv(&self) -> [String; 3] {
        ["env".to_owned(), format!("DBUS_SYSTEM_BUS_ADDRESS={}", self.address()), "rauc".to_owned()]
    }

    /// `rauc ARGUMENTS`, by hand.
    pub(super) fn rauc(&self, arguments: &[&str]) -> bool {
        self.command("rauc").args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success()
    }

    /// What a file of the stage says.
    pub(super) fn says(&self, file: &str) -> String {
        fs::read_to_string(self.dir.join(file)).unwrap_or_default().trim().to_owned()
    }

    /// The first line of a slot.
    pub(super) fn slot(&self, slot: &str) -> String {
        let bytes = fs::read(self.dir.join(format!("{slot}.img"))).unwrap();
        let line = bytes.split(|b| *b == b'\n').next().unwrap();
        String::from_utf8_lossy(line).trim_end_matches('\0').to_owned()
    }

    /// What RAUC's service has logged.
    pub(super) fn log(&self) -> String {
        self.says("rauc.log")
    }

    /// A bundle of RAUC's own, signed by that key.
    pub(super) fn bundle(&self, name: &str, image: &[u8], signer: &str) -> PathBuf {
        let content = self.dir.join(format!("{name}.content"));
        fs::create_dir(&content).unwrap();
        fs::write(content.join("rootfs.img"), image).unwrap();
        let manifest = format!(
            "[update]\ncompatible=pump\nversion={name}\n[bundle]\nformat=plain\n[image.rootfs]\nfilename=rootfs.img\n"
        );
        fs::write(content.join("manifest.raucm"), manifest).unwrap();
        let bundle = self.dir.join(format!("{name}.raucb"));
        let [cert, key] = ["cert", "key"].map(|kind| self.dir.join(format!("{signer}.{kind}.pem")));
        let mut command = Command::new("rauc");
        command.arg("bundle").arg("--cert").arg(cert).arg("--key").arg(key).arg(&content).arg(&bundle);
        let made = command.output();
        let made = made.unwrap_or_else(|e| panic!("rauc is in Debian's package rauc: {e}"));
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        bundle
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if self.dir.join("pid").exists() {
            self.cut();
        }
        // It may have ended by itself.
        let _ = self.bus.kill();
        let _ = self.bus.wait();
    }
}

/// A key of RAUC's, with a certificate that it has signed itself.
pub(super) fn key(dir: &Path, name: &str) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    let cert = params.self_signed(&key).unwrap();
    fs::write(dir.join(format!("{name}.key.pem")), key.serialize_pem()).unwrap();
    fs::write(dir.join(format!("{name}.cert.pem")), cert.pem()).unwrap();
}

/// An image of that release, which begins with what it is.
pub(super) fn image(release: u64, kind: Image) -> Vec<u8> {
    let mut bytes = format!("1.{}.0 {}\n", release - 1, format!("{kind:?}").to_uppercase()).into_bytes();
    let mut state = release.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    while bytes.len() < IMAGE_BYTES {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes
}

/// Whether RAUC can mount a bundle here, for which it takes root; that it cannot CI does not forgive.
pub(super) fn may_mount() -> bool {
    let may = Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
    if !may {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "CI must test with RAUC: run as root");
        let _ = std::io::stderr().write_all(b"not run: RAUC mounts bundles, for which it takes root\n");
    }
    may
}
