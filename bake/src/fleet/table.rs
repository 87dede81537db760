//! A fleet as lines for a terminal.

use super::{Fleet, State, configuration, counted, plain};

/// How many hosts of a state are named.
const NAMES: usize = 4;
/// How many differences are listed.
const LINES: usize = 100;
/// The longest name of a host that is shown whole, in characters.
const NAME: usize = 40;

/// The states, and what differs between hosts.
pub fn table(fleet: &Fleet) -> String {
    let head = ["STATE", "HOSTS", "CLEAN", "CONFIGURATION", "GENERATION", "NAMES"].map(str::to_owned);
    let rows = fleet.ranked().into_iter().map(|(name, _, state)| row(name, state));
    let mut text = columns(&std::iter::once(head).chain(rows).collect::<Vec<_>>(), &[1]);
    let (hosts, states) = (counted(fleet.count(), "host"), counted(fleet.states.len(), "state"));
    text.push_str(&format!("{hosts}, {} clean, {states}\n", fleet.clean()));
    let configurations = fleet.configurations();
    if configurations.len() > 1 {
        text.push_str("\nConfigurations:\n");
        let line = |(id, count): &(Option<String>, usize)| [count.to_string(), configuration(id.as_deref())];
        text.push_str(&columns(&configurations.iter().map(line).collect::<Vec<_>>(), &[0]));
    }
    let found = fleet.found();
    if !found.is_empty() {
        text.push_str("\nWhat differs:\n");
        let head = ["HOSTS", "STATES", "WHAT", "PATH"].map(str::to_owned);
        let line = |it: &super::Found| {
            let (what, path) = (plain(&it.finding.what), plain(&it.finding.path));
            [it.hosts.to_string(), it.states.len().to_string(), what, path]
        };
        let lines = found.iter().take(LINES).map(line);
        text.push_str(&columns(&std::iter::once(head).chain(lines).collect::<Vec<_>>(), &[0, 1]));
        if found.len() > LINES {
            text.push_str(&format!("and {} more: --html and --json list them all\n", found.len() - LINES));
        }
    }
    text
}

fn row(name: String, state: &State) -> [String; 6] {
    let hosts = state.hosts.len();
    let clean = match state.clean() {
        clean if clean == hosts => "yes".to_owned(),
        0 => "no".to_owned(),
        clean => format!("{clean} of {hosts}"),
    };
    let configurations: Vec<_> = state.configurations.keys().map(|id| configuration(id.as_deref())).collect();
    let generations: Vec<_> = state.generations().iter().map(ToString::to_string).collect();
    let names = state.hosts.keys().take(NAMES).map(|name| cut(&plain(name)));
    let more = (hosts > NAMES).then(|| format!("and {} more", hosts - NAMES));
    let names: Vec<_> = names.chain(more).collect();
    [name, hosts.to_string(), clean, configurations.join(" "), ranges(&generations), names.join(" ")]
}

fn ranges(generations: &[String]) -> String {
    match generations {
        [first, .., last] if generations.len() > 5 => format!("{first} … {last}"),
        all => all.join(" "),
    }
}

fn cut(name: &str) -> String {
    if name.chars().count() <= NAME {
        name.to_owned()
    } else {
        name.chars().take(NAME - 1).chain(['…']).collect()
    }
}

/// Columns side by side: texts to the left, and those of `numbers` to the right.
fn columns<const N: usize>(rows: &[[String; N]], numbers: &[usize]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |row: &[String; N]| {
        let cell = |column: usize| {
            let (text, width) = (&row[column], widths[column]);
            if numbers.contains(&column) { format!("{text:>width$}") } else { format!("{text:<width$}") }
        };
        let cells: Vec<_> = (0..N).map(cell).collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}
