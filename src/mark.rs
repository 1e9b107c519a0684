//! The mark of a stack in the names of what stands in a shared user pool, where nothing has tags.
//!
//! Must not do I/O.

/// What a name ends with that is of this stack: in the characters that Cognito allows in names of clients and of resource
/// servers.
pub(crate) fn mark(stack: &str, owner: &str) -> String {
    format!(" stack={stack} owner={owner}")
}

/// The stack and the owner in such a name; `None`: it has no mark.
pub(crate) fn read(name: &str) -> Option<(&str, &str)> {
    let (rest, owner) = name.rsplit_once(" owner=")?;
    let (_, stack) = rest.rsplit_once(" stack=")?;
    let is_owner = owner.len() == 8
        && owner
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    is_owner.then_some((stack, owner))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_from_the_end_of_a_name_and_nowhere_else() {
        let name = format!("the app{}", mark("orders", "1a2b3c4d"));
        assert_eq!(name, "the app stack=orders owner=1a2b3c4d");
        assert_eq!(read(&name), Some(("orders", "1a2b3c4d")));
        // A name that another stack's client was given on purpose.
        let nested = format!("{name}{}", mark("billing", "00000000"));
        assert_eq!(read(&nested), Some(("billing", "00000000")));
        for other in [
            "app",
            "app owner=1a2b3c4d",
            "app stack=orders owner=1A2B3C4D",
            "app stack=orders owner=1a2b3c4",
            "app stack=orders owner=1a2b3c4d ",
            "app stack=orders  owner= 1a2b3c4d",
        ] {
            assert_eq!(read(other), None, "{other}");
        }
    }
}
