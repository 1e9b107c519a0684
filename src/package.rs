//! The code of a function as Lambda takes it: a folder becomes a zip file whose bytes depend only on its content, and a
//! zip file stays as it is.
//!
//! Must not write to the folder, and must not know what the code does.

use std::ffi::OsStr;
use std::fs::Metadata;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use sha2::{Digest, Sha256};
use walkdir::WalkDir;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, System, ZipArchive, ZipWriter};

use crate::files::{self, Links};

/// The most that Lambda takes, in bytes.
#[derive(Clone, Copy)]
struct Limits {
    zipped: u64,
    unzipped: u64,
}

/// Lambda's quotas for a zip that is sent with the call: 50 MB zipped and 250 MB unzipped, in units of 1024.
const LAMBDA: Limits = Limits {
    zipped: 52_428_800,
    unzipped: 262_144_000,
};

/// The user's rules of what to leave out, with the syntax of `.gitignore`. It is read only from the folder itself, not
/// from the folders in it.
const IGNORE: &str = ".provisionignore";

/// Whether a file or folder of this name is never code, wherever it is in the folder.
fn is_never_code(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    [".git", ".DS_Store", IGNORE].contains(&&*name)
        || name.starts_with(".env")
        // Where docs/operating.md hands secrets out to.
        || Path::new(&*name).extension().is_some_and(|extension| extension == "secret")
}

/// A function's code, zipped.
///
/// The same files give the same bytes whatever their timestamps, the order of their creation and the umask they were
/// made with: entries are sorted by path, dated 1980-01-01 and have mode 0644, or 0755 where the owner may execute.
pub struct Package {
    /// The content of the zip file.
    pub zip: Vec<u8>,
    /// The zip's SHA-256 in base64, which is how Lambda reports its `CodeSha256`.
    pub sha256: String,
    /// The paths in the folder that are not in the zip, sorted; the path of a folder ends with `/`.
    pub left_out: Vec<String>,
}

impl Package {
    /// The package of everything in `folder` except `excluded` (files and folders that exist, without symbolic links),
    /// what is never code (`.git`, `.DS_Store`, `.env*`, `*.secret`), and what the folder's `.provisionignore` names.
    ///
    /// A symbolic link within the folder is followed, and what it points to is packed. A link that leaves the folder
    /// is an error, because what it points to differs from machine to machine. So is everything that cannot be packed.
    /// No file is read before the sizes are known to fit.
    pub fn from_folder(folder: &Path, excluded: &[PathBuf]) -> anyhow::Result<Self> {
        Self::within(folder, excluded, LAMBDA)
    }

    /// The package of an existing zip file, byte by byte as it is.
    ///
    /// Its unzipped size is the one that its directory of entries states: nothing is unzipped here.
    pub fn from_zip(file: &Path) -> anyhow::Result<Self> {
        Self::zip_within(file, LAMBDA)
    }

    /// The size in bytes of a file in the zip, by its path with `/` separators; `None` if there is no such file.
    pub fn size_of(&self, name: &str) -> Option<u64> {
        let mut archive = ZipArchive::new(io::Cursor::new(&self.zip)).ok()?;
        let entry = archive.by_name(name).ok()?;
        entry.is_file().then(|| entry.size())
    }

    /// The package of files in memory, each a path with `/` separators and its content.
    pub fn from_files(files: &[(&str, &[u8])]) -> anyhow::Result<Self> {
        let mut sorted = files.to_vec();
        sorted.sort_unstable_by_key(|(name, _)| *name);
        let mut zip = ZipWriter::new(io::Cursor::new(Vec::new()));
        for (name, content) in sorted {
            zip.start_file(name, options(false)).context(CANNOT_ZIP)?;
            zip.write_all(content).context(CANNOT_ZIP)?;
        }
        Self::finished(zip)
    }

    fn within(folder: &Path, excluded: &[PathBuf], limits: Limits) -> anyhow::Result<Self> {
        let Contents { files, left_out, .. } = Contents::of(folder, excluded)?;
        let size = files.iter().map(|file| file.about.len()).sum();
        fits(folder, "unzipped", size, limits.unzipped)?;
        let mut zip = ZipWriter::new(io::Cursor::new(Vec::new()));
        let mut left = limits.unzipped;
        for file in files {
            zip.start_file(file.name.as_str(), options(file.about.mode() & 0o100 != 0))
                .context(CANNOT_ZIP)?;
            // A file may have grown since its size was read: one byte more than fits is enough to know.
            let read = files::open(&file.path, Links::Followed)
                .and_then(|content| io::copy(&mut content.take(left + 1), &mut zip))
                .with_context(|| cannot_read(&file.path))?;
            let size = limits.unzipped - left + read;
            fits(folder, "unzipped", size, limits.unzipped)?;
            left -= read;
        }
        let package = Self {
            left_out,
            ..Self::finished(zip)?
        };
        fits(folder, "zipped", package.zip.len() as u64, limits.zipped)?;
        Ok(package)
    }

