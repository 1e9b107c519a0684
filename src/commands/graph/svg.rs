//! The graph as a picture of its own: above who may call what, below the steps by kind.
//!
//! Must not know the configuration. Lines go only from one column to the next, so none crosses a box.

use std::collections::{BTreeMap, BTreeSet};

use super::Graph;
use crate::svg::{LETTER, Place, Svg, count, wide};

/// In pixels, as everything here.
const WIDTH: f64 = 1200.0;
const MARGIN: f64 = 20.0;
/// From one line of text to the next.
const LINE: f64 = 16.0;
/// Between two boxes of a column.
const GAP: f64 = 10.0;
/// Between two columns, at least: lines need it.
const LANE: f64 = 44.0;
/// Lines of different scopes have different colours, on a light page and on a dark one.
const COLOURS: [&str; 8] = [
    "#4e79a7", "#d1762b", "#59a14f", "#b07aa1", "#3f9c96", "#b6992d", "#d37295", "#79706e",
];
const STYLE: &str = ".page{fill:#ffffff}
text{fill:#1f2328}
.title{font-size:16px;font-weight:600}
.head{font-weight:600}
.box{fill:#f6f8fa;stroke:#818b98}
.edge{fill:none;stroke:#818b98;stroke-width:1.2}
@media (prefers-color-scheme:dark){.page{fill:#0d1117}text{fill:#e6edf3}.box{fill:#161b22}}
";

/// A box of a column. The first line of one with several is its head.
struct Node {
    lines: Vec<String>,
    /// Only a line passes here.
    is_passage: bool,
    place: Place,
}

impl Node {
    fn new(lines: Vec<String>) -> Self {
        Self {
            lines,
            is_passage: false,
            place: Place::default(),
        }
    }
}

/// Boxes in columns, and lines between neighbouring columns: which column, from which box of it, to which of the next.
#[derive(Default)]
struct Columns {
    nodes: Vec<Vec<Node>>,
    edges: Vec<(usize, usize, usize, String)>,
}

impl Columns {
    /// Puts the boxes of each column below each other from `top` on, each near what leads to it, and says where they end.
    fn lay_out(&mut self, top: f64) -> f64 {
        let columns = count(self.nodes.len());
        let width = ((WIDTH - 2.0 * MARGIN - LANE * (columns - 1.0)) / columns).min(240.0);
        let lane = if columns > 1.0 {
            (WIDTH - 2.0 * MARGIN - width * columns) / (columns - 1.0)
        } else {
            0.0
        };
        let mut bottom = top;
        for (column, nodes) in self.nodes.iter_mut().enumerate() {
            let mut y = top;
            for node in nodes {
                let height = if node.is_passage {
                    LINE
                } else {
                    LINE * count(node.lines.len()) + 8.0
                };
                let x = MARGIN + count(column) * (width + lane);
                node.place = Place { x, y, width, height };
                y += height + GAP;
            }
            bottom = bottom.max(y);
        }
        bottom
    }

    /// Orders each column by where the lines into its boxes come from, so that they cross less.
    fn untangle(&mut self) {
        for column in 1..self.nodes.len() {
            let into = |node: usize| {
                let edges = self
                    .edges
                    .iter()
                    .filter(|(from, _, to, _)| from + 1 == column && *to == node);
                let from: Vec<usize> = edges.map(|(_, from, _, _)| *from).collect();
                // In whole numbers: what has no line into it stays in front.
                (1000 * from.iter().sum::<usize>())
                    .checked_div(from.len())
                    .unwrap_or_default()
            };
            let mut order: Vec<usize> = (0..self.nodes[column].len()).collect();
            order.sort_by_key(|node| into(*node));
            let mut is_now = vec![0; order.len()];
            let mut nodes: Vec<Option<Node>> = self.nodes[column].drain(..).map(Some).collect();
            for (now, before) in order.into_iter().enumerate() {
                is_now[before] = now;
                self.nodes[column].extend(nodes[before].take());
            }
            for (from, first, second, _) in &mut self.edges {
                if *from + 1 == column {
                    *second = is_now[*second];
                } else if *from == column {
                    *first = is_now[*first];
                }
            }
        }
    }

    fn draw(&self, svg: &mut Svg) {
        for (column, from, to, attributes) in &self.edges {
            let (from, next) = (self.nodes[*column][*from].place, &self.nodes[column + 1][*to]);
            let to = next.place;
            let (x, y, end, across) = (from.end(), from.middle(), to.x, to.middle());
            let bend = f64::midpoint(x, end);
            svg.path(
                attributes,
                &format!("M{x:.1} {y:.1}C{bend:.1} {y:.1} {bend:.1} {across:.1} {end:.1} {across:.1}"),
            );
            if next.is_passage {
                svg.path(attributes, &format!("M{end:.1} {across:.1}H{:.1}", to.end()));
            }
        }
        for node in self.nodes.iter().flatten().filter(|node| !node.is_passage) {
            let place = node.place;
            svg.group(&node.lines.join("\n"), |svg| {
                svg.rect(r#"class="box" rx="4""#, place);
                for (number, line) in node.lines.iter().enumerate() {
                    let is_head = number == 0 && node.lines.len() > 1;
                    let class = if is_head { r#"class="head""# } else { "" };
                    let baseline = place.y + LINE * (count(number) + 1.0);
                    svg.text(
                        class,
                        place.x + 8.0,
                        baseline,
                        &shortened(line, place.width - 16.0),
                    );
                }
            });
        }
    }
}

pub(super) fn draw(graph: &Graph) -> String {
    let mut access = access(graph);
    let mut steps = steps(graph);
    access.untangle();
    steps.untangle();
    let has_access = access.nodes.iter().any(|nodes| !nodes.is_empty());
    let below = if has_access {
        access.lay_out(90.0) + 40.0
    } else {
        60.0
    };
    let bottom = steps.lay_out(below + 30.0);

    let mut svg = Svg::new(WIDTH, bottom + MARGIN, STYLE);
    svg.text(r#"class="title""#, MARGIN, 28.0, &graph.stack);
    if has_access {
        let titles = ["clients", "have scopes", "that open routes", "answered by"];
        for (title, nodes) in titles.iter().zip(&access.nodes) {
            if let Some(node) = nodes.first() {
                svg.text(r#"class="head""#, node.place.x, 78.0, title);
            }
        }
        access.draw(&mut svg);
    }
    let number = graph.steps.len();
    svg.text(
        r#"class="head""#,
        MARGIN,
        below + 14.0,
        &format!("{number} steps by kind; a line leads to what needs them"),
    );
    steps.draw(&mut svg);
    svg.finish()
}

/// Which client may call which route through which scope, and what answers it.
fn access(graph: &Graph) -> Columns {
    let (scopes, answerers) = (graph.scopes(), graph.answerers());
    let names =
        |names: &mut dyn Iterator<Item = &str>| names.map(|name| Node::new(vec![name.to_owned()])).collect();
    let mut columns = Columns {
        nodes: vec![
            names(&mut graph.clients.iter().map(|client| client.name.as_str())),
            names(&mut scopes.iter().copied()),
            names(&mut graph.routes.iter().map(|route| route.name.as_str())),
            names(&mut answerers.iter().copied()),
        ],
        edges: Vec::new(),
    };
    let place = |all: &BTreeSet<&str>, name: &str| all.iter().position(|other| *other == name);
    let of_scope = |scope: usize| {
        format!(
            r#"class="edge" style="stroke:{}""#,
            COLOURS[scope % COLOURS.len()]
        )
    };
    for (client, what) in graph.clients.iter().enumerate() {
        for scope in what.scopes.iter().filter_map(|scope| place(&scopes, scope)) {
            columns.edges.push((0, client, scope, of_scope(scope)));
        }
    }
    for (route, what) in graph.routes.iter().enumerate() {
        for scope in what.scopes.iter().filter_map(|scope| place(&scopes, scope)) {
            columns.edges.push((1, scope, route, of_scope(scope)));
        }
        if let Some(answerer) = place(&answerers, &what.answered_by) {
            columns
                .edges
                .push((2, route, answerer, r#"class="edge""#.to_owned()));
        }
    }
    columns
}

/// A box for each kind with its steps, in the first column in which all that they need is to the left.
fn steps(graph: &Graph) -> Columns {
    let kind_of: BTreeMap<&str, &str> = graph
        .steps
        .iter()
        .map(|step| (step.step.as_str(), step.kind.as_str()))
        .collect();
    let mut kinds: Vec<&str> = Vec::new();
    let mut needs: BTreeSet<(usize, usize)> = BTreeSet::new();
    for step in &graph.steps {
        let place = |kinds: &[&str], kind: &str| kinds.iter().position(|other| *other == kind);
        let kind = place(&kinds, &step.kind).unwrap_or_else(|| {
            kinds.push(&step.kind);
            kinds.len() - 1
        });
        // Steps come after what they need, so a kind that is not known yet cannot be needed.
        let needed = step
            .needs
            .iter()
            .filter_map(|need| place(&kinds, kind_of.get(need.as_str())?));
        needs.extend(needed.filter(|need| *need < kind).map(|need| (need, kind)));
    }
    let mut column = vec![0; kinds.len()];
    // Sorted by what is needed, which is to the left of what needs it in `kinds`.
    for (need, kind) in &needs {
        column[*kind] = column[*kind].max(column[*need] + 1);
    }
    let direct = needs.iter().filter(|edge| !follows(**edge, &needs));

    let mut columns = Columns::default();
    columns
        .nodes
        .resize_with(column.iter().max().map_or(0, |last| last + 1), Vec::new);
    let mut place = Vec::new();
    for (kind, column) in kinds.iter().zip(&column) {
        let steps = graph.steps.iter().filter(|step| step.kind == *kind);
        let names: Vec<&str> = steps
            .map(|step| {
                step.step
                    .strip_prefix(kind)
                    .map_or(step.step.as_str(), |name| name.trim_start_matches(':'))
            })
            .collect();
        let mut lines = match names[..] {
            [only] => vec![if only.is_empty() {
                (*kind).to_owned()
            } else {
                format!("{kind}:{only}")
            }],
            _ => vec![format!("{kind} × {}", names.len())],
        };
        if names.len() > 1 {
            lines.extend(names.iter().map(|name| (*name).to_owned()));
        }
        place.push(columns.nodes[*column].len());
        columns.nodes[*column].push(Node::new(lines));
    }
    for (need, kind) in direct {
        let mut from = place[*need];
        for between in column[*need] + 1..column[*kind] {
            let passage = columns.nodes[between].len();
            columns.nodes[between].push(Node {
                is_passage: true,
                ..Node::new(Vec::new())
            });
            columns
                .edges
                .push((between - 1, from, passage, r#"class="edge""#.to_owned()));
            from = passage;
        }
        columns.edges.push((
            column[*kind] - 1,
            from,
            place[*kind],
            r#"class="edge""#.to_owned(),
        ));
    }
    columns
}

/// Whether a need follows from two others.
fn follows((need, kind): (usize, usize), needs: &BTreeSet<(usize, usize)>) -> bool {
    let reaches = |from: usize| {
        let mut seen = BTreeSet::from([from]);
        let mut next = vec![from];
        while let Some(at) = next.pop() {
            let beyond = needs.range((at, 0)..(at + 1, 0)).map(|(_, to)| *to);
            next.extend(beyond.filter(|to| seen.insert(*to)));
        }
        seen.contains(&kind)
    };
    let others = needs.range((need, 0)..(need + 1, 0)).map(|(_, to)| *to);
    others.filter(|other| *other != kind).any(reaches)
}

/// As much of a name as fits: names that begin alike are told apart by their ends.
fn shortened(name: &str, width: f64) -> String {
    let mut kept: Vec<char> = name.chars().collect();
    if wide(name) <= width {
        return name.to_owned();
    }
    while kept.len() > 1 && count(kept.len() + 1) * LETTER > width {
        kept.remove(kept.len() / 2);
    }
    kept.insert(kept.len() / 2, '…');
    kept.into_iter().collect()
}
