//! The graph in the languages of programs that draw.
//!
//! Must not put a name into them but as a label, escaped.

use std::collections::HashMap;

use super::Graph;
use crate::untrusted::printable;

/// A node: what it is, and its name. Two of different sorts may have the same name.
type Node<'a> = (Sort, &'a str);

/// What a node stands for.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Sort {
    Client,
    Scope,
    Route,
    Answerer,
    Step,
}

/// Clusters of nodes under their titles, and the edges.
struct Diagram<'a> {
    clusters: [(&'static str, Vec<Node<'a>>); 5],
    edges: Vec<(Node<'a>, Node<'a>)>,
    /// Ids that no name can break out of.
    ids: HashMap<Node<'a>, String>,
}

impl<'a> Diagram<'a> {
    fn of(graph: &'a Graph) -> Self {
        let clients = graph
            .clients
            .iter()
            .map(|client| (Sort::Client, client.name.as_str()));
        let scopes = graph.scopes().into_iter().map(|scope| (Sort::Scope, scope));
        let routes = graph
            .routes
            .iter()
            .map(|route| (Sort::Route, route.name.as_str()));
        let answerers = graph.answerers().into_iter().map(|name| (Sort::Answerer, name));
        let steps = graph.steps.iter().map(|step| (Sort::Step, step.step.as_str()));
        let clusters = [
            ("clients", clients.collect()),
            ("scopes", scopes.collect()),
            ("routes", routes.collect()),
            ("functions and back ends", answerers.collect()),
            ("steps", steps.collect::<Vec<_>>()),
        ];
        let mut edges: Vec<(Node<'a>, Node<'a>)> = Vec::new();
        for client in &graph.clients {
            let scopes = client.scopes.iter().map(|scope| (Sort::Scope, scope.as_str()));
            edges.extend(scopes.map(|scope| ((Sort::Client, client.name.as_str()), scope)));
        }
        for route in &graph.routes {
            let node = (Sort::Route, route.name.as_str());
            let scopes = route.scopes.iter().map(|scope| (Sort::Scope, scope.as_str()));
            edges.extend(scopes.map(|scope| (scope, node)));
            edges.push((node, (Sort::Answerer, &route.answered_by)));
        }
        for step in &graph.steps {
            let needs = step.needs.iter().map(|need| (Sort::Step, need.as_str()));
            edges.extend(needs.map(|need| (need, (Sort::Step, step.step.as_str()))));
        }
        let nodes = clusters.iter().flat_map(|(_, nodes)| nodes);
        let ids = nodes
            .enumerate()
            .map(|(number, node)| (*node, format!("n{number}")));
        let ids = ids.collect();
        Self { clusters, edges, ids }
    }

    fn edges(&self) -> impl Iterator<Item = (&str, &str)> {
        // A step that is needed is declared.
        self.edges
            .iter()
            .map(|(from, to)| (self.ids[from].as_str(), self.ids[to].as_str()))
    }
}

/// For Graphviz.
pub(super) fn dot(graph: &Graph) -> String {
    let quoted = |text: &str| {
        format!(
            "\"{}\"",
            printable(text).replace('\\', "\\\\").replace('"', "\\\"")
        )
    };
    let diagram = Diagram::of(graph);
    let mut lines = vec![
        format!("digraph {} {{", quoted(&graph.stack)),
        "  rankdir=LR; node [shape=box, fontname=\"sans-serif\", fontsize=10];".to_owned(),
    ];
    for (number, (title, nodes)) in diagram.clusters.iter().enumerate() {
        lines.push(format!("  subgraph cluster_{number} {{ label={};", quoted(title)));
        lines.extend(
            nodes
                .iter()
                .map(|node| format!("    {} [label={}];", diagram.ids[node], quoted(node.1))),
        );
        lines.push("  }".to_owned());
    }
    lines.extend(diagram.edges().map(|(from, to)| format!("  {from} -> {to};")));
    lines.push("}\n".to_owned());
    lines.join("\n")
}

/// For Mermaid, which Markdown on GitHub and GitLab draws.
pub(super) fn mermaid(graph: &Graph) -> String {
    // Letters and digits mean nothing there, and everything else might.
    let quoted = |text: &str| {
        let chars = printable(text);
        let chars = chars.chars().map(|c| match c {
            c if c.is_alphanumeric() || " /.-_".contains(c) => c.to_string(),
            c => format!("#{};", u32::from(c)),
        });
        format!("\"{}\"", chars.collect::<String>())
    };
    let diagram = Diagram::of(graph);
    let mut lines = vec!["flowchart LR".to_owned()];
    for (number, (title, nodes)) in diagram.clusters.iter().enumerate() {
        lines.push(format!("  subgraph c{number} [{}]", quoted(title)));
        lines.extend(
            nodes
                .iter()
                .map(|node| format!("    {}[{}]", diagram.ids[node], quoted(node.1))),
        );
        lines.push("  end".to_owned());
    }
    lines.extend(diagram.edges().map(|(from, to)| format!("  {from} --> {to}")));
    lines.join("\n") + "\n"
}
