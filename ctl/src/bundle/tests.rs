use super::verify::Tree;
use super::*;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

/// Bytes that do not compress and are the same everywhere.
fn noise(length: usize, mut x: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(length + 8);
    while out.len() < length {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        out.extend_from_slice(&x.to_le_bytes());
    }
    out.truncate(length);
    out
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// A specification with a tree, an image and a document. The order in which files are made differs by `backwards`.
pub(crate) fn sources(dir: &Path, backwards: bool) -> PathBuf {
    let root = dir.join("root");
    fs::create_dir_all(root.join("bin")).unwrap();
    fs::create_dir_all(root.join("bin-extra")).unwrap();
    fs::create_dir_all(root.join("empty")).unwrap();
    let mut files = vec![("bin/pump", noise(300_000, 3)), ("bin-extra/x", b"x".to_vec()), ("data", vec![7; 500_000])];
    files.extend([("z", noise(300_000, 3)), ("nothing", Vec::new())]);
    if backwards {
        files.reverse();
    }
    for (name, content) in files {
        fs::write(root.join(name), content).unwrap();
    }
    set_mode(&root.join("bin/pump"), if backwards { 0o700 } else { 0o755 });
    set_mode(&root.join("data"), if backwards { 0o600 } else { 0o664 });
    set_mode(&root.join("empty"), if backwards { 0o700 } else { 0o775 });
    symlink("bin/pump", root.join("pump")).unwrap();
    fs::write(dir.join("firmware.img"), noise(200_000, 9)).unwrap();
    fs::write(dir.join("notes.md"), "Better.\n").unwrap();
    let spec = dir.join("bundle.toml");
    fs::write(
        &spec,
        r#"
product = "pump"
version = "1.1.0"
release = 2
hardware = ["rev-a"]
class = "routine"
install = { kind = "slots", budget_secs = 120, revert_budget_secs = 60 }

[[payload]]
name = "app"
format = "tree"
path = "root"

[[payload]]
name = "firmware"
format = "image"
path = "firmware.img"

[[document]]
kind = "release-notes"
path = "notes.md"
"#,
    )
    .unwrap();
    spec
}

fn built(dir: &Path, name: &str) -> Outcome<Bundle> {
    build(&dir.join("bundle.toml"), &dir.join(name), Options { level: 3 })
}

/// Every file below a directory, by its path.
fn contents(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = walkdir::WalkDir::new(dir).into_iter().map(Result::unwrap).filter(|e| e.file_type().is_file());
    files.map(|e| (e.path().strip_prefix(dir).unwrap().display().to_string(), fs::read(e.path()).unwrap())).collect()
}

#[test]
fn two_builds_of_one_tree_give_equal_bytes_wherever_they_run() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    sources(one.path(), false);
    sources(two.path(), true);
    let a = built(one.path(), "out").unwrap();
    let b = built(two.path(), "elsewhere").unwrap();
    assert_eq!(a.sha256(), b.sha256());
    let (a, b) = (contents(&one.path().join("out")), contents(&two.path().join("elsewhere")));
    assert!(a == b, "{:?} {:?}", a.keys(), b.keys());
    assert!(a.keys().any(|k| k == "packs/00000.pack"));
    // Another level compresses otherwise; what devices are told stays.
    let level = build(&one.path().join("bundle.toml"), &one.path().join("hard"), Options { level: 9 }).unwrap();
    assert_eq!(fs::read(one.path().join("hard/manifest.json")).unwrap(), a["manifest.json"]);
    verify(&level).unwrap();
}

#[test]
fn a_bundle_verifies_and_says_what_it_holds() {
    let dir = tempfile::tempdir().unwrap();
    sources(dir.path(), false);
    let bundle = built(dir.path(), "out").unwrap();
    let checked = verify(&bundle).unwrap();
    assert_eq!(checked.payloads[0].tree, Some(Tree { directories: 3, files: 5, links: 1 }));
    assert_eq!(checked.payloads[1].length, 200_000);
    assert_eq!(checked.manifest_sha256, Digest::of(&fs::read(dir.path().join("out/manifest.json")).unwrap()));
    let listed: u64 = bundle.indexes.iter().map(|i| i.entries().len() as u64).sum();
    assert!(checked.chunks < listed, "the two equal files share chunks");
    assert!(checked.stored_bytes < bundle.manifest.total_length());
    assert_eq!(bundle.packs().unwrap().len() as u64, checked.chunks, "each chunk is packed once");
    assert_eq!(bundle.manifest.documents[0].name, "notes.md");
}

