//! A function's code as the zip that Lambda takes: the same content always gives the same bytes.
//!
//! Must not know what a function is.

use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

/// What Lambda takes in one request, in bytes.
pub const LARGEST_ZIP: u64 = 52_428_800;
/// What Lambda takes unpacked, in bytes.
pub const LARGEST_UNPACKED: u64 = 262_144_000;

/// Why a folder cannot be packaged.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// There is nothing at this path.
    #[error("{0} is not there")]
    Missing(PathBuf),
    /// It is a file, or a link.
    #[error("{0} is not a folder")]
    NotAFolder(PathBuf),
    /// There is no file in it.
    #[error("{0} has no file in it")]
    Empty(PathBuf),
    /// Lambda gets copies, so a link would become what it points at, wherever that is.
    #[error("{0} is neither a file nor a folder; put a copy of what it stands for in its place")]
    NotAFile(PathBuf),
    /// Names in a zip are UTF-8.
    #[error("the name of {0:?} is not UTF-8")]
    NotUtf8(PathBuf),
    /// Over one of Lambda's limits.
    #[error("{what} has {size} bytes {how}, and Lambda takes {limit}")]
    TooLarge {
        /// The folder, or what stands in its place.
        what: String,
        /// `zipped` or `unpacked`.
        how: &'static str,
        /// In bytes.
        size: u64,
        /// In bytes.
        limit: u64,
    },
    /// The file system said no.
    #[error("the code cannot be read")]
    Io(#[from] std::io::Error),
    /// The zip could not be written.
    #[error("the zip cannot be made")]
    Zip(#[from] zip::result::ZipError),
}

/// A zip and its hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    /// The bytes to upload.
    pub zip: Vec<u8>,
    /// Their SHA-256 in base64: Lambda's `CodeSha256`.
    pub sha256: String,
}

struct File {
    /// With `/` between the parts.
    name: String,
    path: PathBuf,
    size: u64,
    executable: bool,
}

impl Package {
    /// Everything in the folder but `.git` and `.DS_Store`.
    ///
    /// # Errors
    /// The folder is missing, empty or over Lambda's limits, or has something in it that is neither file nor folder.
    pub fn from_folder(folder: &Path) -> Result<Self, PackageError> {
        match fs_err::symlink_metadata(folder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(PackageError::Missing(folder.to_owned()));
            }
            Err(error) => return Err(error.into()),
            Ok(found) if !found.is_dir() => return Err(PackageError::NotAFolder(folder.to_owned())),
            Ok(_) => {}
        }
        let mut files = Vec::new();
        collect(folder, "", &mut files)?;
        if files.is_empty() {
            return Err(PackageError::Empty(folder.to_owned()));
        }
        let what = folder.display().to_string();
        // Before anything is read: a wrong folder may be the whole home.
        check(
            &what,
            "unpacked",
            files.iter().map(|file| file.size).sum(),
            LARGEST_UNPACKED,
        )?;
        files.sort_by(|a, b| a.name.cmp(&b.name));
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        for file in files {
            add(&mut zip, &file.name, &fs_err::read(&file.path)?, file.executable)?;
        }
        finish(&what, zip)
    }

    /// These files, by name.
    ///
    /// # Errors
    /// They are over Lambda's limits.
    pub fn from_files(files: &[(&str, &[u8])]) -> Result<Self, PackageError> {
        let mut files = files.to_vec();
        files.sort_unstable();
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, content) in files {
            add(&mut zip, name, content, false)?;
        }
        finish("the built-in code", zip)
    }
}

fn collect(folder: &Path, prefix: &str, files: &mut Vec<File>) -> Result<(), PackageError> {
    for entry in fs_err::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        let name = entry
            .file_name()
            .into_string()
            .map_err(|_| PackageError::NotUtf8(path.clone()))?;
        if name == ".git" || name == ".DS_Store" {
            continue;
        }
        let found = fs_err::symlink_metadata(&path)?;
        let name = format!("{prefix}{name}");
        if found.is_dir() {
            collect(&path, &format!("{name}/"), files)?;
        } else if found.is_file() {
            let (size, executable) = (found.len(), is_executable(&found));
            files.push(File {
                name,
                path,
                size,
                executable,
            });
        } else {
            return Err(PackageError::NotAFile(path));
        }
    }
    Ok(())
}

#[cfg(unix)]
fn is_executable(file: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.permissions().mode() & 0o100 != 0
}

/// Where files have no such mark, everything may be executed, as Lambda's `bootstrap` must.
#[cfg(not(unix))]
fn is_executable(_: &std::fs::Metadata) -> bool {
    true
}

