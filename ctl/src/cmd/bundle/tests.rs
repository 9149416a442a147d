use super::*;
use suture_core::manifest::manifest_path;
use suture_core::trust::edit::CATALOG_LIFETIME;

fn bundle(dir: &Path) -> Bundle {
    let spec = bundle::tests::sources(dir, false);
    bundle::build(&spec, &dir.join("out"), Options { level: 1 }).unwrap()
}

fn draft(floor: u64) -> TargetsDraft {
    let mut draft = TargetsDraft::first("2026-11-24T15:00:00Z".parse().unwrap(), CATALOG_LIFETIME);
    for (product, release) in [("pump", 1), ("scanner", 1)] {
        let product: suture_core::id::ProductId = product.parse().unwrap();
        let entry = CatalogEntry {
            product: product.clone(),
            release: Release(release),
            version: "1.0".parse().unwrap(),
            hardware: vec!["rev-a".parse().unwrap()],
            min_release: Release(0),
            status: Status::Current,
            floor: Release(floor),
        };
        let target = Target::of(b"earlier", Some(entry.to_custom()));
        draft.targets.insert(manifest_path(&product, Release(release)), target);
    }
    draft
}

/// As in a catalog that lists what the draft lists, and nothing besides.
fn list(draft: &mut TargetsDraft, bundle: &Bundle, supersede: bool, floor: Option<Release>) -> Outcome {
    let known = draft.targets.clone();
    list_in(draft, &known, bundle, supersede, floor)
}

fn entry(draft: &TargetsDraft, path: &str) -> CatalogEntry {
    CatalogEntry::of(&draft.targets[path]).unwrap()
}

#[test]
fn a_signed_bundle_is_listed_and_only_its_own_product_is_superseded() {
    let dir = tempfile::tempdir().unwrap();
    let bundle = bundle(dir.path());
    let mut draft = draft(1);
    list(&mut draft, &bundle, true, None).unwrap();
    let listed = entry(&draft, "bundles/pump/2/manifest.json");
    assert_eq!((listed.status, listed.floor), (Status::Current, Release(1)), "the floor is kept");
    assert_eq!(draft.targets["bundles/pump/2/manifest.json"].sha256, bundle.sha256());
    assert_eq!(entry(&draft, "bundles/pump/1/manifest.json").status, Status::Superseded);
    assert_eq!(entry(&draft, "bundles/scanner/1/manifest.json").status, Status::Current);
    assert!(list(&mut draft, &bundle, false, None).unwrap_err().to_text().contains("this very bundle"));
}

#[test]
fn a_release_is_never_replaced_and_the_floor_never_sinks() {
    let dir = tempfile::tempdir().unwrap();
    let bundle = bundle(dir.path());
    let mut taken = draft(0);
    let other = Target::of(b"another", None);
    taken.targets.insert(bundle.manifest.path(), other);
    assert!(list(&mut taken, &bundle, false, None).unwrap_err().to_text().contains("never replaced"));
    for floor in [0, 3] {
        assert!(list(&mut draft(1), &bundle, false, Some(Release(floor))).is_err(), "floor {floor}");
    }
    let mut raised = draft(1);
    list(&mut raised, &bundle, false, Some(Release(2))).unwrap();
    assert_eq!(entry(&raised, "bundles/pump/2/manifest.json").floor, Release(2));
}