#[test]
fn every_flipped_byte_is_found() {
    let dir = tempfile::tempdir().unwrap();
    sources(dir.path(), false);
    built(dir.path(), "out").unwrap();
    for name in contents(&dir.path().join("out")).keys() {
        let path = dir.path().join("out").join(name);
        let good = fs::read(&path).unwrap();
        for at in [0, good.len() / 3, good.len() - 1] {
            let mut bad = good.clone();
            bad[at] ^= 0x40;
            fs::write(&path, bad).unwrap();
            let found = Bundle::open(&dir.path().join("out")).and_then(|b| verify(&b));
            assert!(found.is_err(), "byte {at} of {name}");
        }
        fs::write(&path, &good[..good.len() - 1]).unwrap();
        assert!(Bundle::open(&dir.path().join("out")).and_then(|b| verify(&b)).is_err(), "{name} cut short");
        fs::write(&path, good).unwrap();
    }
    verify(&Bundle::open(&dir.path().join("out")).unwrap()).unwrap();
}

#[test]
fn what_a_slot_must_not_hold_is_refused_by_name_and_nothing_is_left_behind() {
    type Make<'a> = &'a dyn Fn(&Path);
    let cases: [(&str, Make<'_>); 3] = [
        ("su", &|p| {
            fs::write(p, "x").unwrap();
            set_mode(p, 0o4755);
        }),
        ("socket", &|p| drop(std::os::unix::net::UnixListener::bind(p).unwrap())),
        ("odd\u{7}name", &|p| {
            use std::os::unix::ffi::OsStringExt as _;
            let name = std::ffi::OsString::from_vec(b"odd\xffname".to_vec());
            fs::write(p.with_file_name(name), "x").unwrap();
        }),
    ];
    for (name, make) in cases {
        let dir = tempfile::tempdir().unwrap();
        sources(dir.path(), false);
        make(&dir.path().join("root").join(name));
        let failure = built(dir.path(), "out").unwrap_err().to_text();
        let shown = if name.starts_with("odd") { "odd" } else { name };
        assert!(failure.contains(shown) && failure.contains("cannot be in a bundle"), "{failure}");
        let left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left.len(), 4, "{left:?}");
    }
}

#[test]
fn a_wrong_specification_says_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let spec = sources(dir.path(), false);
    let good = fs::read_to_string(&spec).unwrap();
    for (from, to, want) in [
        ("release = 2", "release = 0", "release is 0"),
        ("release = 2", "release = 2\nrelaese = 3", "relaese"),
        ("\"tree\"", "\"tar\"", "tar"),
        ("path = \"root\"", "path = \"nowhere\"", "nowhere"),
        ("path = \"root\"", "path = \"notes.md\"", "format \"image\""),
        ("\"firmware.img\"", "\"none.img\"", "none.img"),
        ("path = \"notes.md\"", "path = \"missing.md\"", "missing.md"),
        ("name = \"firmware\"", "name = \"app\"", "one name"),
        ("\"pump\"", "\"../pump\"", "product id"),
    ] {
        fs::write(&spec, good.replacen(from, to, 1)).unwrap();
        let failure = built(dir.path(), "out").unwrap_err().to_text();
        assert!(failure.contains(want), "{to}: {failure}");
        assert!(!dir.path().join("out").exists());
    }
}

#[test]
fn a_bundle_is_never_overwritten_and_an_interrupted_build_is_no_obstacle() {
    let dir = tempfile::tempdir().unwrap();
    sources(dir.path(), false);
    fs::create_dir_all(dir.path().join(".out.partial/packs")).unwrap();
    built(dir.path(), "out").unwrap();
    assert!(built(dir.path(), "out").unwrap_err().to_text().contains("exists already"));
}

