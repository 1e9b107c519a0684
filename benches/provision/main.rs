//! How near the program is to the limits of docs/performance.md: it runs the binary against the emulator, behind a proxy
//! that is as slow and as strict as AWS, and prints one table.
//!
//! `cargo bench`, or some of it: `cargo bench -- process calls path watch s3 growth rates`. `--json FILE` writes the figures,
//! `--chart FILE` the picture of the `up` that the critical path is measured on.

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on ends")]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "its table is what it is for"
)]
#![allow(clippy::cast_precision_loss, reason = "figures to be read")]
#![allow(missing_docs, reason = "nobody uses a benchmark's parts")]

mod child;
mod proxy;
mod quotas;
#[path = "../../tests/it/support/mod.rs"]
mod support;
mod table;

use std::collections::HashSet;
use std::fmt::Write;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use child::{Cost, Run};
use proxy::{Call, Latency, Proxy};
use quotas::Quotas;
use support::Place;
use table::Row;

const BINARY: &str = env!("CARGO_BIN_EXE_provision");
const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// How often each size is gone through; the median counts.
const ROUNDS: usize = 5;
/// By how much the medians of the same differ from one run of the benchmark to the next.
const NOISE_MILLIS: f64 = 5.0;
const NOISE_KIB: f64 = 512.0;
/// A list has pages: the clients that the second one begins with are among the first hundred.
const NOISE_CALLS: f64 = 1.0;
/// Calls that the program makes side by side.
const AT_ONCE: f64 = 32.0;
/// Told and not judged: the whole file is written for 32 steps at a time.
const WRITTEN: &str = "bytes on disk of";
/// The long ones last.
const GROUPS: [&str; 7] = ["process", "calls", "path", "watch", "s3", "growth", "rates"];
/// Where the state is that is measured in S3, and where it is not.
const IN_S3: &str = "s3://bench-state/provision";
const IN_FOLDER: &str = "state";

fn main() {
    let mut wanted: Vec<String> = Vec::new();
    let (mut json, mut chart) = (None, None);
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            // Cargo's own.
            "--bench" => {}
            "--json" => json = Some(PathBuf::from(args.next().expect("--json FILE"))),
            "--chart" => chart = Some(args.next().expect("--chart FILE")),
            group if GROUPS.contains(&group) => wanted.push(arg),
            other => {
                eprintln!("error: {other:?} is not known (allowed: {GROUPS:?}, --json FILE, --chart FILE)");
                std::process::exit(2);
            }
        }
    }
    if wanted.is_empty() {
        wanted = GROUPS.map(str::to_owned).to_vec();
    }
    let place = Place::new();
    let emulator = place.emulator();
    let mut bench = Bench {
        proxy: Proxy::start(&emulator),
        emulator,
        place,
        chart: chart.map(|file| std::path::absolute(file).unwrap()),
        rows: Vec::new(),
        sizes: Vec::new(),
    };
    for group in GROUPS
        .into_iter()
        .filter(|group| wanted.iter().any(|name| name == group))
    {
        let began = Instant::now();
        match group {
            "process" => bench.process(),
            "calls" => bench.calls(),
            "path" => bench.path(),
            "watch" => bench.watch(),
            "s3" => bench.state_in_s3(),
            "growth" => bench.growth(),
            _ => bench.rates(),
        }
        eprintln!("{group}: measured in {:.0} s", began.elapsed().as_secs_f64());
    }
    let own = field("/proc/self/status", "VmHWM");
    let own = own.trim_end_matches(" kB").parse().unwrap_or(0.0) / 1024.0;
    let what = "the benchmark's own peak memory: a run's cannot be seen below that";
    bench.row("the measuring", what, "MiB", None, own);
    let machine = machine();
    println!("{machine}\n\n{}", table::markdown(&bench.rows));
    if !bench.sizes.is_empty() {
        println!("{}", table::growth(&bench.sizes));
    }
    if let Some(file) = json {
        let text = serde_json::to_string_pretty(&table::json(&machine, &bench.rows, &bench.sizes)).unwrap();
        fs_err::write(file, text + "\n").unwrap();
    }
}