    fn zip_within(path: &Path, limits: Limits) -> anyhow::Result<Self> {
        let not_a_zip = || format!("{} is not a zip file", path.display());
        let about = path.metadata().with_context(|| cannot_read(path))?;
        if !about.is_file() {
            bail!("{} is not a file", path.display());
        }
        fits(path, "zipped", about.len(), limits.zipped)?;
        // If the file has grown since, the zip is cut off here, and then it is not valid.
        let mut zip = Vec::new();
        files::open(path, Links::Followed)
            .and_then(|file| file.take(limits.zipped + 1).read_to_end(&mut zip))
            .with_context(|| cannot_read(path))?;
        let mut archive = ZipArchive::new(io::Cursor::new(&zip)).with_context(not_a_zip)?;
        let mut unzipped: u64 = 0;
        let mut files = 0;
        for index in 0..archive.len() {
            let entry = archive.by_index_raw(index).with_context(not_a_zip)?;
            unzipped = unzipped.saturating_add(entry.size());
            files += usize::from(entry.is_file());
        }
        fits(path, "unzipped", unzipped, limits.unzipped)?;
        if files == 0 {
            bail!("{} contains no files", path.display());
        }
        Ok(Self::of(zip))
    }

    fn finished(zip: ZipWriter<io::Cursor<Vec<u8>>>) -> anyhow::Result<Self> {
        Ok(Self::of(zip.finish().context(CANNOT_ZIP)?.into_inner()))
    }

    fn of(zip: Vec<u8>) -> Self {
        let sha256 = BASE64_STANDARD.encode(Sha256::digest(&zip));
        Self {
            zip,
            sha256,
            left_out: Vec::new(),
        }
    }
}

/// What tells one state of a function's code from the next without reading a file, and the folders that tell of a change.
pub struct Glance {
    /// The same for the same files with the same times: names, sizes, modes, and what a file system changes with each write.
    pub mark: [u8; 32],
    /// Every folder in which a file can come, go or change that is in the package. They exist.
    pub folders: Vec<PathBuf>,
}

impl Glance {
    /// Of what [`Package::from_folder`] would pack.
    pub fn at_folder(folder: &Path, excluded: &[PathBuf]) -> anyhow::Result<Self> {
        let contents = Contents::of(folder, excluded)?;
        let mut mark = Sha256::new();
        let mut folders = contents.folders;
        for file in &contents.files {
            note(&mut mark, &file.name, &file.about);
            // A link does not change when the file does that it leads to.
            if let Ok(real) = file.path.canonicalize() {
                folders.extend(real.parent().map(Path::to_owned));
            }
        }
        folders.sort_unstable();
        folders.dedup();
        Ok(Self {
            mark: mark.finalize().into(),
            folders,
        })
    }

    /// Of what [`Package::from_zip`] would take.
    pub fn at_zip(file: &Path) -> anyhow::Result<Self> {
        let about = file.metadata().with_context(|| cannot_read(file))?;
        let mut mark = Sha256::new();
        note(&mut mark, "", &about);
        let real = file.canonicalize().with_context(|| cannot_read(file))?;
        Ok(Self {
            mark: mark.finalize().into(),
            folders: real.parent().map(Path::to_owned).into_iter().collect(),
        })
    }
}

fn note(mark: &mut Sha256, name: &str, about: &Metadata) {
    mark.update(name.len().to_be_bytes());
    mark.update(name);
    for number in [about.size(), about.ino(), u64::from(about.mode())] {
        mark.update(number.to_be_bytes());
    }
    for time in [
        about.mtime(),
        about.mtime_nsec(),
        about.ctime(),
        about.ctime_nsec(),
    ] {
        mark.update(time.to_be_bytes());
    }
}

/// The format cannot hold two entries of one name, or a name over 65,535 bytes.
const CANNOT_ZIP: &str = "cannot make a zip file of the code";

fn cannot_read(path: &Path) -> String {
    format!("cannot read {}", path.display())
}

/// An error if the code at `path` is larger than Lambda takes; `form` is `zipped` or `unzipped`.
fn fits(path: &Path, form: &str, size: u64, limit: u64) -> anyhow::Result<()> {
    if size > limit {
        let path = path.display();
        bail!("{path} is too large: expected at most {limit} bytes {form}, got {size}");
    }
    Ok(())
}

