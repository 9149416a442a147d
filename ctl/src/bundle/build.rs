//! From a specification to a bundle.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{BufReader, Read, pipe};
use std::path::Path;
use std::thread;

use indicatif::{ProgressBar, ProgressStyle};
use suture_core::chunk::{self, Entry, Index};
use suture_core::digest::{Digest, Hasher};
use suture_core::limits::{MAX_DOCUMENT_BYTES, MAX_MESSAGE_BYTES};
use suture_core::manifest::{Document, Manifest, Payload, PayloadFormat, Requires, TYPE};

use super::pack::PackWriter;
use super::spec::{DocumentSpec, PayloadSpec, Spec};
use super::{Bundle, documents, tree};
use crate::failure::{Failure, OrFail as _, Outcome};
use crate::files;

/// Chunks that are compressed side by side: at most 32 MiB in memory.
const BATCH: usize = 128;
/// An index or a document goes to the server in one message.
const MAX_PUT_BYTES: usize = MAX_MESSAGE_BYTES - (64 << 10);

/// How to build.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// zstd's level, 1 to 19; another level gives other stored bytes, but the same manifest.
    pub level: i32,
}

/// Builds the bundle of the specification at `spec` into the new directory `out`, which appears whole or not at all.
pub fn build(spec: &Path, out: &Path, options: Options) -> Outcome<Bundle> {
    let spec = Spec::read(spec)?;
    if fs::symlink_metadata(out).is_ok() {
        return Err(Failure::new(format!("{} exists already", out.display()))
            .next("name another directory, or remove this one; a bundle is never overwritten"));
    }
    let name = out.file_name().ok_or_else(|| Failure::new(format!("{} cannot be created", out.display())))?;
    let partial = out.with_file_name(format!(".{}.partial", name.to_string_lossy()));
    if partial.exists() {
        // Left behind by a build that was interrupted.
        fs::remove_dir_all(&partial).or_fail(|| format!("cannot remove {}", partial.display()))?;
    }
    let built = build_in(&spec, &partial, options)
        .and_then(|()| fs::rename(&partial, out).or_fail(|| format!("cannot move the bundle to {}", out.display())));
    if let Err(failure) = built {
        // The failure matters; that rubbish stays behind does not.
        let _ = fs::remove_dir_all(&partial);
        return Err(failure);
    }
    Bundle::open(out)
}

fn build_in(spec: &Spec, directory: &Path, options: Options) -> Outcome {
    let create = |path: &Path| fs::create_dir(path).or_fail(|| format!("cannot create {}", path.display()));
    create(directory)?;
    create(&directory.join("indexes"))?;
    create(&directory.join("documents"))?;
    // First, for a document that is refused ends the build.
    let papers = spec.document.iter().map(|d| document(d, directory)).collect::<Outcome<Vec<_>>>()?;
    documents::distinct(&papers)?;
    let mut builder = Builder {
        packs: PackWriter::new(&directory.join("packs"))?,
        packed: HashSet::new(),
        batch: Vec::new(),
        level: options.level,
        progress: progress(spec),
    };
    let mut payloads = Vec::with_capacity(spec.payload.len());
    for payload in &spec.payload {
        payloads.push(builder.payload(payload, directory)?);
    }
    builder.flush()?;
    builder.packs.close()?;
    builder.progress.finish_and_clear();
    let manifest = Manifest {
        kind: TYPE.to_owned(),
        format: 1,
        product: spec.product.clone(),
        version: spec.version.clone(),
        release: spec.release,
        hardware: spec.hardware.clone(),
        requires: Requires { min_release: spec.min_release },
        class: spec.class,
        install: spec.install.clone(),
        payloads,
        documents: papers,
        risks: spec.risk.clone(),
    };
    let bytes = manifest
        .to_bytes()
        .map_err(|e| Failure::new("the specification does not make a valid manifest").because(&e))?;
    write(&directory.join("manifest.json"), &bytes)
}

struct Builder {
    packs: PackWriter,
    /// Chunks that are in a pack or in the batch.
    packed: HashSet<Digest>,
    batch: Vec<(Digest, Vec<u8>)>,
    level: i32,
    progress: ProgressBar,
}

impl Builder {
    fn payload(&mut self, spec: &PayloadSpec, directory: &Path) -> Outcome<Payload> {
        let (entries, sha256) = match spec.format {
            PayloadFormat::Image => {
                let file = File::open(&spec.path).or_fail(|| format!("cannot read {}", spec.path.display()))?;
                self.cut(BufReader::new(file), &spec.path)?
            }
            PayloadFormat::Tree => self.tree(&spec.path)?,
        };
        let index = Index::new(entries)
            .map_err(|e| Failure::new(format!("{} cannot be a payload", spec.path.display())).because(&e))?;
        let bytes = index.to_bytes();
        if bytes.len() > MAX_PUT_BYTES {
            return Err(Failure::new(format!("payload {} is too large for one index", spec.name))
                .next("split it into several payloads"));
        }
        let index_sha256 = Digest::of(&bytes);
        write(&directory.join("indexes").join(index_sha256.to_string()), &bytes)?;
        Ok(Payload {
            name: spec.name.clone(),
            format: spec.format,
            length: index.total_length(),
            sha256,
            index_length: bytes.len() as u64,
            index_sha256,
        })
    }

