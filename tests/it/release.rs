//! What a release has beside the archives: checksums, the installer, the Homebrew formula.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

const VERSION: &str = "9.8.7";
const REPOSITORY: &str = "https://example.com/example/provision";
const TARGETS: [&str; 4] = [
    "aarch64-apple-darwin",
    "aarch64-unknown-linux-musl",
    "x86_64-apple-darwin",
    "x86_64-unknown-linux-musl",
];

/// A folder with archives whose `provision` says which target it is for.
struct Dist(TempDir);

impl Dist {
    fn new(targets: &[&str]) -> Self {
        let dist = tempfile::tempdir().unwrap();
        for target in targets {
            let name = format!("provision-{VERSION}-{target}");
            let folder = dist.path().join(&name);
            fs_err::create_dir(&folder).unwrap();
            fs_err::write(folder.join("provision"), format!("#!/bin/sh\necho {target}\n")).unwrap();
            run(Command::new("chmod").arg("+x").arg(folder.join("provision")));
            run(Command::new("tar")
                .arg("-czf")
                .arg(dist.path().join(format!("{name}.tar.gz")))
                .arg("-C")
                .arg(dist.path())
                .arg(&name));
            fs_err::remove_dir_all(folder).unwrap();
        }
        Self(dist)
    }

    fn finish(&self) -> Output {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/finish");
        (Command::new(script).arg(self.0.path()))
            .args([VERSION, REPOSITORY])
            .output()
            .unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        fs_err::read_to_string(self.path(name)).unwrap()
    }
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Serves every file of a folder.
async fn served(dist: &Dist) -> MockServer {
    let server = MockServer::start().await;
    for target in TARGETS {
        let name = format!("provision-{VERSION}-{target}.tar.gz");
        Mock::given(method("GET"))
            .and(path(format!("/{name}")))
            .respond_with(ResponseTemplate::new(200).set_body_bytes(fs_err::read(dist.path(&name)).unwrap()))
            .mount(&server)
            .await;
    }
    server
}

/// Runs an installer, on a thread of its own since the server needs this one.
async fn installed(script: PathBuf, home: PathBuf, from: String) -> (bool, String) {
    let install = move || {
        Command::new("sh")
            .arg(script)
            .env("HOME", home)
            .env("PROVISION_DOWNLOAD_URL", from)
            .env_remove("PROVISION_INSTALL_DIR")
            .output()
    };
    let output = tokio::task::spawn_blocking(install).await.unwrap().unwrap();
    (output.status.success(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_release_names_each_archive_by_its_checksum() {
    let dist = Dist::new(&TARGETS);
    assert!(dist.finish().status.success());
    let formula = dist.text("provision.rb");
    let sums = dist.text("SHA256SUMS");
    assert_eq!(sums.lines().count(), TARGETS.len());
    for line in sums.lines() {
        let (checksum, archive) = line.split_once("  ").unwrap();
        let download = format!(r#"url "{REPOSITORY}/releases/download/v{VERSION}/{archive}""#);
        assert!(
            formula.contains(&format!("{download}\n      sha256 \"{checksum}\"\n")),
            "{formula}"
        );
        assert!(dist.text("install.sh").contains(line));
    }
    // An installer for three of four systems is not released.
    let dist = Dist::new(&TARGETS[1..]);
    let output = dist.finish();
    assert!(!output.status.success());
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("SHA256 aarch64-apple-darwin"),
        "{output:?}"
    );
}

#[tokio::test]
async fn the_installer_installs_what_was_released_and_nothing_else() {
    let dist = Dist::new(&TARGETS);
    assert!(dist.finish().status.success());
    let server = served(&dist).await;
    let home = tempfile::tempdir().unwrap();
    let binary = home.path().join(".local/bin/provision");
    fs_err::create_dir_all(binary.parent().unwrap()).unwrap();
    fs_err::write(&binary, "the earlier version").unwrap();
    let install = |script: PathBuf| installed(script, home.path().to_owned(), server.uri());

    // A download that is cut off anywhere, and an archive of somebody else.
    let whole = dist.text("install.sh");
    let cut = dist.path("cut.sh");
    for (end, _) in whole.match_indices('\n') {
        fs_err::write(&cut, &whole[..end.saturating_sub(1)]).unwrap();
        // Whether what is left is a script at all depends on the place.
        drop(install(cut.clone()).await);
        assert_eq!(
            fs_err::read_to_string(&binary).unwrap(),
            "the earlier version",
            "cut at {end}"
        );
    }
    let sums = dist.text("SHA256SUMS");
    let other = sums.lines().fold(whole.clone(), |script, line| {
        script.replace(line, &format!("{}{}", "0".repeat(64), &line[64..]))
    });
    fs_err::write(&cut, other).unwrap();
    let (success, stderr) = install(cut).await;
    assert!(
        !success && stderr.contains("is not what was released") && stderr.contains("nothing was installed"),
        "{stderr}"
    );
    assert_eq!(fs_err::read_to_string(&binary).unwrap(), "the earlier version");

    let (success, stderr) = install(dist.path("install.sh")).await;
    assert!(success, "{stderr}");
    let target = run(&mut Command::new(&binary));
    assert!(target.starts_with(std::env::consts::ARCH), "{target}");
    assert_eq!(
        fs_err::read_dir(binary.parent().unwrap()).unwrap().count(),
        1,
        "nothing is left beside it"
    );

    server.reset().await;
    let (success, stderr) = install(dist.path("install.sh")).await;
    assert!(!success && stderr.contains("could not be downloaded"), "{stderr}");
}