#[test]
fn a_bundle_is_built_for_any_installer_that_can_have_its_payloads() {
    let dir = tempfile::tempdir().unwrap();
    let spec = fs::read_to_string(sources(dir.path(), false)).unwrap();
    let tree = "[[payload]]\nname = \"app\"\nformat = \"tree\"\npath = \"root\"\n";
    assert!(spec.contains(tree));
    let image = spec.replace(tree, "");
    let more = "[[payload]]\nname = \"boot\"\nformat = \"image\"\npath = \"firmware.img\"\n";
    let two = format!("{image}{more}");
    for (place, (text, kind, refused)) in [
        (&spec, "command", None),
        (&two, "image", None),
        (&spec, "image", Some("install.kind is image")),
        (&image, "rauc", None),
        (&two, "rauc", Some("one payload")),
        (&spec, "magic", Some("magic")),
    ]
    .into_iter()
    .enumerate()
    {
        fs::write(dir.path().join("bundle.toml"), text.replace("\"slots\"", &format!("{kind:?}"))).unwrap();
        let result = built(dir.path(), &format!("out-{place}"));
        match (result, refused) {
            (Ok(_), None) => {}
            (Err(failure), Some(says)) => {
                let text = failure.to_text();
                assert!(text.contains(says), "{kind}: {text}");
            }
            (result, _) => panic!("{kind}: {:?}", result.is_ok()),
        }
    }
}

/// The specification of [`sources`], with one more document.
fn with_document(dir: &Path, kind: &str, name: &str, content: &str) {
    let spec = sources(dir, false);
    fs::write(dir.join(name), content).unwrap();
    let more = format!("\n[[document]]\nkind = \"{kind}\"\npath = \"{name}\"\n");
    fs::write(&spec, fs::read_to_string(&spec).unwrap() + &more).unwrap();
}

#[test]
fn a_malformed_document_ends_the_build_with_file_and_place() {
    let bad = r#"{"bomFormat": "CycloneDX", "specVersion": "1.6", "components": [{"type": "library", "name": ""}]}"#;
    for (kind, name, content, says) in [
        ("sbom", "sbom.json", bad, "components[0].name: is empty"),
        ("vex", "vex.json", "{}", "in no format that is known"),
        ("mds2", "form.pdf", "%PDF-1.7", "its end is missing"),
        ("release-notes", "more.md", "\u{1b}[2J", "control character"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        with_document(dir.path(), kind, name, content);
        let failure = built(dir.path(), "out").unwrap_err().to_text();
        assert!(failure.contains(name) && failure.contains(says), "{failure}");
        assert!(!dir.path().join("out").exists());
    }
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("more")).unwrap();
    with_document(dir.path(), "test-evidence", "more/Notes.md", "passed");
    let failure = built(dir.path(), "out").unwrap_err().to_text();
    assert!(failure.contains("two documents are called Notes.md"), "{failure}");
}

#[test]
fn an_sbom_of_another_version_and_its_gaps_are_warned_of() {
    let sbom = |subject: &str| {
        format!(
            r#"{{"bomFormat": "CycloneDX", "specVersion": "1.5", "metadata": {{ {subject} }},
                "components": [{{"type": "library", "name": "curl"}}]}}"#
        )
    };
    for (subject, says) in [
        (
            r#""component": {"type": "firmware", "name": "pump", "version": "1.0.9"}"#,
            Some("it is the bill of pump 1.0.9, and"),
        ),
        (r#""component": {"type": "firmware", "name": "pump"}"#, Some("does not say which version of pump")),
        ("", Some("does not say what it is the bill of")),
        (r#""component": {"type": "firmware", "name": "pump", "version": "1.1.0"}"#, None),
    ] {
        let dir = tempfile::tempdir().unwrap();
        with_document(dir.path(), "sbom", "sbom.json", &sbom(subject));
        let bundle = built(dir.path(), "out").unwrap();
        let summaries = summaries(&bundle.manifest, &bundle.documents().unwrap());
        let warnings = summaries[1].warnings.join("\n");
        assert_eq!(says.is_none(), !warnings.contains("bill of"), "{warnings}");
        assert!(warnings.contains(says.unwrap_or_default()), "{warnings}");
        for element in
            ["no author", "no timestamp", "no dependency relationship", "no version of", "no supplier", "no unique"]
        {
            assert!(warnings.contains(element), "{element}: {warnings}");
        }
        assert_eq!((summaries[1].components, summaries[0].format.as_str()), (Some(1), "text"));
    }
}