    /// The walker writes into a pipe, the cutter reads from it: the archive is never on disk or whole in memory.
    fn tree(&mut self, root: &Path) -> Outcome<(Vec<Entry>, Digest)> {
        let (reader, writer) = pipe().or_fail(|| "cannot make a pipe".to_owned())?;
        thread::scope(|scope| {
            let walker = scope.spawn(move || tree::archive(root, writer).map(drop));
            let cut = self.cut(reader, root);
            // The walker's failure is the cause; the cutter then saw a tree that ended early.
            match (walker.join(), cut) {
                (Ok(Ok(())), cut) => cut,
                // The cutter stopped reading, which the walker saw as a broken pipe.
                (Ok(Err(_)), Err(failure)) => Err(failure),
                (Ok(Err(failure)), Ok(_)) => Err(failure),
                (Err(_), _) => Err(Failure::new(format!("the walk of {} broke off", root.display()))),
            }
        })
    }

    fn cut<R: Read>(&mut self, source: R, path: &Path) -> Outcome<(Vec<Entry>, Digest)> {
        let mut hasher = Hasher::default();
        let mut entries = Vec::new();
        for chunk in chunk::cut(source) {
            let chunk = chunk.or_fail(|| format!("cannot read {}", path.display()))?;
            hasher.update(&chunk);
            self.progress.inc(chunk.len() as u64);
            let sha256 = Digest::of(&chunk);
            let length = u32::try_from(chunk.len()).or_fail(|| "a chunk is longer than an index can say".to_owned())?;
            entries.push(Entry { sha256, length });
            if self.packed.insert(sha256) {
                self.batch.push((sha256, chunk));
            }
            if self.batch.len() >= BATCH {
                self.flush()?;
            }
        }
        Ok((entries, hasher.finish()))
    }

    /// Compresses the batch on all processors and writes it in its order.
    fn flush(&mut self) -> Outcome {
        let (batch, level) = (std::mem::take(&mut self.batch), self.level);
        let stored = compress(&batch, level)?;
        for ((sha256, raw), stored) in batch.iter().zip(&stored) {
            self.packs.put(sha256, raw.len(), stored)?;
        }
        Ok(())
    }
}

/// The stored forms, in the batch's order, whichever processor made them.
fn compress(batch: &[(Digest, Vec<u8>)], level: i32) -> Outcome<Vec<Vec<u8>>> {
    let workers = thread::available_parallelism().map_or(1, usize::from).min(16);
    let share = batch.len().div_ceil(workers).max(1);
    let encode = |part: &[(Digest, Vec<u8>)]| -> Outcome<Vec<Vec<u8>>> {
        let stored = part.iter().map(|(_, raw)| chunk::encode(raw, level));
        stored.collect::<Result<_, _>>().or_fail(|| "cannot compress a chunk".to_owned())
    };
    thread::scope(|scope| {
        let parts: Vec<_> = batch.chunks(share).map(|part| scope.spawn(move || encode(part))).collect();
        let mut stored = Vec::with_capacity(batch.len());
        for part in parts {
            let part = part
                .join()
                .map_err(|_| Failure::new("a thread that compresses broke off").next("build the bundle again"))?;
            stored.extend(part?);
        }
        Ok(stored)
    })
}

fn document(spec: &DocumentSpec, directory: &Path) -> Outcome<Document> {
    let limit = MAX_DOCUMENT_BYTES.min(MAX_PUT_BYTES as u64);
    let bytes = files::read(&spec.path, limit)?
        .ok_or_else(|| Failure::new(format!("there is no document {}", spec.path.display())))?;
    documents::admit(&spec.path, spec.kind, &bytes)?;
    let name = spec.path.file_name().and_then(|n| n.to_str()).unwrap_or_default().to_owned();
    let sha256 = Digest::of(&bytes);
    write(&directory.join("documents").join(sha256.to_string()), &bytes)?;
    Ok(Document { kind: spec.kind, name, length: bytes.len() as u64, sha256 })
}

fn write(path: &Path, bytes: &[u8]) -> Outcome {
    fs::write(path, bytes).or_fail(|| format!("cannot write {}", path.display()))
}

fn progress(spec: &Spec) -> ProgressBar {
    let total = spec.payload.iter().map(|p| match p.format {
        PayloadFormat::Tree => tree::estimate(&p.path),
        PayloadFormat::Image => fs::metadata(&p.path).map_or(0, |m| m.len()),
    });
    bar("building", total.sum())
}

/// A bar on standard error; nothing is drawn where that is no terminal.
pub(super) fn bar(what: &'static str, total: u64) -> ProgressBar {
    let bar = ProgressBar::new(total).with_message(what);
    let style = "{msg} {bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
    match ProgressStyle::with_template(style) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
