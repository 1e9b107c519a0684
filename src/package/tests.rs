use std::collections::BTreeMap;
use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, symlink};
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

fn pack(folder: &Path) -> anyhow::Result<Package> {
    Package::from_folder(folder, &[])
}

/// The message, without its causes.
fn error(result: anyhow::Result<Package>) -> String {
    result.err().expect("an error").to_string()
}

#[test]
fn the_bytes_are_pinned() {
    // If this hash changes, the next `up` updates every function once: say so in the changelog. A new version of the
    // compressor can change it.
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
fn own_files_are_left_out_whatever_the_name_of_a_link_to_them() {
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
    let own = ["provision.toml", "state", "state/sandbox"].map(|name| real.join(name));
    let package = Package::from_folder(folder.path(), &own).unwrap();
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
        let path = folder.path().join(name);
        assert_eq!(
            error(Package::from_folder(&path, &own)),
            format!("{} is where provision keeps its own files", path.display())
        );
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
    assert_eq!(
        error(pack(folder.path())),
        format!("{}/.provisionignore:2: invalid pattern", folder.path().display())
    );
    // A pattern cannot put back what is never code.
    fs_err::write(folder.path().join(".provisionignore"), "!.env\n").unwrap();
    fs_err::write(folder.path().join(".env"), "").unwrap();
    assert_eq!(
        error(pack(folder.path())),
        format!(
            "the symbolic link {}/elsewhere.log leaves the folder: it points to /",
            folder.path().display()
        )
    );
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
        let expected = format!(
            "the symbolic link {} leaves the folder: it points to {}",
            link.display(),
            link.canonicalize().unwrap().display()
        );
        assert_eq!(error(pack(&outer.path().join("code"))), expected);
        fs_err::remove_file(link).unwrap();
    }
}

#[test]
fn a_link_to_its_own_folder_ends() {
    let folder = folder_of(&[("a/b/c", b"")]);
    symlink("..", folder.path().join("a/b/up")).unwrap();
    assert_eq!(
        error(pack(folder.path())),
        format!(
            "the symbolic link {}/a/b/up points to a folder that it is in",
            folder.path().display()
        )
    );
    // Left out, the link is not an error, and its siblings are packed.
    fs_err::write(folder.path().join("a/b/z"), "").unwrap();
    fs_err::write(folder.path().join(".provisionignore"), "up/\n").unwrap();
    let package = pack(folder.path()).unwrap();
    assert_eq!(names(&package), ["a/b/c", "a/b/z"]);
    assert_eq!(package.left_out, [".provisionignore", "a/b/up/"]);
}

#[test]
fn a_link_to_nothing_is_named() {
    let folder = folder_of(&[("a", b"")]);
    symlink("gone", folder.path().join("dangling")).unwrap();
    assert_eq!(
        error(pack(folder.path())),
        format!("cannot read {}/dangling", folder.path().display())
    );
    fs_err::write(folder.path().join(".provisionignore"), "dangling\n").unwrap();
    assert_eq!(names(&pack(folder.path()).unwrap()), ["a"]);
}

#[test]
fn a_path_that_is_not_a_folder_is_named() {
    let folder = folder_of(&[("file", b"")]);
    let path = folder.path().join("gone");
    assert_eq!(error(pack(&path)), format!("{} does not exist", path.display()));
    for path in [folder.path().join("file"), folder.path().join("file/below")] {
        assert_eq!(error(pack(&path)), format!("{} is not a folder", path.display()));
    }
}

#[test]
fn an_empty_folder_is_refused() {
    let folder = folder_of(&[(".git/config", b"")]);
    fs_err::create_dir(folder.path().join("empty")).unwrap();
    assert_eq!(
        error(pack(folder.path())),
        format!("{} contains no files", folder.path().display())
    );
}

#[test]
fn a_socket_is_refused() {
    let folder = folder_of(&[("a", b"")]);
    let _socket = std::os::unix::net::UnixListener::bind(folder.path().join("s")).unwrap();
    assert_eq!(
        error(pack(folder.path())),
        format!("{}/s is neither a file nor a folder", folder.path().display())
    );
}

#[cfg(target_os = "linux")]
#[test]
fn a_name_that_is_not_utf_8_is_refused() {
    use std::os::unix::ffi::OsStrExt;
    let folder = tempfile::tempdir().unwrap();
    fs_err::write(folder.path().join(OsStr::from_bytes(b"\xff")), b"").unwrap();
    let refused = error(pack(folder.path()));
    assert!(refused.ends_with(" is not UTF-8"), "{refused}");
}

fn too_large(path: &Path, limit: u64, form: &str, size: u64) -> String {
    let path = path.display();
    format!("{path} is too large: expected at most {limit} bytes {form}, got {size}")
}

#[test]
fn too_much_to_unzip_is_known_without_reading_it() {
    let folder = folder_of(&[("a", b"1")]);
    let file = fs_err::File::create(folder.path().join("huge")).unwrap();
    // Sparse: it takes no space, and reading it would take minutes.
    file.set_len(1 << 40).unwrap();
    assert_eq!(
        error(pack(folder.path())),
        too_large(folder.path(), 262_144_000, "unzipped", 1_099_511_627_777)
    );
}

#[test]
fn the_limits_themselves_are_allowed() {
    let folder = folder_of(&[("a", &[7; 600]), ("b", &[8; 400])]);
    let limits = |zipped, unzipped| Package::within(folder.path(), &[], Limits { zipped, unzipped });
    let zipped = limits(9_999, 1_000).unwrap().zip.len() as u64;
    assert!(limits(zipped, 1_000).is_ok());
    assert_eq!(
        error(limits(zipped - 1, 1_000)),
        too_large(folder.path(), zipped - 1, "zipped", zipped)
    );
    assert_eq!(
        error(limits(9_999, 999)),
        too_large(folder.path(), 999, "unzipped", 1_000)
    );
}