struct Bench {
    place: Place,
    proxy: Proxy,
    emulator: String,
    chart: Option<PathBuf>,
    rows: Vec<Row>,
    sizes: Vec<table::Size>,
}

/// What one command took.
#[derive(Clone, Copy)]
struct Spent {
    cost: Cost,
    calls: usize,
}

/// The four commands of one size of stack.
#[derive(Clone)]
struct Life {
    up: Spent,
    plan: Spent,
    status: Spent,
    down: Spent,
    /// How often the state file was replaced on the way up.
    saves: f64,
}

impl Bench {
    fn row(
        &mut self,
        group: &'static str,
        what: impl Into<String>,
        unit: &'static str,
        limit: impl Into<Option<f64>>,
        figure: f64,
    ) {
        self.rows.push(Row {
            group,
            what: what.into(),
            unit,
            limit: limit.into(),
            figure,
        });
    }

    /// Runs the binary against the proxy and says which calls it made.
    fn run(&self, config: &Path, args: &[&str]) -> (Run, Vec<Call>) {
        self.proxy.take();
        let config = config.to_str().expect("the folder's name is text");
        let run = child::run(
            self.place
                .at(&self.proxy.endpoint, &[args, &["--config", config]].concat()),
        );
        (run, self.proxy.take())
    }

    fn done(&self, config: &Path, args: &[&str]) -> (Cost, Vec<Call>) {
        let (run, calls) = self.run(config, args);
        (run.code(0).cost, calls)
    }

    /// What starting costs, and what is on the disk.
    fn process(&mut self) {
        const GROUP: &str = "the process";
        let bad = self.place.path().join("bad.toml");
        fs_err::write(&bad, "[stack]\nname = \"bad\"\n[routes]\n\"GET /\" = 1\n").unwrap();
        let bad = bad.to_str().unwrap().to_owned();
        let version = self.median_cpu(&["--version"], 0);
        let refused = self.median_cpu(&["plan", "--config", &bad], 2);
        self.row(GROUP, "CPU of `--version`, median of 21", "ms", 15.0, version);
        self.row(
            GROUP,
            "CPU of a refused configuration file, median of 21",
            "ms",
            15.0,
            refused,
        );
        let size = fs_err::metadata(BINARY).unwrap().len() as f64;
        self.row(GROUP, "the binary", "MiB", None, mib(size));
        self.proxy.set(Latency::default(), None);
        let sample = sample();
        let (up, _) = self.done(&sample, &["up"]);
        self.done(&sample, &["down", "--yes"]);
        self.row(
            GROUP,
            "peak memory of `up` of the sample",
            "MiB",
            40.0,
            mib(up.memory as f64),
        );
        self.row(GROUP, "CPU of `up` of the sample", "ms", None, millis(up.cpu));
        self.overhead();
    }

    fn median_cpu(&self, args: &[&str], code: i32) -> f64 {
        let time = |_| millis(child::run(self.place.command(args)).code(code).cost.cpu);
        median((0..21).map(time).collect())
    }

