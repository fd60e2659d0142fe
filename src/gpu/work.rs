//! How much a dispatch does: its workgroups, and the rounds of an invocation's loops.

/// The most rounds that the loops of one invocation may take, all of them together: llvmpipe ends them there, without a
/// word.
pub(crate) const MAX_ROUNDS: u64 = 65_535;

/// The most workgroups that a dispatch may have, by WebGPU's defaults.
pub(crate) const MAX_WORKGROUPS: u32 = 65_535;

/// What [`super::Recording::dispatch`] has to know of a dispatch besides its bindings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Work {
    pub workgroups: u32,
    /// Rows of as many workgroups, for kernels that stride over both; else 1.
    pub rows: u32,
    /// No invocation's loops take more rounds, all of them together.
    pub rounds: u64,
}

impl Work {
    /// One workgroup, whose invocations take at most so many rounds.
    pub fn alone(rounds: u64) -> Self {
        Self { workgroups: 1, rows: 1, rounds }
    }

    /// A workgroup a job, as far as there may be so many; beyond that they stride over the jobs. A job takes `rounds`.
    pub fn strided(jobs: u64, rounds: u64) -> Self {
        Self::shared(jobs, MAX_WORKGROUPS, rounds)
    }

    /// `most` workgroups that stride over jobs of `rounds` each, fewer where there are fewer jobs, and more where loops would take
    /// too many rounds.
    pub fn shared(jobs: u64, most: u32, rounds: u64) -> Self {
        let needed = jobs.div_ceil((MAX_ROUNDS / rounds.saturating_add(1)).saturating_sub(1).max(1));
        let workgroups = jobs.min(needed.max(most.into()).min(MAX_WORKGROUPS.into()));
        Self { workgroups: workgroups as u32, rows: 1, rounds: looped(jobs.div_ceil(workgroups.max(1)), rounds) }
    }

    /// [`Work::strided`] for a kernel that strides over rows of workgroups, of which there are more than one where loops would
    /// take too many rounds.
    pub fn in_rows(jobs: u64, rounds: u64) -> Self {
        let one = Self::strided(jobs, rounds);
        if one.rounds <= MAX_ROUNDS {
            return one;
        }
        let rows = jobs.div_ceil(one.workgroups.max(1).into()).min(MAX_WORKGROUPS.into());
        let groups = u64::from(one.workgroups) * rows;
        Self { rows: rows as u32, rounds: looped(jobs.div_ceil(groups.max(1)), rounds), ..one }
    }
}

/// The rounds of a loop of `times` rounds with `inner` rounds of other loops in each. The test that ends it is a round.
pub(crate) fn looped(times: u64, inner: u64) -> u64 {
    times.saturating_mul(inner.saturating_add(1)).saturating_add(1)
}

/// The rounds of a sum of `terms` terms by one invocation, in blocks of 16 (`shaders/shared/carry.wgsl`).
pub(crate) fn summed(terms: u64) -> u64 {
    looped(terms.div_ceil(16), 1).saturating_add(terms)
}

/// The rounds of `sum_runs` (`shaders/shared/tree.wgsl`).
pub(crate) const SUM_RUNS: u64 = 5;

/// Those of a cell's run in a block of so many cells that 256 invocations share (`shaders/shared/runs.wgsl`).
pub(crate) fn run_of_block(block: u64) -> u64 {
    looped(block.div_ceil(256), 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(feature = "curvature")]
    fn a_dispatch_of_too_many_rounds_is_refused() {
        use crate::Error;
        use crate::gpu::{Bind, Gpu, Recording};
        let (device, queue) = wgpu::Device::noop(&wgpu::DeviceDescriptor::default());
        let gpu = Gpu::new(&device, &queue).unwrap();
        let kernel = gpu.kernel(&crate::shaders::curvature::ADVANCE, &[], &[]).unwrap();
        let taken = gpu.buffer("taken", 4, wgpu::BufferUsages::STORAGE).unwrap();
        let record = |work| {
            let mut recording = Recording::new();
            let result = recording.dispatch(&gpu, &kernel, work, &[Bind::whole("taken", &taken)]);
            (result, recording.len())
        };
        let most = Work { workgroups: MAX_WORKGROUPS, rows: 1, rounds: MAX_ROUNDS };
        assert!(matches!(record(most), (Ok(()), 1)));
        for (work, count) in [
            (Work { rounds: MAX_ROUNDS + 1, ..most }, "65536 rounds"),
            (Work::strided(1, u64::MAX), "18446744073709551615 rounds"),
            (Work { workgroups: MAX_WORKGROUPS + 1, ..most }, "65536 workgroups"),
        ] {
            let (result, recorded) = record(work);
            let Err(Error::Pipeline { kernel, reason }) = result else { panic!("{work:?}: {result:?}") };
            assert!(kernel == "gradus.curvature.advance" && reason.starts_with(count) && recorded == 0, "{reason}");
        }
    }

    /// Against the rounds of the loop itself, `for (job = group; job < jobs; job += groups)`, of the workgroup with the most jobs.
    #[test]
    fn bounds_are_those_of_the_loops() {
        for inner in [0, 3, 500, 20_000] {
            for jobs in [0, 1, 63, 64, 65, 4097, 65_535, 65_536, 3_000_000] {
                let rounds = |groups: u64| (0..jobs).step_by(groups.max(1) as usize).map(|_| inner + 1).sum::<u64>() + 1;
                for most in [1, 64, 4096] {
                    let work = Work::shared(jobs, most, inner);
                    assert_eq!(work.rounds, rounds(work.workgroups.into()), "{jobs} {most} {inner}");
                    assert!(work.rounds <= MAX_ROUNDS || u64::from(work.workgroups) == jobs.min(MAX_WORKGROUPS.into()), "{work:?}");
                    let few = rounds(jobs.min(most.into())) <= MAX_ROUNDS;
                    assert!(!few || u64::from(work.workgroups) == jobs.min(most.into()), "{jobs} {most} {inner}: {work:?}");
                }
                let work = Work::in_rows(jobs, inner);
                assert_eq!(work.rounds, rounds(u64::from(work.workgroups) * u64::from(work.rows)), "{jobs} {inner}");
                assert!(work.rounds <= MAX_ROUNDS, "{work:?}");
            }
        }
        // in blocks of 16: of n terms n and a test for each block, and the blocks
        for terms in [0, 1, 15, 16, 17, 1000] {
            let mut rounds = 1;
            for first in (0..terms).step_by(16) {
                rounds += 2 + (first..(first + 16).min(terms)).count() as u64;
            }
            assert_eq!(summed(terms), rounds, "{terms}");
        }
    }
}