#[test]
fn two_files_of_one_name_are_refused() {
    assert_eq!(
        error(Package::from_files(&[("a", b"1"), ("a", b"2")])),
        "cannot make a zip file of the code"
    );
}

fn zip_of(files: &[(&str, &[u8])]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("code.zip");
    fs_err::write(&path, Package::from_files(files).unwrap().zip).unwrap();
    (folder, path)
}

#[test]
fn a_zip_is_taken_as_it_is() {
    // Its modification time is not ours, and it has a comment: a zip file that is written again would have neither.
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
    let embedded: [(&str, &[u8]); 1] = [("index.mjs", include_bytes!("../../lambda/index.mjs"))];
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("lambda");
    assert_eq!(
        pack(&checkout).unwrap().sha256,
        Package::from_files(&embedded).unwrap().sha256
    );
}

#[test]
fn a_file_that_is_not_a_zip_is_named() {
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
            error(Package::from_zip(&path)),
            format!("{} is not a zip file", path.display())
        );
    }
    let gone = folder.path().join("gone.zip");
    assert_eq!(
        error(Package::from_zip(&gone)),
        format!("cannot read {}", gone.display())
    );
    assert_eq!(
        error(Package::from_zip(folder.path())),
        format!("{} is not a file", folder.path().display())
    );
}

#[test]
fn a_zip_without_files_is_refused() {
    let mut zip = ZipWriter::new(io::Cursor::new(Vec::new()));
    zip.add_directory("only", SimpleFileOptions::DEFAULT).unwrap();
    let folder = folder_of(&[("code.zip", &zip.finish().unwrap().into_inner())]);
    let path = folder.path().join("code.zip");
    assert_eq!(
        error(Package::from_zip(&path)),
        format!("{} contains no files", path.display())
    );
}

#[test]
fn the_limits_hold_for_a_zip_too() {
    let (_kept, path) = zip_of(&[("a", &[7; 600]), ("b", &[8; 400])]);
    let limits = |zipped, unzipped| Package::zip_within(&path, Limits { zipped, unzipped });
    let zipped = fs_err::metadata(&path).unwrap().len();
    assert!(limits(zipped, 1_000).is_ok());
    assert_eq!(
        error(limits(zipped - 1, 1_000)),
        too_large(&path, zipped - 1, "zipped", zipped)
    );
    assert_eq!(
        error(limits(zipped, 999)),
        too_large(&path, 999, "unzipped", 1_000)
    );
}

#[test]
fn a_zip_over_the_quota_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("huge.zip");
    // Sparse: it takes no space, and reading it would take minutes.
    fs_err::File::create(&path).unwrap().set_len(1 << 40).unwrap();
    assert_eq!(
        error(Package::from_zip(&path)),
        too_large(&path, 52_428_800, "zipped", 1_099_511_627_776)
    );
}

#[test]
fn a_glance_differs_exactly_when_the_package_may() {
    let folder = folder_of(&[
        ("a.js", b"1"),
        ("lib/b.js", b"2"),
        ("notes/x.md", b"3"),
        (".provisionignore", b"notes\n"),
    ]);
    let glance = || Glance::at_folder(folder.path(), &[]).unwrap();
    let (first, again) = (glance(), glance());
    assert_eq!(first.mark, again.mark);
    assert_eq!(
        first.folders,
        ["", "lib"].map(|name| folder.path().join(name)).to_vec()
    );
    put(folder.path(), "notes/x.md", b"other", 0o644);
    put(folder.path(), "notes/more/y.md", b"other", 0o644);
    assert_eq!(first.mark, glance().mark, "what is left out does not count");
    let mut marks = vec![first.mark];
    let edits: [&dyn Fn(); 5] = [
        &|| put(folder.path(), "a.js", b"2", 0o644),
        &|| put(folder.path(), "lib/c.js", b"3", 0o644),
        &|| put(folder.path(), "a.js", b"2", 0o755),
        &|| fs_err::remove_file(folder.path().join("lib/c.js")).unwrap(),
        &|| put(folder.path(), ".provisionignore", b"lib\n", 0o644),
    ];
    for edit in edits {
        // A file system has coarse clocks.
        std::thread::sleep(Duration::from_millis(20));
        edit();
        marks.push(glance().mark);
    }
    let distinct: std::collections::BTreeSet<_> = marks.iter().collect();
    assert_eq!(distinct.len(), marks.len());
}

#[test]
fn a_glance_names_the_folder_that_a_link_leads_to() {
    let folder = folder_of(&[("kept/real.js", b"1"), (".provisionignore", b"kept\n")]);
    symlink("kept/real.js", folder.path().join("a.js")).unwrap();
    let glance = Glance::at_folder(folder.path(), &[]).unwrap();
    let kept = folder.path().canonicalize().unwrap().join("kept");
    assert!(glance.folders.contains(&kept), "{:?}", glance.folders);
}

#[test]
fn the_sizes_in_a_package_are_known() {
    let folder = folder_of(&[("a.js", b"12"), ("lib/b.js", b"")]);
    let package = pack(folder.path()).unwrap();
    let sizes = ["a.js", "lib/b.js", "lib", "c.js"].map(|name| package.size_of(name));
    assert_eq!(sizes, [Some(2), Some(0), None, None]);
}