    /// What the proxy itself adds to a call: the benchmark's own error.
    fn overhead(&mut self) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let signed = format!(
            "AWS4-HMAC-SHA256 Credential={}/20260101/eu-west-1/sts/aws4_request",
            support::token(&self.emulator)
        );
        let each = |endpoint: &str| {
            let url = format!("{endpoint}/_ministack/health");
            runtime.block_on(async {
                let http = reqwest::Client::builder().no_proxy().build().unwrap();
                let began = Instant::now();
                for _ in 0..2000 {
                    let call = http.get(&url).header("authorization", &signed);
                    call.send().await.unwrap().bytes().await.unwrap();
                }
                millis(began.elapsed()) / 2000.0
            })
        };
        let direct = each(&self.emulator);
        let through = each(&self.proxy.endpoint);
        let what = "the benchmark's proxy, added to each of 2,000 calls";
        self.row("the process", what, "ms", None, through - direct);
    }

    /// How many calls the sample takes.
    fn calls(&mut self) {
        const GROUP: &str = "calls";
        self.proxy.set(Latency::default(), None);
        let sample = sample();
        let (_, up) = self.done(&sample, &["up"]);
        let (proof, up): (Vec<_>, Vec<_>) = up.into_iter().partition(|call| call.service == "api");
        let (_, again) = self.done(&sample, &["up"]);
        let (_, status) = self.done(&sample, &["status"]);
        let (_, down) = self.done(&sample, &["down", "--yes"]);
        let deletes = down
            .iter()
            .filter(|call| call.operation.starts_with("Delete"))
            .count();
        let writes = again.iter().filter(|call| !call.is_read()).count();
        self.row(GROUP, "`up` of the sample", "calls", 21.0, up.len() as f64);
        self.row(
            GROUP,
            "its proof: token, keys and requests to the API",
            "calls",
            None,
            proof.len() as f64,
        );
        self.row(GROUP, "unchanged `up`", "calls", 18.0, again.len() as f64);
        self.row(
            GROUP,
            "unchanged `up`: that are no reads",
            "calls",
            0.0,
            writes as f64,
        );
        self.row(
            GROUP,
            "unchanged `up`: made before",
            "calls",
            0.0,
            repeated(&again),
        );
        self.row(GROUP, "`status`", "calls", 18.0, status.len() as f64);
        self.row(GROUP, "`status`: made before", "calls", 0.0, repeated(&status));
        self.row(GROUP, "`down`: deletes", "calls", 7.0, deletes as f64);
        self.row(GROUP, "`down`: all", "calls", None, down.len() as f64);
        for (name, calls) in [("up", up), ("status", status), ("down", down)] {
            let names: Vec<&str> = calls.iter().map(|call| call.operation.as_str()).collect();
            eprintln!("{name}: {}", names.join(" "));
        }
    }

    /// How long the sample takes where every call takes as long as on AWS.
    fn path(&mut self) {
        const GROUP: &str = "critical path";
        let latency = Latency::AWS;
        self.proxy.set(latency, None);
        let sample = sample();
        let chart = self.chart.clone();
        let mut args = vec!["up"];
        if let Some(chart) = &chart {
            args.extend(["--timeline", chart.to_str().unwrap()]);
        }
        let (up, _) = self.done(&sample, &args);
        let (status, _) = self.done(&sample, &["status"]);
        let (down, _) = self.done(&sample, &["down", "--yes"]);
        // GetRestApis (whether the account has such a stack), CreateRole, propagation, CreateFunction, AddPermission.
        let chain = 2 * latency.call + latency.propagation + latency.create_function + latency.call;
        let limit = 1.1 * chain.as_secs_f64();
        let what = format!(
            "`up` of the sample: 1.10 × the chain of {:.2} s",
            chain.as_secs_f64()
        );
        self.row(GROUP, what, "s", limit, up.wall.as_secs_f64());
        let deep = status.wall.as_secs_f64() / latency.call.as_secs_f64();
        self.row(GROUP, "`status` of the sample", "round trips", 3.0, deep);
        // GetCallerIdentity, a look whether the pool is protected, DeleteUserPoolDomain, a look that it is gone,
        // DeleteUserPool, a look that it is gone.
        let chain = 6.0 * latency.call.as_secs_f64();
        let what = format!("`down` of the sample: 1.2 × the chain of {chain:.2} s");
        self.row(GROUP, what, "s", 1.2 * chain, down.wall.as_secs_f64());
    }

    /// How soon after its save code is live.
    fn watch(&mut self) {
        const GROUP: &str = "watch";
        let folder = self.place.path().join("watched");
        let (config, code) = (folder.join("provision.toml"), folder.join("lambda/index.mjs"));
        fs_err::create_dir_all(folder.join("lambda")).unwrap();
        fs_err::copy(sample(), &config).unwrap();
        let text = fs_err::read_to_string(Path::new(ROOT).join("lambda/index.mjs")).unwrap();
        for (place, latency, limit) in [
            ("in the sandbox", Latency::default(), 500.0),
            ("where a call takes as long as on AWS", Latency::AWS, 1500.0),
        ] {
            self.proxy.set(latency, None);
            fs_err::write(&code, &text).unwrap();
            self.done(&config, &["up", "--no-verify"]);
            let arguments = [
                "up",
                "--watch",
                "--no-verify",
                "--json",
                "--config",
                config.to_str().unwrap(),
            ];
            let mut watch = (self.place.at(&self.proxy.endpoint, &arguments))
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
            let mut wait = |event: &str| {
                let wanted = format!("\"event\":\"{event}\"");
                assert!(
                    lines.any(|line| line.unwrap().contains(&wanted)),
                    "the watch goes on"
                );
            };
            wait("watching");
            let times: Vec<f64> = (0..20)
                .map(|edit| {
                    let began = Instant::now();
                    fs_err::write(&code, format!("{text}// {edit}\n")).unwrap();
                    wait("live");
                    millis(began.elapsed())
                })
                .collect();
            let interrupt = ["-INT".to_owned(), watch.id().to_string()];
            assert!(Command::new("kill").args(interrupt).status().unwrap().success());
            assert!(watch.wait().unwrap().success());
            self.done(&config, &["down", "--yes"]);
            let longest = times.iter().copied().fold(0.0, f64::max);
            let what = format!("saved code is live, {place}: ");
            self.row(GROUP, format!("{what}median of 20"), "ms", limit, median(times));
            self.row(GROUP, format!("{what}the longest"), "ms", limit, longest);
        }
    }

    /// The seconds that `up` and `down` of the sample take, the PUTs of `up`, and the GETs of `status` and of `plan`.
    fn sample_life(&self, location: &str) -> [f64; 5] {
        let sample = sample();
        let (up, written) = self.done(&sample, &["up", "--state", location]);
        let (_, status) = self.done(&sample, &["status", "--state", location]);
        let (_, plan) = self.done(&sample, &["plan", "--state", location]);
        let (down, _) = self.done(&sample, &["down", "--yes", "--state", location]);
        let [up, down] = [up, down].map(|cost| cost.wall.as_secs_f64());
        [
            up,
            down,
            count(&written, "PUT"),
            count(&status, "GET"),
            count(&plan, "GET"),
        ]
    }

    /// What the state costs where a team shares it.
    fn state_in_s3(&mut self) {
        const GROUP: &str = "state in S3";
        self.proxy.set(Latency::default(), None);
        let sample = sample();
        self.done(&sample, &["state", "init", IN_S3]);
        self.proxy.set(Latency::AWS, None);
        // Side by side what is compared: how fast the emulator answers changes with its age.
        let rounds: Vec<[f64; 6]> = (0..ROUNDS)
            .map(|_| {
                let [local, ..] = self.sample_life(IN_FOLDER);
                let [up, down, puts, status, plan] = self.sample_life(IN_S3);
                [local, up, down, puts, status, plan]
            })
            .collect();
        let [local, up, down, puts, status, plan] =
            [0, 1, 2, 3, 4, 5].map(|at| median(rounds.iter().map(|round| round[at]).collect()));
        let what = format!("`up` of the sample, S3 50 ms: 1.06 × {local:.2} s with a local state");
        self.row(GROUP, what, "s", 1.06 * local, up);
        self.row(
            GROUP,
            "`up` of the sample: PUTs of the state",
            "calls",
            14.0,
            puts,
        );
        self.row(GROUP, "`status`: GETs of the state", "calls", 1.0, status);
        self.row(GROUP, "`plan`: GETs of the state", "calls", 1.0, plan);
        self.row(GROUP, "`down` of the sample, S3 50 ms", "s", None, down);
        let large = self.generated(300, 1000);
        self.proxy.set(
            Latency {
                s3: Duration::from_millis(50),
                ..Latency::flat(20)
            },
            None,
        );
        let (_, calls) = self.done(&large, &["up", "--no-verify", "--state", IN_S3]);
        let sent: usize = calls
            .iter()
            .filter(|call| call.service == "s3")
            .map(|call| call.sent)
            .sum();
        let what = "`up` of 300 routes and 1,000 clients: ";
        self.row(
            GROUP,
            format!("{what}uploads of the state"),
            "calls",
            None,
            count(&calls, "PUT"),
        );
        self.row(GROUP, format!("{what}uploaded"), "MiB", 8.0, mib(sent as f64));
        self.done(&large, &["down", "--yes", "--state", IN_S3]);
    }

    /// What each added path and each added client costs.
    fn growth(&mut self) {
        const GROUP: &str = "growth";
        // Clients are made side by side: with 20 ms a call the emulator itself, which takes some 3 ms, is the limit.
        for (thing, largest, millis_a_call) in [("path", 300, 20), ("client", 1000, 150)] {
            self.proxy.set(Latency::flat(millis_a_call), None);
            let lives = [1, 10, 100, largest].map(|size| {
                let life = if thing == "path" {
                    self.life(size, 1)
                } else {
                    self.life(1, size)
                };
                self.sizes.push(table::Size {
                    stack: format!("{size} {thing}{}", if size == 1 { "" } else { "s" }),
                    life: life.clone(),
                });
                life
            });
            let [_, ten, hundred, last] = &lives;
            let spans = [90.0, (largest - 100) as f64];
            for (index, (command, _)) in ten.commands().into_iter().enumerate() {
                let slopes = |figure: fn(&Spent) -> f64| {
                    let [x, y, z] = [ten, hundred, last].map(|life| figure(life.commands()[index].1));
                    // What hardly grows at all has noise for a slope.
                    (z >= 1.5 * x).then(|| ((y - x) / spans[0], (z - y) / spans[1]))
                };
                // The first hundred clients are made while the function is waited for, and so seem to take less than
                // their calls do.
                let least = match (thing, slopes(|spent| spent.calls as f64)) {
                    ("client", Some((_, calls))) => calls * millis_a_call as f64 / AT_ONCE,
                    _ => 0.0,
                };
                let mut flat = |what: &str, unit, least: f64, noise: f64, figure: fn(&Spent) -> f64| {
                    let Some((before, after)) = slopes(figure) else {
                        return;
                    };
                    let limit = (what != WRITTEN).then_some(1.2 * (before.max(least) + noise / spans[0]));
                    let what =
                        format!("`{command}`: {what} each added {thing}, 100 to {largest} ≤ 1.2 × 10 to 100");
                    self.row(GROUP, what, unit, limit, after);
                };
                flat("calls of", "calls each", 0.0, NOISE_CALLS, |spent| {
                    spent.calls as f64
                });
                flat("time of", "ms", least, NOISE_MILLIS, |spent| {
                    millis(spent.cost.wall)
                });
                flat("CPU of", "ms", 0.0, NOISE_MILLIS, |spent| millis(spent.cost.cpu));
                flat("memory of", "KiB", 0.0, NOISE_KIB, |spent| {
                    spent.cost.memory as f64 / 1024.0
                });
                if command == "up" {
                    flat(WRITTEN, "KiB", 0.0, 0.0, |spent| {
                        spent.cost.written as f64 / 1024.0
                    });
                }
            }
        }
        self.proxy.set(Latency::flat(20), None);
        let life = self.life(300, 1000);
        for (command, spent) in life.commands().into_iter().skip(1).take(2) {
            let what = format!("`{command}` of 300 routes and 1,000 clients: CPU");
            self.row(GROUP, what, "ms", 1000.0, millis(spent.cost.cpu));
        }
        let what = "`up` of 300 routes and 1,000 clients: peak memory";
        self.row(GROUP, what, "MiB", 40.0, mib(life.up.cost.memory as f64));
        self.sizes.push(table::Size {
            stack: "300 paths and 1000 clients".to_owned(),
            life,
        });
    }

    /// What one of [`ROUNDS`] costs.
    fn life(&self, paths: usize, clients: usize) -> Life {
        let config = self.generated(paths, clients);
        let began = Instant::now();
        let lives: Vec<Life> = (0..ROUNDS).map(|_| self.one_life(&config)).collect();
        eprintln!(
            "{paths} paths, {clients} clients: measured in {:.0} s",
            began.elapsed().as_secs_f64()
        );
        let of = |spent: fn(&Life) -> Spent| Spent::median(&lives.iter().map(spent).collect::<Vec<_>>());
        Life {
            up: of(|life| life.up),
            plan: of(|life| life.plan),
            status: of(|life| life.status),
            down: of(|life| life.down),
            saves: median(lives.iter().map(|life| life.saves).collect()),
        }
    }

    /// Up and down again, with a look in between.
    fn one_life(&self, config: &Path) -> Life {
        let spent = |args: &[&str]| {
            let (cost, calls) = self.done(config, args);
            Spent {
                cost,
                calls: calls.len(),
            }
        };
        let up = spent(&["up"]);
        let state = fs_err::read(self.place.path().join("state/bench.json")).unwrap();
        let state: serde_json::Value = serde_json::from_slice(&state).unwrap();
        let saves = state["serial"].as_f64().unwrap();
        let plan = spent(&["plan"]);
        let status = spent(&["status"]);
        let down = spent(&["down", "--yes"]);
        Life {
            up,
            plan,
            status,
            down,
            saves,
        }
    }

    /// A stack of one function, so many paths of one route each, and so many clients.
    fn generated(&self, paths: usize, clients: usize) -> PathBuf {
        let mut text = format!(
            "[stack]\nname = \"bench\"\n\n[resource_servers.bench.scopes]\nread = \"Read\"\n\n\
             [functions.f]\nsource = \"{ROOT}/lambda\"\nruntime = \"nodejs22.x\"\nhandler = \"index.handler\"\n\n"
        );
        for client in 1..=clients {
            writeln!(text, "[clients.c{client:04}]\nscopes = [\"bench/read\"]").unwrap();
        }
        text.push_str("\n[routes]\n");
        for path in 1..=paths {
            writeln!(
                text,
                "\"GET /p{path:03}\" = {{ function = \"f\", scopes = [\"bench/read\"] }}"
            )
            .unwrap();
        }
        let file = self.place.path().join(format!("{paths}-{clients}.toml"));
        fs_err::write(&file, text).unwrap();
        file
    }

    /// How long large stacks take where AWS's rates are enforced.
    fn rates(&mut self) {
        const GROUP: &str = "AWS's rates";
        // Each route is CreateResource, PutMethod and PutIntegration; the API, the authorizer, the deployment and the
        // stage are one call each.
        let routes = quotas::API_GATEWAY
            .seconds(3.0 * 300.0 + 4.0)
            .max(quotas::CREATE_RESOURCE.seconds(300.0));
        let clients = quotas::POOL_OPERATION.seconds(1000.0);
        for (what, paths, count, allowed) in [
            ("300 routes", 300, 1, routes),
            ("300 routes and 1,000 clients", 300, 1000, routes.max(clients)),
        ] {
            self.proxy.set(Latency::flat(50), Some(Quotas::default()));
            let config = self.generated(paths, count);
            let (run, calls) = self.run(&config, &["up"]);
            let failed = run
                .stderr
                .lines()
                .filter(|line| line.starts_with("failed "))
                .count();
            let refused = calls
                .iter()
                .filter(|call| matches!(call.status, 400 | 429))
                .count();
            if run.code == 0 {
                let name = format!("`up` of {what}: 1.15 × the {allowed:.0} s that the rates allow");
                self.row(GROUP, name, "s", 1.15 * allowed, run.cost.wall.as_secs_f64());
            } else {
                // How soon it gave up is not held against the time of a whole run.
                let name = format!("`up` of {what}: until it failed");
                self.row(GROUP, name, "s", None, run.cost.wall.as_secs_f64());
                let why = run.stderr.lines().find(|line| line.starts_with("failed "));
                eprintln!("`up` of {what} failed: {}", why.unwrap_or(&run.stderr));
            }
            self.row(
                GROUP,
                format!("`up` of {what}: failed steps"),
                "steps",
                0.0,
                failed as f64,
            );
            self.row(
                GROUP,
                format!("`up` of {what}: all calls"),
                "calls",
                None,
                calls.len() as f64,
            );
            self.row(
                GROUP,
                format!("`up` of {what}: refused calls"),
                "calls",
                None,
                refused as f64,
            );
            self.proxy.set(Latency::default(), None);
            self.done(&config, &["down", "--yes"]);
        }
    }
}

