use std::fs;
use std::path::Path;
use std::process::Command;

use proptest::prelude::*;

use super::*;

const SIZE: usize = 0x1000;

/// Both copies in one file, with a gap before, and `fw_env.config` for the real tools.
pub(in crate::install::image) fn at(dir: &Path) -> Environment {
    let path = dir.join("env.bin");
    Environment([0x800, 0x2800].map(|offset| Copy { path: path.clone(), offset, size: SIZE }))
}

/// The same, with these variables in the first copy.
pub(in crate::install::image) fn make(dir: &Path, variables: &[&str]) -> Environment {
    let environment = at(dir);
    let file = dir.join("env.bin");
    let variables: Vec<Vec<u8>> = variables.iter().map(|v| v.as_bytes().to_vec()).collect();
    let mut bytes = vec![0xAA; 0x4000];
    bytes[0x800..0x800 + SIZE].copy_from_slice(&image(&environment.0[0], 1, &variables).unwrap());
    fs::write(&file, bytes).unwrap();
    let lines = [0x800, 0x2800].map(|offset| format!("{} {offset:#x} {SIZE:#x}\n", file.display()));
    fs::write(dir.join("fw_env.config"), lines.concat()).unwrap();
    environment
}

fn tool(dir: &Path, program: &str, arguments: &[&str]) -> String {
    let ran = Command::new(program).arg("-c").arg(dir.join("fw_env.config")).args(arguments).output();
    let output = ran.unwrap_or_else(|e| panic!("{program}: {e}; it is in Debian's package libubootenv-tool"));
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

#[test]
fn the_real_tools_read_what_is_written_here_and_the_other_way_round() {
    let dir = tempfile::tempdir().unwrap();
    let environment = make(dir.path(), &["BOOT_ORDER=A B", "bootcmd=run x; echo a=b", "empty="]);
    let get = |name: &str| tool(dir.path(), "fw_printenv", &["-n", name]);
    assert_eq!((get("BOOT_ORDER"), get("bootcmd")), ("A B".to_owned(), "run x; echo a=b".to_owned()));
    // More often than the counter has values.
    for n in 0..300_u32 {
        environment.set(&[("BOOT_B_LEFT", n.to_string()), ("BOOT_ORDER", "B A".to_owned())]).unwrap();
        if n % 29 == 0 || (250..262).contains(&n) {
            assert_eq!(get("BOOT_B_LEFT"), n.to_string());
            tool(dir.path(), "fw_setenv", &["BOOT_A_LEFT", &format!("{n:x}")]);
            let [a, b, order] = environment.get(["BOOT_A_LEFT", "BOOT_B_LEFT", "BOOT_ORDER"]).unwrap();
            assert_eq!((a, b, order), (Some(format!("{n:x}")), Some(n.to_string()), Some("B A".to_owned())));
        }
    }
    assert_eq!(get("bootcmd"), "run x; echo a=b", "what is not ours stays");
    let bytes = fs::read(dir.path().join("env.bin")).unwrap();
    let around = [&bytes[..0x800], &bytes[0x1800..0x2800], &bytes[0x3800..]];
    assert!(around.iter().all(|part| part.iter().all(|byte| *byte == 0xAA)), "nothing beside the copies is written");
}

/// What U-Boot itself has saved, twice (2023.01, by `tests/boot`): checksum and counter of each copy, then what both have in
/// common behind the tries that are left.
const SAVED_BY_UBOOT: [(&str, [u8; HEAD_BYTES]); 2] =
    [("BOOT_A_LEFT=1\0", [0xC5, 0x2B, 0x7F, 0x58, 9]), ("BOOT_A_LEFT=0\0", [0x6A, 0x0C, 0xCA, 0x6E, 10])];
const SAVED_BESIDE: &str = "BOOT_B_LEFT=3\0BOOT_ORDER=A B\0\
    boot_a=host load hostfs - 1100000 slot-a.scr; source 1100000\0\
    boot_b=host load hostfs - 1100000 slot-b.scr; source 1100000\0bootargs=quiet\0\
    bootcmd=host load hostfs - 1000000 boot.scr; source 1000000\0bootdelay=0\0fdtcontroladdr=dffebc0\0\
    fileaddr=1000000\0filesize=558\0stderr=serial\0stdin=serial\0stdout=serial";

#[test]
fn what_u_boot_has_saved_itself_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("env.bin");
    let mut bytes = Vec::new();
    for (tries, head) in SAVED_BY_UBOOT {
        let start = bytes.len();
        bytes.extend([&head[..], tries.as_bytes(), SAVED_BESIDE.as_bytes()].concat());
        bytes.resize(start + SIZE, 0);
    }
    fs::write(&path, &bytes).unwrap();
    let environment = Environment([0, SIZE].map(|at| Copy { path: path.clone(), offset: at as u64, size: SIZE }));
    let get = || environment.get(["BOOT_A_LEFT", "BOOT_ORDER", "stdout"]).unwrap().map(Option::unwrap);
    assert_eq!(get(), ["0", "A B", "serial"]);
    environment.set(&[("BOOT_A_LEFT", "3".to_owned())]).unwrap();
    assert_eq!(get(), ["3", "A B", "serial"]);
    let after = fs::read(&path).unwrap();
    assert!(after[SIZE..] == bytes[SIZE..], "the copy in force was written");
    assert_eq!(after[HEAD_BYTES - 1], 11);
    // Torn, both.
    fs::write(&path, [&after[..SIZE / 20], &bytes[SIZE / 20..]].concat()).unwrap();
    assert_eq!(get(), ["0", "A B", "serial"]);
}

