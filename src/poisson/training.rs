//! Where weights are from.

/// How weights were trained, and on what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Training {
    /// What the right-hand sides were, and of which grids.
    pub data: String,
    /// Steps of the optimizer.
    pub steps: u64,
    /// Right-hand sides a step.
    pub batch: u64,
    /// The optimizer, with its options.
    pub optimizer: String,
    /// Of the initial weights and of the data.
    pub seed: u64,
    /// On what device.
    pub adapter: String,
}

impl Training {
    /// Of values that are initial ones.
    pub(super) fn none(seed: u64) -> Self {
        Self { data: "none".into(), optimizer: "none".into(), seed, adapter: "none".into(), ..Default::default() }
    }
}