impl Spent {
    /// Of each figure on its own.
    fn median(all: &[Self]) -> Self {
        let costs = || all.iter().map(|spent| spent.cost);
        Self {
            cost: Cost {
                wall: median(costs().map(|cost| cost.wall).collect()),
                cpu: median(costs().map(|cost| cost.cpu).collect()),
                memory: median(costs().map(|cost| cost.memory).collect()),
                written: median(costs().map(|cost| cost.written).collect()),
            },
            calls: median(all.iter().map(|spent| spent.calls).collect()),
        }
    }
}

impl Life {
    fn commands(&self) -> [(&'static str, &Spent); 4] {
        [
            ("up", &self.up),
            ("plan", &self.plan),
            ("status", &self.status),
            ("down", &self.down),
        ]
    }
}

fn sample() -> PathBuf {
    Path::new(ROOT).join("provision.toml")
}

/// How many of these are requests of this method to S3.
fn count(calls: &[Call], method: &str) -> f64 {
    let requests = calls
        .iter()
        .filter(|call| call.service == "s3" && call.operation == method);
    requests.count() as f64
}

/// How many of these calls had been made before.
fn repeated(calls: &[Call]) -> f64 {
    let distinct: HashSet<u64> = calls.iter().map(|call| call.fingerprint).collect();
    (calls.len() - distinct.len()) as f64
}

fn median<T: PartialOrd + Copy>(mut values: Vec<T>) -> T {
    values.sort_by(|one, other| one.partial_cmp(other).unwrap());
    values[values.len() / 2]
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn mib(bytes: f64) -> f64 {
    bytes / 1024.0 / 1024.0
}

/// What the figures were measured on.
fn machine() -> String {
    let git = |args: &[&str]| {
        let output = Command::new("git").args(args).current_dir(ROOT).output();
        output
            .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
            .unwrap_or_default()
    };
    let memory: f64 = field("/proc/meminfo", "MemTotal")
        .trim_end_matches(" kB")
        .parse()
        .unwrap_or(0.0);
    let changed = if git(&["status", "--porcelain", "-uno"]).is_empty() {
        ""
    } else {
        ", changed"
    };
    format!(
        "Measured on {}, commit {}{changed}: {} cores of {}, {:.0} GiB of memory, Linux {}.",
        jiff::Timestamp::now().strftime("%Y-%m-%d"),
        git(&["rev-parse", "--short", "HEAD"]),
        std::thread::available_parallelism().map_or(0, usize::from),
        field("/proc/cpuinfo", "model name"),
        memory / 1024.0 / 1024.0,
        fs_err::read_to_string("/proc/sys/kernel/osrelease")
            .unwrap_or_default()
            .trim(),
    )
}

/// A value that the kernel tells, such as `VmHWM` of /proc/self/status.
fn field(file: &str, name: &str) -> String {
    let text = fs_err::read_to_string(file).unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with(name));
    line.and_then(|line| line.split_once(':'))
        .map(|(_, value)| value.trim().to_owned())
        .unwrap_or_default()
}
