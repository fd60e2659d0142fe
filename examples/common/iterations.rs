//! The iterations that solutions take to tolerances, as trainings are validated by them.

/// Of the residuals that are looked for, the smaller one last.
pub const TOLERANCES: [f64; 2] = [1e-4, 1e-6];

/// The iterations to each of [`TOLERANCES`], where they were reached.
pub type Iterations = [Option<usize>; 2];

/// Of the residual before the first iteration and after each.
pub fn counted(history: &[f64]) -> Iterations {
    TOLERANCES.map(|tolerance| history.iter().position(|&norm| norm <= tolerance * history[0]))
}

/// By tolerance; where one was not reached, not a number.
#[allow(dead_code, reason = "each program uses its part")]
pub fn mean(all: &[Iterations]) -> [f64; 2] {
    [0, 1].map(|i| {
        let sum: f64 = all.iter().map(|found| found[i].map_or(f64::NAN, |iterations| iterations as f64)).sum();
        sum / all.len() as f64
    })
}

/// As it is in a table.
#[allow(dead_code, reason = "each program uses its part")]
pub fn number(iterations: Option<usize>) -> String {
    iterations.map_or("-".to_owned(), |iterations| iterations.to_string())
}

/// Of both tolerances.
#[allow(dead_code, reason = "each program uses its part")]
pub fn both(iterations: Iterations) -> String {
    iterations.map(number).join(" / ")
}