#[test]
fn a_write_that_is_cut_anywhere_leaves_what_was_before_or_what_is_after() {
    let dir = tempfile::tempdir().unwrap();
    let environment = make(dir.path(), &["BOOT_ORDER=A B"]);
    environment.set(&[("BOOT_ORDER", "A".to_owned())]).unwrap();
    let before = fs::read(dir.path().join("env.bin")).unwrap();
    environment.set(&[("BOOT_ORDER", "B A".to_owned())]).unwrap();
    let after = fs::read(dir.path().join("env.bin")).unwrap();
    for cut in (0..after.len()).filter(|at| before[*at] != after[*at]).chain([0, after.len()]) {
        let torn = [&after[..cut], &before[cut..]].concat();
        fs::write(dir.path().join("env.bin"), torn).unwrap();
        let [order] = environment.get(["BOOT_ORDER"]).unwrap();
        let told = tool(dir.path(), "fw_printenv", &["-n", "BOOT_ORDER"]);
        assert_eq!(order.as_deref(), Some(told.as_str()), "U-Boot's tools see the same");
        assert!(["A", "B A"].contains(&told.as_str()), "{told}");
        // And it can be written again.
        environment.set(&[("BOOT_ORDER", "B".to_owned())]).unwrap();
        assert_eq!(tool(dir.path(), "fw_printenv", &["-n", "BOOT_ORDER"]), "B");
    }
}

#[test]
fn what_is_so_already_is_not_written() {
    let dir = tempfile::tempdir().unwrap();
    let environment = make(dir.path(), &["x=1", "BOOT_ORDER=A"]);
    let before = fs::read(dir.path().join("env.bin")).unwrap();
    environment.set(&[("BOOT_ORDER", "A".to_owned())]).unwrap();
    assert!(fs::read(dir.path().join("env.bin")).unwrap() == before);
}

#[test]
fn an_environment_that_nobody_can_read_is_not_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let environment = make(dir.path(), &["x=1"]);
    let mut bytes = fs::read(dir.path().join("env.bin")).unwrap();
    bytes[0x810] ^= 1;
    fs::write(dir.path().join("env.bin"), &bytes).unwrap();
    let error = environment.set(&[("x", "2".to_owned())]).unwrap_err().to_string();
    assert!(error.contains("neither copy") && error.contains("env.bin"), "{error}");
    assert!(fs::read(dir.path().join("env.bin")).unwrap() == bytes);
    let long = "y".repeat(SIZE);
    let environment = make(dir.path(), &["x=1"]);
    assert!(environment.set(&[("x", long)]).unwrap_err().to_string().contains("needs"));
    assert!(environment.get(["x"]).unwrap() == [Some("1".to_owned())]);
}

