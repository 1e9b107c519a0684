//! The code of a function as Lambda takes it: a folder becomes a zip whose bytes depend on the content alone, and a zip
//! stays as it is.
//!
//! Must not write to the folder, nor know what the code does.

use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use sha2::{Digest, Sha256};
use zip::result::ZipError;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, System, ZipArchive, ZipWriter};

use crate::files::{self, Links};

/// What Lambda takes, in bytes.
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

/// The user's own rules of what to leave out, with the syntax of `.gitignore`; in the folder itself.
const IGNORE: &str = ".provisionignore";

/// Whether something of this name is never code, wherever it is in the folder.
fn is_never_code(name: &str) -> bool {
    [".git", ".DS_Store", IGNORE].contains(&name)
        || name.starts_with(".env")
        // Where docs/operating.md hands secrets out to.
        || Path::new(name).extension().is_some_and(|extension| extension == "secret")
}

/// A function's code, zipped.
///
/// The same files give the same bytes whatever their timestamps, the order of their creation and the umask they were
/// made with: entries are sorted by path, dated 1980-01-01 and have mode 0644, or 0755 where the owner may execute.
pub struct Package {
    /// The zip file.
    pub zip: Vec<u8>,
    /// The zip's SHA-256 in base64, which is how Lambda reports its `CodeSha256`.
    pub sha256: String,
    /// What of the folder is not in it, sorted; a folder ends with `/`.
    pub left_out: Vec<String>,
}

/// Why a folder or a zip cannot become a package. Sizes are in bytes.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// There is nothing at this path.
    #[error("there is no folder {path}")]
    Missing {
        /// The folder that was asked for.
        path: PathBuf,
    },
    /// The path is a file or a device.
    #[error("{path} is not a folder")]
    NotAFolder {
        /// The folder that was asked for.
        path: PathBuf,
    },
    /// The folder or zip holds no file. Folders have no entries of their own, so one with only empty folders is empty.
    #[error("{path} holds no file")]
    Empty {
        /// The folder or zip that was asked for.
        path: PathBuf,
    },
    /// The operating system refused; also a symbolic link that points nowhere.
    #[error("cannot read {path}")]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A symbolic link points out of the folder; what it names would differ from machine to machine.
    #[error("the symbolic link {path} leaves the folder: it points to {target}")]
    LinkLeaves {
        /// The link.
        path: PathBuf,
        /// Where it ends.
        target: PathBuf,
    },
    /// A symbolic link points to a folder that holds it, which has no end.
    #[error("the symbolic link {path} points to a folder that it is in")]
    LinkLoops {
        /// The link.
        path: PathBuf,
    },
    /// A socket, pipe or device.
    #[error("{path} is neither a file nor a folder")]
    NotAFile {
        /// The entry.
        path: PathBuf,
    },
    /// Everything in it is either not code or not known to be.
    #[error("{path} is where this program keeps its own files")]
    IsApart {
        /// The folder that was asked for.
        path: PathBuf,
    },
    /// A line of the ignore file is not a pattern.
    #[error("{path}:{line}: not a pattern of an ignore file")]
    Ignore {
        /// The ignore file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        source: ignore::Error,
    },
    /// The file has no zip's directory of entries, or one that does not hold together.
    #[error("{path} is not a zip")]
    NotAZip {
        /// The file that was asked for.
        path: PathBuf,
        /// What is wrong with it.
        source: ZipError,
    },
    /// A zip names its entries in UTF-8.
    #[error("the name of {path} is not UTF-8")]
    NameNotUtf8 {
        /// The entry.
        path: PathBuf,
    },
    /// More than Lambda takes.
    #[error("{path} has {size} bytes {form}, and Lambda takes at most {limit}")]
    TooLarge {
        /// The folder or zip.
        path: PathBuf,
        /// `zipped` or `unzipped`.
        form: &'static str,
        /// What it has; the unzipped size of a file that grew meanwhile is counted as far as it was read.
        size: u64,
        /// What Lambda takes.
        limit: u64,
    },
    /// The zip format cannot hold it: two entries of one name, or a name over 65,535 bytes.
    #[error("cannot make a zip of the code")]
    Zip(#[from] ZipError),
}

impl Package {
    /// The package of everything in this folder but what is `apart` (files and folders that exist), what is never code
    /// (`.git`, `.DS_Store`, `.env*`, `*.secret`), and what the folder's `.provisionignore` names.
    ///
    /// A symbolic link within the folder is followed and packed as what it points to; one that leaves the folder is
    /// an error, as is everything that cannot be packed. Nothing is read before the sizes are known to fit.
    pub fn from_folder(folder: &Path, apart: &[PathBuf]) -> Result<Self, PackageError> {
        Self::within(folder, apart, LAMBDA)
    }