/// Everything about an entry that is not its content, the same on every machine.
fn options(executable: bool) -> SimpleFileOptions {
    SimpleFileOptions::DEFAULT
        .compression_method(CompressionMethod::Deflated)
        .last_modified_time(DateTime::DEFAULT)
        .system(System::Unix)
        .unix_permissions(if executable { 0o755 } else { 0o644 })
}

/// A file to pack.
struct File {
    /// Its path in the zip.
    name: String,
    path: PathBuf,
    about: Metadata,
}

/// What is in a folder, both sorted by the names in the zip. No content of a file is read for it.
struct Contents {
    files: Vec<File>,
    left_out: Vec<String>,
    /// The folder itself and every one in it that is not left out.
    folders: Vec<PathBuf>,
}

impl Contents {
    fn of(folder: &Path, excluded: &[PathBuf]) -> anyhow::Result<Self> {
        let root = match folder.canonicalize() {
            Ok(root) if root.is_dir() => root,
            Err(error) if error.kind() == ErrorKind::NotFound => bail!("{} does not exist", folder.display()),
            Err(error) if error.kind() != ErrorKind::NotADirectory => {
                return Err(error).with_context(|| cannot_read(folder));
            }
            _ => bail!("{} is not a folder", folder.display()),
        };
        if excluded.contains(&root) {
            bail!("{} is where provision keeps its own files", folder.display());
        }
        let ignored = ignored(folder)?;
        let mut files = Vec::new();
        let mut left_out = Vec::new();
        let mut folders = vec![folder.to_owned()];
        let mut walk = WalkDir::new(folder).min_depth(1).follow_links(true).into_iter();
        while let Some(entry) = walk.next() {
            // An error may be about a link that is left out.
            let path = match &entry {
                Ok(entry) => entry.path().to_owned(),
                Err(error) => error.path().unwrap_or(folder).to_owned(),
            };
            let name = path.strip_prefix(folder).expect("a walk stays in its folder");
            let Some(name) = name.to_str().map(str::to_owned) else {
                bail!("the name of {} is not UTF-8", path.display());
            };
            let is_left_out = path.file_name().is_some_and(is_never_code)
                || ignored.matched(&name, path.is_dir()).is_ignore()
                || leads_to_left_out(&path, &root, excluded)?;
            if is_left_out {
                left_out.push(if path.is_dir() { name + "/" } else { name });
                if entry.is_ok_and(|entry| entry.file_type().is_dir()) {
                    walk.skip_current_dir();
                }
                continue;
            }
            let about = match entry.and_then(|entry| entry.metadata()) {
                Ok(about) => about,
                Err(error) => match error.into_io_error() {
                    Some(error) => return Err(error).with_context(|| cannot_read(&path)),
                    None => bail!(
                        "the symbolic link {} points to a folder that it is in",
                        path.display()
                    ),
                },
            };
            if about.is_file() {
                files.push(File { name, path, about });
            } else if about.is_dir() {
                folders.push(path);
            } else {
                // Opening a pipe would wait for a writer.
                bail!("{} is neither a file nor a folder", path.display());
            }
        }
        if files.is_empty() {
            bail!("{} contains no files", folder.display());
        }
        files.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        left_out.sort_unstable();
        Ok(Self {
            files,
            left_out,
            folders,
        })
    }
}

/// Whether the file or folder that `path` leads to, maybe by a link, is one of `excluded` or is never code by its real
/// name; an error if it is not in `root`. `root` and `excluded` are without symbolic links.
fn leads_to_left_out(path: &Path, root: &Path, excluded: &[PathBuf]) -> anyhow::Result<bool> {
    let real = path.canonicalize().with_context(|| cannot_read(path))?;
    let Ok(inside) = real.strip_prefix(root) else {
        bail!(
            "the symbolic link {} leaves the folder: it points to {}",
            path.display(),
            real.display()
        );
    };
    Ok(excluded.iter().any(|excluded| real.starts_with(excluded)) || inside.iter().any(is_never_code))
}

/// The rules of the folder's ignore file; none if there is no such file.
fn ignored(folder: &Path) -> anyhow::Result<Gitignore> {
    let path = folder.join(IGNORE);
    // Names are matched as they are in the zip.
    let mut rules = GitignoreBuilder::new("");
    let text = match files::open(&path, Links::Followed).and_then(io::read_to_string) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error).with_context(|| cannot_read(&path)),
    };
    let invalid = |line| format!("{}:{line}: invalid pattern", path.display());
    for (index, line) in text.lines().enumerate() {
        rules.add_line(None, line).with_context(|| invalid(index + 1))?;
    }
    rules.build().with_context(|| invalid(text.lines().count()))
}

#[cfg(test)]
mod tests;
