//! The lines that the stage writes for requests: a table, JSON, or sums.
//!
//! Must not read them from AWS.

use std::cell::{Cell, RefCell};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::recorded::ByKind;
use super::super::table::table;
use super::super::token::pick;
use super::super::ui::Ui;
use crate::access_log::{Clients, Filter, Request, Stats, route};
use crate::cli;
use crate::error::Failure;
use crate::resource::Resource as _;
use crate::resources::{Client, Route};
use crate::state::State;
use crate::untrusted::cell;

/// Shows lines as they come.
pub(super) struct Access<'a> {
    filter: Filter,
    clients: Clients,
    widths: Widths,
    /// `None`: every line is shown.
    stats: Option<RefCell<Stats>>,
    /// Lines that are not of the form that this program sets.
    unread: Cell<u64>,
    ui: &'a Ui,
}

/// Of the columns that have names of the stack, in characters.
struct Widths {
    client: usize,
    route: usize,
}

impl<'a> Access<'a> {
    /// As the command line wants it.
    ///
    /// # Errors
    /// The stack has no such client.
    pub(super) fn new(state: &State, args: &cli::Logs, ui: &'a Ui) -> Result<Self, Failure> {
        let mut clients = Clients::default();
        for client in state.all::<Client>()? {
            if let Some(output) = client.output {
                clients
                    .0
                    .insert(output.client_id.to_string(), client.desired.name);
            }
        }
        let mut names: Vec<&str> = clients.0.values().map(String::as_str).collect();
        names.sort_unstable();
        let longest = |texts: &[&str]| texts.iter().map(|text| text.chars().count()).max();
        let widths = Widths {
            client: longest(&names).unwrap_or_default().max("CLIENT".len()),
            route: longest_route(state).max("ROUTE".len()),
        };
        let wanted = match &args.client {
            Some(name) => {
                let name = pick("client", &names, Some(name))?;
                clients.0.iter().find(|(_, known)| **known == name)
            }
            None => None,
        };
        let filter = Filter {
            client_id: wanted.map(|(id, _)| id.clone()),
            status: args.status,
        };
        let access = Self {
            filter,
            widths,
            stats: args.stats.then(RefCell::default),
            unread: Cell::new(0),
            clients,
            ui,
        };
        if access.stats.is_none() && !ui.is_json() {
            let titles = ["TIME", "CLIENT", "ROUTE", "STATUS", "LATENCY", "REASON"];
            ui.data(&access.row(titles));
        }
        Ok(access)
    }

    /// Takes the next line.
    pub(super) fn take(&self, line: &str) {
        let Some(request) = Request::read(line) else {
            self.unread.set(self.unread.get() + 1);
            if self.stats.is_none() && !self.ui.is_json() {
                self.ui
                    .data(&format!("not a line of this program: {}", cell(line)));
            }
            return;
        };
        if !self.filter.takes(&request) {
            return;
        }
        if let Some(stats) = &self.stats {
            stats.borrow_mut().add(&request, &self.clients);
        } else if self.ui.is_json() {
            self.ui.data(&self.json(&request).to_string());
        } else {
            let number = |number: Option<u16>| number.map_or("-".to_owned(), |number| number.to_string());
            let latency = request.latency_ms.map_or("-".to_owned(), |ms| format!("{ms} ms"));
            self.ui.data(&self.row([
                &time(&request),
                self.clients.name(&request),
                &route(&request),
                &number(request.status),
                &latency,
                request.reason.as_deref().unwrap_or_default(),
            ]));
        }
    }

    /// Shows the sums, if those were asked for, and warns of lines that could not be read.
    pub(super) fn end(self) -> Result<(), Failure> {
        let unread = self.unread.get();
        if let Some(stats) = self.stats {
            let rows = stats.into_inner().rows();
            if self.ui.is_json() {
                let content = json!({"format": 1, "unread": unread, "rows": rows});
                self.ui.data(&serde_json::to_string_pretty(&content)?);
            } else {
                let millis = |ms: Option<u32>| ms.map_or("-".to_owned(), |ms| format!("{ms} ms"));
                let rows: Vec<[String; 7]> = (rows.into_iter())
                    .map(|row| {
                        [
                            row.client,
                            row.route,
                            row.requests.to_string(),
                            row.refused.to_string(),
                            row.failed.to_string(),
                            millis(row.p50_ms),
                            millis(row.p95_ms),
                        ]
                    })
                    .collect();
                let titles = ["CLIENT", "ROUTE", "REQUESTS", "4XX", "5XX", "P50", "P95"];
                self.ui.data(&table(titles, &rows));
            }
        }
        if unread > 0 {
            self.ui.warn(&format!(
                "{unread} lines are not in the form that this program sets, and are not counted; someone may have changed the \
                 stage's access logs: `provision status` says so"
            ));
        }
        Ok(())
    }

    fn json(&self, request: &Request) -> Value {
        let mut line = json!(request);
        line["time"] = json!(time(request));
        line["client"] = json!(request.client_id.as_ref().map(|_| self.clients.name(request)));
        line
    }

    /// A line of the table. A name that is longer than its column moves the rest of its line.
    fn row(&self, cells: [&str; 6]) -> String {
        let Widths { client, route } = self.widths;
        let [time, name, path, status, latency, reason] = cells.map(cell);
        let line =
            format!("{time:<24}  {name:<client$}  {path:<route$}  {status:<6}  {latency:>8}  {reason}");
        line.trim_end().to_owned()
    }
}

/// The length of the longest route, with the longest verb.
fn longest_route(state: &State) -> usize {
    let steps = state.steps.iter().filter(|record| record.kind == Route::NAME);
    let paths = steps.filter_map(|record| record.step.split_once(' '));
    let lengths = paths.map(|(_, path)| "OPTIONS ".len() + path.chars().count());
    lengths.max().unwrap_or_default()
}

fn time(request: &Request) -> String {
    let time = request
        .time
        .and_then(|millis| Timestamp::from_millisecond(millis).ok());
    time.map(super::shown).unwrap_or_default()
}