    /// The package of a zip that something else made, byte by byte as it is.
    ///
    /// Its unzipped size is the one that its directory of entries states: nothing is unzipped here.
    pub fn from_zip(file: &Path) -> Result<Self, PackageError> {
        Self::zip_within(file, LAMBDA)
    }

    /// The package of files held in memory, each a path with `/` separators and its content.
    pub fn from_files(files: &[(&str, &[u8])]) -> Result<Self, PackageError> {
        let mut sorted = files.to_vec();
        sorted.sort_unstable_by_key(|(name, _)| *name);
        let mut zip = ZipWriter::new(io::Cursor::new(Vec::new()));
        for (name, content) in sorted {
            zip.start_file(name, options(false))?;
            zip.write_all(content).map_err(ZipError::from)?;
        }
        Ok(Self::finished(zip)?)
    }

    fn within(folder: &Path, apart: &[PathBuf], limits: Limits) -> Result<Self, PackageError> {
        let too_large = |form, size, limit| PackageError::TooLarge {
            path: folder.to_owned(),
            form,
            size,
            limit,
        };
        let Walk { files, left_out, .. } = Walk::of(folder, apart)?;
        let size = files.iter().map(|file| file.size).sum();
        if size > limits.unzipped {
            return Err(too_large("unzipped", size, limits.unzipped));
        }
        let mut zip = ZipWriter::new(io::Cursor::new(Vec::new()));
        let mut left = limits.unzipped;
        for file in files {
            zip.start_file(file.name.as_str(), options(file.executable))?;
            let unreadable = |source| PackageError::Unreadable {
                path: file.path.clone(),
                source,
            };
            // A file may have grown since its size was asked: one byte more than fits is enough to know.
            let mut content = files::open(&file.path, Links::Followed)
                .map_err(unreadable)?
                .take(left + 1);
            let read = io::copy(&mut content, &mut zip).map_err(unreadable)?;
            left = left
                .checked_sub(read)
                .ok_or_else(|| too_large("unzipped", limits.unzipped + 1, limits.unzipped))?;
        }
        let package = Self {
            left_out,
            ..Self::finished(zip)?
        };
        let size = package.zip.len() as u64;
        if size > limits.zipped {
            return Err(too_large("zipped", size, limits.zipped));
        }
        Ok(package)
    }

    fn zip_within(path: &Path, limits: Limits) -> Result<Self, PackageError> {
        let unreadable = |source| PackageError::Unreadable {
            path: path.to_owned(),
            source,
        };
        let not_a_zip = |source| PackageError::NotAZip {
            path: path.to_owned(),
            source,
        };
        let too_large = |form, size, limit| PackageError::TooLarge {
            path: path.to_owned(),
            form,
            size,
            limit,
        };
        let about = path.metadata().map_err(unreadable)?;
        if !about.is_file() {
            return Err(PackageError::NotAFile {
                path: path.to_owned(),
            });
        }
        if about.len() > limits.zipped {
            return Err(too_large("zipped", about.len(), limits.zipped));
        }
        // One that grew since is cut off here, and is no zip then.
        let mut zip = Vec::new();
        files::open(path, Links::Followed)
            .and_then(|file| file.take(limits.zipped + 1).read_to_end(&mut zip))
            .map_err(unreadable)?;
        let mut archive = ZipArchive::new(io::Cursor::new(&zip)).map_err(not_a_zip)?;
        let mut unzipped: u64 = 0;
        let mut files = 0;
        for index in 0..archive.len() {
            let entry = archive.by_index_raw(index).map_err(not_a_zip)?;
            unzipped = unzipped.saturating_add(entry.size());
            files += usize::from(entry.is_file());
        }
        if unzipped > limits.unzipped {
            return Err(too_large("unzipped", unzipped, limits.unzipped));
        }
        if files == 0 {
            return Err(PackageError::Empty {
                path: path.to_owned(),
            });
        }
        Ok(Self::of(zip))
    }

    fn finished(zip: ZipWriter<io::Cursor<Vec<u8>>>) -> Result<Self, ZipError> {
        Ok(Self::of(zip.finish()?.into_inner()))
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
    size: u64,
    executable: bool,
}

/// One pass over a folder that reads names and sizes only.
struct Walk<'a> {
    /// Without symbolic links.
    apart: &'a [PathBuf],
    ignored: Gitignore,
    /// The folder itself, without symbolic links.
    root: PathBuf,
    /// The folders that are being walked, outermost first and without symbolic links.
    open: Vec<PathBuf>,
    files: Vec<File>,
    left_out: Vec<String>,
}

