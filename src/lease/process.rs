//! Whether the process that holds a lease still runs on this machine.
//!
//! Must not say that one is gone which may only be hidden, or run elsewhere.

use super::Process;

/// This process, as others on this machine can recognise it; `None` where the system does not tell.
#[cfg(target_os = "linux")]
pub(crate) fn this() -> Option<Process> {
    Some(Process {
        boot: boot()?,
        namespace: namespace()?,
        user: rustix::process::getuid().as_raw(),
        started: started(std::process::id())?,
    })
}

/// Whether process `id` ran on this machine, and does not any more.
#[cfg(target_os = "linux")]
pub(crate) fn is_gone(id: u32, process: Option<&Process>) -> bool {
    let (Some(process), Some(this)) = (process, this()) else {
        return false;
    };
    let is_comparable =
        (&process.boot, &process.namespace, process.user) == (&this.boot, &this.namespace, this.user);
    is_comparable && started(id) != Some(process.started)
}

#[cfg(target_os = "linux")]
fn boot() -> Option<String> {
    let id = fs_err::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().to_owned())
}

#[cfg(target_os = "linux")]
fn namespace() -> Option<String> {
    let link = fs_err::read_link("/proc/self/ns/pid").ok()?;
    Some(link.to_string_lossy().into_owned())
}

/// The field `starttime` of proc(5); `None` if there is no such process, or it has ended and waits for its parent.
#[cfg(target_os = "linux")]
fn started(id: u32) -> Option<u64> {
    let stat = fs_err::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The name before may have spaces and parentheses.
    let (_, fields) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    if matches!(fields.first(), Some(&("Z" | "X"))) {
        return None;
    }
    fields.get(19)?.parse().ok()
}

/// Not known on this system.
#[cfg(not(target_os = "linux"))]
pub fn this() -> Option<Process> {
    None
}

/// Not known on this system.
#[cfg(not(target_os = "linux"))]
pub fn is_gone(_: u32, _: Option<&Process>) -> bool {
    false
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_gone_once_it_has_ended_and_only_if_it_ran_here() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let id = child.id();
        let process = Process {
            started: started(id).unwrap(),
            ..this().unwrap()
        };
        assert!(!is_gone(id, Some(&process)), "it runs");
        let reused = Process {
            started: process.started + 1,
            ..process.clone()
        };
        assert!(is_gone(id, Some(&reused)), "the id is another process's by now");
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(is_gone(id, Some(&process)), "it has ended");
        for elsewhere in [
            Process {
                boot: "x".to_owned(),
                ..process.clone()
            },
            Process {
                namespace: "x".to_owned(),
                ..process.clone()
            },
            Process {
                user: process.user + 1,
                ..process.clone()
            },
        ] {
            assert!(!is_gone(id, Some(&elsewhere)), "{elsewhere:?}");
        }
        assert!(!is_gone(id, None));
    }

    #[test]
    fn a_process_that_only_waits_for_its_parent_is_gone() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let id = child.id();
        while started(id).is_some() {
            std::thread::yield_now();
        }
        child.wait().unwrap();
    }
}
