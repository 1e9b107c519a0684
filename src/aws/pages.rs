//! Paging that ends: a repeated token, or more pages than any list of AWS has, is an error.
//!
//! Must not keep what the pages hold.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::resource::{CallError, Class};

/// The most pages: with 60 user pools on each, they hold 12,000, and an account has at most 10,000.
const MOST: usize = 200;

/// The position in the pages of one operation.
pub struct Pages {
    operation: &'static str,
    most: usize,
    next: Option<String>,
    /// The hashes of earlier tokens: a server could send long ones.
    seen: HashSet<u64>,
}

impl Pages {
    /// The first page of `operation`, `service:Operation`; there are at most 200.
    pub fn of(operation: &'static str) -> Self {
        Self::up_to(MOST, operation)
    }

    /// As [`Pages::of`], with at most `most` pages.
    pub fn up_to(most: usize, operation: &'static str) -> Self {
        Self {
            operation,
            most,
            next: None,
            seen: HashSet::new(),
        }
    }

    /// The token of the next page; `None` for the first.
    pub fn token(&self) -> Option<String> {
        self.next.clone()
    }

    /// Goes on to the page that `next` asks for; `false` after the last.
    ///
    /// # Errors
    /// The pages would not end.
    pub fn turn(&mut self, next: Option<String>) -> Result<bool, CallError> {
        let Some(token) = &next else { return Ok(false) };
        let mut hash = DefaultHasher::new();
        token.hash(&mut hash);
        let message = if !self.seen.insert(hash.finish()) {
            "the answer has the same paging token as an earlier one".to_owned()
        } else if self.seen.len() >= self.most {
            format!("there are more than {} pages", self.most)
        } else {
            self.next = next;
            return Ok(true);
        };
        Err(CallError {
            operation: self.operation.to_owned(),
            code: None,
            message,
            request_id: None,
            retry_after: None,
            class: Class::Refused,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_end_with_the_one_that_has_no_token() {
        let mut pages = Pages::of("logs:DescribeLogGroups");
        assert_eq!(pages.token(), None);
        assert!(pages.turn(Some("2".to_owned())).unwrap());
        assert_eq!(pages.token().as_deref(), Some("2"));
        assert!(!pages.turn(None).unwrap());
    }

    #[test]
    fn a_token_that_comes_twice_is_an_error_that_names_the_operation() {
        let mut pages = Pages::of("logs:DescribeLogGroups");
        for token in ["2", "3"] {
            assert!(pages.turn(Some(token.to_owned())).unwrap());
        }
        let error = pages.turn(Some("2".to_owned())).unwrap_err();
        assert_eq!(
            error.to_string(),
            "logs:DescribeLogGroups: the answer has the same paging token as an earlier one"
        );
        assert_eq!(error.class, Class::Refused);
    }

    #[test]
    fn pages_without_end_are_an_error() {
        let mut pages = Pages::up_to(3, "logs:FilterLogEvents");
        for token in ["2", "3"] {
            assert!(pages.turn(Some(token.to_owned())).unwrap());
        }
        let error = pages.turn(Some("4".to_owned())).unwrap_err();
        assert_eq!(
            error.to_string(),
            "logs:FilterLogEvents: there are more than 3 pages"
        );
    }
}