impl<'a> Walk<'a> {
    /// The folder's files, sorted by their names in the zip.
    fn of(folder: &Path, apart: &'a [PathBuf]) -> Result<Self, PackageError> {
        let path = folder.to_owned();
        let root = match folder.canonicalize() {
            Ok(root) if root.is_dir() => root,
            Ok(_) => return Err(PackageError::NotAFolder { path }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(PackageError::Missing { path });
            }
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                return Err(PackageError::NotAFolder { path });
            }
            Err(source) => return Err(PackageError::Unreadable { path, source }),
        };
        if apart.contains(&root) {
            return Err(PackageError::IsApart { path });
        }
        let mut walk = Self {
            apart,
            ignored: ignored(folder)?,
            open: vec![root.clone()],
            root,
            files: Vec::new(),
            left_out: Vec::new(),
        };
        walk.folder(folder, "")?;
        if walk.files.is_empty() {
            return Err(PackageError::Empty { path });
        }
        walk.files.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        walk.left_out.sort_unstable();
        Ok(walk)
    }

    /// Adds what is in `folder`; its entries' names in the zip begin with `prefix`.
    fn folder(&mut self, folder: &Path, prefix: &str) -> Result<(), PackageError> {
        let unreadable = |source| PackageError::Unreadable {
            path: folder.to_owned(),
            source,
        };
        for entry in folder.read_dir().map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let path = entry.path();
            let Ok(name) = entry.file_name().into_string() else {
                return Err(PackageError::NameNotUtf8 { path });
            };
            let is_folder = path.is_dir();
            let is_code = !is_never_code(&name);
            let name = format!("{prefix}{name}");
            if !is_code || self.ignored.matched(&name, is_folder).is_ignore() {
                self.leave_out(name, is_folder);
            } else {
                self.entry(path, name)?;
            }
        }
        Ok(())
    }

    fn leave_out(&mut self, mut name: String, is_folder: bool) {
        if is_folder {
            name.push('/');
        }
        self.left_out.push(name);
    }

    /// Whether this is apart, or by its real name no code: a link may have another.
    fn is_left_out(&self, real: &Path) -> bool {
        let is_apart = self.apart.iter().any(|apart| real.starts_with(apart));
        let inside = real.strip_prefix(&self.root).unwrap_or(real);
        is_apart || inside.iter().any(|name| name.to_str().is_some_and(is_never_code))
    }

    fn entry(&mut self, path: PathBuf, name: String) -> Result<(), PackageError> {
        let unreadable = |source| PackageError::Unreadable {
            path: path.clone(),
            source,
        };
        let real = path.canonicalize().map_err(unreadable)?;
        if !real.starts_with(&self.root) {
            return Err(PackageError::LinkLeaves { path, target: real });
        }
        let about = real.metadata().map_err(unreadable)?;
        if self.is_left_out(&real) {
            self.leave_out(name, about.is_dir());
        } else if about.is_dir() {
            if self.open.contains(&real) {
                return Err(PackageError::LinkLoops { path });
            }
            self.open.push(real);
            self.folder(&path, &format!("{name}/"))?;
            self.open.pop();
        } else if about.is_file() {
            self.files.push(File {
                name,
                path,
                size: about.len(),
                executable: about.permissions().mode() & 0o100 != 0,
            });
        } else {
            // Opening a pipe would wait for a writer.
            return Err(PackageError::NotAFile { path });
        }
        Ok(())
    }
}

/// The rules of the folder's ignore file; none where there is no such file.
fn ignored(folder: &Path) -> Result<Gitignore, PackageError> {
    let path = folder.join(IGNORE);
    // Names are matched as they are in the zip.
    let mut rules = GitignoreBuilder::new("");
    let text = match files::open(&path, Links::Followed).and_then(io::read_to_string) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(source) => return Err(PackageError::Unreadable { path, source }),
    };
    let wrong = |line, source| PackageError::Ignore {
        path: path.clone(),
        line,
        source,
    };
    for (index, line) in text.lines().enumerate() {
        rules
            .add_line(None, line)
            .map_err(|error| wrong(index + 1, error))?;
    }
    rules.build().map_err(|error| wrong(text.lines().count(), error))
}

#[cfg(test)]
mod tests;