/// Accident: a bad sector below one copy, whichever; or a file system that has cut it off.
#[test]
fn of_two_copies_one_may_be_unreadable_and_is_written_over() {
    for bad in [0, 1] {
        let dir = tempfile::tempdir().unwrap();
        let [first, second] = ["one", "two"].map(|name| Copy { path: dir.path().join(name), offset: 0, size: SIZE });
        let environment = Environment([first, second]);
        let place = |at: usize| &environment.0[at].path;
        for at in [0, 1] {
            let image = image(&environment.0[at], 7, &[b"BOOT_ORDER=A B".to_vec()]).unwrap();
            fs::write(place(at), image).unwrap();
        }
        let get = || environment.get(["BOOT_ORDER"]).unwrap()[0].clone().unwrap();
        fs::write(place(bad), b"cut").unwrap();
        assert_eq!(get(), "A B");
        environment.set(&[("BOOT_ORDER", "B A".to_owned())]).unwrap();
        assert_eq!((get().as_str(), read(&environment.0[bad]).unwrap().counter), ("B A", 8), "it is whole again");

        // One that takes nothing either is said, and the copy in force stays.
        durable::lose(place(bad));
        assert_eq!(get(), "A B");
        let before = fs::read(place(1 - bad)).unwrap();
        let said = environment.set(&[("BOOT_ORDER", "B".to_owned())]).unwrap_err().to_string();
        assert!(said.starts_with("cannot write") && said.contains(place(bad).to_str().unwrap()), "{said}");
        assert!(fs::read(place(1 - bad)).unwrap() == before);

        // Not where the other is not right, nor where the place is written wrong.
        fs::write(place(1 - bad), before.iter().map(|byte| byte ^ 1).collect::<Vec<_>>()).unwrap();
        assert!(environment.get(["BOOT_ORDER"]).unwrap_err().to_string().starts_with("cannot read"));
        fs::write(place(1 - bad), before).unwrap();
        fs::remove_file(place(bad)).unwrap();
        assert!(environment.get(["BOOT_ORDER"]).is_err(), "there is none");
        fs::create_dir(place(bad)).unwrap();
        assert!(environment.get(["BOOT_ORDER"]).is_err(), "it is neither a file nor a block device");
    }
}

#[test]
fn lines_of_fw_env_config_are_read_and_others_refused() {
    let copy: Copy = "/dev/mmcblk0\t0x400000 0x4000 0x200 1".parse().unwrap();
    assert_eq!((copy.path.to_str(), copy.offset, copy.size), (Some("/dev/mmcblk0"), 0x40_0000, 0x4000));
    for bad in
        ["", "/dev/x", "/dev/x 1", "/dev/x 1 4", "/dev/x -1 64", "x 0 64", "/dev/x 0 99999999999", "/dev/x 0 0xg"]
    {
        assert!(bad.parse::<Copy>().is_err(), "{bad}");
    }
    assert_eq!(crc32(b"123456789"), 0xCBF4_3926, "the check value of the catalogue of CRCs");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn whatever_lies_there_is_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300), sealed in any::<bool>()) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("env");
        let mut bytes = bytes;
        if sealed && bytes.len() > HEAD_BYTES {
            let sum = crc32(&bytes[HEAD_BYTES..]).to_le_bytes();
            bytes[..4].copy_from_slice(&sum);
        }
        fs::write(&path, &bytes).unwrap();
        let size = bytes.len().max(HEAD_BYTES + 2);
        let environment = Environment([0, 0].map(|offset| Copy { path: path.clone(), offset, size }));
        let _ = environment.get(["BOOT_ORDER"]);
    }
}
