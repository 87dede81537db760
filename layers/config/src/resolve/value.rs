//! The value of one parameter.

use serde_json::Value;

use super::{Holds, Note, Resolver, State, show};
use crate::calculate::{self, Calculation, View};
use crate::{Condition, Node, Parameter, Place, Problem, Resolved, Source, Who};

/// More parameters than any that depend on each other.
const LONGEST_CHAIN: usize = 128;

impl Resolver<'_> {
    /// Resolves a parameter, and first those it depends on.
    pub(super) fn settle(&mut self, name: &str) -> State {
        match self.states.get(name) {
            Some(State::Visited) => {
                self.report_circle(name);
                return State::Failed;
            }
            Some(state) => return *state,
            None => {}
        }
        let table = self.table;
        let Some(parameter) = table.parameters.get(name) else { return State::Failed };
        if self.waiting.len() >= LONGEST_CHAIN {
            let message = format!("needs more than {LONGEST_CHAIN} parameters one after another");
            self.problems.push(Problem::new(&parameter.place, name, message));
            return State::Failed;
        }
        self.states.insert(name.to_owned(), State::Visited);
        self.waiting.push(name.to_owned());
        let state = self.evaluate(parameter);
        self.waiting.pop();
        self.states.insert(name.to_owned(), state);
        state
    }

    fn evaluate(&mut self, parameter: &Parameter) -> State {
        // What was written is checked even if it does not hold: whatever is wrong is said.
        let written = match self.written.get(parameter.name.as_str()) {
            Some(&node) => match self.checked(parameter, node) {
                Some(value) => Some((value, Source::Written(node.place.clone()))),
                None => return State::Failed,
            },
            None => None,
        };
        match self.holds(parameter, &parameter.when) {
            Holds::Yes => {}
            Holds::Unknown => return State::Failed,
            Holds::No(condition) => {
                if parameter.required
                    && let Some(rule) = &parameter.rule
                {
                    return self.calculate_instead(parameter, rule, &condition);
                }
                if let Some((_, Source::Written(place))) = written {
                    let message = format!("has no effect: it is for {}", describe(&condition));
                    self.notes.push(Note { place, name: parameter.name.clone(), message });
                }
                return State::Absent;
            }
        }
        if let Some((value, source)) = written {
            return self.take(parameter, value, source, parameter.secret);
        }
        if let Some(value) = self.given.get(&parameter.name) {
            let source = Source::Given(giver(&parameter.name));
            return match parameter.check(&Node::from_json(value, &self.file)) {
                Ok(value) => self.take(parameter, value, source, parameter.secret),
                Err(problems) => self.fail(problems),
            };
        }
        if let Some((value, place)) = &parameter.extended_default {
            let source = Source::Extension(place.clone());
            return self.take(parameter, value.clone(), source, parameter.secret);
        }
        let required = if parameter.required_when.is_empty() {
            parameter.required
        } else {
            match self.holds(parameter, &parameter.required_when) {
                Holds::Yes => true,
                Holds::No(_) => false,
                Holds::Unknown => return State::Failed,
            }
        };
        if required {
            let problem = self.missed(parameter);
            return self.fail(vec![problem]);
        }
        match (&parameter.rule, &parameter.default) {
            (Some(rule), _) => self.calculate(parameter, rule),
            (None, Some(value)) => self.take(parameter, value.clone(), Source::Default, parameter.secret),
            (None, None) => State::Absent,
        }
    }

    /// A required parameter where its conditions do not hold: others say it.
    fn calculate_instead(&mut self, parameter: &Parameter, rule: &str, condition: &Condition) -> State {
        if let Some(node) = self.written.get(parameter.name.as_str()) {
            let message = format!("is calculated; remove it, or have {}", describe(condition));
            self.problems.push(Problem::new(&node.place, &parameter.name, message));
        }
        self.calculate(parameter, rule)
    }

    /// What was written in its one form.
    fn checked(&mut self, parameter: &Parameter, node: &Node) -> Option<Value> {
        parameter.check(node).map_err(|problems| self.problems.extend(problems)).ok()
    }

    fn holds(&mut self, parameter: &Parameter, conditions: &[Condition]) -> Holds {
        let mut first = None;
        for condition in conditions {
            match self.dependency(parameter, &condition.parameter) {
                State::Ready => {
                    let value = self.values.get(&condition.parameter).map(|resolved| &resolved.value);
                    if !value.is_some_and(|value| condition.any_of.contains(value)) {
                        first.get_or_insert_with(|| condition.clone());
                    }
                }
                State::Absent => {
                    first.get_or_insert_with(|| condition.clone());
                }
                State::Failed | State::Visited => return Holds::Unknown,
            }
        }
        first.map_or(Holds::Yes, Holds::No)
    }

    /// Resolves what a parameter depends on.
    fn dependency(&mut self, parameter: &Parameter, name: &str) -> State {
        if !self.table.parameters.contains_key(name) {
            let message = format!("depends on `{name}`, which is no parameter");
            self.problems.push(Problem::new(&parameter.place, &parameter.name, message));
            return State::Failed;
        }
        self.settle(name)
    }

    fn calculate(&mut self, parameter: &Parameter, rule: &str) -> State {
        let calculation = match calculate::find(rule) {
            Ok(calculation) => calculation,
            Err(message) => {
                return self.fail(vec![Problem::new(&parameter.place, &parameter.name, message)]);
            }
        };
        let mut failed = false;
        for name in &calculation.from {
            failed |= matches!(self.dependency(parameter, name), State::Failed | State::Visited);
        }
        if failed {
            return State::Failed;
        }
        let view = View::new(&self.values, self.files, parameter.default.as_ref());
        let (place, name) = self.cause(parameter, &calculation);
        let value = calculation.run(&view).map_err(|message| vec![Problem::new(&place, name, message)]);
        let secret = parameter.secret || (!calculation.public && self.reads_secret(&calculation));
        let value = value.and_then(|value| parameter.check_as(&Node::from_json(&value, &place), secret));
        match value {
            Ok(value) if parameter.default.as_ref() == Some(&value) => {
                self.take(parameter, value, Source::Default, parameter.secret)
            }
            Ok(value) => self.take(parameter, value, Source::Calculated(calculation.from), secret),
            Err(problems) => self.fail(problems),
        }
    }

    fn reads_secret(&self, calculation: &Calculation) -> bool {
        calculation.from.iter().any(|name| self.values.get(name).is_some_and(|resolved| resolved.secret))
    }

    /// Where a calculation that fails can be mended: where one of its parameters was written, and which that is.
    fn cause(&self, parameter: &Parameter, calculation: &Calculation) -> (Place, String) {
        let written = calculation.from.iter().find_map(|name| match &self.values.get(name)?.source {
            Source::Written(place) | Source::Extension(place) => Some((place.clone(), name.clone())),
            _ => None,
        });
        written.unwrap_or_else(|| {
            let settable = Some(&parameter.name).filter(|_| parameter.who == Who::Operator);
            let name = settable.or(calculation.from.first()).unwrap_or(&parameter.name);
            (self.file.clone(), name.clone())
        })
    }

    fn missed(&self, parameter: &Parameter) -> Problem {
        let Parameter { name, help, when, required_when, .. } = parameter;
        let help = help.trim_end_matches('.');
        let because: Vec<_> = when
            .iter()
            .chain(required_when)
            .filter_map(|condition| {
                let value = &self.values.get(&condition.parameter)?.value;
                Some(format!("`{}` is `{}`", condition.parameter, show(value)))
            })
            .collect();
        let message = match because.as_slice() {
            [] => format!("must be set: {help}"),
            because => format!("must be set because {}: {help}", because.join(" and ")),
        };
        Problem::new(&self.file, name, message)
    }

    /// Several that each need the other. Said once, of all of them.
    fn report_circle(&mut self, name: &str) {
        let from = self.waiting.iter().position(|waiting| waiting == name).unwrap_or_default();
        let circle: Vec<_> = self.waiting[from..]
            .iter()
            .map(String::as_str)
            .chain([name])
            .map(|name| format!("`{name}`"))
            .collect();
        if let Some(parameter) = self.table.parameters.get(name) {
            let message = format!("depends on itself: {}", circle.join(" needs "));
            self.problems.push(Problem::new(&parameter.place, name, message));
        }
    }

    fn take(&mut self, parameter: &Parameter, value: Value, source: Source, secret: bool) -> State {
        self.values.insert(parameter.name.clone(), Resolved { value, source, secret });
        State::Ready
    }

    fn fail(&mut self, problems: Vec<Problem>) -> State {
        self.problems.extend(problems);
        State::Failed
    }
}

/// A condition in words.
fn describe(condition: &Condition) -> String {
    let values: Vec<_> = condition.any_of.iter().map(|value| format!("`{}`", show(value))).collect();
    format!("`{}` {}", condition.parameter, values.join(" or "))
}

/// Where what is configured comes from.
fn giver(name: &str) -> &'static str {
    if name.starts_with("custom_check_bins") {
        "check programs"
    } else if name.starts_with("dcos_") || name.starts_with("bootstrap_") || name == "package_ids" {
        "artifacts"
    } else {
        "what is configured"
    }
}
