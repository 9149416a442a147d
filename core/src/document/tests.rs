//! Documents that others wrote: `tests/documents/README.md` says whose.

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::*;
use crate::manifest::DocumentKind;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/documents").join(name)
}

fn all(kind: &str) -> Vec<(String, Vec<u8>)> {
    let files = fs::read_dir(folder(kind)).unwrap().map(|entry| entry.unwrap().path());
    let mut all: Vec<_> =
        files.map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(&path).unwrap())).collect();
    all.sort();
    all
}

#[test]
fn bills_of_materials_of_others_are_read_whole() {
    // Counted in the files by other means: components with what is nested in them, packages without the one described.
    let want = [
        ("acme.spdx-2.3.json", Format::Spdx, 3, 1),
        ("cryptography.cdx-1.6.json", Format::CycloneDx, 3, 4),
        ("example11.spdx-2.3.json", Format::Spdx, 4, 1),
        ("examplemaven.spdx-2.3.json", Format::Spdx, 5, 1),
        ("laravel-7.12.0.cdx-1.4.json", Format::CycloneDx, 62, 63),
        ("pcie-sata-adapter.cdx-1.4.json", Format::CycloneDx, 6, 0),
        ("rpds-py.cdx-1.5.json", Format::CycloneDx, 18, 18),
    ];
    let read: Vec<_> = all("sbom")
        .into_iter()
        .map(|(name, bytes)| {
            let sbom = Sbom::parse(&bytes).unwrap_or_else(|fault| panic!("{name}: {fault}"));
            let Sbom { format, components, dependencies, .. } = sbom;
            (name, format, components.len(), dependencies.len())
        })
        .collect();
    let read: Vec<_> = read.iter().map(|(name, format, c, d)| (name.as_str(), *format, *c, *d)).collect();
    assert_eq!(read, want);
}

#[test]
fn statements_of_others_are_read_whole() {
    let want = [
        ("cisa-case-6.cdx-1.4.json", Format::CycloneDx, 2, 7),
        ("cisa-case-8.cdx-1.4.json", Format::CycloneDx, 8, 24),
        ("git.openvex-0.2.json", Format::OpenVex, 1, 2),
        ("icsma-17-017-01.csaf-2.0.json", Format::Csaf, 1, 1),
        ("icsma-22-151-02.csaf-2.0.json", Format::Csaf, 1, 1),
        ("icsma-24-065-01.csaf-2.0.json", Format::Csaf, 1, 1),
        ("jackson.cdx-1.4.json", Format::CycloneDx, 1, 1),
        ("nginx.openvex-0.2.json", Format::OpenVex, 2, 2),
    ];
    let read: Vec<_> = all("vex")
        .into_iter()
        .map(|(name, bytes)| {
            let vex = Vex::parse(&bytes).unwrap_or_else(|fault| panic!("{name}: {fault}"));
            let products = vex.statements.iter().map(|s| s.products.len()).sum::<usize>();
            (name, vex.format, vex.statements.len(), products)
        })
        .collect();
    let read: Vec<_> = read.iter().map(|(name, format, s, p)| (name.as_str(), *format, *s, *p)).collect();
    assert_eq!(read, want);
}

#[test]
fn a_malformed_copy_of_a_real_document_is_refused_with_the_place() {
    let spoilt = |file: &str, pointer: &str, value: Value| {
        let kind = if folder("sbom").join(file).exists() { "sbom" } else { "vex" };
        let mut document: Value = serde_json::from_slice(&fs::read(folder(kind).join(file)).unwrap()).unwrap();
        *document.pointer_mut(pointer).unwrap() = value;
        let bytes = document.to_string().into_bytes();
        let fault = if kind == "sbom" { Sbom::parse(&bytes).err() } else { Vex::parse(&bytes).err() };
        fault.map(|fault| fault.to_string()).unwrap_or_default()
    };
    for (file, pointer, value, says) in [
        (
            "laravel-7.12.0.cdx-1.4.json",
            "/components/17/purl",
            "composer/x",
            "components[17].purl: expected a package URL",
        ),
        (
            "laravel-7.12.0.cdx-1.4.json",
            "/dependencies/3/ref",
            "nobody",
            "dependencies[3].ref: expected the bom-ref of",
        ),
        (
            "rpds-py.cdx-1.5.json",
            "/components/2/hashes/0/content",
            "00",
            "components[2].hashes[0].content: expected 64",
        ),
        (
            "rpds-py.cdx-1.5.json",
            "/components/0/licenses/0/expression",
            "MIT/ISC",
            "components[0].licenses[0].expression: ",
        ),
        (
            "acme.spdx-2.3.json",
            "/packages/1/SPDXID",
            "SPDXRef-Acme",
            "packages[1].SPDXID: expected an SPDXID that nothing",
        ),
        (
            "cisa-case-8.cdx-1.4.json",
            "/vulnerabilities/0/affects/0/ref",
            "x",
            "vulnerabilities[0].affects[0].ref: expected",
        ),
        ("nginx.openvex-0.2.json", "/statements/1/status", "cured", "statements[1].status: expected one of"),
        (
            "icsma-17-017-01.csaf-2.0.json",
            "/vulnerabilities/0/product_status/known_affected/0",
            "X",
            "vulnerabilities[0].product_status.known_affected[0]: expected a product_id",
        ),
    ] {
        let fault = spoilt(file, pointer, Value::from(value));
        assert!(fault.starts_with(says), "{file} {pointer}: {fault}");
    }
}

proptest! {
    /// Whatever bytes of a real document are changed, it is read or refused, and what is read keeps within the bounds.
    #[test]
    fn no_change_to_a_real_document_makes_it_panic(
        which in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
        is_cut in any::<bool>(),
    ) {
        let documents: Vec<_> = all("sbom").into_iter().chain(all("vex")).filter(|(_, b)| b.len() < 30_000).collect();
        let (_, mut bytes) = which.get(&documents).clone();
        for (at, byte) in changes {
            *at.get_mut(&mut bytes) = byte;
        }
        if is_cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        for kind in [DocumentKind::Sbom, DocumentKind::Vex, DocumentKind::Mds2] {
            if let Err(fault) = check(kind, &bytes) {
                prop_assert!(fault.to_string().len() < 4_000, "a fault is one line for people");
                prop_assert!(!fault.to_string().contains(['\u{1b}', '\n']), "{fault}");
            }
        }
    }
}
