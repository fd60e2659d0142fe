//! What happens between the text of a kernel, whose imports the build script pasted, and the WGSL that naga sees.
//!
//! A `#permute A | B C | D` line states one axis of the permutations in which a kernel may be made: exactly one of the
//! alternatives, each a set of names (`-` is the empty set). `conditionals` runs when a pipeline is made and keeps or drops the
//! lines between `#ifdef NAME` or `#ifndef NAME`, `#else` and `#endif`. `bindings` reads off what buffers are declared, and what
//! is done with them. A test holds that naga says the same of every permutation.

use std::collections::HashMap;

use super::kernel::{Access, BindingLayout};

/// The product of the `#permute` axes: each permutation is a sorted set of names.
pub fn permutations(source: &str) -> Vec<Vec<&str>> {
    let mut all = vec![vec![]];
    for axis in source.lines().filter_map(|line| line.trim_start().strip_prefix("#permute ")) {
        let alternatives = || axis.split('|').map(|names| names.split_whitespace().filter(|&name| name != "-"));
        all = all.iter().flat_map(|base: &Vec<&str>| alternatives().map(|more| base.iter().copied().chain(more).collect())).collect();
    }
    all.iter_mut().for_each(|names| names.sort_unstable());
    all
}

/// The lines that are active when `defines` are defined. Directives leave an empty line, so that positions in error messages
/// stay those of the imported text.
pub fn conditionals<'a>(source: &'a str, defines: &[&str]) -> Result<Vec<&'a str>, String> {
    let mut lines = Vec::new();
    // (this branch is active, the condition held) for each open conditional
    let mut open: Vec<(bool, bool)> = Vec::new();
    for (number, line) in source.lines().enumerate() {
        let at = |what: &str| format!("line {}: {what}: {line}", number + 1);
        let active = open.iter().all(|&(active, _)| active);
        let directive = line.trim_start().strip_prefix('#');
        if let Some(directive) = directive {
            let mut words = directive.split_whitespace();
            match (words.next(), words.next()) {
                (Some("ifdef"), Some(name)) => {
                    let held = defines.contains(&name);
                    open.push((held, held));
                }
                (Some("ifndef"), Some(name)) => {
                    let held = !defines.contains(&name);
                    open.push((held, held));
                }
                (Some("else"), _) => {
                    let last = open.last_mut().ok_or_else(|| at("no #ifdef is open"))?;
                    last.0 = !last.1;
                }
                (Some("endif"), _) => {
                    open.pop().ok_or_else(|| at("no #ifdef is open"))?;
                }
                (Some("permute"), Some(_)) => {}
                _ => return Err(at("unknown directive")),
            }
        }
        lines.push(if active && directive.is_none() { line } else { "" });
    }
    match open.is_empty() {
        true => Ok(lines),
        false => Err("an #ifdef is not closed".into()),
    }
}

/// The buffers that active lines declare, by index. A declaration is a line, `@group(0) @binding(3) var<storage, read> x: array<f32>;`.
pub fn bindings(lines: &[&'static str]) -> Result<Vec<BindingLayout>, String> {
    let text: Vec<&'static str> = lines.iter().map(|&line| line.split("//").next().unwrap_or_default()).collect();
    let run = reachable(&text);
    let mut all = Vec::new();
    for (number, line) in text.iter().enumerate().filter(|(_, line)| line.contains("@binding")) {
        let declared = || {
            let (index, rest) = line.strip_prefix("@group(0) @binding(")?.split_once(") var<")?;
            let (space, rest) = rest.split_once("> ")?;
            let (name, _) = rest.split_once(':')?;
            let access = match space {
                "uniform" => Access::Uniform,
                "storage, read" => Access::Read,
                "storage, read_write" if is_only_stored(&run, name) => Access::Write,
                "storage, read_write" => Access::ReadWrite,
                _ => return None,
            };
            Some(BindingLayout { index: index.parse().ok()?, name, access })
        };
        all.push(declared().ok_or_else(|| format!("line {}: not a binding: {line}", number + 1))?);
    }
    all.sort_by_key(|binding| binding.index);
    Ok(all)
}

fn in_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// `main` and all functions that it names, or they name, each as its lines. `fn` begins a line, and so does the brace that ends a
/// function of more lines than one.
fn reachable<'a, 'b>(text: &'b [&'a str]) -> Vec<&'b [&'a str]> {
    let mut functions = HashMap::new();
    for (start, line) in text.iter().enumerate() {
        let Some((name, _)) = line.strip_prefix("fn ").and_then(|rest| rest.split_once('(')) else { continue };
        let rest = &text[start..];
        let length = if line.contains('}') { 1 } else { rest.iter().take_while(|line| !line.starts_with('}')).count() };
        functions.insert(name, &rest[..length]);
    }
    let (mut bodies, mut open) = (Vec::new(), vec!["main"]);
    while let Some(name) = open.pop() {
        let Some(body) = functions.remove(name) else { continue };
        bodies.push(body);
        let words = body.iter().flat_map(|line| line.split(|c| !in_name(c)));
        open.extend(words.filter(|word| functions.contains_key(word)));
    }
    bodies
}

/// WGSL has no write-only storage: whether something is assigned to elements of the buffer `name`, and nothing else is done with it.
fn is_only_stored(bodies: &[&[&str]], name: &str) -> bool {
    let mut stored = false;
    for body in bodies {
        let mentions = body.iter().flat_map(|line| line.match_indices(name).map(|(at, _)| (&line[..at], &line[at + name.len()..])));
        // not those that are part of another name, or members
        let mentions = mentions.filter(|(before, after)| !before.ends_with(|c| in_name(c) || c == '.') && !after.starts_with(in_name));
        for (before, after) in mentions {
            // from here on the name is an argument's or a variable's
            if after.starts_with(':') || before.ends_with("let ") || before.ends_with("var ") {
                break;
            }
            let begins = before.trim_end().is_empty() || before.trim_end().ends_with(['{', ';', '}']);
            if !begins || !is_assigned(after) {
                return false;
            }
            stored = true;
        }
    }
    stored
}

/// Whether indices and members, and then an assignment, follow.
fn is_assigned(after: &str) -> bool {
    let mut depth = 0;
    let end = after.find(|c: char| {
        depth += i32::from(c == '[') - i32::from(c == ']');
        depth == 0 && !matches!(c, ']' | '.') && !in_name(c)
    });
    let rest = end.map_or("", |end| after[end..].trim_start());
    rest.starts_with('=') && !rest.starts_with("==")
}