type Zip = ZipWriter<Cursor<Vec<u8>>>;

/// With the same time for all, and the same mode whatever the umask.
fn add(zip: &mut Zip, name: &str, content: &[u8], executable: bool) -> Result<(), PackageError> {
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .last_modified_time(DateTime::default())
        .unix_permissions(if executable { 0o755 } else { 0o644 });
    zip.start_file(name, options)?;
    zip.write_all(content)?;
    Ok(())
}

fn finish(what: &str, zip: Zip) -> Result<Package, PackageError> {
    let zip = zip.finish()?.into_inner();
    check(what, "zipped", zip.len() as u64, LARGEST_ZIP)?;
    let sha256 = STANDARD.encode(Sha256::digest(&zip));
    Ok(Package { zip, sha256 })
}

fn check(what: &str, how: &'static str, size: u64, limit: u64) -> Result<(), PackageError> {
    if size <= limit {
        return Ok(());
    }
    let what = what.to_owned();
    Err(PackageError::TooLarge {
        what,
        how,
        size,
        limit,
    })
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in files {
            let path = folder.path().join(name);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, content).unwrap();
        }
        folder
    }

    #[test]
    fn the_same_content_gives_the_same_bytes_whatever_its_times_and_order() {
        let one = folder(&[("b.mjs", "2"), ("a/x.mjs", "1"), (".git/HEAD", "x")]);
        let two = folder(&[("a/x.mjs", "1"), ("b.mjs", "2"), (".DS_Store", "y")]);
        let file = std::fs::File::open(two.path().join("b.mjs")).unwrap();
        file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
        let one = Package::from_folder(one.path()).unwrap();
        assert_eq!(one, Package::from_folder(two.path()).unwrap());
        assert_eq!(
            one,
            Package::from_files(&[("b.mjs", b"2"), ("a/x.mjs", b"1")]).unwrap()
        );
    }

    #[test]
    fn other_content_gives_another_hash_and_the_zip_holds_it() {
        let one = Package::from_files(&[("index.mjs", b"1")]).unwrap();
        let two = Package::from_files(&[("index.mjs", b"2")]).unwrap();
        assert_ne!(one.sha256, two.sha256);
        let mut zip = zip::ZipArchive::new(Cursor::new(two.zip)).unwrap();
        let mut content = String::new();
        zip.by_name("index.mjs")
            .unwrap()
            .read_to_string(&mut content)
            .unwrap();
        assert_eq!(content, "2");
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owners_execute_bit_counts() {
        use std::os::unix::fs::PermissionsExt;
        let folder = folder(&[("bootstrap", "x"), ("data", "y")]);
        let mode = |name: &str, mode| {
            let permissions = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(folder.path().join(name), permissions).unwrap();
        };
        mode("bootstrap", 0o700);
        mode("data", 0o606);
        let package = Package::from_folder(folder.path()).unwrap();
        let mut zip = zip::ZipArchive::new(Cursor::new(package.zip)).unwrap();
        assert_eq!(
            zip.by_name("bootstrap").unwrap().unix_mode().unwrap() & 0o777,
            0o755
        );
        assert_eq!(zip.by_name("data").unwrap().unix_mode().unwrap() & 0o777, 0o644);
    }

    #[test]
    fn a_folder_that_cannot_be_code_is_refused_by_name() {
        let missing = Path::new("no/such/folder");
        assert!(matches!(Package::from_folder(missing), Err(PackageError::Missing(path)) if path == missing));
        let empty = folder(&[(".git/HEAD", "x")]);
        assert!(matches!(
            Package::from_folder(empty.path()),
            Err(PackageError::Empty(_))
        ));
        let file = folder(&[("a", "x")]);
        assert!(matches!(
            Package::from_folder(&file.path().join("a")),
            Err(PackageError::NotAFolder(_))
        ));
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink("/", file.path().join("link")).unwrap();
            assert!(matches!(
                Package::from_folder(file.path()),
                Err(PackageError::NotAFile(_))
            ));
        }
    }

    #[test]
    fn a_folder_over_the_limit_is_refused_before_it_is_read() {
        let folder = folder(&[("a", "x")]);
        // A file with a hole: it has a size and takes no room.
        let file = std::fs::File::create(folder.path().join("large")).unwrap();
        file.set_len(LARGEST_UNPACKED).unwrap();
        let error = Package::from_folder(folder.path()).unwrap_err().to_string();
        assert!(
            error.ends_with("has 262144001 bytes unpacked, and Lambda takes 262144000"),
            "{error}"
        );
    }
}
