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
mod tests {
    use std::collections::BTreeMap;
    use std::fs::Permissions;
    use std::os::unix::fs::symlink;
    use std::time::{Duration, SystemTime};

    use proptest::prelude::*;
    use tempfile::TempDir;

    use super::*;

    fn put(folder: &Path, name: &str, content: &[u8], mode: u32) {
        let path = folder.join(name);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(&path, content).unwrap();
        fs_err::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    }

    fn folder_of(files: &[(&str, &[u8])]) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in files {
            put(folder.path(), name, content, 0o644);
        }
        folder
    }

    /// Name, mode and content of each entry, in the order of the zip.
    fn entries(package: &Package) -> Vec<(String, u32, Vec<u8>)> {
        let mut zip = ZipArchive::new(io::Cursor::new(&package.zip)).unwrap();
        (0..zip.len())
            .map(|i| {
                let mut file = zip.by_index(i).unwrap();
                let mut content = Vec::new();
                file.read_to_end(&mut content).unwrap();
                (
                    file.name().unwrap().into_owned(),
                    file.unix_mode().unwrap() & 0o7777,
                    content,
                )
            })
            .collect()
    }

    fn names(package: &Package) -> Vec<String> {
        entries(package).into_iter().map(|(name, ..)| name).collect()
    }

    fn pack(folder: &Path) -> Result<Package, PackageError> {
        Package::from_folder(folder, &[])
    }

    fn error(result: Result<Package, PackageError>) -> PackageError {
        result.err().expect("an error")
    }

    #[test]
    fn the_bytes_are_pinned() {
        // Another hash here means that every function already deployed would be updated once: say so in the
        // changelog. A new version of the compressor can do that.
        let text = (0..9_999_u32)
            .map(|n| (n.wrapping_mul(2_654_435_761) % 9_973).to_string())
            .collect::<Vec<_>>()
            .join(" ");
        let package = Package::from_files(&[("bin", b"\0\x01"), ("index.mjs", text.as_bytes())]).unwrap();
        assert_eq!(package.sha256, "v4lXS2cGWi3hDjP27y82M23oKhpYlsKRrEjEBoagpUs=");
    }

    #[test]
    fn the_hash_is_of_the_zip_as_lambda_reports_it() {
        let package = Package::from_files(&[("a", b"1")]).unwrap();
        assert_eq!(
            BASE64_STANDARD.decode(&package.sha256).unwrap(),
            Sha256::digest(&package.zip).as_slice()
        );
    }

    #[test]
    fn a_folder_and_the_same_files_in_memory_are_the_same_package() {
        let files: [(&str, &[u8]); 3] = [("z.mjs", b"z"), ("a/b.mjs", b"b"), ("a.mjs", b"")];
        let folder = folder_of(&files);
        let packed = pack(folder.path()).unwrap();
        assert_eq!(packed.zip, Package::from_files(&files).unwrap().zip);
        assert_eq!(names(&packed), ["a.mjs", "a/b.mjs", "z.mjs"]);
    }

    #[test]
    fn modes_are_two_whatever_the_umask_was() {
        let folder = tempfile::tempdir().unwrap();
        for (name, mode) in [
            ("a", 0o600),
            ("b", 0o664),
            ("c", 0o700),
            ("d", 0o775),
            ("e", 0o654),
        ] {
            put(folder.path(), name, b"", mode);
        }
        let modes: Vec<u32> = entries(&pack(folder.path()).unwrap())
            .iter()
            .map(|(_, mode, _)| *mode)
            .collect();
        assert_eq!(modes, [0o644, 0o644, 0o755, 0o755, 0o644]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn only_the_content_counts(
            files in proptest::collection::btree_map("[a-c]{1,2}\\.d/[a-zA-Z0-9_.-]{1,8}x", proptest::collection::vec(any::<u8>(), 0..99), 1..8),
            age in 0_u64..2_000_000_000,
        ) {
            let forward = tempfile::tempdir().unwrap();
            let backward = tempfile::tempdir().unwrap();
            for (name, content) in &files {
                put(forward.path(), name, content, 0o644);
            }
            for (name, content) in files.iter().rev() {
                put(backward.path(), name, content, 0o600);
                let file = fs_err::File::options().write(true).open(backward.path().join(name)).unwrap();
                file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(age)).unwrap();
            }
            let package = pack(forward.path()).unwrap();
            prop_assert_eq!(&package.zip, &pack(backward.path()).unwrap().zip);
            let packed: BTreeMap<String, Vec<u8>> =
                entries(&package).into_iter().map(|(name, _, content)| (name, content)).collect();
            prop_assert_eq!(&packed, &files);
            prop_assert!(names(&package).is_sorted());
        }
    }

    #[test]
    fn other_content_another_name_and_another_mode_are_other_packages() {
        let one = |name, content, mode| {
            let folder = tempfile::tempdir().unwrap();
            put(folder.path(), name, content, mode);
            pack(folder.path()).unwrap().sha256
        };
        let hashes = [
            one("a", b"1", 0o644),
            one("a", b"2", 0o644),
            one("b", b"1", 0o644),
            one("a", b"1", 0o755),
        ];
        assert_eq!(std::collections::BTreeSet::from(hashes).len(), 4);
    }

    #[test]
    fn only_what_is_documented_is_skipped() {
        let folder = folder_of(&[
            (".git/config", b""),
            ("sub/.git", b"gitdir: elsewhere"),
            ("sub/.DS_Store", b""),
            (".env", b""),
            ("sub/.env.local", b""),
            ("sub/app.secret", b""),
            (".gitignore", b""),
            ("node_modules/x/index.js", b""),
        ]);
        let package = pack(folder.path()).unwrap();
        assert_eq!(names(&package), [".gitignore", "node_modules/x/index.js"]);
        assert_eq!(
            package.left_out,
            [
                ".env",
                ".git/",
                "sub/.DS_Store",
                "sub/.env.local",
                "sub/.git",
                "sub/app.secret"
            ]
        );
    }

    #[test]
    fn what_is_apart_is_left_out_by_whatever_name() {
        let folder = folder_of(&[
            ("index.mjs", b""),
            ("provision.toml", b""),
            ("state/user-api.json", b""),
            ("state/sandbox/emulator/cognito.json", b"secrets"),
            ("lib/state/mine.mjs", b""),
            (".env", b""),
        ]);
        let real = folder.path().canonicalize().unwrap();
        symlink("state/user-api.json", folder.path().join("link.json")).unwrap();
        symlink("state/sandbox", folder.path().join("linked")).unwrap();
        symlink(".env", folder.path().join("settings")).unwrap();
        let apart = ["provision.toml", "state", "state/sandbox"].map(|name| real.join(name));
        let package = Package::from_folder(folder.path(), &apart).unwrap();
        assert_eq!(names(&package), ["index.mjs", "lib/state/mine.mjs"]);
        assert_eq!(
            package.left_out,
            [
                ".env",
                "link.json",
                "linked/",
                "provision.toml",
                "settings",
                "state/"
            ]
        );
        for name in ["state", "state/sandbox"] {
            let refused = error(Package::from_folder(&folder.path().join(name), &apart));
            assert!(matches!(refused, PackageError::IsApart { .. }), "{name}");
        }
    }

    #[test]
    fn an_ignore_file_leaves_out_what_git_would() {
        let folder = folder_of(&[
            (
                ".provisionignore",
                b"# not code\n*.log\n!keep.log\n/build\ntests/\ndocs/**/*.md\n",
            ),
            ("a.log", b""),
            ("keep.log", b""),
            ("sub/b.log", b""),
            ("build/x", b""),
            ("sub/build/x", b""),
            ("sub/tests/x", b""),
            ("tests", b""),
            ("docs/a/b.md", b""),
            ("docs/a/b.txt", b""),
        ]);
        symlink("/", folder.path().join("elsewhere.log")).unwrap();
        let package = pack(folder.path()).unwrap();
        assert_eq!(
            names(&package),
            ["docs/a/b.txt", "keep.log", "sub/build/x", "tests"]
        );
        assert_eq!(
            package.left_out,
            [
                ".provisionignore",
                "a.log",
                "build/",
                "docs/a/b.md",
                "elsewhere.log/",
                "sub/b.log",
                "sub/tests/",
            ]
        );
        fs_err::write(folder.path().join(".provisionignore"), "*.log\n[z-a]\n").unwrap();
        let refused = error(pack(folder.path()));
        assert!(
            matches!(refused, PackageError::Ignore { line: 2, .. }),
            "{refused}"
        );
        // What is never code cannot be asked for.
        fs_err::write(folder.path().join(".provisionignore"), "!.env\n").unwrap();
        fs_err::write(folder.path().join(".env"), "").unwrap();
        let refused = error(pack(folder.path()));
        assert!(matches!(refused, PackageError::LinkLeaves { .. }), "{refused}");
        fs_err::remove_file(folder.path().join("elsewhere.log")).unwrap();
        let package = pack(folder.path()).unwrap();
        assert!(package.left_out.contains(&".env".to_owned()));
    }

    #[test]
    fn a_link_within_the_folder_is_what_it_points_to() {
        let folder = folder_of(&[("real/a.mjs", b"a")]);
        symlink("real", folder.path().join("linked")).unwrap();
        symlink("real/a.mjs", folder.path().join("b.mjs")).unwrap();
        let packed = pack(folder.path()).unwrap();
        assert_eq!(names(&packed), ["b.mjs", "linked/a.mjs", "real/a.mjs"]);
        assert!(
            entries(&packed)
                .iter()
                .all(|(_, mode, content)| *mode == 0o644 && content == b"a")
        );
    }

    #[test]
    fn the_folder_itself_may_be_a_link() {
        let folder = folder_of(&[("code/a", b"a")]);
        symlink("code", folder.path().join("current")).unwrap();
        assert_eq!(names(&pack(&folder.path().join("current")).unwrap()), ["a"]);
    }

    #[test]
    fn a_link_out_of_the_folder_is_refused() {
        // The sibling's name begins with the folder's: a comparison of strings would let it pass.
        let outer = folder_of(&[("code/a", b"a"), ("code-secret/key", b"k")]);
        for target in ["../code-secret/key", "../code-secret", ".."] {
            let link = outer.path().join("code/link");
            symlink(target, &link).unwrap();
            let refused = error(pack(&outer.path().join("code")));
            assert!(
                matches!(&refused, PackageError::LinkLeaves { path, .. } if *path == link),
                "{refused}"
            );
            fs_err::remove_file(link).unwrap();
        }
    }

    #[test]
    fn a_link_to_its_own_folder_ends() {
        let folder = folder_of(&[("a/b/c", b"")]);
        symlink("..", folder.path().join("a/b/up")).unwrap();
        let refused = error(pack(folder.path()));
        assert!(
            matches!(&refused, PackageError::LinkLoops { path } if path.ends_with("a/b/up")),
            "{refused}"
        );
    }

    #[test]
    fn a_link_to_nothing_is_named() {
        let folder = folder_of(&[("a", b"")]);
        symlink("gone", folder.path().join("dangling")).unwrap();
        let refused = error(pack(folder.path()));
        assert!(
            matches!(&refused, PackageError::Unreadable { path, .. } if path.ends_with("dangling")),
            "{refused}"
        );
    }

    #[test]
    fn what_is_no_folder_is_named() {
        let folder = folder_of(&[("file", b"")]);
        let path = folder.path().join("gone");
        assert_eq!(
            error(pack(&path)).to_string(),
            format!("there is no folder {}", path.display())
        );
        for path in [folder.path().join("file"), folder.path().join("file/below")] {
            assert_eq!(
                error(pack(&path)).to_string(),
                format!("{} is not a folder", path.display())
            );
        }
    }

    #[test]
    fn an_empty_folder_is_refused() {
        let folder = folder_of(&[(".git/config", b"")]);
        fs_err::create_dir(folder.path().join("empty")).unwrap();
        assert!(matches!(error(pack(folder.path())), PackageError::Empty { .. }));
    }

    #[test]
    fn a_socket_is_refused() {
        let folder = folder_of(&[("a", b"")]);
        let _socket = std::os::unix::net::UnixListener::bind(folder.path().join("s")).unwrap();
        let refused = error(pack(folder.path()));
        assert!(
            matches!(&refused, PackageError::NotAFile { path } if path.ends_with("s")),
            "{refused}"
        );
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_name_that_is_not_utf_8_is_refused() {
        use std::os::unix::ffi::OsStrExt;
        let folder = tempfile::tempdir().unwrap();
        fs_err::write(folder.path().join(std::ffi::OsStr::from_bytes(b"\xff")), b"").unwrap();
        assert!(matches!(
            error(pack(folder.path())),
            PackageError::NameNotUtf8 { .. }
        ));
    }

    #[test]
    fn too_much_to_unzip_is_known_without_reading_it() {
        let folder = folder_of(&[("a", b"1")]);
        let file = fs_err::File::create(folder.path().join("huge")).unwrap();
        // Sparse: it takes no space, and reading it would take minutes.
        file.set_len(1 << 40).unwrap();
        assert_eq!(
            error(pack(folder.path())).to_string(),
            format!(
                "{} has 1099511627777 bytes unzipped, and Lambda takes at most 262144000",
                folder.path().display()
            )
        );
    }

    #[test]
    fn the_limits_themselves_are_allowed() {
        let folder = folder_of(&[("a", &[7; 600]), ("b", &[8; 400])]);
        let limits = |zipped, unzipped| Package::within(folder.path(), &[], Limits { zipped, unzipped });
        let zipped = limits(9_999, 1_000).unwrap().zip.len() as u64;
        assert!(limits(zipped, 1_000).is_ok());
        let refused = error(limits(zipped - 1, 1_000));
        assert!(
            matches!(&refused, PackageError::TooLarge { form: "zipped", size, limit, .. }
                if *size == zipped && *limit == zipped - 1),
            "{refused}"
        );
        let refused = error(limits(9_999, 999));
        assert!(matches!(
            &refused,
            PackageError::TooLarge {
                form: "unzipped",
                size: 1_000,
                limit: 999,
                ..
            }
        ));
    }

    #[test]
    fn two_files_of_one_name_are_refused() {
        assert!(matches!(
            error(Package::from_files(&[("a", b"1"), ("a", b"2")])),
            PackageError::Zip(_)
        ));
    }

    fn zip_of(files: &[(&str, &[u8])]) -> (TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("code.zip");
        fs_err::write(&path, Package::from_files(files).unwrap().zip).unwrap();
        (folder, path)
    }

    #[test]
    fn a_zip_is_taken_as_it_is() {
        // Another modification time than ours and a comment: a zip that was made again would have neither.
        let mut zip = ZipWriter::new(io::Cursor::new(Vec::new()));
        zip.set_comment("made elsewhere").unwrap();
        zip.start_file("bootstrap", SimpleFileOptions::DEFAULT.unix_permissions(0o755))
            .unwrap();
        zip.write_all(b"\x7fELF").unwrap();
        let bytes = zip.finish().unwrap().into_inner();
        let folder = folder_of(&[("code.zip", &bytes)]);
        let package = Package::from_zip(&folder.path().join("code.zip")).unwrap();
        assert_eq!(package.zip, bytes);
        assert_eq!(package.sha256, BASE64_STANDARD.encode(Sha256::digest(&bytes)));
    }

    #[test]
    fn the_sample_is_the_same_package_from_a_checkout_and_from_the_program() {
        let embedded: [(&str, &[u8]); 1] = [("index.mjs", include_bytes!("../lambda/index.mjs"))];
        let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("lambda");
        assert_eq!(
            pack(&checkout).unwrap().sha256,
            Package::from_files(&embedded).unwrap().sha256
        );
    }

    #[test]
    fn what_is_no_zip_is_named() {
        let (_kept, whole) = zip_of(&[("index.mjs", &[b'x'; 999])]);
        let whole = fs_err::read(whole).unwrap();
        let half = &whole[..whole.len() / 2];
        let folder = folder_of(&[
            ("text.zip", b"export const handler"),
            ("empty.zip", b""),
            ("half.zip", half),
        ]);
        for name in ["text.zip", "empty.zip", "half.zip"] {
            let path = folder.path().join(name);
            assert_eq!(
                error(Package::from_zip(&path)).to_string(),
                format!("{} is not a zip", path.display())
            );
        }
        let gone = folder.path().join("gone.zip");
        assert_eq!(
            error(Package::from_zip(&gone)).to_string(),
            format!("cannot read {}", gone.display())
        );
        assert!(matches!(
            error(Package::from_zip(folder.path())),
            PackageError::NotAFile { .. }
        ));
    }

    #[test]
    fn a_zip_without_files_is_refused() {
        let mut zip = ZipWriter::new(io::Cursor::new(Vec::new()));
        zip.add_directory("only", SimpleFileOptions::DEFAULT).unwrap();
        let folder = folder_of(&[("code.zip", &zip.finish().unwrap().into_inner())]);
        assert!(matches!(
            error(Package::from_zip(&folder.path().join("code.zip"))),
            PackageError::Empty { .. }
        ));
    }

    #[test]
    fn the_limits_hold_for_a_zip_too() {
        let (_kept, path) = zip_of(&[("a", &[7; 600]), ("b", &[8; 400])]);
        let limits = |zipped, unzipped| Package::zip_within(&path, Limits { zipped, unzipped });
        let zipped = fs_err::metadata(&path).unwrap().len();
        assert!(limits(zipped, 1_000).is_ok());
        assert!(matches!(
            error(limits(zipped - 1, 1_000)),
            PackageError::TooLarge { form: "zipped", size, limit, .. } if size == zipped && limit == zipped - 1
        ));
        assert!(matches!(
            error(limits(zipped, 999)),
            PackageError::TooLarge {
                form: "unzipped",
                size: 1_000,
                limit: 999,
                ..
            }
        ));
    }

    #[test]
    fn a_zip_over_the_quota_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("huge.zip");
        // Sparse: it takes no space, and reading it would take minutes.
        fs_err::File::create(&path).unwrap().set_len(1 << 40).unwrap();
        assert_eq!(
            error(Package::from_zip(&path)).to_string(),
            format!(
                "{} has 1099511627776 bytes zipped, and Lambda takes at most 52428800",
                path.display()
            )
        );
    }
}
