//! The kernels of a Poisson solver against copies that move as many bytes.

use gradus::krylov::{Cg, CgOptions, LinearOperator};
use gradus::poisson::{Grid, IncompletePoisson, Jacobi, Laplacian, Multigrid, MultigridOptions};
use gradus::{Gpu, Recording, Tensor};

use super::timing::{Streamed, beside_copies};
use super::{Bench, noise, share, share_heading};

const SIZES: [&[usize]; 2] = [&[128, 128, 128], &[1024, 1024]];
const QUICK: [&[usize]; 2] = [&[32, 32, 32], &[128, 128]];

pub(super) async fn run(bench: &mut Bench<'_>) -> Result<(), gradus::Error> {
    let (gpu, options) = (bench.gpu, bench.options);
    let sheet = options.bandwidth.map(|bandwidth| bandwidth * 1e9);
    let mut heading = Some(format!(
        "{:38} {:>10} {:>12} {:>10} {:>10} {:>10}{}",
        "kernel",
        "bytes/cell",
        "seconds",
        "GB/s",
        "copy GB/s",
        "copy_ratio",
        share_heading(sheet)
    ));
    for sizes in if options.quick { QUICK } else { SIZES } {
        let shape = sizes.iter().map(usize::to_string).collect::<Vec<_>>().join("x");
        // setting up takes longer than measuring
        if !NAMES.iter().any(|name| bench.chosen(&format!("{name}/{shape}"))) {
            continue;
        }
        for (name, recording, owner) in cases(gpu, sizes)? {
            let name = format!("{name}/{shape}");
            if !bench.chosen(&name) {
                continue;
            }
            let cells: usize = sizes.iter().product();
            // a solver's iterations end at a residual of 0
            let once = owner.is_some();
            let Streamed { seconds, speed, copy } = beside_copies(gpu, &recording, recording.bytes(), once, options.repeats).await?;
            let (bytes, ratio) = (recording.bytes() as f64 / cells as f64, speed / copy);
            if options.json {
                let line = serde_json::json!({
                    "kernel": name,
                    "elements": cells,
                    "bytes_per_element": bytes,
                    "seconds": seconds,
                    "copy_ratio": ratio,
                    "sheet_ratio": sheet.map(|sheet| speed / sheet),
                });
                (bench.print)(&line.to_string());
            } else {
                let [speed_gb, copy_gb] = [speed, copy].map(|speed| speed / 1e9);
                let row =
                    format!("{name:38} {bytes:10.1} {seconds:12.6} {speed_gb:10.2} {copy_gb:10.2} {ratio:10.3}{}", share(speed, sheet));
                bench.row(&mut heading, &row);
            }
        }
    }
    Ok(())
}

/// A name, what to measure, and what has to live as long.
type Case = (&'static str, Recording, Option<Cg>);

const NAMES: [&str; 8] = [
    "laplacian",
    "jacobi",
    "incomplete-poisson",
    "multigrid-cycle",
    "project",
    "cg-iteration",
    "cg-incomplete-poisson-iteration",
    "cg-multigrid-iteration",
];

fn cases(gpu: &Gpu, sizes: &[usize]) -> Result<Vec<Case>, gradus::Error> {
    let open = Grid::new(sizes)?.with_open(&vec![[true, false]; sizes.len()])?;
    let closed = Grid::new(sizes)?;
    // in buffers of their own, where kernels take them as they are
    let tensor = |seed| -> Result<Tensor, gradus::Error> { Ok(noise(gpu, &[sizes], seed)?.remove(0)) };
    let mut all = Vec::new();
    let operators: [Box<dyn LinearOperator>; 4] = [
        Box::new(Laplacian::new(gpu, &open)?),
        Box::new(Jacobi::new(gpu, &open)?),
        Box::new(IncompletePoisson::new(gpu, &open)?),
        Box::new(Multigrid::new(gpu, &open, &MultigridOptions::default())?),
    ];
    for (name, operator) in NAMES.into_iter().zip(&operators) {
        let (x, y, mut recording) = (tensor(3)?, tensor(4)?, Recording::new());
        operator.record(&mut recording, &x, &y)?;
        all.push((name, recording, None));
    }
    let (x, mut recording) = (tensor(3)?, Recording::new());
    Laplacian::new(gpu, &closed)?.record_project(&mut recording, &x)?;
    all.push((NAMES[4], recording, None));
    let preconditioners = [None, Some(&*operators[2]), Some(&*operators[3])];
    for (name, preconditioner) in NAMES[5..].iter().copied().zip(preconditioners) {
        let (b, x) = (tensor(3)?, tensor(4)?);
        let laplacian = Laplacian::new(gpu, &open)?;
        // which does not come to an end, however often an iteration is measured
        let options = CgOptions { relative_tolerance: 0.0, max_iterations: 2000, ..Default::default() };
        let preconditioner = preconditioner.map(|operator| operator as &dyn LinearOperator);
        let owned = preconditioner.as_ref().map(|operator| operator as &dyn gradus::krylov::Preconditioner);
        let cg = Cg::new(&laplacian, owned, &b, &x, &options)?;
        let mut encoder = gpu.device().create_command_encoder(&Default::default());
        cg.encode(&mut encoder, 1);
        gpu.queue().submit([encoder.finish()]);
        all.push((name, cg.iteration().clone(), Some(cg)));
    }
    Ok(all)
}
